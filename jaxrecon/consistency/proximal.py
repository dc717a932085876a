"""The proximal step: a regularised least-squares solve by conjugate gradients."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..fidelity import LeastSquaresProblem, quadratic
from ..operator.inverse import implicit_solve
from ..priors.base import scalar_like
from ..value import is_concrete, static, value
from .base import ConsistencyStep
from .cg import conjugate_gradient


@value
class ProximalStep(ConsistencyStep):
    """argmin_z |A z - b|^2 + lam |z - x|^2, by CG (MoDL: Aggarwal et al. 2019; half-quadratic splitting).

    Args:
        lam: weight of staying near x, > 0.
        iterations: CG steps. None runs CG to rounding, and then the gradient is implicit: its memory does not grow with
            the steps. With a count, the steps are differentiated as they are.

    Example:
        >>> A, b = jr.Matrix(jnp.array([[2.0]])), jnp.array([4.0])
        >>> jr.solve(A, b, jr.Alternating(jr.ProximalStep(4.0), jr.L1(0.0)), iterations=1).x.tolist()
        [1.0]
    """

    lam: Any
    iterations: int | None = static(default=None)

    def check(self):
        if is_concrete(self.lam) and not np.all(np.asarray(self.lam) > 0):
            raise ValueError(f"ProximalStep needs lam > 0, got {self.lam}; for lam = 0 use SampleReplacement or CGNR")
        if self.iterations is not None and self.iterations < 1:
            raise ValueError(f"ProximalStep needs iterations >= 1 or None, got {self.iterations}")

    def setup(self, problem):
        quadratic(problem, self)
        return ()

    def __call__(self, problem: LeastSquaresProblem, x, aux):
        lam = scalar_like(self.lam, x)
        rhs = problem.rhs + lam * x

        def shifted(v):
            return problem.gram.apply(v) + lam * v

        if self.iterations is None:
            return implicit_solve(shifted, rhs, x), 1 / lam
        return conjugate_gradient(shifted, rhs, x, self.iterations), 1 / lam
