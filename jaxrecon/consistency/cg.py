"""Conjugate gradients as fixed-length steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ..value import norm_squared, safe_divide


class CGState(NamedTuple):
    x: jax.Array
    r: jax.Array  # residual rhs - operator(x)
    p: jax.Array  # search direction
    rs: jax.Array  # |r|^2
    scale: jax.Array  # |rhs|^2, what rs is small against


def cg_start(operator: Callable, rhs: jax.Array, x: jax.Array) -> CGState:
    """The state before the first step from x."""
    r = rhs - operator(x)
    return CGState(x, r, r, norm_squared(r), norm_squared(rhs))


def cg_step(operator: Callable, state: CGState) -> CGState:
    """One CG step (Hestenes and Stiefel 1952), which stands still once the residual is zero to rounding."""
    x, r, p, rs, scale = state
    # Past convergence alpha and beta are quotients of rounding errors, and their gradients are worse: stop there.
    alive = rs > jnp.finfo(rs.dtype).eps ** 4 * scale
    q = operator(p)
    curvature = jnp.sum(jnp.conj(p) * q).real
    alpha = jnp.where(alive, safe_divide(rs, curvature), 0)
    x, r = x + alpha * p, r - alpha * q
    new = norm_squared(r)
    beta = jnp.where(alive, safe_divide(new, rs), 0)
    return CGState(x, r, r + beta * p, new, scale)


def conjugate_gradient(operator: Callable, rhs: jax.Array, x: jax.Array, iterations: int) -> jax.Array:
    """`iterations` CG steps on a positive definite system, as a scan that is differentiated as it is."""
    def body(state, _):
        return cg_step(operator, state), None

    return jax.lax.scan(body, cg_start(operator, rhs, x), length=iterations)[0].x
