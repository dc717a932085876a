"""Kaczmarz sweeps as a solver."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ..consistency.kaczmarz import check_rows, sweep_setup
from ..fidelity import LeastSquaresProblem
from ..priors.base import scalar_like
from ..value import is_concrete, norm, safe_divide, static, value
from .base import Solver, check_prior


class State(NamedTuple):
    x: jax.Array
    x0: jax.Array  # where it started: with lam > 0 the solution nearest to it
    w: jax.Array  # dual, one number per row: lam w solves the regularised system
    sweep: jax.Array  # number of sweeps made, which picks the random rows
    prior: Any


@value
class Kaczmarz(Solver):
    """min |A x - b|^2 + lam |x|^2 by projections on one row after the other (Kaczmarz 1937; with lam: Dax 1993).

    An iteration is one sweep over all rows.

    Args:
        lam: scalar >= 0, or one positive weight per unknown. With lam = 0 a consistent system is solved. A solve that
            starts from an x0 keeps near that: lam |x - x0|^2.
        order: "cyclic"; "shuffled", one random order for the whole solve; "random", rows drawn with replacement with
            probability |a_k|^2 (Strohmer and Vershynin 2009).
        prior: its prox follows every sweep: practice in MPI, not a minimiser. With lam > 0 projections only
            (`jr.NonNegative()`, `jr.Box`, `jr.RealValued()`), since other priors would drain x to 0.
        key: for "shuffled" and "random".
        block: rows per block; None picks by the machine. It changes the speed, not the iterates.

    Raises:
        ValueError: an operator without rows, a prior that is not a projection with lam > 0, a missing key.

    Example:
        >>> jr.solve(jr.Matrix(jnp.eye(2)), jnp.array([1.0, 2.0]), jr.Kaczmarz(), iterations=1).x.tolist()
        [1.0, 2.0]
    """

    lam: Any = 0.0
    order: str = static(default="cyclic")
    prior: Any = None
    key: Any = None
    block: int | None = static(default=None)
    symmetric = True
    remembered = ("lam",)  # so does the dual

    def check(self):
        check_rows(type(self).__name__, self.order, self.key, self.lam, self.block)
        if self.prior is None:
            return
        check_prior(self, self.prior)
        unregularised = is_concrete(self.lam) and not bool(np.any(np.asarray(self.lam) != 0))
        if not unregularised and not getattr(self.prior, "projection", False):
            raise ValueError(f"Kaczmarz with lam > 0 takes a projection as prior (NonNegative, Box, RealValued), got "
                             f"{type(self.prior).__name__}: its prox after each sweep drains x to 0; use jr.ADMM or "
                             "jr.FISTA, which minimise, or lam=0")

    def penalty(self, x):
        energy = jnp.sum(scalar_like(self.lam, x) * (jnp.conj(x) * x).real) / 2
        return energy if self.prior is None else energy + self.prior(x)

    def setup(self, problem):
        return sweep_setup(problem, self.lam, self.order, self.key, self.block)

    def init(self, problem, x0, aux):
        start = () if self.prior is None else self.prior.start(x0)
        return State(x0, x0, aux.zero_dual(x0), jnp.zeros((), int), start)

    def step(self, problem, state, aux):
        x, w = aux.run(state.x, state.w, state.sweep)
        prior = state.prior
        if self.prior is not None:
            x, prior = self.prior.warm_prox(x, 1.0, prior)
        return State(x, state.x0, w, state.sweep + 1, prior)

    def variables(self, problem, state, aux):
        if self.prior is not None:
            raise ValueError("Kaczmarz(prior=...) has no fixed point but a set of them, and where in it a solve ends "
                             "hangs on its path: use jr.Alternating(jr.KaczmarzSweep(lam), prior), or "
                             "differentiate='unrolled'")
        return state.x

    def fixed_map(self, problem: LeastSquaresProblem, z, aux, state):
        """A gradient step: the rows and their dual have the limit argmin |A x - b|^2 + lam |x - x0|^2."""
        lam = scalar_like(self.lam, z)
        size, target = norm(state.x), norm(problem.rhs)
        step = lax.stop_gradient(jnp.where((size > 0) & (target > 0), safe_divide(size, target), 1))
        x = z - step * (problem.gram.apply(z) - problem.rhs + lam * (z - state.x0))
        return x, x
