"""A prior is a value: penalty(transform(x)), with its proximal map."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from ..operator import LinearOperator, real_dtype


class Prior:
    """g(x), convex unless said otherwise, with prox(v, t) = argmin_u t g(u) + 1/2 |u - v|^2.

    A subclass gives `__call__` and `prox`. One whose prox is itself iterative also gives `start` and `warm_prox`,
    whose state is carried by the solver, never by the prior; one that is penalty(transform(x)) gives `split`.
    """

    def __call__(self, x: Any) -> jax.Array:
        """g(x), a real scalar."""
        raise NotImplementedError(f"{type(self).__name__} must define `__call__`")

    def prox(self, v: jax.Array, t: Any = 1.0) -> jax.Array:
        """argmin_u t g(u) + 1/2 |u - v|^2, to convergence."""
        raise NotImplementedError(f"{type(self).__name__} must define `prox`")

    def dual_prox(self, v: Any, sigma: Any) -> Any:
        """prox_{sigma g*}(v) = v - sigma prox_{g/sigma}(v / sigma), g* the convex conjugate (Moreau 1965)."""
        inside = self.prox(jax.tree.map(lambda a: a / sigma, v), 1 / sigma)
        return jax.tree.map(lambda a, p: a - sigma * p, v, inside)

    @property
    def projection(self) -> bool:
        """True where g is the indicator of a set: prox projects on it, whatever t."""
        return False

    def start(self, x: jax.Array) -> Any:
        """The state that `warm_prox` carries from one outer iteration to the next, for images like x."""
        return ()

    def rescaled(self, state: Any, factor: Any) -> Any:
        """The state of `warm_prox` for a prox whose weight t has become `factor` times as large."""
        return state

    def warm_prox(self, v: jax.Array, t: Any, state: Any) -> tuple[jax.Array, Any]:
        """The prox as one step of an outer iteration: a few inner steps from the dual of the last call."""
        return self.prox(v, t), state

    def split(self, domain: jax.ShapeDtypeStruct) -> tuple[LinearOperator | None, Prior]:
        """(K, penalty) with g(x) = penalty(K x) and a closed-form prox of the penalty; K None for the identity.

        What ADMM and PDHG use, in place of an inner iteration.
        """
        return None, self


def scalar_like(value: Any, x: Any) -> jax.Array:
    """lam, t and rho at the precision of x, so that a float64 scalar does not lift a float32 image."""
    return jnp.asarray(value).astype(real_dtype(x))
