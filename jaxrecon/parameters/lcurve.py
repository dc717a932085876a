"""The L-curve: residual against penalty over lam, and its corner."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from ..fidelity import cast_measurements
from ..operator import LinearOperator, real_dtype
from ..reconstruct import Iterative
from ..solvers import Kaczmarz, Solver, solve
from ..value import norm_squared, safe_sqrt, value
from .corner import curvature_of, sharpest, spline_curvature, triangle
from .ranges import default_lams
from .search import check_chunk, checked_lams, sweep
from .trial import Fit, Iterated, Spectral, Trial, trial

RULES = ("curvature", "triangle")
FAR = 100  # the corners by both rules are one where their lams differ by no more than this factor


@value
class LCurve:
    """What `lcurve` returns: arrays over the lams, in their order.

    Attributes:
        lams; residual: |A x - b|; penalty: R(x) of the prior lam R(x), |x|^2 / 2 for Tikhonov.
        curvature: of the curve of the logarithms; NaN where the curve does not move.
        corner: index of the lam at the corner, so that x[corner] is the image.
        lam: the corner itself: between two of the lams by "curvature", lams[corner] by "triangle".
        x: the images. ok: False where the curve has no corner inside the range, or the other rule sees its corner more
            than a factor of 100 away.
    """

    lams: jax.Array
    residual: jax.Array
    penalty: jax.Array
    curvature: jax.Array
    corner: jax.Array
    lam: jax.Array
    x: jax.Array
    ok: jax.Array


def lcurve(A: LinearOperator, b: Any, lams: Any = None, solver: Callable[[Any], Any] | None = None, *,
           rule: str = "curvature", iterations: int | None = None, data: Any = None, scale: str | None = None,
           continuation: bool = False, chunk: int | None = None) -> LCurve:
    """(log |A x - b|, log R(x)) over lam, whose corner weighs noise against smoothness (Hansen 1992).

    All lams in one compiled call. Exact for Tikhonov, from one SVD.

    Args:
        A, b: as for `jr.solve`.
        lams: positive numbers along one axis, in any order. None: as for `jr.gcv`.
        solver: None for Tikhonov, or a function of lam that makes a solver (or a `jr.Iterative`) such as
            lambda lam: jr.CGNR(lam).
        rule: "curvature", of the exact curve for Tikhonov, else of cubic splines in log lam (Hansen and O'Leary 1993);
            a quadratic R enters by its root, a norm as it is. "triangle": robust for few or uneven points (Castellanos,
            Gomez and Guerra 2002).
        iterations, data, scale: as for `jr.solve`.
        continuation: from the largest lam to the smallest, each solve starting from the last image: fewer iterations
            will do. One after the other. Not for Kaczmarz, which keeps near its start.
        chunk: how many lams at a time: memory grows with it. None: one on CPU, all elsewhere.

    Returns:
        LCurve: lams, residual, penalty, curvature, corner, lam, x, ok.

    Raises:
        ValueError: lams that are not 5 or more positive numbers, an unknown rule, options that would be ignored.
        TypeError: a solver that is not a function of lam, or makes something whose penalty has no value.

    Example:
        >>> A, x = jr.simulate.ill_posed("shaw", 32)
        >>> b = A(x) + 0.1 * jax.random.normal(jax.random.key(0), (32,))
        >>> curve = jr.lcurve(A, b)
        >>> bool(curve.ok), round(float(curve.lam), 4)
        (True, 0.0069)
    """
    real = real_dtype(cast_measurements(A, b)[1])
    if rule not in RULES:
        raise ValueError(f"rule must be one of {', '.join(RULES)}, got {rule!r}")
    check_chunk(chunk)
    method = trial(A, b, solver, iterations, data, scale)
    lams = checked_lams(default_lams(method, scale, real) if lams is None else lams, real, 5)
    if continuation and chunk is not None:
        raise ValueError("continuation solves one lam after the other; leave chunk out")
    if continuation and not isinstance(method, Iterated):
        raise ValueError("continuation needs a solver; Tikhonov's solution comes from an SVD, for every lam alike")
    return _lcurve(method, lams, rule=rule, continuation=continuation, chunk=chunk)


@functools.partial(jax.jit, static_argnames=("rule", "continuation", "chunk"))
def _lcurve(method: Trial, lams, *, rule, continuation, chunk):
    if not isinstance(method, Spectral):
        return _corner_of(method, lams, rule, continuation, chunk)
    method, gain, unit = method.in_units()
    found, image = _corner_of(method, lams / gain / gain, rule, continuation, chunk), unit / gain
    return dataclasses.replace(found, lams=lams, residual=unit * found.residual, penalty=found.penalty * image * image,
                               lam=found.lam * gain * gain, x=image * found.x)


def _corner_of(method: Trial, lams, rule, continuation, chunk) -> LCurve:
    order = jnp.argsort(lams)
    sorted_lams = lams[order]
    if continuation and isinstance(method, Iterated):
        fits = _continued(method, sorted_lams)
    else:
        fits = sweep(method.fit, sorted_lams, chunk)
    t = jnp.log(sorted_lams)
    rho, eta, usable = _curve(fits, _degree(method, fits, sorted_lams))
    exact = _exact_curvature(method) if isinstance(method, Spectral) else spline_curvature(t, rho, eta)
    curvature, best, at, found = sharpest(exact, t, usable)
    lam = jnp.exp(at)
    other, seen = triangle(rho, eta, usable)
    # Two views of one corner. Far apart, it is none: a wiggle, or a curve that bends all along.
    agreed = ~(found & seen) | (jnp.abs(t[other] - at) < jnp.log(FAR))
    found = found & agreed
    if rule == "triangle":
        best, lam, found = other, sorted_lams[other], seen & agreed
    back = jnp.argsort(order)
    return LCurve(lams, safe_sqrt(fits.misfit)[back], fits.penalty[back], curvature[back], order[best], lam,
                  fits.x[back], found & jnp.all(jnp.isfinite(fits.x[best])))


def _curve(fits: Fit, degree):
    """The logarithms, and which points say something: a residual or a penalty of 0 is minus infinity."""
    x = fits.x.reshape(len(fits.x), -1)
    # Of the size of the rounding in a penalty that compares pixels: TV of a constant image.
    rounding = (16 * jnp.finfo(fits.misfit.dtype).eps * jnp.sum(jnp.abs(x), 1)) ** degree
    residual = safe_sqrt(fits.misfit)
    usable = jnp.isfinite(fits.penalty) & (fits.penalty > rounding) & jnp.isfinite(residual) & (residual > 0)

    def log(v):
        least = jnp.min(jnp.where(usable, v, jnp.inf))
        return jnp.log(jnp.where(usable, v, jnp.where(jnp.isfinite(least), least, 1)))

    return log(residual), log(fits.penalty) / degree, usable


def _degree(method, fits: Fit, lams):
    """p with R(c x) = c^p R(x): 2 for quadratic penalties, 1 for norms."""
    if isinstance(method, Spectral):
        return 2.0
    k = len(lams) // 2
    x, lam = fits.x[k], lams[k]
    twice, once = method._penalty(lam, 2 * x), fits.penalty[k]
    p = jnp.log2(jnp.where((twice > 0) & (once > 0), twice / jnp.where(once > 0, once, 1), 2))
    return jnp.where(jnp.isfinite(p) & (p > 0), p, 1)


def _exact_curvature(method: Spectral):
    """The curvature of (log |A x - b|, log |x|) with its derivatives by log lam in closed form."""
    s, beta2 = method.factors.s, jnp.square(jnp.abs(method.coefficients))

    def curve(t):
        factors = method.factors.filter_factors(jnp.exp(t))
        residual = jnp.sum((1 - factors) ** 2 * beta2) + norm_squared(method.outside)
        size = jnp.sum(jnp.where(factors > 0, factors / jnp.where(s > 0, s, 1), 0) ** 2 * beta2)
        safe = [jnp.where(v > 0, v, 1) for v in (residual, size)]
        return jnp.stack([0.5 * jnp.log(v) for v in safe])

    def curvature(t):
        one = jnp.ones_like(t)

        def slope(t):
            return jax.jvp(curve, (t,), (one,))[1]

        first, second = jax.jvp(slope, (t,), (one,))
        return curvature_of(first[0], second[0], first[1], second[1])

    return curvature


def _continued(method: Iterated, lams):
    """The fits from the largest lam to the smallest, each from the image before."""
    def one(x, lam):
        made = method.family(lam)
        solver = made.solver if isinstance(made, Iterative) else made
        if not isinstance(solver, Solver):
            raise TypeError(f"continuation needs a solver of lam, got {type(made).__name__}")
        if isinstance(solver, Kaczmarz):
            raise ValueError("Kaczmarz keeps near its start, lam |x - x0|^2, so that continuation would change what it "
                             "minimises; leave continuation out, or use jr.CGNR(lam)")
        iterations = made.iterations if isinstance(made, Iterative) else method.iterations or 100
        how = made if isinstance(made, Iterative) else method
        x = solve(method.A, method.b, solver, iterations, x0=x, data=how.data, scale=how.scale,
                  tolerance=getattr(how, "tolerance", None)).x
        return x, method.of_image(lam, x)

    _, domain = cast_measurements(method.A, method.b)
    _, fits = lax.scan(one, jnp.zeros(domain.shape, domain.dtype), lams[::-1])
    return jax.tree.map(lambda v: v[::-1], fits)
