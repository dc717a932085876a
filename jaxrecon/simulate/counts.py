"""Counts of photons, in transmission and emission."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from ..fidelity import like_measurements
from ..value import is_concrete

_LARGEST = 2**30
# Above it JAX's acceptance test, made of logarithms of gamma functions in single precision, is off: at 1e8 by a fifth
# of the standard deviation. The Poisson distribution is Gaussian there, but for a skewness of 1 / mean^1/2.
_GAUSSIAN = 1e5


def poisson_counts(key: jax.Array, projections: ArrayLike, blank: ArrayLike | None = None,
                   background: ArrayLike = 0.0, electronic_noise: ArrayLike = 0.0) -> jax.Array:
    """Counts y ~ Poisson(ybar) + N(0, electronic_noise^2), ybar = I0 exp(-p) + r, or p + r without a blank.

    Args:
        key: jax.random.key.
        projections: p = A x: line integrals (dimensionless) in transmission, mean counts in emission.
        blank: I0, mean counts without object, a scalar or an array that broadcasts to p. None: emission.
        background: r, mean counts of scatter, randoms and dark current; likewise.
        electronic_noise: standard deviation of the read-out, in counts. With it counts may be negative, not integers.

    Returns:
        Counts, of p's shape and floating dtype.

    Raises:
        ValueError: arrays that do not broadcast to p; means that are negative or above 2^30, noise that is negative.

    Example:
        >>> counts = jr.simulate.poisson_counts(jax.random.key(0), jnp.full((64, 64), 1.0), blank=1e4)
        >>> float(jnp.round(jnp.mean(counts) / 1e4, 2))
        0.37
    """
    p = jnp.asarray(projections)
    if jnp.iscomplexobj(p):
        raise ValueError(f"poisson_counts: projections must be real, got {p.dtype}")
    p = p if jnp.issubdtype(p.dtype, jnp.inexact) else p.astype(jnp.result_type(float))
    given = {"blank": 1.0 if blank is None else blank, "background": background, "electronic_noise": electronic_noise}
    for name, v in given.items():
        if is_concrete(v) and not bool(np.all(np.asarray(v) >= 0)):
            raise ValueError(f"poisson_counts: {name} must not be negative, its least is {np.min(np.asarray(v)):.3g}")
    I0, r, sigma = (like_measurements(name, v, p) for name, v in given.items())
    mean = (p if blank is None else I0 * jnp.exp(-p)) + r
    if is_concrete(mean) and not bool(np.all((np.asarray(mean) >= 0) & (np.asarray(mean) <= _LARGEST))):
        raise ValueError(f"poisson_counts: means are 0 to 2^30 counts, got {np.min(mean):.3g} to {np.max(mean):.3g}")
    drawn, read_out = jax.random.split(key)
    return poisson(drawn, mean) + sigma * jax.random.normal(read_out, p.shape, p.dtype)


def poisson(key: jax.Array, mean: jax.Array) -> jax.Array:
    """Poisson numbers of a floating dtype, of any finite mean."""
    few = jax.random.poisson(key, jnp.minimum(mean, _GAUSSIAN)).astype(mean.dtype)
    normal = jax.random.normal(jax.random.fold_in(key, 0), mean.shape, mean.dtype)
    return jnp.where(mean > _GAUSSIAN, jnp.round(mean + jnp.sqrt(jnp.maximum(mean, 1)) * normal), few)
