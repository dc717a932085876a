"""Receive coils: one image seen through several sensitivities."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from ..operator import LinearOperator
from ..value import value
from .elementary import Diagonal


@value
class CoilMaps(LinearOperator):
    """y_c = m_c * x.

    Args:
        maps: complex (or real) array (coils, *image).

    Raises:
        ValueError: `maps` has no coil axis.

    Example:
        >>> C = jr.CoilMaps(jnp.ones((8, 4, 4), "complex64"))
        >>> C(jnp.ones((4, 4))).shape
        (8, 4, 4)
    """

    maps: Any

    def check(self):
        maps = jnp.asarray(self.maps)
        if maps.ndim < 2:
            raise ValueError(f"CoilMaps needs maps of shape (coils, *image), got {maps.shape}; "
                             "for one coil pass maps[None]")
        object.__setattr__(self, "maps", maps if jnp.issubdtype(maps.dtype, jnp.inexact) else maps.astype(float))

    @property
    def domain(self):
        return jax.ShapeDtypeStruct(self.maps.shape[1:], self.maps.dtype)

    @property
    def gram(self):
        return Diagonal(sum_of_squares(self.maps))

    def apply(self, x):
        return self.maps * x

    def apply_adjoint(self, y):
        return jnp.sum(jnp.conj(self.maps) * y, axis=0)


def sum_of_squares(maps: jax.Array) -> jax.Array:
    """sum_c |m_c|^2 over the leading axis."""
    return jnp.sum((jnp.conj(maps) * maps).real, axis=0)
