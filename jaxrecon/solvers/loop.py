"""The one loop: `solve` runs a solver."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ..operator import LinearOperator, matched_pair
from ..value import is_count, norm, value
from .arguments import bind, check_kinds, is_traced
from .base import Solver
from .implicit import MODES, differentiated_implicitly
from .record import checked_record, observe
from .units import SCALES, system_units


@value
class Solution:
    """What `solve` returns.

    Attributes:
        x: the image.
        history: what was recorded after each iteration: None, an array (record: a name or a Partial), or a dict of
            arrays by name. After an early stop the remaining entries are NaN (0 for integers).
        iterations: number of iterations made.
        ok: False where x is not finite, or a tolerance was given and not reached; without one it says nothing of
            convergence (record="objective" does). With differentiate="implicit" also where the fixed-point residual is
            above 1e-6 (float32: 3e-4), so that gradients are not to be trusted.
        fixed_point_residual: |T(z) - z| / |z| for one more step T, of all the solver's variables z or of x alone,
            whichever is larger. None unless differentiate="implicit".
    """

    x: jax.Array
    history: Any
    iterations: jax.Array
    ok: jax.Array
    fixed_point_residual: Any = None


def solve(A: LinearOperator, b: Any, solver: Solver, iterations: int = 100, x0: Any = None, record: Any = None,
          tolerance: Any = None, data: Any = None, progress: Callable[[int], None] | None = None,
          differentiate: str = "unrolled", scale: str | None = None) -> Solution:
    """x = argmin_x f(A x) + sum_i prior_i(x) with f = 1/2 |A x - b|^2 or another data term, by steps of `solver`.

    One compiled program serves every A, b, lam and x0 of the same shapes. vmap it over images, masks or lam;
    differentiate it with respect to any of them.

    Args:
        A: the operator. b: its measurements, cast to the precision of A.
        solver: a value such as `jr.FISTA(jr.TV(1e-3))`.
        iterations: number of steps, at most that many where a tolerance is given.
        x0: the start; None is zero.
        record: what to keep of every iteration: "objective", "fidelity" (the data term f), "residual" (|A x - b|, or
            |ybar - y| of counts), "change" (|x_k - x_{k-1}| / |x_k|), "x"; a tuple of these; or `jr.Partial(f)` with
            f(A, b, x) -> array.
        tolerance: stop when |x_k - x_{k-1}| <= tolerance |x_k|. The loop is then a while loop: forward mode only,
            unless differentiated implicitly.
        data: the data term, `jr.LeastSquares(weights)` or `jr.PoissonLikelihood(...)`; None: what the solver is for,
            mostly `jr.LeastSquares()`.
        progress: called with the number of finished iterations, from inside the compiled loop.
        differentiate: "unrolled": through the iterations, in memory that grows with them. "implicit": the derivative of
            the limit, by one linear solve in the memory of one iteration, in both modes; for converged solves (see
            `Solution.ok`). x0 and the history then have no derivative. It is NaN where the linear solve fails, and in
            reverse mode where x is not unique (an A with a null space, no prior to decide), which forward mode does
            not notice.
        scale: None, or "system": lam (and steps, rho) in units of the system, so that one lam serves whatever those of
            A and b are: weights of quadratic priors times |A|^2, of norms times |A^H b|_inf, where lam = 1 leaves
            nothing of the image. Least squares only.

    Returns:
        Solution: x, history, iterations, ok, fixed_point_residual.

    Raises:
        ValueError: shapes that do not fit, an unknown record, iterations < 0, a solver that A does not suit, or one
            without a fixed point to differentiate implicitly.

    Example:
        >>> A, b = jr.Matrix(jnp.array([[2.0, 0.0], [0.0, 1.0]])), jnp.array([2.0, 3.0])
        >>> jr.solve(A, b, jr.CGNR(), iterations=2).x.round(6).tolist()
        [1.0, 3.0]
        >>> def first(lam):
        ...     return jr.solve(A, b, jr.CGNR(lam), iterations=2, differentiate="implicit").x[0]
        >>> round(float(jax.grad(first)(1.0)), 6)  # of 4 / (4 + lam)
        -0.16
    """
    data = check_kinds(A, b, solver, data)
    if not is_count(iterations, least=0):
        raise ValueError(f"iterations must be an integer >= 0, known before jit, got {iterations!r}")
    names, record = checked_record(record)
    if np.ndim(tolerance) or isinstance(tolerance, str):
        raise ValueError(f"tolerance must be one number, got {tolerance!r}; use jax.vmap over several")
    if tolerance is not None and not is_traced(tolerance) and not np.asarray(tolerance) > 0:
        raise ValueError(f"tolerance must be > 0, or None for exactly `iterations` steps, got {tolerance}")
    if differentiate not in MODES:
        raise ValueError(f"differentiate is one of {', '.join(map(repr, MODES))}, got {differentiate!r}")
    if scale not in SCALES:
        raise ValueError(f"scale is None or 'system', got {scale!r}")
    run = _solve if scale is None else _solve_in_units
    return run(A, b, solver, x0, record, tolerance, data, iterations=int(iterations), names=names, progress=progress,
               differentiate=differentiate)


@functools.partial(jax.jit, static_argnames=("iterations", "names", "progress", "differentiate"))
def _solve_in_units(A, b, solver, x0, record, tolerance, data, *, names, **options):
    units = system_units(A, b, data)
    x0 = None if x0 is None else x0 / units.image
    found = _solve(units.of_operator(A), jax.tree.map(lambda v: v / units.measurements, b), units.of_solver(solver), x0,
                   units.of_record(record, A, b), tolerance, data, names=names, **options)
    return dataclasses.replace(found, x=units.image * found.x, history=units.restore(found.history, names))


@functools.partial(jax.jit, static_argnames=("iterations", "names", "progress", "differentiate"))
def _solve(A, b, solver, x0, record, tolerance, data, *, iterations, names, progress, differentiate):
    problem, x0, solver = bind(A, b, solver, x0, data)
    aux = solver.setup(problem)
    args = (A, b, problem, solver, aux, x0, record, tolerance)
    args = lax.stop_gradient(args) if differentiate == "implicit" else args
    state, solution = _iterate(*args, iterations, names, progress)
    if differentiate == "implicit":
        return differentiated_implicitly(solver, problem, aux, state, solution)
    return solution


def _iterate(A, b, problem, solver, aux, x0, record, tolerance, iterations, names, progress):
    """The last state and the solution."""
    state = solver.init(problem, x0, aux)
    seen = functools.partial(observe, A, b, problem, solver, names, record)

    def advance(state, k):
        new = solver.step(problem, state, aux)
        if progress is not None:
            jax.debug.callback(progress, k + 1)
        return new, seen(solver.solution(state), solver.solution(new))

    if tolerance is None:
        state, history = lax.scan(advance, state, jnp.arange(iterations), length=iterations)
        x = solver.solution(state)
        return state, Solution(x, history, jnp.asarray(iterations), jnp.all(jnp.isfinite(x)))
    return _solve_to_tolerance(advance, solver, state, tolerance, iterations)


def _solve_to_tolerance(advance, solver, state, tolerance, iterations):
    shapes = jax.eval_shape(lambda s: advance(s, 0)[1], state)

    def unseen(s):
        return jnp.full((iterations, *s.shape), jnp.nan if jnp.issubdtype(s.dtype, jnp.inexact) else 0, s.dtype)

    history = jax.tree.map(unseen, shapes)
    if iterations == 0:
        return state, Solution(solver.solution(state), history, jnp.zeros((), int), jnp.zeros((), bool))

    def moving(still, change, size):
        """An image that does not change at all says nothing while the duals do (a first threshold above it)."""
        return (change > tolerance * size) | ((change == 0) & ~still)

    def unfinished(carry):
        _, _, k, still, change, size = carry
        # A comparison with NaN is False: a broken solve stops at once, and is not ok.
        early = (k < solver.least_iterations) & jnp.isfinite(change)
        return (k < iterations) & (moving(still, change, size) | early | (k == 0))

    def body(carry):
        state, history, k, *_ = carry
        new, seen = advance(state, k)
        history = jax.tree.map(lambda h, v: h.at[k].set(v), history, seen)
        x, old = solver.solution(new), solver.solution(state)
        return new, history, k + 1, _is_still(new, state, tolerance), norm(x - old), norm(x)

    real = solver.solution(state).real.dtype
    start = (state, history, jnp.zeros((), int), jnp.array(False), jnp.full((), jnp.inf, real), jnp.ones((), real))
    state, history, k, still, change, size = lax.while_loop(unfinished, body, start)
    x = solver.solution(state)
    # Far from everything, where the norms overflow before x does, inf <= inf.
    ok = jnp.all(jnp.isfinite(x)) & jnp.isfinite(change) & ~moving(still, change, size)
    ok &= k >= solver.least_iterations
    return state, Solution(_forward_only(x), history, k, ok)


def _is_still(new, old, tolerance):
    """Whether no array of the state moved by more than the tolerance; numbers, such as momenta, may grow."""
    pairs = [(n, o) for n, o in zip(jax.tree.leaves(new), jax.tree.leaves(old), strict=True)
             if jnp.ndim(n) and jnp.issubdtype(jnp.result_type(n), jnp.inexact)]
    return functools.reduce(jnp.logical_and, [norm(n - o) <= tolerance * norm(n) for n, o in pairs], jnp.array(True))


def _forward_only(x):
    """x, whose transpose says why there is none."""
    def no_adjoint(_, y):
        raise ValueError("solve(..., tolerance=...) is a while loop, which has no reverse-mode gradient; leave "
                         "tolerance out and give iterations, or use jax.jvp / jax.jacfwd or differentiate='implicit'")
    return matched_pair(lambda _, v: v, no_adjoint, (), x)
