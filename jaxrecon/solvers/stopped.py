"""A solver that stands still once its residual is small enough."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ..priors.base import scalar_like
from ..value import is_concrete, norm, value
from .base import Solver
from .units import HasUnits


class StoppedState(NamedTuple):
    state: Any
    done: jax.Array


@value
class Stopped(Solver, HasUnits):
    """The iterates of `solver` up to the first with |A x - b| <= residual, which is kept from then on.

    Early stopping as a value: with `tolerance` (however small) `jr.solve` ends one iteration later.

    Args:
        solver: any solver.
        residual: the level, in the units of b.

    Example:
        >>> A, b = jr.Identity((1,)), jnp.array([8.0])
        >>> jr.solve(A, b, jr.Stopped(jr.Landweber(0.5), residual=1.5), iterations=100, record="residual").history[:5]
        Array([4., 2., 1., 1., 1.], dtype=float64)

    Source: Morozov 1966.
    """

    solver: Solver
    residual: Any

    def check(self):
        if not isinstance(self.solver, Solver):
            raise TypeError(f"Stopped takes a solver such as jr.Landweber(), got {self.solver!r}")
        if is_concrete(self.residual) and not np.all(np.asarray(self.residual) >= 0):
            raise ValueError(f"Stopped needs residual >= 0, got {self.residual}")

    @property
    def default_data(self):
        return self.solver.default_data

    @property
    def remembered(self):
        return tuple(f"solver.{name}" for name in self.solver.remembered)

    def in_units(self, units: Any) -> Stopped:
        return Stopped(units.of_solver(self.solver), self.residual / units.measurements)

    def setup(self, problem):
        return self.solver.setup(problem)

    def init(self, problem, x0, aux):
        state = self.solver.init(problem, x0, aux)
        return StoppedState(state, self._reached(problem, x0))

    def step(self, problem, state, aux):
        def move(state):
            new = self.solver.step(problem, state, aux)
            return StoppedState(new, self._reached(problem, self.solver.solution(new)))

        return lax.cond(state.done, lambda s: StoppedState(s, jnp.ones((), bool)), move, state.state)

    def solution(self, state):
        return self.solver.solution(state.state)

    def penalty(self, x):
        return self.solver.penalty(x)

    def _reached(self, problem, x):
        return norm(problem.residual(x)) <= scalar_like(self.residual, x)
