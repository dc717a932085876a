"""Sparsity: the l1 norm, in the image or in a transform, and with a quadratic term added."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from ..checks import check_weights
from ..operator import LinearOperator
from ..value import value
from ._arithmetic import clip_magnitude, magnitude, soft
from ._fitted import operator_for, values_for
from .base import Prior, scalar_like


@value
class L1(Prior):
    """lam |W x|_1, with the magnitude of complex numbers.

    Args:
        lam: weight >= 0, or an array of weights that broadcasts against W x.
        transform: W, an operator; the identity if None.

    Raises:
        ValueError: negative lam; weights or a W that do not fit the image; and in `prox`, a W that is not orthogonal,
            which has no closed form (on real images, one to complex coefficients neither).

    Example:
        >>> prior = jr.L1(1.0)
        >>> float(prior(jnp.array([3.0, -0.5]))), prior.prox(jnp.array([3.0, -0.5]), 0.6).round(6).tolist()
        (3.5, [2.4, 0.0])
    """

    lam: Any
    transform: LinearOperator | None = None

    def check(self):
        check_weights(self, lam=self.lam)
        if self.transform is not None and not isinstance(self.transform, LinearOperator):
            raise TypeError(f"L1: transform must be a linear operator, got {type(self.transform).__name__}")

    def __call__(self, x):
        y = x if self.transform is None else self.transform(x)
        terms = [jnp.sum(values_for(self, self.lam, v) * magnitude(v)) for v in jax.tree.leaves(y)]
        return sum(terms[1:], terms[0])

    def prox(self, v, t=1.0):
        if self.transform is None:
            return jax.tree.map(lambda v: soft(v, values_for(self, self.lam, v) * scalar_like(t, v)), v)
        W = operator_for(self, self.transform, v)
        if not is_unitary(W):
            where = " of real images" if W.real_domain else ", which is not orthogonal,"
            raise ValueError(f"L1 in {type(self.transform).__name__}{where} has no closed-form prox; use ADMM or "
                             "PDHG, which need only the prox of the l1 norm, or an orthogonal transform (jr.Wavelet)")
        return W.H(L1(self.lam).prox(W(v), t))

    def conjugate_prox(self, v, t=1.0):
        """v - prox(v, t): the projection onto |v| <= t lam, without the transform."""
        return jax.tree.map(lambda v: clip_magnitude(v, values_for(self, self.lam, v) * scalar_like(t, v)), v)

    def dual_prox(self, v, sigma):
        return self.conjugate_prox(v)  # the projection on the dual ball, whatever sigma

    def split(self, domain):
        if self.transform is None:
            return None, self
        return operator_for(self, self.transform, domain), L1(self.lam)


@value
class ElasticNet(Prior):
    """l1 |x|_1 + l2/2 |x|^2 (Zou and Hastie 2005).

    Args:
        l1, l2: weights >= 0, or arrays that broadcast against x.

    Raises:
        ValueError: a negative weight.

    Example:
        >>> jr.ElasticNet(1.0, 1.0).prox(jnp.array([3.0, -0.5])).tolist()
        [1.0, 0.0]
    """

    l1: Any
    l2: Any

    def check(self):
        check_weights(self, l1=self.l1, l2=self.l2)

    def __call__(self, x):
        a = magnitude(x)
        return jnp.sum(values_for(self, self.l1, x) * a + values_for(self, self.l2, x) / 2 * jnp.square(a))

    def prox(self, v, t=1.0):
        t = scalar_like(t, v)
        return soft(v, t * values_for(self, self.l1, v)) / (1 + t * values_for(self, self.l2, v))


def is_unitary(W: LinearOperator) -> bool:
    """W^H W = 1 and as many coefficients as unknowns; a redundant tight frame has the first only."""
    def size(tree):
        return sum(s.size for s in jax.tree.leaves(tree))

    return W.orthogonal and size(W.domain) == size(W.codomain)
