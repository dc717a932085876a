"""Numbers read off an operator: its spectral norm and its matrix."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from ..value import inner, norm_squared, safe_divide, safe_sqrt
from .base import LinearOperator, need_operator, real_dtype


def operator_norm(A: LinearOperator, iterations: int = 100, key: jax.Array | None = None) -> jax.Array:
    """|A|_2, the largest singular value, by power iteration on A^H A.

    Args:
        A: the operator.
        iterations: number of applications of A^H A. The result is a lower bound that grows with it.
        key: where the start vector comes from; the same vector every time where it is None.

    Returns:
        A real scalar, differentiable with respect to the leaves of A; 0 for the zero operator.

    Example:
        >>> round(float(jr.operator_norm(jr.Diagonal(jnp.array([1.0, -3.0])))), 4)
        3.0
    """
    need_operator(A)
    return safe_sqrt(largest_eigenvalue(A.prepared.gram.prepared, iterations, key))


def largest_eigenvalue(gram: LinearOperator, iterations: int = 100, key: jax.Array | None = None) -> jax.Array:
    """The largest eigenvalue of a positive semidefinite operator, by power iteration."""
    if iterations < 1:
        raise ValueError(f"power iteration needs iterations >= 1, got {iterations}")
    key = jax.random.key(0) if key is None else key
    domain = gram.domain
    noise = jax.random.normal(key, domain.shape, real_dtype(domain))
    x = (1 + 0.5 * noise).astype(domain.dtype)

    def body(x, _):
        y = gram.apply(x)
        # Two separate scalars: the norm keeps x at unit length, the Rayleigh quotient converges twice as fast.
        return safe_divide(y, safe_sqrt(norm_squared(y))), inner(x, y).real

    _, rayleigh = jax.lax.scan(body, x / safe_sqrt(norm_squared(x)), length=iterations)
    return rayleigh[-1]


def dense(A: LinearOperator) -> jax.Array:
    """The matrix of A, of shape (size of y, size of x), in the dtype of y.

    Costs one application of A per unknown, in one batch. Tuples of measurements are concatenated.

    Example:
        >>> jr.dense(jr.Diagonal(jnp.array([1.0, 2.0]))).tolist()
        [[1.0, 0.0], [0.0, 2.0]]
    """
    need_operator(A)
    if (known := A.matrix) is not None:
        return known
    shape, size = A.domain.shape, math.prod(A.domain.shape)

    def column(e):
        return jnp.concatenate([y.ravel() for y in jax.tree.leaves(A.apply(e.reshape(shape)))])

    return jax.vmap(column, out_axes=1)(jnp.eye(size, dtype=A.domain.dtype))
