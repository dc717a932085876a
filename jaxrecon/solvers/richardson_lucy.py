"""Expectation maximisation for counts: Richardson-Lucy deconvolution, MLEM."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ..fidelity import PoissonLikelihood, PoissonProblem, emission
from ..value import safe_divide, static, value
from .base import Iterate, Solver
from .subsets import Subsets, check_subsets, select_views, subsets_of


class _Setup(NamedTuple):
    inverse: jax.Array  # 1 / (A^T 1), and 0 where no detector sees
    subsets: Subsets | None


@value
class RichardsonLucy(Solver):
    """x <- x / (A^T 1) * A^T (y / (A x + r)), which raises the emission likelihood at every step for x >= 0.

    EM for counts y ~ Poisson(A x + r): Richardson-Lucy deconvolution where A is a convolution, MLEM in emission
    tomography. A must not have negative entries (not checked). x stays non-negative, and 0 where A^T 1 or the start is
    0. A start that is 0 everywhere, the default, is replaced by the flat image with as many counts as were measured.
    Stopping early regularises.

    With `subsets` an iteration makes that update for one subset of the views after the other (OSEM), which does about
    what so many iterations do, and ends in a cycle around the maximum where the counts are noisy.

    The data term is `jr.PoissonLikelihood("emission", background=r)`, without background the default.

    Args:
        subsets: how many; 1: EM itself, None: one view in each. View v belongs to subset v mod `subsets`.
        order: of the subsets, "golden" or "cyclic", as for `jr.SART`.

    Raises:
        ValueError: other data; with subsets, an operator whose views cannot be told apart, or more subsets than views.

    Example:
        >>> A = jr.Convolution(jnp.array([0.25, 0.5, 0.25]), (5,), boundary="zero")
        >>> counts = A(jnp.array([0.0, 0.0, 100.0, 0.0, 0.0]))
        >>> jr.solve(A, counts, jr.RichardsonLucy(), iterations=500).x.round(2).tolist()
        [0.0, 0.0, 100.0, 0.0, 0.0]

    Source: Richardson 1972; Lucy 1974; Shepp and Vardi 1982; Hudson and Larkin 1994.
    """

    subsets: int | None = static(default=1)
    order: str = static(default="golden")

    def check(self):
        check_subsets(self, self.subsets, self.order)

    @property
    def default_data(self):
        return PoissonLikelihood("emission")

    def setup(self, problem) -> Any:
        problem = emission(problem, self)
        subsets = None if self.subsets == 1 else subsets_of(problem.A, problem.b, self.subsets, self.order)
        return _Setup(_inverse(problem.A.apply_adjoint(jnp.ones_like(problem.b))), subsets)

    def init(self, problem: PoissonProblem, x0, aux):
        inverse = aux.inverse
        counts = jnp.sum(jnp.maximum(problem.b - problem.model.background, 0))
        flat = jnp.where(inverse > 0, safe_divide(counts, jnp.sum(safe_divide(1, inverse))), 0)
        x = jnp.maximum(x0, 0)
        return Iterate(jnp.where(jnp.any(x > 0), x, flat))

    def step(self, problem: PoissonProblem, state, aux):
        if aux.subsets is None:
            ratio = _ratio(problem.b, problem.model.mean(problem.A.apply(state.x)))
            return Iterate(state.x * jnp.maximum(problem.A.apply_adjoint(ratio), 0) * aux.inverse)

        def update(x, subset):
            part, background = select_views(problem.A, subset.index), problem.model.background[subset.index]
            counts = problem.b[subset.index]
            ratio = subset.only_present(_ratio(counts, part.apply(x) + background))
            # Both back-projections at once cost little more than one.
            move, seen = jax.vmap(part.apply_adjoint)(jnp.stack([ratio, subset.only_present(jnp.ones_like(ratio))]))
            inverse = _inverse(seen)
            # What a subset does not see stays as it is.
            return jnp.where(inverse > 0, x * jnp.maximum(move, 0) * inverse, x), None

        x = jnp.where(aux.inverse > 0, state.x, 0)
        return Iterate(jax.lax.scan(update, x, aux.subsets)[0])


def _ratio(counts, mean):
    # An FFT leaves rounding errors, of either sign, where the mean is 0.
    return safe_divide(counts, jnp.maximum(mean, _rounding(mean)))


def _inverse(seen):
    return jnp.where(seen > _rounding(seen), safe_divide(1, seen), 0)


def _rounding(v):
    return jnp.finfo(v.dtype).eps * jnp.max(v)
