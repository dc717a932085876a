"""What a solve keeps of every iteration."""

from __future__ import annotations

from typing import Any

from jax.tree_util import Partial

from ..value import norm
from .base import relative

RECORDS = ("objective", "fidelity", "residual", "change", "x")


def checked_record(record: Any) -> tuple[Any, Any]:
    """(static names, Partial or None). A single name stays a string, so that its history is one array."""
    if record is None or isinstance(record, Partial):
        return None, record
    names = (record,) if isinstance(record, str) else record
    if not isinstance(names, tuple | list) or not all(isinstance(n, str) for n in names):
        raise TypeError(f"record is a name, a tuple of names or jr.Partial(f), got {record!r}; a bare function would "
                        "compile again at every call")
    unknown = [n for n in names if n not in RECORDS]
    if unknown:
        raise ValueError(f"record knows {', '.join(RECORDS)}; got {', '.join(unknown)}")
    return record if isinstance(record, str) else tuple(names), None


def observe(A: Any, b: Any, problem: Any, solver: Any, names: Any, record: Any, old: Any, x: Any) -> Any:
    """What `names` or `record` ask for, of the step from old to x."""
    if record is not None:
        return record(A, b, x)
    makers = {
        "objective": lambda: problem(x) + solver.penalty(x),
        "fidelity": lambda: problem(x),
        "residual": lambda: norm(problem.residual(x)),
        "change": lambda: relative(norm(x - old), norm(x)),
        "x": lambda: x,
    }
    if names is None:
        return None
    return makers[names]() if isinstance(names, str) else {n: makers[n]() for n in names}
