"""Proximal gradient methods: ISTA, FISTA and POGM."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ..checks import check_positive
from ..value import inner, safe_divide, static, value
from .base import ProximalState, Solver, check_prior, step_or_found


class _ProximalGradient(Solver):
    prior: Any
    step_size: Any

    def check(self):
        check_prior(self, self.prior)
        check_positive(self, "step_size", self.step_size)

    def penalty(self, x):
        return self.prior(x)

    def setup(self, problem):
        return step_or_found(self.step_size, problem)

    def variables(self, problem, state, aux):
        return ProximalState(state.x, state.prior)

    def fixed_map(self, problem, z, aux, state):
        """A step without momentum."""
        new = ProximalState(*self.prior.warm_prox(z.x - aux * problem.gradient(z.x), aux, z.prior))
        return new, new.x


@value
class ISTA(_ProximalGradient):
    """x <- prox_{t prior}(x - t A^H (A x - b)) (Daubechies, Defrise and De Mol 2004).

    Args:
        prior: one prior.
        step_size: t < 2/|A|^2. None: 1/|A|^2 by power iteration.

    Example:
        >>> A, b = jr.Matrix(jnp.eye(2)), jnp.array([1.0, 0.05])
        >>> print(jr.solve(A, b, jr.ISTA(jr.L1(0.1)), iterations=5).x.round(6))
        [0.9 0. ]
    """

    prior: Any
    step_size: Any = None

    def init(self, problem, x0, aux):
        return ProximalState(x0, self.prior.start(x0))

    def step(self, problem, state, aux):
        return ProximalState(*self.prior.warm_prox(state.x - aux * problem.gradient(state.x), aux, state.prior))


class FISTAState(NamedTuple):
    x: jax.Array
    z: jax.Array  # extrapolated point
    theta: jax.Array  # momentum
    prior: Any


@value
class FISTA(_ProximalGradient):
    """ISTA with momentum (Beck and Teboulle 2009).

    Args:
        prior: one prior.
        step_size: t <= 1/|A|^2. None: 1/|A|^2 by power iteration.
        restart: drop the momentum where it points uphill, <z - x+, x+ - x> > 0 (O'Donoghue and Candes 2015): linear
            convergence near the solution.

    Example:
        >>> A, b = jr.Matrix(jnp.eye(2)), jnp.array([1.0, 0.05])
        >>> print(jr.solve(A, b, jr.FISTA(jr.L1(0.1)), iterations=5).x.round(6))
        [0.9 0. ]
    """

    prior: Any
    step_size: Any = None
    restart: bool = static(default=False)

    def init(self, problem, x0, aux):
        return FISTAState(x0, x0, jnp.ones((), x0.real.dtype), self.prior.start(x0))

    def step(self, problem, state, aux):
        x, prior = self.prior.warm_prox(state.z - aux * problem.gradient(state.z), aux, state.prior)
        theta = (1 + jnp.sqrt(1 + 4 * state.theta**2)) / 2
        momentum = (state.theta - 1) / theta
        if self.restart:
            uphill = inner(state.z - x, x - state.x).real > 0
            theta, momentum = jnp.where(uphill, 1, theta), jnp.where(uphill, 0, momentum)
        return FISTAState(x, x + momentum * (x - state.x), theta, prior)


class POGMState(NamedTuple):
    x: jax.Array
    w: jax.Array  # last gradient step
    z: jax.Array  # last point before the prox
    theta: jax.Array  # momentum
    gamma: jax.Array  # last weight of the prox
    prior: Any


@value
class POGM(_ProximalGradient):
    """The proximal optimised gradient method, with half of FISTA's worst-case bound (Taylor, Hendrickx and Glineur
    2017, in the form of Kim and Fessler 2018, without their last-step factor, since a solve may go on).

    Args:
        prior: one prior.
        step_size: t <= 1/|A|^2. None: 1/|A|^2 by power iteration.
        restart: drop the momentum where it points uphill (Kim and Fessler 2018). Without it POGM oscillates long on
            strongly convex problems.

    Example:
        >>> A, b = jr.Matrix(jnp.eye(2)), jnp.array([1.0, 0.05])
        >>> print(jr.solve(A, b, jr.POGM(jr.L1(0.1)), iterations=300).x.round(2))
        [0.9 0. ]
    """

    prior: Any
    step_size: Any = None
    restart: bool = static(default=True)

    def variables(self, problem, state, aux):
        z = ProximalState(state.x, self.prior.rescaled(state.prior, safe_divide(aux, state.gamma)))
        return self.fixed_map(problem, z, aux, state)[0]

    def init(self, problem, x0, aux):
        one = jnp.ones((), x0.real.dtype)
        return POGMState(x0, x0, x0, one, one * aux, self.prior.start(x0))

    def step(self, problem, state, aux):
        x, theta = state.x, (1 + jnp.sqrt(1 + 4 * state.theta**2)) / 2
        gamma = aux * (2 * state.theta + theta - 1) / theta
        w = x - aux * problem.gradient(x)
        z = (w + (state.theta - 1) / theta * (w - state.w) + state.theta / theta * (w - x)
             + safe_divide(aux * (state.theta - 1), state.gamma * theta) * (state.z - x))
        new, prior = self.prior.warm_prox(z, gamma, self.prior.rescaled(state.prior, safe_divide(gamma, state.gamma)))
        if self.restart:
            # The composite gradient mapping at the new point against the direction of travel.
            uphill = inner(w - x - (z - new) * safe_divide(aux, gamma), w - state.w).real < 0
            theta = jnp.where(uphill, 1, theta)
        return POGMState(new, w, z, theta, gamma, prior)
