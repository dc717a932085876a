"""The noise level of an image or of measurements, from themselves."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..fidelity import cast_measurements
from ..operator import LinearOperator
from ..priors.base import scalar_like
from ..value import describe, is_complex, is_concrete, norm, safe_sqrt

MEDIAN_OF_NORMAL = 0.6744897501960817  # median |n| of a standard normal n
MEDIAN_OF_RAYLEIGH = math.sqrt(2 * math.log(2))  # of |n|, n complex with parts of standard deviation 1
AIR = 1 / 32  # of the detectors, on each side


def noise_level(x: jax.Array) -> jax.Array:
    """sigma = median |d| / .6745 over the finest diagonal Haar details d: the standard deviation of white noise on x.

    d are the undecimated details, differences along each of the last two axes in turn, so they are shift-invariant and
    four times as many as those of an orthogonal transform. Details that are 0 exactly, as in a masked background, say
    nothing of noise and are left out.

    Args:
        x: an image (..., ny, nx) or a signal (n,), real or complex.

    Returns:
        A real scalar, per real component, in the units of x; 0 for a constant image. Edges and texture count as few
        outliers; noise whose neighbours are positively correlated is underestimated.

    Raises:
        ValueError: fewer than 2 samples along one of the axes.

    Example:
        >>> x = 0.1 * jax.random.normal(jax.random.key(0), (64, 64))
        >>> round(float(jr.parameters.noise_level(x)), 2)
        0.1

    Source: Donoho and Johnstone 1994.
    """
    x = jnp.asarray(x)
    if not jnp.issubdtype(x.dtype, jnp.inexact):
        x = x.astype(jnp.result_type(float))
    axes = range(-min(2, x.ndim), 0)
    if x.ndim == 0 or min(x.shape[axis] for axis in axes) < 2:
        raise ValueError(f"noise_level needs 2 or more samples along its last axes, got {describe(x)}")
    d = jnp.stack([x.real, x.imag]) if is_complex(x) else x
    for axis in axes:
        d = jnp.diff(d, axis=axis) / 2**0.5
    d = jnp.abs(d).ravel()
    # The median of those that are not 0, which sort behind the zeros.
    d = jnp.sort(d)
    zeros = jnp.sum(d == 0)
    last = d.size - 1
    middle = (d[jnp.minimum((zeros + last) // 2, last)] + d[jnp.minimum((zeros + last + 1) // 2, last)]) / 2
    return middle / MEDIAN_OF_NORMAL


def measured_noise(A: LinearOperator, b: Any) -> jax.Array:
    """sigma of measurements, standard deviation per real component, estimated from themselves by what they are.

    k-space (Cartesian or not): median |b| / 1.18 over the outermost twentieth of what was measured. It is too large
    where the image has signal there (twice, for a sharp image of 128 x 128 pixels and noise of 1 % of its range): give
    sigma where it is known.
    Sinograms: `noise_level`, or the median |b| / .67 over the outermost detectors where these see nothing but air.
    Anything else: `noise_level` over the last two axes.

    Args:
        A: the operator. b: its measurements, an array or a tuple of them.
    """
    if not hasattr(b, "shape"):
        parts = [noise_level(v) for v in jax.tree.leaves(b)]
        return norm(parts) / math.sqrt(len(parts))
    frequencies = A.frequencies
    if frequencies is not None and is_complex(b):
        return _outer_kspace(frequencies, b)
    # Views of detectors, told apart as wholes.
    return _sinogram(b) if b.ndim == 2 and A.locations == (b.shape[0], 1) else noise_level(b)


def _outer_kspace(frequencies, b):
    radius = jnp.broadcast_to(frequencies, b.shape)
    measured = b != 0
    farthest = -jnp.sort(jnp.where(measured, -radius, jnp.inf).ravel())[jnp.sum(measured) // 20]
    outer = measured & (radius >= farthest)
    # The magnitude, as its parts turn with the phase of the image; what is not asked goes to the end of the order.
    size = safe_sqrt(jnp.where(outer, jnp.square(b.real) + jnp.square(b.imag), 0))
    median = jnp.sort(jnp.where(outer, size, jnp.inf).ravel())[jnp.sum(outer) // 2]
    return jnp.where(jnp.any(measured), median, 0) / MEDIAN_OF_RAYLEIGH


def _sinogram(b):
    details = noise_level(b)
    edge = max(1, round(AIR * b.shape[1]))
    air = jnp.median(jnp.abs(jnp.concatenate([b[:, :edge], b[:, -edge:]], 1))) / MEDIAN_OF_NORMAL
    # An object that reaches the edge shows there as far more than noise.
    return jnp.where((air > 0) & (air < 1.1 * details), air, details)


def checked_sigma(A: LinearOperator, b: Any, sigma: Any, data: Any) -> jax.Array:
    """sigma as a scalar at the precision of A; None: 1 for whitened data, else `measured_noise`.

    Raises:
        ValueError: not one number, or not > 0.
    """
    b, domain = cast_measurements(A, b)
    if sigma is None:
        sigma = measured_noise(A, b) if getattr(data, "weights", None) is None else 1.0
    elif jnp.ndim(sigma) or (is_concrete(sigma) and not np.asarray(sigma) > 0):
        raise ValueError(f"sigma must be one number > 0, the standard deviation per real component, got {sigma}; for "
                         "one per sample give data=jr.LeastSquares(1 / sigma**2)")
    return scalar_like(sigma, domain)
