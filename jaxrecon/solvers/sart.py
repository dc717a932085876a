"""SART: the simultaneous technique on one subset of the views after the other."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ..fidelity import quadratic
from ..operator import LinearOperator
from ..operators import Matrix
from ..value import safe_divide, static, value
from .base import Iterate, Solver
from .sirt import check_constraint, check_relaxation, inverse_sums
from .subsets import Subsets, check_subsets, select_views, subsets_of


class _Setup(NamedTuple):
    subsets: Subsets
    rows: Any  # inverse row sums, as b
    moduli: LinearOperator | None  # |A| where it is not A


@value
class SART(Solver):
    """x <- P(x + t C_s A_s^H R_s (b_s - A_s x)) for one subset s of the views after the other, all in one iteration.

    C_s and R_s are the inverse sums of the columns and rows of A_s. One view per subset is SART (Andersen and Kak
    1984), several are SIRT by ordered subsets (OS-SIRT), one subset of all views is `SIRT`. A few passes do what takes
    SIRT some hundred iterations; where A x = b has no solution they end in a cycle around a weighted least-squares
    solution, the tighter the smaller t. Both back-projections that an update needs are made at once, and nothing of the
    size of `subsets` images is kept.

    Args:
        subsets: how many; None: one view in each. View v belongs to subset v mod `subsets`.
        prior: a constraint, whose projection P follows every update: `jr.NonNegative()`, `jr.Box(lo, hi)`.
        relaxation: t, 0 < t < 2.
        order: "golden", each subset by the golden ratio of the circle away from the last (Koehler 2004), or "cyclic".

    Raises:
        ValueError: an operator whose views cannot be told apart (it needs rows, or a method `views(index)` as `jr.XRay`
            has), more subsets than views, a prior that is not a projection, t outside (0, 2), an unknown order; an
            operator that does not suit `jr.SIRT`.

    Example:
        >>> A, b = jr.Matrix(jnp.array([[2.0, 0.0], [0.0, 4.0]])), jnp.array([2.0, 8.0])
        >>> jr.solve(A, b, jr.SART(), iterations=1).x.tolist()
        [1.0, 2.0]
    """

    subsets: int | None = static(default=None)
    prior: Any = None
    relaxation: Any = 1.0
    order: str = static(default="golden")

    def check(self):
        check_constraint(self, self.prior)
        check_relaxation(self, self.relaxation)
        check_subsets(self, self.subsets, self.order)

    def penalty(self, x):
        return super().penalty(x) if self.prior is None else self.prior(x)

    def setup(self, problem):
        A = quadratic(problem, self).A
        moduli = None if A.matrix is None else Matrix(jnp.abs(A.matrix))
        subsets = subsets_of(A, problem.b, self.subsets, self.order)
        return _Setup(subsets, inverse_sums(A, "SART").rows, moduli)

    def init(self, problem, x0, aux):
        return Iterate(x0)

    def step(self, problem, state, aux):
        def update(x, subset):
            index = subset.index
            part = select_views(problem.A, index)
            error = aux.rows[index] * (problem.b[index] - part.apply(x))
            ones = subset.only_present(jnp.ones_like(error))
            error = ones * error
            if aux.moduli is None:
                # Both back-projections at once cost little more than one.
                move, columns = jax.vmap(part.apply_adjoint)(jnp.stack([error, ones]))
            else:
                move = part.apply_adjoint(error)
                columns = select_views(aux.moduli, index).apply_adjoint(ones.real).reshape(x.shape)
            x = x + self.relaxation * safe_divide(1, columns.real) * move
            return (x if self.prior is None else self.prior.prox(x)), None

        return Iterate(jax.lax.scan(update, state.x, aux.subsets)[0])
