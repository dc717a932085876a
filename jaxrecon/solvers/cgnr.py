"""Conjugate gradients on the normal equations."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from ..checks import check_weights
from ..consistency.cg import CGState, cg_start, cg_step
from ..fidelity import LeastSquaresProblem, quadratic
from ..priors.base import scalar_like
from ..value import norm_squared, value
from .base import Solver


@value
class CGNR(Solver):
    """min 1/2 |A x - b|^2 + lam/2 |x|^2 by CG on (A^H A + lam) x = A^H b (Hestenes and Stiefel 1952).

    Args:
        lam: scalar >= 0, or an array with one weight per unknown.

    Example:
        >>> jr.solve(jr.Matrix(jnp.eye(2)), jnp.array([1.0, 2.0]), jr.CGNR(lam=1.0), iterations=1).x.tolist()
        [0.5, 1.0]
    """

    lam: Any = 0.0
    symmetric = True
    remembered = ("lam",)  # r is that of the normal equations

    def check(self):
        check_weights(self, lam=self.lam)

    def penalty(self, x):
        lam = scalar_like(self.lam, x)
        return norm_squared(x) * lam / 2 if lam.ndim == 0 else jnp.sum(lam * (jnp.conj(x) * x).real) / 2

    def setup(self, problem):
        quadratic(problem, self)
        return ()

    def _operator(self, problem: LeastSquaresProblem):
        lam = scalar_like(self.lam, problem.rhs)
        if lam.ndim and lam.shape != problem.rhs.shape:
            raise ValueError(f"lam has shape {lam.shape}, but x has {problem.rhs.shape}")
        return lambda x: problem.gram.apply(x) + lam * x

    def init(self, problem: LeastSquaresProblem, x0, aux) -> CGState:
        return cg_start(self._operator(problem), problem.rhs, x0)

    def step(self, problem: LeastSquaresProblem, state, aux):
        return cg_step(self._operator(problem), state)

    def variables(self, problem, state, aux):
        return state.x

    def fixed_map(self, problem: LeastSquaresProblem, z, aux, state):
        """A gradient step of the inverse of the largest Rayleigh quotient met."""
        step = 1 / jnp.where(state.largest > 0, state.largest, 1)
        x = z - step * (self._operator(problem)(z) - problem.rhs)
        return x, x
