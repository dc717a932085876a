"""Checks of the numbers that values hold: weights, steps and the like, and of their shapes."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from .value import is_complex, is_concrete


def check_weights(owner: Any, **weights: Any) -> None:
    """Weights are real numbers or arrays of them, and not negative (as far as they are concrete). The owner is a value
    or a name."""
    owner = owner if isinstance(owner, str) else type(owner).__name__
    for name, w in weights.items():
        if w is None or isinstance(w, str | bytes | list | tuple):
            raise TypeError(f"{owner}: {name} must be a number or an array, got {w!r}")
        if jnp.iscomplexobj(w):
            raise ValueError(f"{owner}: {name} must be real, got {jnp.result_type(w)}")
        if is_concrete(w) and not np.all(np.asarray(w) >= 0):
            raise ValueError(f"{owner}: {name} must be >= 0, got {np.min(np.asarray(w))}; "
                             "a negative weight makes the problem unbounded below")


def check_positive(owner: Any, name: str, value: Any) -> None:
    """A parameter that, where it is given, must be real and, where it is known now, > 0."""
    if is_complex(value):
        raise ValueError(f"{type(owner).__name__} needs a real {name}, got {value}")
    if value is not None and is_concrete(value) and not np.all(np.asarray(value) > 0):
        raise ValueError(f"{type(owner).__name__} needs {name} > 0, got {value}")


def broadcasts(shape: tuple[int, ...], target: tuple[int, ...]) -> bool:
    """Whether an array of this shape broadcasts to the target, and does not make it larger."""
    try:
        return np.broadcast_shapes(shape, target) == tuple(target)
    except ValueError:
        return False
