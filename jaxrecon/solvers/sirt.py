"""The simultaneous iterative reconstruction technique."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..fidelity import quadratic
from ..operator import LinearOperator, real_dtype
from ..value import describe, is_complex, is_concrete, safe_divide, value
from .base import Iterate, Solver, check_prior


class InverseSums(NamedTuple):
    columns: jax.Array  # 1 / sum_i |a_ij|, 0 for a column of zeros
    rows: Any  # 1 / sum_j |a_ij|, likewise


@value
class SIRT(Solver):
    """x <- P(x + t C A^H R (b - A x)), C and R the inverse sums of the columns and rows of A (Gilbert 1972).

    Landweber's iteration in the weights R and C: it converges to a minimiser of (A x - b)^H R (A x - b), subject to the
    constraint where there is one, and not to that of |A x - b|^2 unless A x = b can be solved. It needs no step size:
    |R^1/2 A C^1/2| <= 1. With `jr.LeastSquares(w)` A and b are those scaled by sqrt(w).

    Args:
        prior: a constraint, whose projection P follows every update: `jr.NonNegative()`, `jr.Box(lo, hi)`.
        relaxation: t, 0 < t < 2.

    Raises:
        ValueError: a prior that is not a projection, t outside (0, 2), a complex operator that is not a `jr.Matrix`. An
            operator with negative entries that is not a `jr.Matrix` gives NaN, and `ok` False.

    Example:
        >>> A, b = jr.Matrix(jnp.array([[1.0, 1.0], [0.0, 2.0]])), jnp.array([3.0, 4.0])
        >>> jr.solve(A, b, jr.SIRT(), iterations=100).x.round(6).tolist()
        [1.0, 2.0]
    """

    prior: Any = None
    relaxation: Any = 1.0

    def check(self):
        check_constraint(self, self.prior)
        check_relaxation(self, self.relaxation)

    def penalty(self, x):
        return super().penalty(x) if self.prior is None else self.prior(x)

    def setup(self, problem):
        return inverse_sums(quadratic(problem, self).A, "SIRT")

    def init(self, problem, x0, aux):
        return Iterate(x0)

    def step(self, problem, state, aux):
        move = problem.A.apply_adjoint(jax.tree.map(jnp.multiply, aux.rows, problem.residual(state.x)))
        x = state.x - self.relaxation * aux.columns * move
        return Iterate(x if self.prior is None else self.prior.prox(x))


def inverse_sums(A: LinearOperator, name: str) -> InverseSums:
    """The inverse row and column sums of an operator without negative entries, or of the moduli of a matrix."""
    real = real_dtype(A.domain)
    if A.matrix is not None:
        moduli = jnp.abs(A.matrix)
        return InverseSums(safe_divide(1, moduli.sum(0)).reshape(A.domain.shape), safe_divide(1, moduli.sum(1)))
    if is_complex((A.domain, A.codomain)):
        raise ValueError(f"{name} needs real entries >= 0, and {type(A).__name__} is complex ({describe(A.domain)} to "
                         f"{describe(A.codomain)}); use jr.CGNR or jr.Landweber")
    rows = A.apply(jnp.ones(A.domain.shape, real))
    columns = A.apply_adjoint(jax.tree.map(jnp.ones_like, rows))
    good = ~_has_negative_entries(A, rows)
    return jax.tree.map(lambda v: jnp.where(good, safe_divide(1, v), jnp.nan), InverseSums(columns, rows))


def _has_negative_entries(A, rows):
    """Whether A takes some 0 <= x <= 1 below 0 or above the row sums, as no operator with entries >= 0 can. Of 0 and 1
    at random: half of them 1, which long rows show, and a tenth, which leaves single entries of short ones alone."""
    def within(key, share):
        x = jax.random.bernoulli(key, share, A.domain.shape).astype(real_dtype(A.domain))
        return jax.tree.map(lambda y, r: jnp.all((y >= -1e-4 * jnp.max(r)) & (y <= r + 1e-4 * jnp.max(r))),
                            A.apply(x), rows)

    tries = [within(key, share) for key, share in zip(jax.random.split(jax.random.key(0)), (0.5, 0.1), strict=True)]
    return ~jnp.all(jnp.stack(jax.tree.leaves(tries)))


def check_constraint(owner: Any, prior: Any) -> None:
    """None, or a prior that is a projection."""
    if prior is None:
        return
    check_prior(owner, prior)
    if not getattr(prior, "projection", False):
        name = type(owner).__name__
        raise ValueError(f"{name} takes a constraint (jr.NonNegative(), jr.Box(lo, hi)), got {type(prior).__name__}: "
                         f"{name} with its prox would not minimise anything; use jr.PDHG, jr.FISTA or jr.ADMM")


def check_relaxation(owner: Any, relaxation: Any) -> None:
    """A number in (0, 2), where it is known now."""
    if is_concrete(relaxation) and not (np.all(np.asarray(relaxation) > 0) and np.all(np.asarray(relaxation) < 2)):
        raise ValueError(f"{type(owner).__name__} converges for 0 < relaxation < 2, got {relaxation}")
