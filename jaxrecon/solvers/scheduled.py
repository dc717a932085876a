"""Parameters that change with the iteration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ..value import static, value
from .base import Solver, changed_on_the_way
from .units import HasUnits


class ScheduledState(NamedTuple):
    x: jax.Array
    k: jax.Array  # iterations made
    inner: Any  # state of the solver


@value
class _Setup:
    aux: Any
    stacked: bool = static()  # one aux per iteration, or one for all


@value
class Scheduled(Solver, HasUnits):
    """A solver of which some leaves take another value in each iteration: continuation, plug-and-play schedules.

    What its setup makes is shared by all iterations where it does not depend on those leaves.

    Args:
        solver: any solver; its own values of the leaves do not matter.
        schedule: values by the name of the leaf, such as {"prior.lam": lams}: all with a leading axis of one length P.
            A leaf that is None has a name too. From iteration P on the last values stay.

    Raises:
        ValueError: a name that the solver lacks, or unequal lengths; lam of CGNR or Kaczmarz, which remember it.

    Example:
        >>> A, b = jr.Matrix(jnp.eye(2)), jnp.array([1.0, 0.05])
        >>> solver = jr.Scheduled(jr.ISTA(jr.L1(1.0)), {"prior.lam": jnp.array([0.5, 0.2, 0.1])})
        >>> print(jr.solve(A, b, solver, iterations=3).x.round(6))
        [0.9 0. ]
    """

    solver: Solver
    schedule: Mapping[str, Any]

    def check(self):
        if not isinstance(self.solver, Solver):
            raise TypeError(f"Scheduled takes a solver such as jr.ISTA(prior), got {self.solver!r}")
        names = [_name(path) for path, _ in _flatten(self.solver)[0]]
        unknown = [name for name in self.schedule if name not in names]
        if unknown or not self.schedule:
            raise ValueError(f"schedule names leaves of the solver ({', '.join(names)}), got "
                             f"{', '.join(unknown) or 'none'}")
        for name in {*self.schedule} & {*self.solver.remembered}:
            raise ValueError(changed_on_the_way(self.solver, name))
        schedule = {name: v if hasattr(v, "shape") else jnp.asarray(v) for name, v in self.schedule.items()}
        lengths = {name: v.shape[0] if v.ndim else None for name, v in schedule.items()}
        if None in lengths.values() or len(set(lengths.values())) > 1 or 0 in lengths.values():
            raise ValueError(f"schedule needs arrays with a leading axis of one length, the iterations; got {lengths}")
        object.__setattr__(self, "schedule", schedule)

    @property
    def default_data(self):
        return self.solver.default_data

    @property
    def least_iterations(self):
        return self.length

    @property
    def length(self) -> int:
        """The number of iterations that have values of their own."""
        return next(iter(self.schedule.values())).shape[0]

    def at(self, k: Any) -> Solver:
        """The solver of iteration k."""
        k = jnp.minimum(k, self.length - 1)
        return self._with({name: v[k] for name, v in self.schedule.items()})

    def _with(self, values: Mapping[str, Any]) -> Solver:
        pairs, structure = _flatten(self.solver)
        return jax.tree.unflatten(structure, [values.get(_name(path), leaf) for path, leaf in pairs])

    def in_units(self, units: Any) -> Scheduled:
        stacked = jax.vmap(lambda values: units.of_solver(self._with(values)))(dict(self.schedule))
        leaves = {_name(path): leaf for path, leaf in _flatten(stacked)[0]}
        return Scheduled(units.of_solver(self.solver), {name: leaves[name] for name in self.schedule})

    def penalty(self, x):
        return self.at(self.length - 1).penalty(x)

    def setup(self, problem):
        def one(values):
            return self._with(values).setup(problem)

        try:
            # Refused where anything depends on the scheduled leaves.
            return _Setup(jax.vmap(one, out_axes=None)(dict(self.schedule)), False)
        except ValueError:
            return _Setup(jax.vmap(one)(dict(self.schedule)), True)

    def init(self, problem, x0, aux):
        inner = self.at(0).init(problem, x0, _at(aux, 0))
        return ScheduledState(self.solver.solution(inner), jnp.zeros((), int), inner)

    def step(self, problem, state, aux):
        k = jnp.minimum(state.k, self.length - 1)
        inner = self.at(k).step(problem, state.inner, _at(aux, k))
        return ScheduledState(self.solver.solution(inner), state.k + 1, inner)

    def variables(self, problem, state, aux):
        return self.at(self.length - 1).variables(problem, state.inner, _at(aux, -1))

    def fixed_map(self, problem, z, aux, state):
        """By the last values: the fixed point is theirs."""
        return self.at(self.length - 1).fixed_map(problem, z, _at(aux, -1), state.inner)


def _at(setup: _Setup, k: Any) -> Any:
    return jax.tree.map(lambda v: v[k], setup.aux) if setup.stacked else setup.aux


def _flatten(solver: Solver) -> tuple[list[tuple[Any, Any]], Any]:
    """Leaves with their paths, None among them, and a structure that takes a value in the place of a None."""
    return jax.tree_util.tree_flatten_with_path(solver, is_leaf=lambda v: v is None)


def _name(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator=".")
