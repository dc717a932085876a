"""Conjugate gradients as fixed-length steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ..value import inner, norm_squared, safe_divide, unit_of


class CGState(NamedTuple):
    """All but x and `largest` in units of `unit`: otherwise a step would need numbers of |A|^6 |b|^2."""

    x: jax.Array
    unit: jax.Array  # the largest value of rhs and of the first residual
    r: jax.Array  # residual rhs - operator(x)
    p: jax.Array  # search direction
    rs: jax.Array  # |r|^2
    scale: jax.Array  # |rhs|^2 + |first r|^2
    pp: jax.Array  # |p|^2, by its recurrence
    xx: jax.Array  # a lower bound of |x|^2: the steps of CG are at acute angles
    largest: jax.Array  # lower bound of the largest eigenvalue: the largest Rayleigh quotient so far


def cg_start(operator: Callable, rhs: jax.Array, x: jax.Array) -> CGState:
    """The state before the first step from x."""
    r = rhs - operator(x)
    # The iterates do not depend on it, and no gradient goes through it.
    unit = jax.lax.stop_gradient(unit_of(rhs, r))
    r = r / unit
    rs = norm_squared(r)
    return CGState(x, unit, r, r, rs, norm_squared(rhs / unit) + rs, rs, norm_squared(x / unit), jnp.zeros_like(rs))


def cg_step(operator: Callable, state: CGState) -> CGState:
    """One CG step (Hestenes and Stiefel 1952), which stands still once the residual is zero to rounding."""
    x, unit, r, p, rs, scale, pp, xx, largest = state
    q = operator(p)
    curvature = inner(p, q).real
    largest = jnp.maximum(largest, safe_divide(curvature, pp))
    # Past convergence alpha and beta are quotients of rounding errors; where the operator is singular they send x to
    # infinity along its null space. So no step below the rounding of r = rhs - operator(x), nor along a direction
    # that the operator maps to rounding errors.
    eps = jnp.finfo(rs.dtype).eps
    alive = (rs > (4 * eps) ** 2 * (scale + largest**2 * xx)) & (curvature > 4 * eps * largest * pp)
    # Overflow and NaN are no convergence.
    alpha = jnp.where(jnp.isfinite(curvature), jnp.where(alive, safe_divide(rs, curvature), 0), jnp.nan)
    x, r = x + alpha * unit * p, r - alpha * q
    new = norm_squared(r)
    beta = jnp.where(alive, safe_divide(new, rs), 0)
    return CGState(x, unit, r, r + beta * p, new, scale, new + beta**2 * pp, xx + alpha**2 * pp, largest)


def conjugate_gradient(operator: Callable, rhs: jax.Array, x: jax.Array, iterations: int) -> jax.Array:
    """`iterations` CG steps on a positive definite system, as a scan that is differentiated as it is."""
    def body(state, _):
        return cg_step(operator, state), None

    return jax.lax.scan(body, cg_start(operator, rhs, x), length=iterations)[0].x
