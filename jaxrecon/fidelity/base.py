"""What every data term is, and what solvers ask of one that is bound to A and b."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from ..checks import broadcasts
from ..operator import LinearOperator, arrays_like, matching_domain, real_dtype, with_dtype
from ..value import describe, is_complex


class Problem:
    """A data term f(A x) bound to A and b, with what its iterations need made once.

    Solvers and data-consistency steps get this value; `unroll` shares it between the solvers that it scans.

    Attributes:
        A: the operator, prepared. b: the measurements.
        gram: A^H A. domain: shape and dtype of x.
    """

    A: LinearOperator
    b: Any
    gram: LinearOperator

    @property
    def domain(self) -> jax.ShapeDtypeStruct:
        raise NotImplementedError(f"{type(self).__name__} must define `domain`")

    @property
    def scale(self) -> Any:
        """A typical f'', which balances the primal and dual steps of PDHG."""
        return 1

    def __call__(self, x: jax.Array) -> jax.Array:
        """f(A x), a real scalar."""
        raise NotImplementedError(f"{type(self).__name__} must define `__call__`")

    def gradient(self, x: jax.Array) -> jax.Array:
        """A^H f'(A x)."""
        raise NotImplementedError(f"{type(self).__name__} must define `gradient`")

    def residual(self, x: jax.Array) -> Any:
        """Predicted minus measured data."""
        raise NotImplementedError(f"{type(self).__name__} must define `residual`")

    def curvature(self) -> jax.Array:
        """A bound of the curvature of f(A x), so that a gradient step of its inverse descends."""
        raise NotImplementedError(f"{type(self).__name__} must define `curvature`")

    def dual_prox(self, v: Any, sigma: jax.Array) -> Any:
        """prox_{sigma f*}(v), f* the convex conjugate of f."""
        raise NotImplementedError(f"{type(self).__name__} must define `dual_prox`")


class DataTerm:
    """A statistic of the measurements: what `data=` of `jr.solve` takes.

    A subclass gives `problem(A, b)`, called inside jit, and may give `check_measurements(b)`, called before it.
    """

    def check_measurements(self, b: Any) -> None:
        """Raises ValueError for measurements that cannot be, where their values are known."""

    def problem(self, A: LinearOperator, b: Any) -> Problem:
        raise NotImplementedError(f"{type(self).__name__} must define `problem`")


def cast_measurements(A: LinearOperator, b: Any) -> tuple[Any, Any]:
    """b at the precision of A, and the domain of x that it implies (complex b, real coefficients: complex x).

    Raises:
        ValueError: b is not shaped as the measurements of A.
    """
    codomain = A.codomain
    b = arrays_like(codomain, b)
    shapes = [v.shape for v in jax.tree.leaves(b)]
    if jax.tree.structure(b) != jax.tree.structure(codomain) or shapes != [s.shape for s in jax.tree.leaves(codomain)]:
        raise ValueError(f"b is {describe(b)}, but {type(A).__name__} gives {describe(codomain)}; for a batch of "
                         "measurements use jax.vmap(lambda b: jr.solve(A, b, ...))")
    to = with_dtype(b, real_dtype(codomain))
    b = jax.tree.map(lambda v, s, c: v.astype(jnp.promote_types(s.dtype, c.dtype) if is_complex(c) else s.dtype),
                     b, to, codomain)
    return b, matching_domain(A, b)[0]


def like_measurements(name: str, w: Any, b: Any) -> jax.Array:
    """One real number per measurement, from a number or an array that broadcasts to b.

    Raises:
        ValueError: it does not.
    """
    w = jnp.asarray(w, real_dtype(b))
    if not broadcasts(w.shape, b.shape):
        verb = "do" if name.endswith("weights") else "does"
        raise ValueError(f"{name} of shape {w.shape} {verb} not broadcast to the measurements, {b.shape}")
    return jnp.broadcast_to(w, b.shape)
