"""ESPIRiT: coil sensitivity maps from the null space of the calibration data."""

from __future__ import annotations

import math
from functools import partial
from typing import Literal, overload

import jax
import jax.numpy as jnp
import numpy as np

from jaxrecon.calibration.eigen import fix_phase, leading_eigenpairs, leading_projector, unit_phase
from jaxrecon.calibration.region import calibration_data, check_kspace, sizes
from jaxrecon.value import is_concrete

# per-pixel matrices alive at once, in entries: 32 MB in complex64, and enough of them to fill a GPU
_ENTRIES = 2**22


@overload
def espirit(kspace: jax.Array, calibration: int | tuple[int, ...] | None = 24, kernel: int | tuple[int, ...] = 6,
            threshold: float = 0.02, crop: float = 0.95, maps: int = 1, *,
            eigenvalues: Literal[False] = False) -> jax.Array: ...
@overload
def espirit(kspace: jax.Array, calibration: int | tuple[int, ...] | None = 24, kernel: int | tuple[int, ...] = 6,
            threshold: float = 0.02, crop: float = 0.95, maps: int = 1, *,
            eigenvalues: Literal[True]) -> tuple[jax.Array, jax.Array]: ...
def espirit(kspace: jax.Array, calibration: int | tuple[int, ...] | None = 24, kernel: int | tuple[int, ...] = 6,
            threshold: float = 0.02, crop: float = 0.95, maps: int = 1, *, eigenvalues: bool = False):
    """Coil sensitivity maps by ESPIRiT.

    With P the projector onto the leading right singular vectors of the calibration matrix (its rows are the k x k
    patches of the calibration region, over all coils), the maps at pixel r are the leading eigenvectors of

        M_cd(r) = k^-2 sum_{p,q} P[cp, dq] exp(2 pi i r.(p - q) / N),        M(r) m(r) = m(r) where the model holds.

    Args:
        kspace: (coils, ny, nx) or (coils, nz, ny, nx), centred, zero where not measured.
        calibration: size of the fully sampled centre, an int or one per axis; None finds it from the data
            (at most 32 a side; not under jit).
        kernel: size k of the patches, an int or one per axis.
        threshold: singular values above threshold * the largest span the signal. Below 1e-3 use complex128.
        crop: maps are zero where the eigenvalue is not above this (0: no crop; BART's default is 0.8, SigPy's 0.95).
        maps: sets of maps; 2 where the field of view is smaller than the object. Each weighs an image of its own:
            b_c = mask F sum_s m_sc x_s, by `jr.linear`; `jr.sense` takes one set, and four axes as a volume.
        eigenvalues: also return the eigenvalues.

    Returns:
        (coils, ny, nx) for maps=1, else (maps, coils, ny, nx), in k-space's precision: sum_c |m_c|^2 = 1 inside the
        support, 0 outside. Phase: that of the first virtual coil (the first principal component of the calibration
        data, as in BART) is 0. With eigenvalues=True also the eigenvalues in [0, 1], not cropped:
        (ny, nx) or (maps, ny, nx).

    Raises:
        ValueError: a calibration region with unmeasured positions, larger than k-space or smaller than the kernel;
            threshold or crop outside [0, 1); more maps than coils.

    Example:
        >>> wave = jnp.exp(2j * jnp.pi * jnp.arange(32) / 32)
        >>> coils = jnp.stack([wave[:, None] + 0 * wave, 2 - wave[:, None] + wave, 1j + wave[:, None] * wave])
        >>> image = jax.random.normal(jax.random.key(0), (32, 32), dtype=complex)
        >>> kspace = jnp.fft.fftshift(jnp.fft.fft2(jnp.fft.ifftshift(coils * image, (1, 2))), (1, 2))
        >>> maps = jr.espirit(kspace, calibration=20, kernel=5, threshold=1e-4)
        >>> bool(jnp.allclose(jnp.abs(jnp.sum(jnp.conj(coils) * maps, axis=0)), jr.rss(coils)))
        True

    Source: Uecker et al. 2014, ESPIRiT: an eigenvalue approach to autocalibrating parallel MRI, MRM 71.
    """
    kspace = check_kspace(kspace)
    coils, shape = kspace.shape[0], kspace.shape[1:]
    patch = sizes("kernel", kernel, len(shape))
    for name, given in (("threshold", threshold), ("crop", crop)):
        if is_concrete(given) and not 0 <= given < 1:
            raise ValueError(f"{name} must lie in [0, 1), got {given}: it is a fraction of the largest value possible")
    if not 1 <= maps <= coils:
        raise ValueError(f"maps must lie between 1 and the number of coils, {coils}; got {maps}")
    data = calibration_data(kspace, calibration)
    if any(k > n for k, n in zip(patch, data.shape[1:], strict=True)):
        raise ValueError(f"kernel {patch} is larger than the calibration region {data.shape[1:]}: "
                         "use a smaller kernel or a larger region")
    if is_concrete(data) and not bool(jnp.any(data)):
        raise ValueError("the calibration region holds no signal: all samples are zero")
    found, values = _maps(data, threshold, crop, shape, patch, maps)
    if maps == 1:
        found, values = found[0], values[0]
    return (found, values) if eigenvalues else found


@partial(jax.jit, static_argnames=("shape", "kernel", "maps"))
def _maps(data, threshold, crop, shape, kernel, maps):
    lags = _lags(_signal_projector(data, kernel, threshold), data.shape[0], kernel)
    reference = _first_virtual_coil(data)
    # exp(2 pi i r l / N) per axis; all but the last axis are joined, and one of their rows is made at a time
    waves = [np.exp(2j * np.pi * np.outer(np.arange(N) - N // 2, np.arange(1 - k, k)) / N)
             for N, k in zip(shape, kernel, strict=True)]
    across = jnp.asarray(waves[-1], data.dtype)
    down = jnp.asarray(waves[0] if len(waves) == 2 else np.kron(waves[0], waves[1]), data.dtype)

    def row(wave):
        matrices = across @ jnp.tensordot(wave, lags, 1)
        values, vectors = leading_eigenpairs(matrices.reshape(shape[-1], *reference.shape * 2), maps)
        phase = unit_phase(jnp.einsum("c,xcm->xm", jnp.conj(reference), vectors))
        found = jnp.where((values > crop)[:, None], vectors * jnp.conj(phase)[:, None], 0)
        return found, values

    rows = max(1, min(down.shape[0], _ENTRIES // (shape[-1] * data.shape[0] ** 2)))
    found, values = jax.lax.map(row, down, batch_size=rows)  # (rows, nx, coils, maps), (rows, nx, maps)
    return (jnp.moveaxis(found, (2, 3), (1, 0)).reshape(maps, data.shape[0], *shape),
            jnp.moveaxis(values, 2, 0).reshape(maps, *shape))


def _signal_projector(data: jax.Array, kernel: tuple[int, ...], threshold) -> jax.Array:
    """The projector onto the row space of the calibration matrix, (coils * prod(kernel),) * 2."""
    places = [np.arange(n - k + 1)[:, None] + np.arange(k) for n, k in zip(data.shape[1:], kernel, strict=True)]
    index = np.ix_(*(p.ravel() for p in places))
    patches = data[(slice(None), *index)].reshape(data.shape[0], *(n for p in places for n in p.shape))
    ndim = len(kernel)
    order = (0, *(2 + 2 * a for a in range(ndim)), *(1 + 2 * a for a in range(ndim)))
    columns = patches.transpose(order).reshape(data.shape[0] * math.prod(kernel), -1)
    # the Gram matrix, not an SVD of the patches: its size does not grow with the region, and the threshold on singular
    # values is far above the half of the digits that squaring costs
    return leading_projector(columns @ jnp.conj(columns.T), jnp.square(jnp.asarray(threshold, data.real.dtype)))


def _lags(projector: jax.Array, coils: int, kernel: tuple[int, ...]) -> jax.Array:
    """sum over p - q = l of P[cp, dq] / prod(k): (prod over all but the last axis of 2k-1, 2k-1, coils^2).

    M(r) is the Fourier series of these few lags: no kernel is ever padded to the size of the image.
    """
    ndim = len(kernel)
    x = projector.reshape(coils, *kernel, coils, *kernel) / math.prod(kernel)
    order = [axis for a in range(ndim) for axis in (2 + ndim + a, 1 + a)]
    x = x.transpose(*order, 0, 1 + ndim)  # (q1, p1, q2, p2, ..., c, d)
    for a, k in enumerate(kernel):
        x = jnp.moveaxis(x, (a, a + 1), (0, 1))[::-1]
        # rows of length 2k read again with length 2k - 1 slide by one each: column p - q + k - 1, summed over rows
        x = jnp.pad(x, [(0, 0), (0, k)] + [(0, 0)] * (x.ndim - 2))
        rest = x.shape[2:]
        x = x.reshape(2 * k * k, *rest)[: k * (2 * k - 1)].reshape(k, 2 * k - 1, *rest).sum(0)
        x = jnp.moveaxis(x, 0, a)
    return x.reshape(-1, 2 * kernel[-1] - 1, coils**2)


def _first_virtual_coil(data: jax.Array) -> jax.Array:
    flat = data.reshape(data.shape[0], -1)
    return fix_phase(leading_eigenpairs(flat @ jnp.conj(flat.T), 1)[1])[:, 0]
