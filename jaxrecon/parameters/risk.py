"""lam by the error that the data predict: generalised cross-validation and Stein's unbiased risk estimate."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from ..fidelity import cast_measurements
from ..operator import LinearOperator, real_dtype
from ..value import is_concrete, is_count, safe_divide
from .noise import checked_sigma
from .ranges import default_lams
from .search import Choice, Minimum, check_chunk, checked_lams, minimise
from .several import minimise_several
from .trial import Trial, need_least_squares, trial

EXACT, COSTLY = 40, 6  # golden-section steps where a step costs next to nothing, and where it costs a solve


def gcv(A: LinearOperator, b: Any, lams: Any = None, solver: Callable[[Any], Any] | None = None, *,
        robust: Any = 1.0, iterations: int | None = None, data: Any = None, scale: str | None = None,
        refine: int | None = None, probes: int = 1, key: jax.Array | None = None,
        chunk: int | None = None) -> Choice:
    """lam = argmin m |A x - b|^2 / (m - tr H)^2, generalised cross-validation (Golub, Heath and Wahba 1979).

    H is the derivative of A x(b) by b, m the number of real values measured. Needs no noise level. Exact for Tikhonov,
    through one SVD; for any solver tr H is estimated from random signs, <e, H e>, by forward differentiation through
    its iterations (Hutchinson 1990), with the same e for all lams.

    Args:
        A, b: as for `jr.solve`.
        lams: positive numbers along one axis, in any order; the minimum is looked for between them. None: for Tikhonov
            from the singular values; with scale="system" from 1e-5 to 1.
        solver: None for Tikhonov, or a function of lam that makes a solver or a reconstructor. It may be written
            anew for every call: only its values enter the compiled program.
        robust: g in (0, 1], a further factor g + (1 - g) tr(H^T H) / m of the score: robust GCV (Lukas 1993). 1 is
            plain GCV, which now and then takes a far too small lam for severely ill-posed problems; 0.1 does not.
        iterations, data, scale: as for `jr.solve`, for solvers.
        refine: steps of golden section after the sweep, one solve each; None: 40 for Tikhonov, 6 otherwise.
        probes: number of random e. key: where they come from; None: the same ones every time.
        chunk: how many lams at a time: memory grows with it. None: one on CPU, all elsewhere.

    Returns:
        Choice: lam, x, ok, lams, scores. ok=False where the smallest score is at an end of lams.

    Raises:
        TypeError, ValueError: lams that are not positive, a solver that is not a function of lam.

    Example:
        >>> A, x = jr.simulate.ill_posed("shaw", 32)
        >>> b = A(x) + 0.1 * jax.random.normal(jax.random.key(0), (32,))
        >>> choice = jr.gcv(A, b)
        >>> bool(choice.ok), round(float(choice.lam), 4)
        (True, 0.0116)
    """
    method, lams, refine, keys = _checked(A, b, lams, solver, iterations, data, scale, refine, probes, key, chunk)
    if jnp.ndim(robust) or (is_concrete(robust) and not 0 < float(robust) <= 1):
        raise ValueError(f"robust must be a number in (0, 1], 1 for plain GCV, got {robust}")
    return _gcv(method, lams, jnp.asarray(robust, lams.dtype), keys, refine=refine, chunk=chunk)


@functools.partial(jax.jit, static_argnames=("refine", "chunk"))
def _gcv(method: Trial, lams, robust, keys, *, refine, chunk):
    m = method.count

    def score(lam):
        misfit, freedom, squared = method.freedom(lam, keys)
        return m * misfit / (m - freedom) ** 2 * (robust + (1 - robust) * squared / m)

    return chosen(method, minimise(score, lams, refine, chunk), lams)


def sure(A: LinearOperator, b: Any, lams: Any = None, solver: Callable[[Any], Any] | None = None, *,
         sigma: Any = None, iterations: int | None = None, data: Any = None, scale: str | None = None,
         refine: int | None = None, probes: int = 1, key: jax.Array | None = None, chunk: int | None = None) -> Choice:
    """lam = argmin |A x - b|^2 - m sigma^2 + 2 sigma^2 tr H, Stein's unbiased estimate of |A x - A x_true|^2 (1981).

    H is the derivative of A x(b) by b, exact for Tikhonov, by random signs and forward differentiation for any solver
    (Ramani, Blu and Unser 2008). For denoising this is the error itself; for an A with a null space it is the error
    of the predicted data, which cannot see that space.

    Args:
        lams: as for `gcv`; or a dict or tuple of arrays of one length, candidates (lam_1, lam_2, ...) for several
            parameters at once; the best of them is refined one parameter after the other, in five rounds.
        sigma: standard deviation of the noise of b per real component; None: estimated from b
            (`jr.parameters.measured_noise`), or 1 where data= gives inverse variances.
        refine: as for `gcv`; of several parameters for each of them in each round.
        others: as for `gcv`.

    Returns:
        Choice, whose scores are divided by m. ok=False where the smallest score is at an end of lams.

    Raises:
        As `gcv`; and sigma <= 0.

    Example:
        >>> b = jnp.array([1.0, 0.01, -0.02, 0.02, -0.01, 2.0, 0.02, -0.02])
        >>> choice = jr.sure(jr.Identity((8,)), b, jnp.geomspace(1e-3, 1, 16), lambda lam: jr.FISTA(jr.L1(lam)),
        ...                  sigma=0.02, iterations=3)
        >>> bool(choice.ok), choice.x.round(1).tolist()
        (True, [1.0, 0.0, 0.0, 0.0, 0.0, 2.0, 0.0, 0.0])
    """
    method, lams, refine, keys = _checked(A, b, lams, solver, iterations, data, scale, refine, probes, key, chunk)
    sigma = checked_sigma(A, b, sigma, method.data)
    return _sure(method, lams, sigma, keys, refine=refine, chunk=chunk)


@functools.partial(jax.jit, static_argnames=("refine", "chunk"))
def _sure(method: Trial, lams, sigma, keys, *, refine, chunk):
    m = method.count

    def score(lam):
        misfit, freedom, _ = method.freedom(lam, keys)
        return safe_divide(misfit + 2 * sigma**2 * freedom, m) - sigma**2

    if isinstance(lams, jax.Array):
        return chosen(method, minimise(score, lams, refine, chunk), lams)
    return chosen(method, minimise_several(score, lams, refine, chunk), lams)


def chosen(method: Trial, found: Minimum, lams: Any) -> Choice:
    x = method.image(found.lam)
    return Choice(found.lam, x, found.bracketed & jnp.all(jnp.isfinite(x)), lams, found.scores)


def _checked(A, b, lams, solver, iterations, data, scale, refine, probes, key, chunk):
    real = real_dtype(cast_measurements(A, b)[1])
    check_chunk(chunk)
    if not is_count(probes):
        raise ValueError(f"probes must be a whole number >= 1, got {probes!r}")
    if refine is not None and not is_count(refine, least=0):
        raise ValueError(f"refine must be a whole number >= 0, got {refine!r}")
    several = isinstance(lams, dict | tuple) and solver is not None
    one = jax.tree.map(lambda v: jnp.asarray(v, real)[0], lams) if several else 1.0
    method = trial(A, b, solver, iterations, data, scale, one)
    need_least_squares("a risk estimate", method)
    if lams is None:
        lams = default_lams(method, scale, real)
    lams = jax.tree.map(lambda v: checked_lams(v, real, 1, False), lams) if several else checked_lams(lams, real)
    if several and len({len(v) for v in jax.tree.leaves(lams)}) != 1:
        raise ValueError("lams of several parameters are candidates side by side, arrays of one length; got lengths "
                         f"{[len(v) for v in jax.tree.leaves(lams)]} (for a grid: jnp.meshgrid, then ravel)")
    refine = (EXACT if solver is None else COSTLY) if refine is None else int(refine)
    return method, lams, refine, jax.random.split(jax.random.key(0) if key is None else key, probes)
