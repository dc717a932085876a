"""Landweber iteration: gradient descent on the residual."""

from __future__ import annotations

from typing import Any

from ..checks import check_positive
from ..fidelity import quadratic
from ..value import value
from .base import Iterate, Solver, step_or_found


@value
class Landweber(Solver):
    """x <- x + t A^H (b - A x), for min 1/2 |A x - b|^2 (Landweber 1951). Stopping early regularises.

    Args:
        step_size: t, convergent for 0 < t < 2/|A|^2. None: 1/|A|^2 by power iteration.

    Example:
        >>> jr.solve(jr.Matrix(jnp.eye(2)), jnp.array([1.0, 2.0]), jr.Landweber(0.5), iterations=1).x.tolist()
        [0.5, 1.0]
    """

    step_size: Any = None
    symmetric = True

    def check(self):
        check_positive(self, "step_size", self.step_size)

    def setup(self, problem):
        return step_or_found(self.step_size, quadratic(problem, self))

    def init(self, problem, x0, aux):
        return Iterate(x0)

    def step(self, problem, state, aux):
        return Iterate(state.x - aux * problem.gradient(state.x))
