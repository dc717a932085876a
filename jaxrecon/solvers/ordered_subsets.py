"""SART: the simultaneous technique on one subset of the views after the other."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..fidelity import quadratic
from ..operator import LinearOperator, without_norm
from ..operator.algebra import Composed, Scaled
from ..operators import Diagonal, Matrix
from ..value import safe_divide, static, value
from .base import Iterate, Solver
from .sirt import check_constraint, check_relaxation, inverse_sums

ORDERS = ("golden", "cyclic")


class Subsets(NamedTuple):
    index: Any  # (subsets, views): the views of each, in the order of the subsets
    present: Any  # likewise: 0 for a view that only fills up a shorter subset
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
        if self.order not in ORDERS:
            raise ValueError(f"order is one of {', '.join(map(repr, ORDERS))}, got {self.order!r}")
        if self.subsets is not None and (int(self.subsets) != self.subsets or self.subsets < 1):
            raise ValueError(f"SART needs subsets >= 1, or None for one view in each, got {self.subsets}")

    def penalty(self, x):
        return super().penalty(x) if self.prior is None else self.prior(x)

    def setup(self, problem):
        A = quadratic(problem, self).A
        moduli = None if A.matrix is None else Matrix(jnp.abs(A.matrix))
        index, present = subsets_of(problem.b.shape[0], self.subsets, self.order)
        select_views(A, index[0])  # says at once where it cannot
        return Subsets(index, present, inverse_sums(A, "SART").rows, moduli)

    def init(self, problem, x0, aux):
        return Iterate(x0)

    def step(self, problem, state, aux):
        def subset(x, item):
            index, present = item
            part = select_views(problem.A, index)
            error = aux.rows[index] * (problem.b[index] - part.apply(x))
            present = present.reshape(-1, *[1] * (error.ndim - 1)).astype(error.dtype)
            error, ones = present * error, present * jnp.ones_like(error)
            if aux.moduli is None:
                # Both back-projections at once cost little more than one.
                move, columns = jax.vmap(part.apply_adjoint)(jnp.stack([error, ones]))
            else:
                move = part.apply_adjoint(error)
                columns = select_views(aux.moduli, index).apply_adjoint(ones.real).reshape(x.shape)
            x = x + self.relaxation * safe_divide(1, columns.real) * move
            return (x if self.prior is None else self.prior.prox(x)), None

        return Iterate(jax.lax.scan(subset, state.x, (aux.index, aux.present))[0])


def subsets_of(views: int, subsets: int | None, order: str) -> tuple[np.ndarray, np.ndarray]:
    """The views of each subset, in the order of the subsets, and which of them are there: some may be one short."""
    n = views if subsets is None else int(subsets)
    if n > views:
        raise ValueError(f"SART cannot make {n} subsets of {views} views: take subsets <= {views}")
    visit = np.arange(n)
    if order == "golden":
        visit = np.argsort(np.argsort(np.mod(visit * (np.sqrt(5) - 1) / 2, 1)))
    index = visit[:, None] + n * np.arange(-(-views // n))
    present = index < views
    return np.where(present, index, visit[:, None]).astype(np.int32), present


def select_views(A: LinearOperator, index: Any) -> LinearOperator:
    """The operator that makes only the measurements `index` along their first axis; `index` may be traced."""
    A = without_norm(A)  # a part has another one
    if isinstance(A, Composed):
        if isinstance(A.outer, Diagonal):  # weights of the measurements
            return Composed(Diagonal(A.outer.d[index]), select_views(A.inner, index))
        return Composed(select_views(A.outer, index), A.inner)
    if isinstance(A, Scaled):
        return dataclasses.replace(A, operator=select_views(A.operator, index))
    views = getattr(A, "views", None)
    if views is None:
        raise ValueError(f"SART needs the views of A, and {type(A).__name__} has none: it takes jr.XRay, "
                         "jr.ConeBeamXRay and matrices, also weighted or after another operator; for slices use "
                         "jax.vmap over jr.solve, else jr.SIRT")
    return views(index)
