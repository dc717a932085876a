"""Least squares: Gaussian noise, white or of known variances."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..operator import LinearOperator, RealPart, real_part
from ..operator.algebra import Sandwich
from ..operator.quantities import largest_eigenvalue
from ..operators import Diagonal
from ..value import describe, is_complex, is_concrete, norm_squared, safe_sqrt, value
from .base import DataTerm, Problem, like_measurements


@value
class LeastSquaresProblem(Problem):
    """1/2 |A x - b|^2, with A^H A and A^H b made once; weights are part of A and b."""

    A: LinearOperator
    b: Any
    gram: LinearOperator
    rhs: jax.Array

    @property
    def domain(self):
        return jax.ShapeDtypeStruct(self.rhs.shape, self.rhs.dtype)

    def __call__(self, x):
        return norm_squared(self.residual(x)) / 2

    def gradient(self, x):
        return self.gram.apply(x) - self.rhs

    def residual(self, x):
        return jax.tree.map(jnp.subtract, self.A.apply(x), self.b)

    def curvature(self):
        """|A|^2, by power iteration where A does not know it."""
        known = self.gram.known_norm
        return largest_eigenvalue(self.gram) if known is None else known

    def dual_prox(self, v, sigma):
        return jax.tree.map(lambda v, b: (v - sigma * b) / (1 + sigma), v, self.b)


@value
class LeastSquares(DataTerm):
    """The data term 1/2 |A x - b|_W^2 = 1/2 sum_i w_i |(A x - b)_i|^2.

    Args:
        weights: None for w = 1, or real non-negative weights of the shape of b (or broadcastable to it): the inverse
            variance of each sample.

    Raises:
        ValueError: complex, negative or NaN weights.

    Example:
        >>> A, b = jr.Matrix(jnp.ones((2, 1))), jnp.array([1.0, 3.0])
        >>> jr.solve(A, b, jr.CGNR(), iterations=1, data=jr.LeastSquares(jnp.array([3.0, 1.0]))).x.tolist()
        [1.5]
    """

    weights: Any = None

    def check(self):
        if is_complex(self.weights):
            raise ValueError(f"weights of LeastSquares must be real, got {describe(self.weights)}")
        if is_concrete(self.weights) and not all(np.all(np.asarray(w) >= 0) for w in jax.tree.leaves(self.weights)):
            raise ValueError("weights of LeastSquares must not be negative, nor NaN: they are inverse variances")

    def problem(self, A, b):
        """The least-squares problem of A and b, with the weights moved into both."""
        A = A.prepared
        if self.weights is None:
            return LeastSquaresProblem(A, b, A.gram.prepared, A.apply_adjoint(b))
        if not all(hasattr(v, "shape") for v in (self.weights, b)):
            raise ValueError("weights go with one array of measurements; scale each operator of a stack instead")
        w = like_measurements("weights", self.weights, b)
        # By w itself, not by its root, which has no derivative where w = 0.
        gram = A.weighted_gram(jnp.asarray(self.weights, w.dtype)) or Sandwich(A, Diagonal(w))
        gram, rhs = gram.prepared, A.apply_adjoint(w * b)
        root = safe_sqrt(w)
        return LeastSquaresProblem(_weighted(root, A), root * b, gram, rhs)


def _weighted(root, A):
    if isinstance(A, RealPart):
        return real_part(_weighted(root, A.operator))
    # A matrix stays a matrix, for the solvers that need its rows.
    weighted = getattr(A, "weighted", None)
    return Diagonal(root) @ A if weighted is None else weighted(root)


def quadratic(problem: Problem, who: Any) -> LeastSquaresProblem:
    """The problem, for a method that needs least squares: its normal equations, rows or samples.

    Raises:
        ValueError: another data term.
    """
    if not isinstance(problem, LeastSquaresProblem):
        name = who if isinstance(who, str) else type(who).__name__
        raise ValueError(f"{name} solves least-squares problems only, got data of a {type(problem).__name__}; use "
                         "jr.FISTA, jr.POGM, jr.CondatVu or jr.PDHG, or jr.LeastSquares with weights as data")
    return problem
