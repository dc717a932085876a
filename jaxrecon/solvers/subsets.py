"""Ordered subsets: the views of an operator in groups, visited one after the other."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import numpy as np

from ..operator import LinearOperator, RealPart, without_norm
from ..operator.algebra import Composed, Scaled
from ..operators import Diagonal
from ..value import is_count

ORDERS = ("golden", "cyclic")


class Subsets(NamedTuple):
    """Stacked, to be scanned over.

    Attributes:
        index: (subsets, views), the views of each, in the order of the subsets.
        present: likewise; False for a view that only fills up a shorter subset.
    """

    index: Any
    present: Any

    def only_present(self, y: jax.Array) -> jax.Array:
        """Measurements of one subset, 0 in the views that fill it up."""
        return y * self.present.reshape(-1, *[1] * (y.ndim - 1)).astype(y.dtype)


def check_subsets(owner: Any, subsets: Any, order: str) -> None:
    """The fields of a solver that say what subsets it takes."""
    if order not in ORDERS:
        raise ValueError(f"order is one of {', '.join(map(repr, ORDERS))}, got {order!r}")
    if subsets is not None and not is_count(subsets):
        raise ValueError(f"{type(owner).__name__} needs subsets >= 1 or None, got {subsets}")


def subsets_of(A: LinearOperator, b: jax.Array, subsets: int | None, order: str) -> Subsets:
    """The views of each of so many subsets (None: one view each): view v belongs to subset v mod `subsets`.

    Raises:
        ValueError: more subsets than views; an operator whose views cannot be told apart.
    """
    views = b.shape[0]
    n = views if subsets is None else int(subsets)
    if n > views:
        raise ValueError(f"{n} subsets cannot be made of {views} views: take subsets <= {views}")
    visit = np.arange(n)
    if order == "golden":
        visit = np.argsort(np.argsort(np.mod(visit * (np.sqrt(5) - 1) / 2, 1)))
    index = visit[:, None] + n * np.arange(-(-views // n))
    present = index < views
    index = np.where(present, index, visit[:, None]).astype(np.int32)
    select_views(A, index[0])  # says at once where it cannot
    return Subsets(index, present)


def select_views(A: LinearOperator, index: Any) -> LinearOperator:
    """The operator that makes only the measurements `index` along their first axis; `index` may be traced."""
    A = without_norm(A)  # a part has another one
    if isinstance(A, Composed):
        if isinstance(A.outer, Diagonal):  # weights of the measurements
            return Composed(Diagonal(A.outer.d[index]), select_views(A.inner, index))
        return Composed(select_views(A.outer, index), A.inner)
    if isinstance(A, RealPart):
        return RealPart(select_views(A.operator, index))
    if isinstance(A, Scaled):
        return dataclasses.replace(A, operator=select_views(A.operator, index))
    views = getattr(A, "views", None)
    if views is None:
        raise ValueError(f"subsets are of views, and {type(A).__name__} has none: jr.XRay, jr.ConeBeamXRay and "
                         "matrices have, also weighted or after another operator; for slices use jax.vmap over "
                         "jr.solve, else a method without subsets such as jr.SIRT")
    return views(index)
