"""Morozov's discrepancy principle: a residual as large as the noise."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp

from ..fidelity import LeastSquares, cast_measurements
from ..operator import LinearOperator, real_dtype
from ..priors.base import scalar_like
from ..solvers import Solver, solve
from ..solvers.stopped import Stopped
from ..value import is_concrete, is_count, value
from .noise import checked_sigma
from .ranges import default_lams
from .search import Choice, checked_lams, find_root
from .trial import Trial, measured, real_count, trial


@value
class EarlyStop:
    """What `discrepancy` finds for an iteration without lam.

    Attributes:
        iterations: how many were made until the residual was as small as the noise. x: the image then.
        ok: False where the residual did not come down to it, or something is not finite.
        residual: |A x - b| of x. target: what was looked for, factor sigma m^1/2.
    """

    iterations: jax.Array
    x: jax.Array
    ok: jax.Array
    residual: jax.Array
    target: jax.Array


def discrepancy(A: LinearOperator, b: Any, lams: Any = None, solver: Any = None, *, sigma: Any = None,
                factor: Any = 1.0, iterations: int | None = None, data: Any = None, scale: str | None = None,
                refine: int | None = None) -> Choice | EarlyStop:
    """lam with |A x(lam) - b| = factor sigma m^1/2, or the first iteration that leaves no more (Morozov 1966).

    Args:
        A, b: as for `jr.solve`.
        lams: the search runs from the smallest to the largest. None: as for `jr.gcv`.
        solver: None for Tikhonov (by one SVD); a function of lam that makes a solver or a reconstructor; or a solver
            without lam, such as `jr.Landweber()` or `jr.CGNR()`: then the iteration number is chosen.
        sigma: standard deviation of the noise of b per real component; None: `jr.parameters.measured_noise`, or 1 where
            data= gives inverse variances.
        factor: safety factor, 1 or a little more. Noise happens to be larger than sigma m^1/2 in half of all cases, and
            is fitted then; 1 + 2 / (2 m)^1/2 leaves 2 % of them.
        iterations, data, scale: as for `jr.solve`; for early stopping the most that are made (1000 if None).
        refine: the most evaluations of the root search, one solve each; None: 60 for Tikhonov, 20 otherwise.

    m is the number of real values measured, without those masked out.

    Returns:
        Choice (scores: |A x - b| / (factor sigma m^1/2) at the ends of the range and at lam), or EarlyStop.
        ok=False where the range does not hold the root.

    Raises:
        ValueError: sigma or factor not > 0, options that would be ignored; as `jr.gcv`.

    Example:
        >>> A, x = jr.simulate.ill_posed("shaw", 32)
        >>> b = A(x) + 0.1 * jax.random.normal(jax.random.key(0), (32,))
        >>> choice = jr.discrepancy(A, b, sigma=0.1)
        >>> round(float(jnp.linalg.norm(A(choice.x) - b) / 32**0.5), 6)
        0.1
        >>> int(jr.discrepancy(A, b, solver=jr.CGNR(), sigma=0.1).iterations)
        4
    """
    b, domain = cast_measurements(A, b)
    real = real_dtype(domain)
    if jnp.ndim(factor) or (is_concrete(factor) and not float(factor) > 0):
        raise ValueError(f"factor must be one number > 0, 1 or a little more, got {factor}")
    if isinstance(solver, Solver):
        for name, v in (("lams", lams), ("refine", refine)):
            if v is not None:
                raise ValueError(f"{name} has no effect where the iteration number is chosen; for lam pass "
                                 "a function of it, such as solver=lambda lam: jr.CGNR(lam)")
        noise = checked_sigma(A, b, sigma, data) * scalar_like(factor, domain)
        return _stop(A, b, solver, data, noise, scale,
                     iterations=1000 if iterations is None else iterations)
    if refine is not None and not is_count(refine):
        raise ValueError(f"refine must be a whole number >= 1, got {refine!r}")
    method = trial(A, b, solver, iterations, data, scale)
    lams = checked_lams(default_lams(method, scale, real) if lams is None else lams, real, 2)
    steps = (60 if solver is None else 20) if refine is None else int(refine)
    noise = checked_sigma(A, b, sigma, method.data) * scalar_like(factor, domain)
    return _discrepancy(method, lams, noise, steps=steps)


@functools.partial(jax.jit, static_argnames="steps")
def _discrepancy(method: Trial, lams, noise, *, steps):
    target = noise * jnp.sqrt(method.count)

    def excess(t):
        return 0.5 * jnp.log(method.misfit(jnp.exp(t))) - jnp.log(target)

    low, high = jnp.log(jnp.min(lams)), jnp.log(jnp.max(lams))
    root = find_root(excess, low, high, steps, 4 * jnp.finfo(low.dtype).eps * jnp.maximum(jnp.abs(high - low), 1))
    lam = jnp.exp(root.at)
    x = method.image(lam)
    tried = jnp.stack([low, high, root.at])
    scores = jnp.stack([jnp.exp(excess(t)) for t in (low, high, root.at)])
    return Choice(lam, x, root.bracketed & jnp.all(jnp.isfinite(x)), jnp.exp(tried), scores)


@functools.partial(jax.jit, static_argnames=("iterations", "scale"))
def _stop(A, b, solver, data, noise, scale, *, iterations):
    seen = measured((LeastSquares() if data is None else data).problem(A, b).A)
    b = jax.tree.map(jnp.multiply, seen, b)  # what no x explains is not waited for
    target = noise * jnp.sqrt(real_count(seen, b))
    found = solve(A, b, Stopped(solver, target), iterations, data=data, record="residual",
                  tolerance=jnp.finfo(target.dtype).tiny, scale=scale)
    # The last iteration changes nothing, once the residual is small enough.
    made = jnp.where(found.ok, found.iterations - 1, found.iterations)
    residual = found.history[jnp.maximum(made - 1, 0)]
    return EarlyStop(made, found.x, found.ok & (residual <= target), residual, target)
