"""An operator together with its norm, found once instead of in every solve."""

from __future__ import annotations

import jax

from ..value import safe_sqrt, value
from .base import LinearOperator, Wrapper
from .quantities import operator_norm


@value
class KnownNorm(Wrapper):
    """A, with |A|_2 as one more leaf.

    Args:
        operator: A.
        norm: |A|_2.
    """

    operator: LinearOperator
    norm: jax.Array

    @property
    def known_norm(self):
        return self.norm

    @property
    def domain(self):
        return self.operator.domain

    @property
    def spectrum(self):
        return self.operator.spectrum

    @property
    def matrix(self):
        return self.operator.matrix

    @property
    def gram(self):
        return KnownNorm(self.operator.gram, self.norm**2)

    def kept(self, keep):
        return self.operator.kept(keep)

    def weighted_gram(self, w):
        return self.operator.weighted_gram(w)

    @property
    def prepared(self):
        return KnownNorm(self.operator.prepared, self.norm)

    def apply(self, x):
        return self.operator.apply(x)

    def apply_adjoint(self, y):
        return self.operator.apply_adjoint(y)


def norm_of(A: LinearOperator) -> jax.Array:
    """|A|_2: what A or its Gram operator knows, else by power iteration."""
    if A.known_norm is not None:
        return A.known_norm
    gram = A.gram.known_norm
    return operator_norm(A) if gram is None else safe_sqrt(gram)


def with_norm(A: LinearOperator, iterations: int = 100) -> LinearOperator:
    """The same map, which carries its norm (by power iteration): many solves with one A then find it once.

    Where A knows its norm already (a circulant Gram operator does), A itself.

    Example:
        >>> A = jr.with_norm(jr.Diagonal(jnp.array([1.0, -3.0])))
        >>> round(float(A.known_norm), 4)
        3.0
    """
    if A.known_norm is not None or A.gram.known_norm is not None:
        return A
    return KnownNorm(A, jax.jit(operator_norm, static_argnums=1)(A, iterations))


def without_norm(A: LinearOperator) -> LinearOperator:
    """A as it was before `with_norm`."""
    return A.operator if isinstance(A, KnownNorm) else A
