"""What `solve` and `unroll` do with what they are given: kinds checked, and all of it at the precision of A."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax.core import Tracer

from ..fidelity import DataTerm, Problem, cast_measurements
from ..operator import need_operator, real_dtype
from ..value import is_complex
from .base import Solver


def check_kinds(A: Any, b: Any, solver: Any, data: Any) -> DataTerm:
    """The data term, where all are of the kind that they must be."""
    need_operator(A)
    if not isinstance(solver, Solver):
        raise TypeError(f"solver must be a value such as jr.CGNR() or jr.FISTA(prior), got {solver!r}")
    data = solver.default_data if data is None else data
    if not isinstance(data, DataTerm):
        raise TypeError(f"data must be a data term such as jr.LeastSquares(weights), got {data!r}")
    data.check_measurements(b)
    return data


def is_traced(x: Any) -> bool:
    return isinstance(x, Tracer)


def bind(A: Any, b: Any, solver: Any, x0: Any, data: Any) -> tuple[Problem, jax.Array, Any]:
    """The problem, the start and the solver, all at the precision of A."""
    b, domain = cast_measurements(A, b)
    if x0 is None:
        x0 = jnp.zeros(domain.shape, domain.dtype)
    else:
        x0 = jnp.asarray(x0)
        if x0.shape != domain.shape:
            raise ValueError(f"x0 has shape {x0.shape}, but A takes {domain.shape}")
        if is_complex(x0) and not is_complex(domain):
            raise ValueError(f"x0 is complex ({x0.dtype}), but A and b imply a real x ({domain.dtype}); pass x0.real")
        x0 = x0.astype(domain.dtype)
    real = real_dtype(domain)

    def cast(leaf):
        leaf = jnp.asarray(leaf)
        # Python numbers (weakly typed, integers among them) and leaves finer than A; keys and indices stay.
        finer = jnp.issubdtype(leaf.dtype, jnp.inexact) and jnp.finfo(leaf.dtype).bits > jnp.finfo(real).bits
        if finer or _is_weak(leaf):
            return leaf.astype(jnp.promote_types(real, jnp.complex64) if is_complex(leaf) else real)
        return leaf

    return data.problem(A, b), x0, jax.tree.map(cast, solver)


def _is_weak(leaf):
    return getattr(jax.typeof(leaf), "weak_type", False) and leaf.dtype != bool
