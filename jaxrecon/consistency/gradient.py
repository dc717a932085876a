"""The gradient step."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..operator import with_norm
from ..priors.base import scalar_like
from ..value import is_concrete, safe_divide, value
from .base import ConsistencyStep


@value
class GradientStep(ConsistencyStep):
    """x - t A^H (A x - b) with t = step / |A|^2; for other data terms x - t A^H f'(A x), t = step / curvature.

    Args:
        step: in units of 1/|A|^2, so that it means the same for every operator: 0 < step < 2 converges. |A|^2 is found
            by power iteration.

    Example:
        >>> A, b = jr.Matrix(jnp.array([[2.0]])), jnp.array([4.0])
        >>> jr.solve(A, b, jr.Alternating(jr.GradientStep(), jr.L1(0.0)), iterations=1).x.tolist()
        [2.0]
    """

    step: Any = 1.0

    def check(self):
        if is_concrete(self.step) and not np.all(np.asarray(self.step) > 0):
            raise ValueError(f"GradientStep needs step > 0 (in units of 1/|A|^2), got {self.step}")

    def prepare(self, A):
        return with_norm(A)

    def setup(self, problem):
        return safe_divide(scalar_like(self.step, problem.domain), problem.curvature())

    def __call__(self, problem, x, aux):
        return x - aux * problem.gradient(x), aux
