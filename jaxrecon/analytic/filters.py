"""The ramp filter of filtered back-projection, and the windows that tame its noise."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..operator import real_dtype
from ..operators.convolution import fast_length
from ..value import is_complex, is_concrete

# Window of f, in units of the cut-off: 1 at f = 0.
_WINDOWS = {
    "ram-lak": jnp.ones_like,
    "shepp-logan": lambda f: jnp.sinc(f / 2),
    "cosine": lambda f: jnp.cos(jnp.pi * f / 2),
    "hamming": lambda f: 0.54 + 0.46 * jnp.cos(jnp.pi * f),
    "hann": lambda f: 0.5 + 0.5 * jnp.cos(jnp.pi * f),
}


def check_filter(name: str, cutoff: Any) -> None:
    """The checks that all filtered back-projections share."""
    if name not in _WINDOWS:
        raise ValueError(f"filter is one of {', '.join(map(repr, _WINDOWS))}, got {name!r}")
    if is_concrete(cutoff) and not 0 < float(cutoff) <= 1:
        raise ValueError(f"frequency_cutoff is a fraction of the Nyquist frequency, in (0, 1], got {cutoff}")


def ramp_filter(rows: jax.Array, spacing: Any, filter: str = "ram-lak", cutoff: Any = 1.0,
                margin: int = 0) -> jax.Array:
    """rows convolved along the last axis with the band-limited ramp |f| of samples `spacing` apart.

    The ramp is that of space, h[0] = 1/4, h[n] = -1/(pi n)^2 for odd n (Ramachandran and Lakshminarayanan 1971; Kak and
    Slaney 1988, eq. 61): sampled in frequency instead, it would lose the mean of the image. Zero outside the detector.

    Args:
        rows: (..., detectors), real or complex.
        spacing: distance of the samples, a number or one per row, (..., 1).
        filter: "ram-lak" (no window), "shepp-logan", "cosine", "hamming" or "hann".
        cutoff: where the window ends, as a fraction of the Nyquist frequency.
        margin: how many samples to give beyond either end, where a filtered row is not 0.

    Returns:
        (..., margin + detectors + margin), of the same dtype.

    Raises:
        ValueError: unknown filter; cutoff outside (0, 1].

    Example:
        >>> from jaxrecon.analytic.filters import ramp_filter
        >>> float(ramp_filter(jnp.array([0.0, 1.0, 0.0]), spacing=1.0)[1].round(6))
        0.25
    """
    check_filter(filter, cutoff)
    size = rows.shape[-1]
    n = 2 * fast_length(size + margin)
    real = real_dtype(rows)
    response = _response(n, filter, cutoff, real)
    spacing = jnp.asarray(spacing, real)
    rows = jnp.pad(rows, [(0, 0)] * (rows.ndim - 1) + [(margin, n - size - margin)])
    if is_complex(rows):
        rows = jnp.fft.ifft(jnp.concatenate([response, response[1:-1][::-1]]) * jnp.fft.fft(rows))
    else:
        rows = jnp.fft.irfft(response * jnp.fft.rfft(rows), n)
    return rows[..., : size + 2 * margin] / spacing


def _response(n, filter, cutoff, dtype):
    k = np.minimum(np.arange(n), n - np.arange(n))
    with np.errstate(divide="ignore"):
        h = np.where(k % 2 == 1, -1 / (np.pi * k) ** 2, 0)
    h[0] = 0.25
    f = jnp.asarray(np.arange(n // 2 + 1) / (n / 2), dtype) / jnp.asarray(cutoff, dtype)
    window = jnp.where(f <= 1, _WINDOWS[filter](f), 0)
    return jnp.asarray(np.fft.rfft(h).real, dtype) * window
