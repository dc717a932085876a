"""The formula x <- enhance(DC(x)) itself, as a solver."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ..consistency import ConsistencyStep
from ..consistency.base import check_step
from ..value import value
from .base import ProximalState, Solver, check_prior


class AlternatingState(NamedTuple):
    x: jax.Array
    prior: Any  # warm state of the prior's prox
    count: jax.Array  # iterations made


@value
class Alternating(Solver):
    """x <- enhance.prox(DC(x), t): data consistency, then prior knowledge.

    ISTA with a GradientStep and a prior; half-quadratic splitting (1/2 |A z - b|^2 + lam/2 |z - x|^2 + prior(x)) with a
    ProximalStep; plug-and-play with a denoiser as `enhance`; an unrolled network where its leaves are trained.

    Args:
        dc: a data-consistency step: GradientStep, ProximalStep, KaczmarzSweep, SampleReplacement.
        enhance: a prior; any denoiser is one as a subclass of `jr.Prior` with `prox(v, t)`.

    Example:
        >>> ista = jr.Alternating(jr.GradientStep(), jr.L1(0.1))
        >>> print(jr.solve(jr.Matrix(jnp.eye(2)), jnp.array([1.0, 0.05]), ista, iterations=5).x.round(6))
        [0.9 0. ]
    """

    dc: ConsistencyStep
    enhance: Any

    def check(self):
        check_step(self.dc)
        check_prior(self, self.enhance)

    def penalty(self, x):
        return self.enhance(x)

    def setup(self, problem):
        return self.dc.setup(problem)

    def init(self, problem, x0, aux):
        return AlternatingState(x0, self.enhance.start(x0), jnp.zeros((), jnp.int32))

    def step(self, problem, state, aux):
        x, t = self.dc(problem, state.x, self.dc.numbered(aux, state.count))
        x, prior = self.enhance.warm_prox(x, t, state.prior)
        return AlternatingState(x, prior, state.count + 1)

    def variables(self, problem, state, aux):
        return ProximalState(state.x, state.prior)

    def fixed_map(self, problem, z, aux, state):
        new = self.step(problem, AlternatingState(z.x, z.prior, state.count), aux)
        return self.variables(problem, new, aux), new.x
