"""Root-sum-of-squares: the combination of coil images, and coil maps from the low frequencies."""

from __future__ import annotations

from functools import partial
from typing import Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np

from jaxrecon.calibration.region import calibration_data, check_kspace
from jaxrecon.value import is_concrete, safe_divide, safe_sqrt

Window = Literal["hann", "hamming", "none"]


def rss(images: jax.Array, axis: int | tuple[int, ...] = 0) -> jax.Array:
    """Root of the sum of squares over coils: sqrt(sum_c |x_c|^2).

    Args:
        images: (coils, ...) real or complex.
        axis: the coil axis, or several axes.

    Returns:
        Real, without those axes. The gradient where all coils are zero is zero.

    Example:
        >>> rss = jr.rss(jnp.array([[3.0, 0.0], [4j, 0.0]]))
        >>> rss.tolist()
        [5.0, 0.0]

    Source: Roemer et al. 1990, The NMR phased array, MRM 16.
    """
    images = jnp.asarray(images)
    squares = jnp.square(images.real) + jnp.square(images.imag) if jnp.iscomplexobj(images) else jnp.square(images)
    return safe_sqrt(jnp.sum(squares, axis=axis))


def rss_maps(kspace: jax.Array, calibration: int | tuple[int, ...] | None = 24, window: Window = "hann",
             threshold: float = 0.0) -> jax.Array:
    """Coil maps as low-resolution coil images over their root-sum-of-squares: m_c = x_c / sqrt(sum_d |x_d|^2).

    Args:
        kspace: (coils, ny, nx) or (coils, nz, ny, nx), centred, zero where not measured.
        calibration: size of the fully sampled centre, an int or one per axis; None finds it from the data
            (at most 32 a side; not under jit).
        window: taper of the calibration data, against ringing: "hann", "hamming" or "none".
        threshold: maps are zero where the root-sum-of-squares is not above this fraction of its largest value.

    Returns:
        The shape of k-space, complex, in its precision: sum_c |m_c|^2 = 1 inside the support. The maps hold the phase
        of the image at low resolution, so that an image combined with them is nearly real.

    Raises:
        ValueError: a calibration region with unmeasured positions or larger than k-space; an unknown window.

    Example:
        >>> kspace = jax.random.normal(jax.random.key(0), (4, 32, 32), dtype=complex)
        >>> maps = jr.rss_maps(kspace, calibration=12)
        >>> bool(jnp.allclose(jr.rss(maps), 1))
        True

    Source: McKenzie et al. 2002, Self-calibrating parallel imaging with automatic coil sensitivity extraction, MRM 47.
    """
    if window not in get_args(Window):
        raise ValueError(f"window must be one of {get_args(Window)}, got {window!r}")
    if is_concrete(threshold) and not 0 <= threshold < 1:
        raise ValueError(f"threshold must lie in [0, 1), got {threshold}: it is a fraction of the largest magnitude")
    kspace = check_kspace(kspace)
    return _rss_maps(calibration_data(kspace, calibration), threshold, kspace.shape[1:], window)


@partial(jax.jit, static_argnames=("shape", "window"))
def _rss_maps(data, threshold, shape, window):
    for axis, n in enumerate(data.shape[1:], 1):
        taper = jnp.asarray(_taper(window, n), data.real.dtype)
        data = data * taper.reshape(-1, *[1] * (data.ndim - 1 - axis))
    ends = [(N // 2 - n // 2, N - n - (N // 2 - n // 2)) for n, N in zip(data.shape[1:], shape, strict=True)]
    axes = tuple(range(1, data.ndim))
    padded = jnp.fft.ifftshift(jnp.pad(data, [(0, 0), *ends]), axes)
    images = jnp.fft.fftshift(jnp.fft.ifftn(padded, axes=axes, norm="ortho"), axes)
    size = rss(images)
    return jnp.where(size > threshold * jnp.max(size), safe_divide(images, size), 0)


def _taper(window: Window, n: int) -> np.ndarray:
    # about index n//2, where k-space has its origin, and nowhere zero inside the region
    t = (np.arange(n) - n // 2) / (n // 2 + 1)
    floor = {"hann": 0.5, "hamming": 0.54, "none": 1.0}[window]
    return floor + (1 - floor) * np.cos(np.pi * t)
