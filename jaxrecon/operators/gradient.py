"""Forward differences of an image, and their Gram operator (the negative Laplacian)."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from ..operator import LinearOperator, SelfAdjoint
from ..value import static, value
from .elementary import as_domain, floating

BOUNDARIES = ("symmetric", "circular")


@value
class Gradient(LinearOperator):
    """Forward differences along every axis: y[d] = x shifted by one along d, minus x.

    Args:
        shape: shape of x, 1 to 3 axes.
        boundary: "symmetric" (x reflected at the edge: the last difference is 0) or "circular" (x wraps;
            `gram.spectrum` then holds the eigenvalues sum_d 2 - 2 cos w_d under the FFT).
        dtype: of x; JAX's default float if None. Real and complex x are taken either way.

    Returns:
        x of `shape` -> (axes, *shape).

    Raises:
        ValueError: no or more than 3 axes, or another boundary.

    Example:
        >>> jr.Gradient((3,))(jnp.array([1.0, 2.0, 4.0])).tolist()
        [[1.0, 2.0, 0.0]]
    """

    shape: Any = static()
    boundary: str = static(default="symmetric")
    dtype: Any = static(default=None)

    def check(self):
        shape, dtype = _checked(self.shape, self.boundary, self.dtype)
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "dtype", dtype)

    @property
    def domain(self):
        return jax.ShapeDtypeStruct(self.shape, self.dtype)

    @property
    def gram(self):
        return GradientGram(self.shape, self.boundary, self.dtype)

    def apply(self, x):
        return jnp.stack([difference(x, d, self.boundary) for d in range(len(self.shape))])

    def apply_adjoint(self, y):
        parts = [difference_adjoint(y[d], d, self.boundary) for d in range(len(self.shape))]
        return sum(parts[1:], parts[0])


@value
class GradientGram(SelfAdjoint):
    """Gradient^H Gradient: the negative Laplacian."""

    shape: Any = static()
    boundary: str = static(default="symmetric")
    dtype: Any = static(default=None)

    def check(self):
        shape, dtype = _checked(self.shape, self.boundary, self.dtype)
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "dtype", dtype)

    @property
    def domain(self):
        return jax.ShapeDtypeStruct(self.shape, self.dtype)

    @property
    def spectrum(self):
        if self.boundary != "circular":
            return None
        real = jnp.finfo(self.dtype).dtype
        total = jnp.zeros(self.shape, real)
        for d, n in enumerate(self.shape):
            # 2 - 2 cos w = 4 sin^2(w/2), without the cancellation at small w.
            eigenvalues = 4 * jnp.sin(jnp.arange(n, dtype=real) * (math.pi / n)) ** 2
            total = total + eigenvalues.reshape([n if a == d else 1 for a in range(len(self.shape))])
        return total

    def apply(self, x):
        parts = [difference_adjoint(difference(x, d, self.boundary), d, self.boundary) for d in range(len(self.shape))]
        return sum(parts[1:], parts[0])


def difference(x: jax.Array, axis: int, boundary: str) -> jax.Array:
    """Forward differences along one axis, in the shape of x."""
    if boundary == "circular":
        return jnp.roll(x, -1, axis) - x
    n = x.shape[axis]
    inside = lax.slice_in_dim(x, 1, n, axis=axis) - lax.slice_in_dim(x, 0, n - 1, axis=axis)
    return _pad(inside, axis, 0, 1)


def difference_adjoint(y: jax.Array, axis: int, boundary: str) -> jax.Array:
    """The adjoint of `difference`."""
    if boundary == "circular":
        return jnp.roll(y, 1, axis) - y
    # Cheaper in a loop than the transpose that JAX makes of the slices above, and nothing to trace.
    inside = lax.slice_in_dim(y, 0, y.shape[axis] - 1, axis=axis)
    return _pad(inside, axis, 1, 0) - _pad(inside, axis, 0, 1)


def _pad(x, axis, before, after):
    widths = [(before, after, 0) if a == axis else (0, 0, 0) for a in range(x.ndim)]
    return lax.pad(x, jnp.zeros((), x.dtype), widths)


def _checked(shape, boundary, dtype):
    s = as_domain(shape)
    if not 1 <= len(s.shape) <= 3 or 0 in s.shape:
        raise ValueError(f"Gradient takes 1 to 3 axes of at least one pixel, got shape {s.shape}; "
                         "lift it over further axes by jr.batched")
    if boundary not in BOUNDARIES:
        raise ValueError(f"boundary must be one of {BOUNDARIES}, got {boundary!r}")
    return s.shape, floating("Gradient", s.dtype if dtype is None else dtype)
