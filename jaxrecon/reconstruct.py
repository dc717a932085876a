"""Reconstructors that need no training: x = reconstructor(A, b)."""

from __future__ import annotations

from typing import Any

import jax

from .fidelity import cast_measurements
from .operator import LinearOperator
from .solvers import Solver, solve
from .value import is_count, static, value


@value
class Iterative:
    """x = argmin 1/2 |A x - b|^2 + sum_i prior_i(x), by a number of iterations of a solver.

    Args:
        solver: a value such as `jr.FISTA(jr.TV(1e-3))`.
        iterations, data, tolerance, differentiate, scale: as for `jr.solve`.

    Example:
        >>> r = jr.Iterative(jr.CGNR(), iterations=2)
        >>> r(jr.Matrix(jnp.array([[2.0, 0.0], [0.0, 1.0]])), jnp.array([2.0, 3.0])).round(6).tolist()
        [1.0, 3.0]
    """

    solver: Solver
    iterations: int = static(default=100)
    data: Any = None
    tolerance: Any = None
    differentiate: str = static(default="unrolled")
    scale: str | None = static(default=None)

    def check(self):
        if not isinstance(self.solver, Solver):
            raise TypeError(f"Iterative takes a solver such as jr.CGNR() or jr.FISTA(prior), got {self.solver!r}")
        if not is_count(self.iterations, least=0):
            raise ValueError(f"Iterative: iterations must be an integer >= 0, got {self.iterations!r}")

    def __call__(self, A: LinearOperator, b: Any) -> jax.Array:
        return solve(A, b, self.solver, self.iterations, data=self.data, tolerance=self.tolerance,
                     differentiate=self.differentiate, scale=self.scale).x


@value
class ZeroFilled:
    """x = A^H b: for masked Fourier data the image with zeros in place of what was not measured.

    Example:
        >>> jr.ZeroFilled()(jr.Matrix(jnp.array([[2.0]])), jnp.array([1.0])).tolist()
        [2.0]
    """

    def __call__(self, A: LinearOperator, b: Any) -> jax.Array:
        return A.H(cast_measurements(A, b)[0])
