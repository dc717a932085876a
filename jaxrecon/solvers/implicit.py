"""The derivative of a converged solve, from the equation that its limit fulfils instead of through its iterations.

A limit is a fixed point z = T(z, theta) of one more step, theta being all that a solve depends on. The implicit
function theorem gives dz = (1 - dT/dz)^-1 dT/dtheta dtheta: one linear solve for a derivative, in the memory of one
step (Christianson 1994; deep equilibrium models: Bai, Kolter and Koltun 2019). T need not be what the solver did; it
must have the same limit.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from ..operator.base import real_dtype
from ..operator.inverse import conjugate_gradients
from ..value import norm
from .base import relative
from .krylov import gmres

MODES = ("unrolled", "implicit")
CG_STEPS = 10_000  # at most


def trusted_residual(dtype: Any) -> float:
    """The largest relative residual |T(z) - z| / |z| whose gradient is called ok: 1e-6, in float32 3e-4.

    Gradients are wrong by about the distance from the limit, that is the residual over 1 - r, where r is what an
    iteration leaves of the distance. For a slow one, r = 0.99, this leaves four digits, in float32 one and a half;
    less than 3e-4 is not reached in float32 by every solver, with 1e-7 of rounding in each of many operations.
    """
    return 1e-6 if dtype == jnp.float64 else 3e-4


def differentiated_implicitly(solver: Any, problem: Any, aux: Any, state: Any, solution: Any) -> Any:
    """The solution of a solve that ended in `state`, neither of them differentiated yet, with the derivative of the
    fixed point with respect to `solver`, `problem` and `aux`."""
    theta = (solver, problem, aux)
    held_solver, held_problem, held_aux = lax.stop_gradient(theta)
    z = held_solver.variables(held_problem, state, held_aux)
    again, image = held_solver.fixed_map(held_problem, z, held_aux, state)
    residual = jnp.maximum(relative(norm(_minus(again, z)), norm(z)),
                           relative(norm(image - solution.x), norm(solution.x)))
    x, _ = _fixed_point(theta, state, solution.x, z)
    ok = solution.ok & (residual <= trusted_residual(residual.dtype))
    return dataclasses.replace(solution, x=x, ok=ok, fixed_point_residual=residual)


@jax.custom_jvp
def _fixed_point(theta, state, x, z):
    return x, z


@_fixed_point.defjvp
def _fixed_point_jvp(primals, tangents):
    theta, state, *_ = primals
    # The fixed point is a function of theta again, so that the derivative has a derivative.
    x, z = _fixed_point(*primals)

    def step(z, theta):
        solver, problem, aux = theta
        return solver.fixed_map(problem, z, aux, state)

    forced, forced_image = jax.jvp(lambda theta: step(z, theta), (theta,), (tangents[0],))[1]
    _, derivative = jax.linearize(lambda z: step(z, theta), z)
    dz = linear_solve(lambda v: _minus(v, derivative(v)[0]), forced, theta[0].symmetric)
    return (x, z), (derivative(dz)[1] + forced_image, dz)


def _minus(a, b):
    return jax.tree.map(jnp.subtract, a, b)


def linear_solve(apply: Callable, rhs: Any, symmetric: bool) -> Any:
    """x with apply(x) = rhs, for trees of real and complex arrays, differentiable in both modes.

    apply is linear over the reals only, as the derivative of a threshold of magnitudes is; so complex arrays are solved
    for as pairs of real ones. By GMRES, or CG where apply is self-adjoint and positive under Re <., .>, to a relative
    residual of 1e-10 (1e-6 in float32). All of x is NaN where it stays above 1e-4 (1e-3): gradients of total variation
    were found to be wrong by up to ten times the residual. A singular system is solved where rhs is in its range.
    """
    real = real_dtype(rhs)
    tolerance, acceptable = (1e-10, 1e-4) if real == jnp.float64 else (1e-6, 1e-3)

    def flat(tree):
        planes = [p for v in jax.tree.leaves(tree) for p in ((v.real, v.imag) if jnp.iscomplexobj(v) else (v,))]
        return jnp.concatenate([p.ravel().astype(real) for p in planes])

    def restored(v):
        leaves, place = [], 0

        def take(like):
            nonlocal place
            place += like.size
            return v[place - like.size:place].reshape(like.shape)

        for like in jax.tree.leaves(rhs):
            plane = lax.complex(take(like), take(like)) if jnp.iscomplexobj(like) else take(like)
            leaves.append(plane.astype(like.dtype))
        return jax.tree.unflatten(jax.tree.structure(rhs), leaves)

    def solve(matvec, b):
        if symmetric:
            x = conjugate_gradients(matvec, b, 0, tolerance, min(CG_STEPS, 10 * b.size))
        else:
            x = gmres(matvec, b, tolerance, acceptable)
        return jnp.where(norm(b - matvec(x)) <= acceptable * norm(b), x, jnp.nan)

    return restored(lax.custom_linear_solve(lambda v: flat(apply(restored(v))), flat(rhs), solve, solve))
