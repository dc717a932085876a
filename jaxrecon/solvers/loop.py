"""The one loop: `solve` runs a solver, `unroll` a stack of them."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer
from jax.tree_util import Partial

from ..fidelity import DataTerm, Problem, cast_measurements
from ..operator import LinearOperator, matched_pair, real_dtype
from ..value import describe, is_complex, is_count, norm, value
from .base import Solver, relative
from .implicit import MODES, differentiated_implicitly
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
    data = _check_kinds(A, b, solver, data)
    if not is_count(iterations, least=0):
        raise ValueError(f"iterations must be an integer >= 0, got {iterations}")
    names, record = _checked_record(record)
    if tolerance is not None and not is_traced(tolerance) and not np.asarray(tolerance) > 0:
        raise ValueError(f"tolerance must be > 0, or None for exactly `iterations` steps, got {tolerance}")
    if differentiate not in MODES:
        raise ValueError(f"differentiate is one of {', '.join(map(repr, MODES))}, got {differentiate!r}")
    if scale not in SCALES:
        raise ValueError(f"scale is None or 'system', got {scale!r}")
    run = _solve if scale is None else _solve_in_units
    return run(A, b, solver, x0, record, tolerance, data, iterations=int(iterations), names=names, progress=progress,
               differentiate=differentiate)


def _check_kinds(A, b, solver, data) -> DataTerm:
    if not isinstance(A, LinearOperator):
        raise TypeError(f"A must be an operator, got {type(A).__name__}; wrap an array in jr.Matrix, "
                        "a function in jr.linear")
    if not isinstance(solver, Solver):
        raise TypeError(f"solver must be a value such as jr.CGNR() or jr.FISTA(prior), got {solver!r}")
    data = solver.default_data if data is None else data
    if not isinstance(data, DataTerm):
        raise TypeError(f"data must be a data term such as jr.LeastSquares(weights), got {data!r}")
    data.check_measurements(b)
    return data


def is_traced(x: Any) -> bool:
    return isinstance(x, Tracer)


@functools.partial(jax.jit, static_argnames=("iterations", "names", "progress", "differentiate"))
def _solve_in_units(A, b, solver, x0, record, tolerance, data, *, names, **options):
    units = system_units(A, b, data)
    x0 = None if x0 is None else x0 / units.image
    found = _solve(units.of_operator(A), jax.tree.map(lambda v: v / units.measurements, b), units.of_solver(solver), x0,
                   units.of_record(record, A, b), tolerance, data, names=names, **options)
    return dataclasses.replace(found, x=units.image * found.x, history=units.restore(found.history, names))


@functools.partial(jax.jit, static_argnames=("iterations", "names", "progress", "differentiate"))
def _solve(A, b, solver, x0, record, tolerance, data, *, iterations, names, progress, differentiate):
    problem, x0, solver = _bind(A, b, solver, x0, data)
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
    observe = functools.partial(_observe, A, b, problem, solver, names, record)

    def advance(state, k):
        new = solver.step(problem, state, aux)
        if progress is not None:
            jax.debug.callback(progress, k + 1)
        return new, observe(solver.solution(state), solver.solution(new))

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


def unroll(A: LinearOperator, b: Any, solvers: Solver, iterations: int, x0: Any = None, data: Any = None,
           checkpoint: bool = False, shared: bool = False, rolled: bool = True) -> jax.Array:
    """x after one step of each of `iterations` solvers, stacked in one value: an unrolled network if trained.

    Args:
        A, b, x0, data: as for `solve`.
        solvers: one solver value whose leaves carry a leading axis of length `iterations`.
        checkpoint: recompute each step in the backward pass: a fraction of the memory for little more time.
        shared: `solvers` is one solver without a leading axis, used in every step.
        rolled: one compiled step in a loop; False writes the steps out one after the other: longer to compile, and much
            faster on CPU where a step holds convolutions.

    Raises:
        ValueError: leaves whose leading axis is not `iterations`; iterations < 1.

    Example:
        >>> A, b = jr.Matrix(jnp.eye(2)), jnp.array([2.0, 3.0])
        >>> jr.unroll(A, b, jr.Landweber(step_size=jnp.array([0.5, 1.0])), iterations=2).tolist()
        [2.0, 3.0]
    """
    data = _check_kinds(A, b, solvers, data)
    if iterations < 1:
        raise ValueError(f"unroll needs iterations >= 1, got {iterations}")
    for leaf in [] if shared else jax.tree.leaves(solvers):
        if jnp.ndim(leaf) < 1 or jnp.shape(leaf)[0] != iterations:
            raise ValueError(f"unroll needs a leading axis of length iterations={iterations} on every leaf of solvers, "
                             f"got {describe(leaf)}; stack them with jax.tree.map(lambda *v: jnp.stack(v), *solvers), "
                             "or say shared=True")
    return _unroll(A, b, solvers, x0, data, iterations=iterations, checkpoint=checkpoint, shared=shared, rolled=rolled)


@functools.partial(jax.jit, static_argnames=("iterations", "checkpoint", "shared", "rolled"))
def _unroll(A, b, solvers, x0, data, *, iterations, checkpoint, shared, rolled):
    problem, x0, solvers = _bind(A, b, solvers, x0, data)
    if shared:
        first, first_aux, items = solvers, solvers.setup(problem), None
    else:
        # The problem is shared: only what depends on a solver's own leaves is made once per solver.
        aux = jax.vmap(lambda s: s.setup(problem), axis_size=iterations)(solvers)
        first, first_aux = jax.tree.map(lambda v: v[0], (solvers, aux))
        items = (solvers, aux)

    def step(state, item):
        solver, aux = (first, first_aux) if shared else item
        return solver.step(problem, state, aux)

    state = scan_steps(step, first.init(problem, x0, first_aux), items, iterations, checkpoint, rolled)
    return first.solution(state)


def scan_steps(step: Callable, state: Any, items: Any, length: int, checkpoint: bool, rolled: bool) -> Any:
    """state <- step(state, item) over the leading axis of `items`, as a loop or written out."""
    if checkpoint:
        # Written out, the recomputed steps would be merged with the first ones, and their memory be taken after all.
        step = jax.checkpoint(step, prevent_cse=not rolled)
    return lax.scan(lambda s, item: (step(s, item), None), state, items, length=length,
                    unroll=1 if rolled else length)[0]


def _bind(A, b, solver, x0, data) -> tuple[Problem, jax.Array, Any]:
    """The problem, the start and the solver, all at the precision of A."""
    b, domain = cast_measurements(A, b)
    if x0 is None:
        x0 = jnp.zeros(domain.shape, domain.dtype)
    else:
        x0 = jnp.asarray(x0)
        if x0.shape != domain.shape:
            raise ValueError(f"x0 has shape {x0.shape}, but A takes {domain.shape}")
        if is_complex(x0) and not is_complex(domain):
            raise ValueError(f"x0 is complex ({x0.dtype}), but A and b imply a real x ({domain.dtype}); pass x0.real")
        x0 = x0.astype(domain.dtype)
    real = real_dtype(domain)

    def cast(leaf):
        leaf = jnp.asarray(leaf)
        # Python numbers (weakly typed, integers among them) and leaves finer than A; keys and indices stay.
        finer = jnp.issubdtype(leaf.dtype, jnp.inexact) and jnp.finfo(leaf.dtype).bits > jnp.finfo(real).bits
        if finer or _is_weak(leaf):
            return leaf.astype(jnp.promote_types(real, jnp.complex64) if is_complex(leaf) else real)
        return leaf

    return data.problem(A, b), x0, jax.tree.map(cast, solver)


def _is_weak(leaf):
    return getattr(jax.typeof(leaf), "weak_type", False) and leaf.dtype != bool


# ---- what is recorded

RECORDS = ("objective", "fidelity", "residual", "change", "x")


def _checked_record(record):
    """(static names, Partial or None). A single name stays a string, so that its history is one array."""
    if record is None or isinstance(record, Partial):
        return None, record
    names = (record,) if isinstance(record, str) else record
    if not isinstance(names, tuple | list) or not all(isinstance(n, str) for n in names):
        raise TypeError(f"record is a name, a tuple of names or jr.Partial(f), got {record!r}; a bare function would "
                        "compile again at every call")
    unknown = [n for n in names if n not in RECORDS]
    if unknown:
        raise ValueError(f"record knows {', '.join(RECORDS)}; got {', '.join(unknown)}")
    return record if isinstance(record, str) else tuple(names), None


def _observe(A, b, problem, solver, names, record, old, x):
    if record is not None:
        return record(A, b, x)
    makers = {
        "objective": lambda: problem(x) + solver.penalty(x),
        "fidelity": lambda: problem(x),
        "residual": lambda: norm(problem.residual(x)),
        "change": lambda: relative(norm(x - old), norm(x)),
        "x": lambda: x,
    }
    if names is None:
        return None
    return makers[names]() if isinstance(names, str) else {n: makers[n]() for n in names}


