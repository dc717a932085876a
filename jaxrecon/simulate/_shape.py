"""What every simulator asks of a shape: the check, and the pixels it stands for."""

from __future__ import annotations

import numpy as np

from ..value import as_sizes


def check_shape(shape: tuple[int, ...], name: str, ndims: tuple[int, ...]) -> tuple[int, ...]:
    """`shape` as a tuple of Python integers, or an error that says what `name` wanted."""
    if not isinstance(shape, tuple | list):
        raise TypeError(f"{name}: shape must be a tuple such as (256, 256), got {shape!r}")
    sizes = as_sizes(name, shape)
    if len(sizes) not in ndims or min(sizes, default=0) < 1:
        wanted = " or ".join(map(str, ndims))
        raise ValueError(f"{name}: wanted {wanted} axes of size 1 or more, got shape {sizes}")
    return sizes


def pixel_centres(n: int) -> np.ndarray:
    """The centres of n pixels that fill [-1, 1], in float64."""
    return (np.arange(n) + 0.5) / n * 2 - 1
