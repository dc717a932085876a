"""The units of a system: a solve in them means the same by lam whatever the gain of the scanner."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from ..fidelity import LeastSquares, cast_measurements, quadratic
from ..operator import KnownNorm, LinearOperator
from ..operator.base import real_dtype
from ..priors.base import Prior
from ..value import value

SCALES = (None, "system")


@value
class Units:
    """1 for the operator, and 1 for the image: |A|_2, and |A^H b|_inf / |A|^2."""

    operator: jax.Array
    image: jax.Array

    @property
    def measurements(self) -> jax.Array:
        return self.operator * self.image

    def of_operator(self, A: LinearOperator) -> LinearOperator:
        """A / |A|, which knows that its norm is 1."""
        A = A / self.operator
        return A if A.matrix is not None else KnownNorm(A, jnp.ones_like(self.operator))

    def of_solver(self, solver: Any) -> Any:
        """The solver with what it knows in the units of x or b (bounds, a residual to stop at) in these."""
        def has_units(node):
            return isinstance(node, Prior | HasUnits) and hasattr(node, "in_units")

        return jax.tree.map(lambda v: v.in_units(self) if has_units(v) else v, solver, is_leaf=has_units)

    def of_record(self, record: Any, A: LinearOperator, b: Any) -> Any:
        return None if record is None else Partial(_observed, record, A, b, self.image)

    def restore(self, history: Any, names: Any) -> Any:
        """What was recorded by name, in the units of the caller."""
        factors = {"objective": self.measurements**2, "fidelity": self.measurements**2,
                   "residual": self.measurements, "change": jnp.ones_like(self.image), "x": self.image}
        if names is None:
            return history
        if isinstance(names, str):
            return factors[names] * history
        return {name: factors[name] * v for name, v in history.items()}


class HasUnits:
    """A solver that holds a number in the units of x or b, with `in_units(units)` to give it in others."""


def _observed(record, A, b, unit, _, __, x):
    return record(A, b, unit * x)


def system_units(A: LinearOperator, b: Any, data: Any) -> Units:
    """The units of A and b.

    Raises:
        ValueError: data other than least squares: counts have a unit of their own.
    """
    b, _ = cast_measurements(A, b)
    problem = quadratic((LeastSquares() if data is None else data).problem(A, b), 'scale="system"')
    squared = problem.curvature()
    squared = jnp.where(squared > 0, squared, 1)
    largest = jnp.max(jnp.abs(problem.rhs))
    image = jnp.where(largest > 0, largest, squared) / squared
    real = real_dtype(problem.rhs)
    return Units(jnp.sqrt(squared).astype(real), image.astype(real))
