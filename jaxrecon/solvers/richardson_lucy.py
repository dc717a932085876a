"""Expectation maximisation for counts: Richardson-Lucy deconvolution, MLEM."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from ..fidelity import PoissonLikelihood, PoissonProblem, emission
from ..value import safe_divide, value
from .base import Iterate, Solver


@value
class RichardsonLucy(Solver):
    """x <- x / (A^T 1) * A^T (y / (A x + r)), which raises the emission likelihood at every step for x >= 0.

    EM for counts y ~ Poisson(A x + r): Richardson-Lucy deconvolution where A is a convolution, MLEM in emission
    tomography. A must not have negative entries (not checked). x stays non-negative, and 0 where A^T 1 or the start is
    0. A start that is 0 everywhere, the default, is replaced by the flat image with as many counts as were measured.
    Stopping early regularises.

    The data term is `jr.PoissonLikelihood("emission", background=r)`, without background the default.

    Example:
        >>> A = jr.Convolution(jnp.array([0.25, 0.5, 0.25]), (5,), boundary="zero")
        >>> counts = A(jnp.array([0.0, 0.0, 100.0, 0.0, 0.0]))
        >>> jr.solve(A, counts, jr.RichardsonLucy(), iterations=500).x.round(2).tolist()
        [0.0, 0.0, 100.0, 0.0, 0.0]

    Source: Richardson 1972; Lucy 1974; Shepp and Vardi 1982.
    """

    @property
    def default_data(self):
        return PoissonLikelihood("emission")

    def setup(self, problem) -> Any:
        """1 / (A^T 1), and 0 where no detector sees."""
        seen = emission(problem, self).A.apply_adjoint(jnp.ones_like(problem.b))
        return jnp.where(seen > _rounding(seen), safe_divide(1, seen), 0)

    def init(self, problem: PoissonProblem, x0, aux):
        sensitivity = safe_divide(1, aux)
        counts = jnp.sum(jnp.maximum(problem.b - problem.model.background, 0))
        flat = jnp.where(aux > 0, safe_divide(counts, jnp.sum(sensitivity)), 0)
        x = jnp.maximum(x0, 0)
        return Iterate(jnp.where(jnp.any(x > 0), x, flat))

    def step(self, problem: PoissonProblem, state, aux):
        mean = problem.model.mean(problem.A.apply(state.x))
        # An FFT leaves rounding errors, of either sign, where the mean is 0.
        ratio = safe_divide(problem.b, jnp.maximum(mean, _rounding(mean)))
        return Iterate(state.x * jnp.maximum(problem.A.apply_adjoint(ratio), 0) * aux)


def _rounding(v):
    return jnp.finfo(v.dtype).eps * jnp.max(v)
