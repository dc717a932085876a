"""From counts in transmission to line integrals and their weights."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from .fidelity import like_measurements
from .operator import real_dtype
from .value import is_complex, is_concrete


def line_integrals(counts: ArrayLike, blank: ArrayLike, dark: ArrayLike = 0.0,
                   floor: ArrayLike | None = None) -> jax.Array:
    """p = -log((counts - dark) / (blank - dark)), finite for all counts (NaN for NaN).

    Net counts below the floor are set to it; without one, those that are not positive are set to half the least
    positive one (half a photon, where counts are whole), so that p does not depend on the unit of the counts. Where
    blank <= dark the detector is dead: p = 0. Such p mean nothing: give them the weights of `jr.transmission_weights`,
    or leave the counts to `jr.PoissonLikelihood`.

    Args:
        counts: measured, any shape.
        blank: measured (the mean of many frames) without object, the dark signal included; broadcasts to counts.
        dark: mean signal without beam; likewise.
        floor: least net counts > 0, in counts.

    Returns:
        Line integrals, of the shape of counts; dimensionless, negative where more was counted than in the blank.

    Raises:
        ValueError: complex input, shapes that do not broadcast to counts, floor <= 0.

    Example:
        >>> jr.line_integrals(jnp.array([100.0, 50.0, 0.0]), blank=100.0).round(4).tolist()
        [0.0, 0.6931, 1.3863]
    """
    counts, blank, dark = _checked("line_integrals", counts, blank, dark)
    if floor is not None and is_concrete(floor) and not bool(np.all(np.asarray(floor) > 0)):
        raise ValueError(f"line_integrals: floor is the least net count that is taken, > 0, got {floor}")
    net, beam = counts - dark, blank - dark
    seen = (net > 0) & (beam > 0)
    if floor is None:
        least = jnp.min(jnp.where(seen, net, jnp.inf))
        # Nothing counted anywhere: half a count.
        least = jnp.where(jnp.isfinite(least), least, 1) / 2
        net = jnp.where(net <= 0, least, net)
    else:
        net = jnp.maximum(net, like_measurements("floor", floor, net))
    alive = beam > 0
    return jnp.where(alive, jnp.log(jnp.where(alive, beam, 1)) - jnp.log(net), 0)


def transmission_weights(counts: ArrayLike, blank: ArrayLike, dark: ArrayLike = 0.0,
                         electronic_noise: ArrayLike = 0.0) -> jax.Array:
    """The inverse variances of `line_integrals`, w = (y - d)^2 / (y + sigma^2), for `jr.LeastSquares(w)`.

    By the first-order expansion of the logarithm of counts y with the variance y + sigma^2; y - d <= 0, of which the
    logarithm says nothing, and dead detectors have weight 0. Without dark signal and read-out noise w = y.

    Args:
        counts, blank, dark: as for `line_integrals`. The dark signal counts as Poisson counts; a camera's offset, which
            has no variance, is to be subtracted from all of them before. The noise of the blank is neglected.
        electronic_noise: standard deviation sigma of the read-out, in counts.

    Returns:
        Weights, of the shape of counts. Scale counts of another unit to photons first: a factor in w is one in lam.

    Example:
        >>> jr.transmission_weights(jnp.array([100.0, 0.0]), blank=200.0).tolist()
        [100.0, 0.0]

    Source: Sauer and Bouman 1993.
    """
    counts, blank, dark = _checked("transmission_weights", counts, blank, dark)
    if is_concrete(electronic_noise) and not bool(np.all(np.asarray(electronic_noise) >= 0)):
        raise ValueError(f"transmission_weights: electronic_noise must not be negative, got {electronic_noise}")
    net = jnp.where(blank > dark, jnp.maximum(counts - dark, 0), 0)
    variance = jnp.maximum(counts, 0) + like_measurements("electronic_noise", electronic_noise, counts) ** 2
    good = net > 0
    return jnp.where(good, net**2 / jnp.where(good, variance, 1), 0)


def _checked(name: str, counts: Any, blank: Any, dark: Any) -> list[jax.Array]:
    if is_complex((counts, blank, dark)):
        raise ValueError(f"{name}: counts, blank and dark must be real")
    counts = jnp.asarray(counts, real_dtype(counts))
    return [counts, like_measurements("blank", blank, counts), like_measurements("dark", dark, counts)]
