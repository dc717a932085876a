"""Primal-dual splitting: no inner solve, any number of priors with their transforms."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ..checks import check_positive
from ..operator import Stacked, stack
from ..operator.quantities import largest_eigenvalue
from ..operators import Identity
from ..priors.base import Prior, scalar_like
from ..value import safe_divide, value
from .base import Solver, as_priors


class PDHGState(NamedTuple):
    x: jax.Array
    ahead: jax.Array  # 2 x_k - x_{k-1}
    data: Any  # dual of the data term
    duals: tuple  # one dual per prior with a transform


class _Steps(NamedTuple):
    tau: jax.Array
    sigma: jax.Array  # of the priors' duals
    sigma_data: jax.Array
    transforms: Stacked | None


class _Split(NamedTuple):
    direct: Prior | None  # the prior whose prox acts on x
    dual: list[Prior]  # penalties behind a transform
    transforms: Stacked | None


def _given(solver, problem, transforms):
    tau, sigma = scalar_like(solver.tau, problem.domain), scalar_like(solver.sigma, problem.domain)
    return _Steps(tau, sigma, sigma, transforms)


def split_priors(priors: tuple[Prior, ...], x: Any) -> _Split:
    """The first prior without a transform acts on x directly; all others through a dual variable."""
    direct, dual, transforms = None, [], []
    domain = jax.ShapeDtypeStruct(x.shape, x.dtype)
    for p in priors:
        K, penalty = p.split(domain)
        if K is None and direct is None:
            direct = penalty
        else:
            dual.append(penalty)
            transforms.append(Identity(domain) if K is None else K)
    return _Split(direct, dual, stack(transforms) if transforms else None)


class _PrimalDual(Solver):
    prior: Any
    tau: Any
    sigma: Any

    def check(self):
        object.__setattr__(self, "prior", as_priors(self, self.prior))
        check_positive(self, "tau", self.tau)
        check_positive(self, "sigma", self.sigma)
        if (self.tau is None) != (self.sigma is None):
            raise ValueError(f"{type(self).__name__}: give both tau and sigma, or neither; got tau={self.tau}, "
                             f"sigma={self.sigma}")

    def penalty(self, x):
        return sum(p(x) for p in self.prior)


@value
class PDHG(_PrimalDual):
    """min 1/2 |A x - b|^2 + sum_i g_i(K_i x) with A, too, behind a dual variable (Chambolle and Pock 2011).

    Needs no inverse and no gradient of the data term. Where A is badly conditioned (CT, blur) it takes thousands of
    iterations; one prior goes faster by FISTA (`Constrained`), several by ADMM. Convergent for
    tau sigma |(A, K)|^2 < 1.

    Args:
        prior: one prior or a list of them.
        tau, sigma: primal and dual step. None: with s = 0.99 / (1 + |K|^2)^1/2 and |A|, |K| by power iteration,
            tau = s / |A|^2, and sigma = s for the data, s |A|^2 for the priors (for other data terms tau / c, c sigma
            with their typical curvature c).

    Example:
        >>> solver = jr.PDHG(jr.TV(0.2))
        >>> x = jr.solve(jr.Identity((4,)), jnp.array([0.0, 0.0, 1.0, 1.0]), solver, iterations=300).x
        >>> x.round(4).tolist()
        [0.1, 0.1, 0.9, 0.9]
    """

    prior: Any
    tau: Any = None
    sigma: Any = None

    def setup(self, problem):
        transforms = split_priors(self.prior, problem.domain).transforms
        if self.tau is not None:
            return _given(self, problem, transforms)
        # As for A / |A| and a data term of curvature 1: the iterates do not depend on the units of A, b and x.
        data = largest_eigenvalue(problem.gram)
        prior = jnp.zeros_like(data) if transforms is None else largest_eigenvalue(transforms.gram)
        step, curvature = 0.99 / jnp.sqrt(1 + prior), problem.scale * jnp.where(data > 0, data, 1)
        return _Steps(step / curvature, step * curvature, step * problem.scale, transforms)

    def init(self, problem, x0, aux):
        duals = () if aux.transforms is None else jax.tree.map(jnp.zeros_like, aux.transforms.apply(x0))
        return PDHGState(x0, x0, jax.tree.map(jnp.zeros_like, problem.b), duals)

    def step(self, problem, state, aux):
        data, duals = self._ascend(problem, aux, state.ahead, state.data, state.duals)
        x = self._descend(problem, aux, state.x, data, duals)
        return PDHGState(x, 2 * x - state.x, data, duals)

    def _ascend(self, problem, aux, ahead, data, duals):
        moved = jax.tree.map(lambda y, v: y + aux.sigma_data * v, data, problem.A.apply(ahead))
        data = problem.dual_prox(moved, aux.sigma_data)
        if aux.transforms is None:
            return data, ()
        penalties = split_priors(self.prior, ahead).dual
        moved = jax.tree.map(lambda y, v: y + aux.sigma * v, duals, aux.transforms.apply(ahead))
        return data, tuple(p.dual_prox(v, aux.sigma) for p, v in zip(penalties, moved, strict=True))

    def _descend(self, problem, aux, x, data, duals):
        back = problem.A.apply_adjoint(data)
        if aux.transforms is not None:
            back = back + aux.transforms.apply_adjoint(duals)
        direct = split_priors(self.prior, x).direct
        x = x - aux.tau * back
        return x if direct is None else direct.prox(x, aux.tau)

    def variables(self, problem, state, aux):
        return state.x, state.data, state.duals

    def fixed_map(self, problem, z, aux, state):
        """Descent first: in this order a step is an averaged map, in some metric (He and Yuan 2012)."""
        x, data, duals = z
        new = self._descend(problem, aux, x, data, duals)
        return (new, *self._ascend(problem, aux, 2 * new - x, data, duals)), new


class CondatVuState(NamedTuple):
    x: jax.Array
    duals: tuple


@value
class CondatVu(_PrimalDual):
    """min 1/2 |A x - b|^2 + sum_i g_i(K_i x) by the gradient of the data term (Condat 2013; Vu 2013).

    One A^H A per iteration, for A^H A near the identity (MRI); elsewhere see `PDHG`. Convergent for
    1/tau - sigma |K|^2 >= |A|^2 / 2.

    Args:
        prior: one prior or a list of them.
        tau, sigma: primal and dual step. None: sigma = |A|^2 / (2 |K|^2) and tau = 0.99 / |A|^2, by power iteration.

    Example:
        >>> solver = jr.CondatVu(jr.TV(0.2))
        >>> x = jr.solve(jr.Identity((4,)), jnp.array([0.0, 0.0, 1.0, 1.0]), solver, iterations=300).x
        >>> x.round(4).tolist()
        [0.1, 0.1, 0.9, 0.9]
    """

    prior: Any
    tau: Any = None
    sigma: Any = None

    def setup(self, problem):
        transforms = split_priors(self.prior, problem.domain).transforms
        if self.tau is not None:
            return _given(self, problem, transforms)
        energy = problem.curvature()
        one = jnp.ones_like(energy)
        sigma = one if transforms is None else safe_divide(energy / 2, largest_eigenvalue(transforms.gram))
        # A = 0 or K = 0 asks nothing of sigma, but that it is not 0.
        return _Steps(safe_divide(0.99, energy), jnp.where(sigma > 0, sigma, one), one, transforms)

    def init(self, problem, x0, aux):
        duals = () if aux.transforms is None else jax.tree.map(jnp.zeros_like, aux.transforms.apply(x0))
        return CondatVuState(x0, duals)

    def step(self, problem, state, aux):
        tau, sigma, _, K = aux
        split = split_priors(self.prior, state.x)
        slope = problem.gradient(state.x)
        if K is not None:
            slope = slope + K.apply_adjoint(state.duals)
        x = state.x - tau * slope
        if split.direct is not None:
            x = split.direct.prox(x, tau)
        duals = ()
        if K is not None:
            moved = jax.tree.map(lambda y, v: y + sigma * v, state.duals, K.apply(2 * x - state.x))
            duals = tuple(p.dual_prox(v, sigma) for p, v in zip(split.dual, moved, strict=True))
        return CondatVuState(x, duals)

    def variables(self, problem, state, aux):
        return state
