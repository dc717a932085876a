"""The calibration region: the fully sampled rectangle about the centre of k-space."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np

from jaxrecon.value import describe, is_concrete


def calibration_size(kspace: jax.Array, largest: int | None = None) -> tuple[int, ...]:
    """The largest fully sampled rectangle centred in k-space, found from the data.

    A position is sampled where any coil is non-zero. The rectangle of n positions starts at N//2 - n//2.

    Args:
        kspace: (coils, ny, nx) or (coils, nz, ny, nx), centred, zero where not measured. Concrete (found on the host).
        largest: no side longer than this.

    Returns:
        One size per axis; all 0 where the centre itself was not measured.

    Raises:
        ValueError: traced k-space, or not 3 or 4 axes.

    Example:
        >>> kspace = jnp.ones((2, 16, 16)).at[:, 2].set(0)
        >>> jr.calibration_size(kspace)
        (11, 16)
    """
    if not is_concrete(kspace):
        raise ValueError("the calibration region is found from the data, which are traced here: "
                         "give its size (calibration=24), or call jr.calibration_size before jax.jit")
    kspace = check_kspace(kspace)
    return _largest(np.asarray(jnp.any(kspace != 0, axis=0)), largest or max(kspace.shape[1:]))


def _largest(sampled: np.ndarray, longest: int) -> tuple[int, ...]:
    best: tuple[int, ...] = (0,) * sampled.ndim
    middle = sampled.shape[0] // 2
    common = True  # where every plane of the slab so far is sampled
    for n in range(1, min(sampled.shape[0], longest) + 1):
        start = middle - n // 2
        # the slab grows by one plane: below the centre for even n, above it for odd n
        common = common & sampled[start if n % 2 == 0 else start + n - 1]
        if sampled.ndim == 1:
            if not common:
                break
            best = (n,)
            continue
        rest = _largest(common, longest)
        if not all(rest):
            break
        if n * math.prod(rest) > math.prod(best):
            best = (n, *rest)
    return best


def check_kspace(kspace: jax.Array) -> jax.Array:
    """k-space as a complex array of (coils, ny, nx) or (coils, nz, ny, nx), or a ValueError."""
    kspace = jnp.asarray(kspace)
    if kspace.ndim not in (3, 4):
        raise ValueError(f"k-space must be (coils, ny, nx) or (coils, nz, ny, nx), got {describe(kspace)}; "
                         "use jax.vmap over slices")
    return kspace.astype(jnp.result_type(kspace, jnp.complex64))


def sizes(name: str, size: int | tuple[int, ...], ndim: int) -> tuple[int, ...]:
    """One positive int per axis from an int or a tuple of ints."""
    given = (size,) * ndim if isinstance(size, int | np.integer) else tuple(size)
    if len(given) != ndim or any(int(n) != n or n < 1 for n in given):
        raise ValueError(f"{name} must be a positive int or {ndim} of them (one per image axis), got {size}")
    return tuple(int(n) for n in given)


def calibration_data(kspace: jax.Array, calibration: int | tuple[int, ...] | None, longest: int = 32) -> jax.Array:
    """The calibration region of checked k-space, scaled to a largest magnitude of 1; refused where it has holes."""
    shape = kspace.shape[1:]
    if calibration is None:
        size = calibration_size(kspace, longest)
        if not all(size):
            raise ValueError("no calibration region: the centre of k-space was not measured "
                             f"(k-space {describe(kspace)}; is it centred, origin at index N//2?)")
    else:
        size = sizes("calibration", calibration, len(shape))
    if any(n > N for n, N in zip(size, shape, strict=True)):
        raise ValueError(f"calibration {size} is larger than k-space {shape}: give one size per axis, at most {shape}")
    starts = [N // 2 - n // 2 for n, N in zip(size, shape, strict=True)]
    data = kspace[(slice(None), *(slice(s, s + n) for s, n in zip(starts, size, strict=True)))]
    if is_concrete(data):
        holes = int(jnp.sum(jnp.all(data == 0, axis=0)))
        if holes:
            full = calibration_size(kspace)
            raise ValueError(f"{holes} of the {math.prod(size)} positions in the calibration region {size} were not "
                             f"measured (zero in all coils): the largest full region here is {full}; "
                             "pass that, or calibration=None")
        if not bool(jnp.all(jnp.isfinite(data))):
            raise ValueError("NaN or infinite samples in the calibration region: remove them before calibrating")
    # products of samples follow: 1e-25 squared is zero in float32, and the maps do not depend on the scale
    peak = jax.lax.stop_gradient(jnp.max(jnp.abs(data)))
    return data / jnp.where(peak > 0, peak, 1)
