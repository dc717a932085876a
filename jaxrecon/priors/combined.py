"""Priors made of priors: one for each part of a tuple, and one for real and imaginary parts apart."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jax import lax

from ..value import value
from .base import Prior


@value
class Separable(Prior):
    """sum_i prior_i(x_i) for a tuple x, such as the measurements of a stack of operators.

    Args:
        priors: one for each part of x.

    Raises:
        ValueError: x has another number of parts.

    Example:
        >>> from jaxrecon.priors import Separable
        >>> prior = Separable((jr.L1(1.0), jr.L2(2.0)))
        >>> float(prior((jnp.array([-3.0]), jnp.array([2.0]))))
        7.0
    """

    priors: Any

    def check(self):
        object.__setattr__(self, "priors", tuple(self.priors))
        if not self.priors or not all(isinstance(p, Prior) for p in self.priors):
            raise TypeError(f"Separable takes one or more priors, got {[type(p).__name__ for p in self.priors]}")

    def __call__(self, x):
        terms = [p(v) for p, v in self._pairs(x)]
        return sum(terms[1:], terms[0])

    def prox(self, v, t=1.0):
        return tuple(p.prox(part, t) for p, part in self._pairs(v))

    def conjugate_prox(self, v, t=1.0):
        """v - prox(v, t) of 1-homogeneous priors: each one's projection."""
        return tuple(p.conjugate_prox(part, t) for p, part in self._pairs(v))

    def dual_prox(self, v, sigma):
        return tuple(p.dual_prox(part, sigma) for p, part in self._pairs(v))

    def _pairs(self, x):
        if not isinstance(x, tuple | list) or len(x) != len(self.priors):
            raise ValueError(f"Separable has {len(self.priors)} priors and needs a tuple of as many arrays, got "
                             f"{len(x) if isinstance(x, tuple | list) else type(x).__name__}")
        return list(zip(self.priors, x, strict=True))


@value
class PartsApart(Prior):
    """prior(Re x) + prior(Im x); the prior itself for a real x.

    Args:
        prior: a prior of real arrays.

    Example:
        >>> from jaxrecon.priors import PartsApart
        >>> float(jr.L1(1.0)(jnp.array([3 + 4j]))), float(PartsApart(jr.L1(1.0))(jnp.array([3 + 4j])))
        (5.0, 7.0)
    """

    prior: Any

    def __call__(self, x):
        return self.prior(x.real) + self.prior(x.imag) if jnp.iscomplexobj(x) else self.prior(x)

    def prox(self, v, t=1.0):
        return self._parts(self.prior.prox, v, t)

    def conjugate_prox(self, v, t=1.0):
        """v - prox(v, t) of a 1-homogeneous prior: its projection."""
        return self._parts(self.prior.conjugate_prox, v, t)

    def dual_prox(self, v, sigma):
        return self._parts(self.prior.dual_prox, v, sigma)

    def _parts(self, f, v, t):
        return lax.complex(f(v.real, t), f(v.imag, t)) if jnp.iscomplexobj(v) else f(v, t)
