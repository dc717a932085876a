"""lam by the prediction of measurements that were hidden."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from ..checks import broadcasts
from ..fidelity import cast_measurements
from ..operator import LinearOperator, real_dtype
from ..value import is_count, norm_squared
from .ranges import default_lams
from .risk import COSTLY, chosen
from .search import Choice, check_chunk, checked_lams, minimise
from .trial import Iterated, measured, need_least_squares, trial

MANY = 500  # locations
CENTRE = 0.06  # cycles per pixel: locations nearer to the centre of k-space are never hidden


def crossvalidate(A: LinearOperator, b: Any, lams: Any = None, solver: Callable[[Any], Any] | None = None, *,
                  folds: int | None = None, share: float | None = None, hidden: Any = None,
                  key: jax.Array | None = None, iterations: int | None = None, data: Any = None,
                  scale: str | None = None, refine: int = COSTLY, chunk: int | None = None) -> Choice:
    """lam = argmin sum_f |hidden_f (A x_f(lam) - b)|^2, x_f from the measurements without those hidden in fold f.

    What is hidden is what was measured as one (`A.locations`): k-space locations over all coils, lines of a line mask,
    views of a sinogram, nodes of a NUFFT, otherwise single measurements. The centre of k-space, within .06 cycles per
    pixel, is always kept. Needs no noise level and sees what undersampling does, unlike `gcv` and `sure`.

    Args:
        A, b: as for `jr.solve`; one array of measurements.
        lams, iterations, data, scale, refine, chunk: as for `jr.gcv`.
        solver: a function of lam that makes a solver or a reconstructor; None: `jr.CGNR` run for 100 iterations.
        folds: how often another part is hidden; share: how much of the measured locations is, each time. None: a fifth
            in each of 5 folds where there are fewer than 500 locations (lines, views), so that all have their turn; one
            tenth once where there are more, whose prediction varies little.
        hidden: in place of both, booleans (folds, ...) that broadcast to (folds, *b.shape).
        key: what is hidden; None: the same every time.

    Returns:
        Choice: lam, x (from all measurements), ok, lams, scores (mean |A x - b|^2 per hidden value).

    Raises:
        ValueError: share or folds out of range (folds * share <= 1), hidden that does not fit; as `jr.gcv`.

    Example:
        >>> A = jr.Matrix(jax.random.normal(jax.random.key(0), (40, 30)))
        >>> b = A(jnp.sin(jnp.arange(30.0))) + 3 * jax.random.normal(jax.random.key(1), (40,))
        >>> choice = jr.crossvalidate(A, b, jnp.geomspace(1e-2, 1e4, 20), lambda lam: jr.CGNR(lam))
        >>> bool(choice.ok)
        True

    Source: Stone 1974; for MRI Yaman et al. 2020.
    """
    b, domain = cast_measurements(A, b)
    check_chunk(chunk)
    if not is_count(refine, least=0):
        raise ValueError(f"refine must be a whole number >= 0, got {refine!r}")
    if solver is None:
        from ..solvers import CGNR
        solver = CGNR
    method = trial(A, b, solver, iterations, data, scale)
    need_least_squares("crossvalidate", method)
    assert isinstance(method, Iterated)
    lams = default_lams(method, scale, real_dtype(domain)) if lams is None else lams
    lams = checked_lams(lams, real_dtype(domain))
    if hidden is None:
        hidden = _drawn(A, folds, share, key)
    else:
        hidden = jnp.asarray(hidden)
        if hidden.ndim < 1 or not broadcasts(hidden.shape[1:], b.shape):
            raise ValueError(f"hidden must be (folds, ...) and broadcast to the measurements, {b.shape}; got "
                             f"{hidden.shape}")
    return _crossvalidate(method, lams, hidden.astype(real_dtype(domain)), refine=int(refine), chunk=chunk)


@functools.partial(jax.jit, static_argnames=("refine", "chunk"))
def _crossvalidate(method: Iterated, lams, hidden, *, refine, chunk):
    A, b, seen = method.A, method.b, method.measured

    def fold(lam, hide):
        x = Iterated(A.kept(1 - hide), (1 - hide) * b, method.family, method.data, method.iterations,
                     method.scale).image(lam)
        return norm_squared(hide * seen * (A.apply(x) - b))

    total = jnp.sum(jax.vmap(lambda hide: jnp.sum(hide * seen))(hidden))

    def score(lam):
        return jnp.sum(jax.lax.map(lambda hide: fold(lam, hide), hidden)) / total

    return chosen(method, minimise(score, lams, refine, chunk), lams)


def _drawn(A: LinearOperator, folds: int | None, share: float | None, key: jax.Array | None) -> jax.Array:
    """(folds, *locations): disjoint random parts of what was measured."""
    few = math.prod(A.locations) < MANY
    folds = (5 if few else 1) if folds is None else folds
    share = (0.2 if few else 0.1) if share is None else share
    if not is_count(folds) or not 0 < share < 1 or folds * share > 1 + 1e-9:
        raise ValueError(f"crossvalidate hides `share` (between 0 and 1) of the measurements in each of `folds` (>= 1) "
                         f"disjoint parts, so that folds * share <= 1; got folds={folds}, share={share}")
    shape = A.locations
    able = _over_locations(jnp.max, measured(A), shape) > 0
    if A.frequencies is not None:
        able = able & (_over_locations(jnp.min, A.frequencies, shape) > CENTRE)
    key = jax.random.key(0) if key is None else key
    # Ranks of random numbers, those that cannot be hidden last.
    order = jnp.argsort(jnp.where(able, jax.random.uniform(key, shape), 2).ravel())
    rank = jnp.zeros(math.prod(shape), int).at[order].set(jnp.arange(math.prod(shape))).reshape(shape)
    count = jnp.maximum(jnp.round(share * jnp.sum(able)), 1)
    f = jnp.arange(folds).reshape(folds, *[1] * len(shape))
    return (rank >= f * count) & (rank < (f + 1) * count) & able


def _over_locations(reduce, values, shape):
    """A number for each location, over what it shares: leading axes (coils), and those where it has length 1."""
    axes = tuple(range(values.ndim - len(shape)))
    values = reduce(values, axes) if axes else values
    shared = tuple(d for d, n in enumerate(shape) if n == 1 and values.shape[d] > 1)
    return reduce(values, shared, keepdims=True) if shared else values
