"""Data fidelity: what a reconstruction is compared with, bound to its operator and measurements once per solve."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .operator import LinearOperator, RealPart, matching_domain, real_dtype, real_part, with_dtype
from .operator.algebra import Sandwich
from .operator.quantities import largest_eigenvalue
from .operators import Diagonal, Matrix
from .value import describe, is_complex, is_concrete, norm_squared, safe_sqrt, value


@value
class Problem:
    """min_x 1/2 |A x - b|^2 with what its iterations need made once: A prepared, A^H A, and A^H b.

    Solvers and data-consistency steps get this value; `unroll` shares it between the solvers that it scans.
    """

    A: LinearOperator
    b: Any
    gram: LinearOperator
    rhs: jax.Array

    def gradient(self, x: jax.Array) -> jax.Array:
        """A^H (A x - b)."""
        return self.gram.apply(x) - self.rhs

    def residual(self, x: jax.Array) -> Any:
        """A x - b."""
        return jax.tree.map(jnp.subtract, self.A.apply(x), self.b)

    def __call__(self, x: jax.Array) -> jax.Array:
        """1/2 |A x - b|^2."""
        return norm_squared(self.residual(x)) / 2

    def curvature(self) -> jax.Array:
        """|A|^2, the Lipschitz constant of the gradient, by power iteration."""
        return largest_eigenvalue(self.gram)


@value
class LeastSquares:
    """The data term 1/2 |A x - b|_W^2 = 1/2 sum_i w_i |(A x - b)_i|^2.

    Args:
        weights: None for w = 1, or real non-negative weights of the shape of b (or broadcastable to it): the inverse
            variance of each sample.

    Raises:
        ValueError: negative weights.

    Example:
        >>> A, b = jr.Matrix(jnp.ones((2, 1))), jnp.array([1.0, 3.0])
        >>> jr.solve(A, b, jr.CGNR(), iterations=1, data=jr.LeastSquares(jnp.array([3.0, 1.0]))).x.tolist()
        [1.5]
    """

    weights: Any = None

    def check(self):
        if is_concrete(self.weights) and any(bool(np.any(np.asarray(w) < 0)) for w in jax.tree.leaves(self.weights)):
            raise ValueError("weights of LeastSquares must not be negative: they are inverse variances")

    def problem(self, A: LinearOperator, b: Any) -> Problem:
        """The least-squares problem of A and b, with the weights moved into both."""
        A = A.prepared
        if self.weights is None:
            return Problem(A, b, A.gram.prepared, A.apply_adjoint(b))
        if not all(hasattr(v, "shape") for v in (self.weights, b)):
            raise ValueError("weights go with one array of measurements; scale each operator of a stack instead")
        w = jnp.asarray(self.weights, real_dtype(b))
        if jnp.broadcast_shapes(w.shape, b.shape) != b.shape:
            raise ValueError(f"weights of shape {w.shape} do not broadcast to the measurements, {b.shape}")
        w = jnp.broadcast_to(w, b.shape)
        # By w itself, not by its root, which has no derivative where w = 0.
        gram, rhs = Sandwich(A, Diagonal(w)).prepared, A.apply_adjoint(w * b)
        root = safe_sqrt(w)
        return Problem(_weighted(root, A), root * b, gram, rhs)


def _weighted(root, A):
    # A matrix stays a matrix, for the solvers that need its rows.
    if isinstance(A, Matrix):
        return Matrix(root[:, None] * A.a)
    return real_part(_weighted(root, A.operator)) if isinstance(A, RealPart) else Diagonal(root) @ A


def cast_measurements(A: LinearOperator, b: Any) -> tuple[Any, Any]:
    """b at the precision of A, and the domain of x that it implies (complex b, real coefficients: complex x).

    Raises:
        ValueError: b is not shaped as the measurements of A.
    """
    codomain = A.codomain
    b = jax.tree.map(jnp.asarray, b)
    shapes = [v.shape for v in jax.tree.leaves(b)]
    if jax.tree.structure(b) != jax.tree.structure(codomain) or shapes != [s.shape for s in jax.tree.leaves(codomain)]:
        raise ValueError(f"b is {describe(b)}, but {type(A).__name__} gives {describe(codomain)}; for a batch of "
                         "measurements use jax.vmap(lambda b: jr.solve(A, b, ...))")
    to = with_dtype(b, real_dtype(codomain))
    b = jax.tree.map(lambda v, s, c: v.astype(jnp.promote_types(s.dtype, c.dtype) if is_complex(c) else s.dtype),
                     b, to, codomain)
    return b, matching_domain(A, b)[0]
