"""What every solver is."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ..fidelity import DataTerm, LeastSquares, Problem
from ..priors.base import Prior, scalar_like
from ..value import safe_divide


class Solver:
    """A method that minimises the data term, 1/2 |A x - b|^2 unless said otherwise, + sum_i prior_i(x), as a value.

    A subclass gives three pure functions: `setup(problem) -> aux`, what does not change over iterations (it may depend
    on the solver's own leaves); `init(problem, x0, aux) -> state`, a NamedTuple with a field x; and
    `step(problem, state, aux) -> state`.

    What `differentiate="implicit"` needs on top, for a state that holds more than x and its prior's: `variables`, what
    a converged state is made of, and `fixed_map`, a step that maps them to themselves.

    Attributes:
        symmetric: `fixed_map` is z - M z + c with M self-adjoint and positive.
        least_iterations: before which no tolerance ends a solve.
        remembered: paths of leaves that its state depends on, so that they cannot change on the way.
    """

    symmetric = False
    least_iterations = 0
    remembered: tuple[str, ...] = ()

    @property
    def default_data(self) -> DataTerm:
        """The data term of a solve that names none."""
        return LeastSquares()

    def setup(self, problem: Problem) -> Any:
        return ()

    def init(self, problem: Problem, x0: jax.Array, aux: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} must define `init`")

    def step(self, problem: Problem, state: Any, aux: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} must define `step`")

    def solution(self, state: Any) -> jax.Array:
        """The image that a state stands for."""
        return state.x

    def variables(self, problem: Problem, state: Any, aux: Any) -> Any:
        """z of the fixed point z = T(z) that a converged state stands for: a tree of real and complex arrays.

        Raises:
            ValueError: there is none.
        """
        if isinstance(state, Iterate | ProximalState):
            return state
        raise ValueError(f"{type(self).__name__} has no fixed point that is known, so differentiate='implicit' cannot "
                         "find its derivative; use differentiate='unrolled' (a solver of your own gives `variables` "
                         "and `fixed_map`)")

    def fixed_map(self, problem: Problem, z: Any, aux: Any, state: Any) -> tuple[Any, jax.Array]:
        """(T(z), the image it stands for). `state` is the last one, for constants such as a balanced rho."""
        new = self.step(problem, z, aux)
        return new, self.solution(new)

    def penalty(self, x: jax.Array) -> jax.Array:
        """sum_i prior_i(x), for the recorded objective."""
        return jnp.zeros((), x.real.dtype)


class Iterate(NamedTuple):
    """The state of a method that remembers nothing but x."""

    x: jax.Array


class ProximalState(NamedTuple):
    x: jax.Array
    prior: Any  # warm state of the prior's prox


def step_or_found(step_size: Any, problem: Problem) -> jax.Array:
    """The given step, or the inverse of the curvature: 1/|A|^2 by power iteration."""
    return safe_divide(1, problem.curvature()) if step_size is None else scalar_like(step_size, problem.domain)


def relative(change: jax.Array, size: jax.Array) -> jax.Array:
    """change / size: 0 where nothing moves, also at 0; infinite where x has become 0."""
    return jnp.where((size == 0) & (change > 0), jnp.inf, safe_divide(change, size))


def changed_on_the_way(solver: Any, name: str) -> str:
    """The error for one of its `remembered` leaves."""
    return (f"{name} of {type(solver).__name__} cannot change on the way: its residual or dual belongs to the one "
            "before; take jr.ADMM or jr.FISTA with jr.L2(lam)")


def check_prior(owner: Any, prior: Any) -> None:
    """A number in place of a prior is a common slip."""
    if not isinstance(prior, Prior):
        raise TypeError(f"{type(owner).__name__} takes a prior such as jr.L1(0.1) (a subclass of jr.Prior), "
                        f"got {prior!r}")


def as_priors(owner: Any, prior: Any) -> tuple[Prior, ...]:
    """One prior or several, as a tuple."""
    priors = tuple(prior) if isinstance(prior, list | tuple) else (prior,)
    if not priors:
        raise ValueError(f"{type(owner).__name__} needs at least one prior; without one use jr.CGNR()")
    for p in priors:
        check_prior(owner, p)
    return priors
