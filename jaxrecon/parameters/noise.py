"""The noise level of an image, from the image alone."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from ..value import describe, is_complex

MEDIAN_OF_NORMAL = 0.6744897501960817  # median |n| of a standard normal n


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
        >>> round(float(jr.learned.noise_level(x)), 2)
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
