"""x = M^-1 b for a self-adjoint positive operator: conjugate gradients run to rounding, differentiated implicitly."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from ..value import describe, inner, norm_squared, unit_of
from .base import LinearOperator, real_dtype


def solve_positive(operator: LinearOperator, rhs: Any, x0: Any = None, tolerance: Any = None,
                   iterations: int | None = None) -> Any:
    """M^-1 b for a self-adjoint positive M, by conjugate gradients until |b - M x| <= tolerance |b|.

    The derivative is that of the solution, dx = M^-1 (db - dM x), by one more solve: exact in forward and reverse mode
    with respect to b and to the leaves of M, in the memory of one solve. x0 gets none.

    Args:
        operator: M. Where it is singular, b must lie in its range.
        rhs: b, shaped as `operator.domain`; real or complex.
        x0: where to start; the zero vector if None.
        tolerance: relative residual; 10 machine epsilons of the working precision if None.
        iterations: at most so many; ten per unknown, but no more than 1000, if None.

    Returns:
        x, in the precision of M and b together.

    Raises:
        ValueError: b or x0 is not shaped as the domain of M; iterations < 1.

    Example:
        >>> M = jr.Diagonal(jnp.array([1.0, 4.0]))
        >>> jnp.round(solve_positive(M, jnp.array([1.0, 2.0])), 6).tolist()
        [1.0, 0.5]

    Source: Hestenes and Stiefel 1952.
    """
    want = jax.tree.map(lambda s: tuple(s.shape), operator.domain)
    for name, v in (("rhs", rhs), ("x0", x0)):
        if v is not None and jax.tree.map(jnp.shape, v) != want:
            raise ValueError(f"{name} must be shaped as the domain of {type(operator).__name__}, "
                             f"{describe(operator.domain)}, got {describe(v)}")
    if iterations is not None and iterations < 1:
        raise ValueError(f"iterations must be at least 1, got {iterations}")
    return _solve_operator(operator, rhs, x0, tolerance, iterations)


@functools.partial(jax.jit, static_argnums=4)
def _solve_operator(operator, rhs, x0, tolerance, iterations):
    return implicit_solve(operator.apply, rhs, x0, tolerance, iterations)


def implicit_solve(apply: Callable, rhs: Any, x0: Any = None, tolerance: Any = None,
                   iterations: int | None = None) -> Any:
    """`solve_positive` for a bare function, self-adjoint under Re <., .> (so linear over the reals is enough)."""
    # M may be complex where b is real, or finer than b: x and everything in the loop take the dtype of M b.
    rhs = jax.tree.map(lambda v, s: jnp.asarray(v).astype(s.dtype), rhs, jax.eval_shape(apply, rhs))
    tolerance = 10 * jnp.finfo(real_dtype(rhs)).eps if tolerance is None else tolerance
    iterations = min(1000, 10 * sum(v.size for v in jax.tree.leaves(rhs))) if iterations is None else iterations
    if x0 is None:
        return _linear_solve(apply, lambda b: conjugate_gradients(apply, b, 0, tolerance, iterations), rhs)
    # Solving for the correction keeps x0 out of the solves for the derivatives, which have other right-hand sides.
    x0 = jax.tree.map(lambda v, b: lax.stop_gradient(jnp.asarray(v)).astype(b.dtype), x0, rhs)
    residual = jax.tree.map(jnp.subtract, rhs, apply(x0))
    # |b|, which the residual is measured against, rides along as one more unknown with the equation size = size: in
    # the solve for a derivative its right-hand side is 0, so that residual is measured against its own b. The zero
    # multiples keep JAX from dropping the derivative of this unknown, which custom_linear_solve does not take apart.
    size = jnp.sqrt(lax.stop_gradient(norm_squared(rhs))) + 0 * norm_squared(residual)
    x, size = _linear_solve(
        lambda x: (apply(x[0]), x[1]),
        lambda b: (conjugate_gradients(apply, b[0], b[1], tolerance, iterations), b[1]), (residual, size))
    return jax.tree.map(lambda a, d: a + d + 0 * size, x0, x)


def _linear_solve(apply, solve, rhs):
    # M is Hermitian, so its transpose is its conjugate: `symmetric=True` would be wrong for complex M.
    return lax.custom_linear_solve(
        apply, rhs, lambda _, b: solve(b),
        lambda _, b: jax.tree.map(jnp.conj, solve(jax.tree.map(jnp.conj, b))))


class _State(NamedTuple):
    x: Any
    r: Any
    p: Any
    rr: jax.Array
    largest: jax.Array
    going: jax.Array
    count: jax.Array


def conjugate_gradients(apply: Callable, rhs: Any, size: Any, tolerance: Any, iterations: int) -> Any:
    """Conjugate gradients from 0 until |r| <= tolerance max(|rhs|, size), in a `while_loop` (no reverse mode)."""
    real = real_dtype(rhs)
    eps = jnp.finfo(real).eps
    # In units of the largest value, or a step would need numbers of |M|^3 |rhs|^2. A NaN stays one.
    unit = unit_of(rhs)
    rhs = jax.tree.map(lambda v: v / unit, rhs)
    start = norm_squared(rhs)
    threshold = (jnp.asarray(tolerance, real) ** 2) * jnp.maximum(start, (jnp.asarray(size, real) / unit) ** 2)

    def body(s: _State) -> _State:
        q = apply(s.p)
        pq, pp = inner(s.p, q).real, norm_squared(s.p)
        largest = jnp.maximum(s.largest, pq / jnp.where(pp > 0, pp, 1))
        # A direction that M sends to rounding error is in its null space: nothing more to find along it.
        sound = pq > 4 * eps * largest * pp
        alpha = jnp.where(jnp.isfinite(pq), jnp.where(sound, s.rr / jnp.where(sound, pq, 1), 0), jnp.nan)
        x = _axpy(alpha, s.p, s.x)
        r = _axpy(-alpha, q, s.r)
        rr = norm_squared(r)
        p = _axpy(rr / jnp.where(s.rr > 0, s.rr, 1), s.p, r)
        return _State(x, r, p, rr, largest, sound & (rr > threshold), s.count + 1)

    zero = jax.tree.map(jnp.zeros_like, rhs)
    first = _State(zero, rhs, rhs, start, jnp.zeros((), real), start > threshold, jnp.zeros((), jnp.int32))
    x = lax.while_loop(lambda s: s.going & (s.count < iterations), body, first).x
    return jax.tree.map(lambda v: v * unit, x)


def _axpy(a, x, y):
    return jax.tree.map(lambda u, v: a * u + v, x, y)
