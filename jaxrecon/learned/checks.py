"""What the learned reconstructors ask of their parts."""

from __future__ import annotations

from typing import Any

from ..value import is_count


def check_count(owner: Any, name: str) -> None:
    """A whole number >= 1."""
    n = getattr(owner, name)
    if not is_count(n):
        raise ValueError(f"{type(owner).__name__} needs {name} >= 1, got {n}")


def check_initial(initial: Any) -> None:
    """A reconstructor."""
    if not callable(initial):
        raise TypeError(f"initial must be a reconstructor such as jr.ZeroFilled() or jr.FBP(), got {initial!r}")
