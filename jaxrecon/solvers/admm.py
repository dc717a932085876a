"""The alternating direction method of multipliers."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ..checks import check_positive
from ..fidelity import LeastSquaresProblem, quadratic
from ..operator import Stacked, stack
from ..operators import Identity
from ..priors.base import scalar_like
from ..value import is_concrete, norm, static, value
from .base import Solver, as_priors
from .normal_inverse import NormalInverse, normal_inverse

BALANCE_STEPS = 50


class ADMMState(NamedTuple):
    x: jax.Array
    z: tuple  # one split variable K_i x per prior
    u: tuple  # scaled duals
    rho: jax.Array
    k: jax.Array  # iterations made
    image: jax.Array  # what is shown: z of a prior without transform (sparse, feasible), else x


class _Aux(NamedTuple):
    transforms: Stacked
    inverse: NormalInverse


@value
class ADMM(Solver):
    """min 1/2 |A x - b|^2 + sum_i g_i(K_i x), by splitting z_i = K_i x (Boyd et al. 2011).

    x solves (A^H A + rho sum_i K_i^H K_i) x = A^H b + rho sum_i K_i^H (z_i - u_i) exactly: Cholesky for a Matrix, FFT
    where both sides are diagonal under it, else CG run to rounding.
    z_i = prox_{g_i / rho}(K_i x + u_i); u_i += K_i x - z_i.

    Args:
        prior: one prior or a list of them, each with its own transform.
        rho: penalty weight > 0; changes the speed, not the solution.
        balance: residual balancing: rho is doubled or halved where the relative primal and dual residuals differ by
            more than 5, in the first 50 iterations (Wohlberg 2017). One factorisation serves every rho.
        relaxation: over-relaxation in [1, 2); 1.8 is usual.

    Example:
        >>> prior = [jr.L1(0.1), jr.NonNegative()]
        >>> x = jr.solve(jr.Matrix(jnp.eye(2)), jnp.array([1.0, -1.0]), jr.ADMM(prior), iterations=60).x
        >>> x.round(5).tolist()
        [0.9, 0.0]
    """

    prior: Any
    rho: Any = 1.0
    balance: bool = static(default=False)
    relaxation: Any = 1.0

    def check(self):
        object.__setattr__(self, "prior", as_priors(self, self.prior))
        check_positive(self, "rho", self.rho)
        if not isinstance(self.balance, bool):
            raise TypeError(f"ADMM: balance is True or False, got {self.balance!r}")
        check_positive(self, "relaxation", self.relaxation)
        if is_concrete(self.relaxation) and bool(np.any(np.asarray(self.relaxation) >= 2)):
            raise ValueError(f"ADMM needs relaxation < 2 to converge, got {self.relaxation}")

    def penalty(self, x):
        return sum(p(x) for p in self.prior)

    def setup(self, problem):
        problem = quadratic(problem, self)
        domain = problem.domain
        transforms = stack([K or Identity(domain) for K, _ in self._split(domain)])
        rho = None if self.balance else scalar_like(self.rho, domain)
        return _Aux(transforms, normal_inverse(problem, transforms, rho))

    def _split(self, x):
        domain = jax.ShapeDtypeStruct(x.shape, x.dtype)
        return [p.split(domain) for p in self.prior]

    def init(self, problem, x0, aux):
        z = aux.transforms.apply(x0)
        rho = scalar_like(self.rho, x0)
        return ADMMState(x0, z, jax.tree.map(jnp.zeros_like, z), rho, jnp.zeros((), int), x0)

    def solution(self, state):
        return state.image

    def step(self, problem: LeastSquaresProblem, state, aux):
        # Unrolled, each iteration may have a rho of its own; scaled duals change with it.
        rho = state.rho if self.balance else scalar_like(self.rho, state.x)
        u = state.u if self.balance else jax.tree.map(lambda v: v * (state.rho / rho), state.u)
        K = aux.transforms
        target = jax.tree.map(jnp.subtract, state.z, u)
        x = aux.inverse.solve(rho, problem.rhs + rho * K.apply_adjoint(target), state.x)
        Kx = K.apply(x)
        relaxation = scalar_like(self.relaxation, x)
        mixed = jax.tree.map(lambda new, old: relaxation * new + (1 - relaxation) * old, Kx, state.z)
        z, image = [], x
        for (transform, penalty), v, dual in zip(self._split(x), mixed, u, strict=True):
            z.append(penalty.prox(jax.tree.map(jnp.add, v, dual), 1 / rho))
            if transform is None and image is x:
                image = z[-1]
        z = tuple(z)
        u = jax.tree.map(lambda u, v, z: u + v - z, u, mixed, z)
        if self.balance:
            rho, u = self._balanced(K, state, Kx, z, u)
        return ADMMState(x, z, u, rho, state.k + 1, image)

    def variables(self, problem, state, aux):
        return state.z, state.u

    def fixed_map(self, problem: LeastSquaresProblem, z, aux, state):
        """A step with the last rho, which balancing has brought to a fixed multiple of the first."""
        first = scalar_like(self.rho, state.x)
        rho = first * lax.stop_gradient(state.rho / first)
        start = ADMMState(state.x, z[0], z[1], rho, state.k, state.image)
        new = dataclasses.replace(self, rho=rho, balance=False).step(problem, start, aux)
        return (new.z, new.u), new.image

    def _balanced(self, K, state, Kx, z, u):
        rho = state.rho
        primal = norm(jax.tree.map(jnp.subtract, Kx, z)) * norm(K.apply_adjoint(u))
        dual = norm(K.apply_adjoint(jax.tree.map(jnp.subtract, z, state.z))) * jnp.maximum(norm(Kx), norm(z))
        # Both sides are cleared of their denominators; the common factor rho is left out of the dual pair.
        factor = jnp.where(primal > 5 * dual, 2, jnp.where(dual > 5 * primal, 0.5, 1)).astype(rho.dtype)
        factor = jnp.where(state.k < BALANCE_STEPS, factor, 1)
        return rho * factor, jax.tree.map(lambda v: v / factor, u)
