"""Simulated receive coils."""

from __future__ import annotations

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike, DTypeLike

from ..value import is_concrete
from ._shape import check_shape, pixel_centres


def coil_maps(shape: tuple[int, ...], coils: int, radius: ArrayLike = 1.5, rings: int | None = None,
              normalise: bool = True, dtype: DTypeLike | None = None) -> jax.Array:
    """Smooth complex sensitivities of a birdcage-like array: coils on circles around the image.

    m_c(p) = e^{-i t_c} (w + i u) / (u^2 + w^2 + h^2), (u, w, h) = p minus the coil's place, t_c its angle; with
    `normalise` divided by sqrt(sum_c |m_c|^2).

    Args:
        shape: (ny, nx) or (nz, ny, nx); every axis spans [-1, 1].
        coils: number of coils.
        radius: of the circle, in half fields of view; more than sqrt(2), so that no coil lies in the image.
        rings: 3-D only: circles stacked along z; None: 2, or 1 where `coils` is odd or below 8. It divides `coils`.
        normalise: make sum_c |m_c|^2 = 1 everywhere.
        dtype: complex; None: JAX's default.

    Returns:
        (coils, *shape), complex.

    Raises:
        ValueError: shape is neither 2-D nor 3-D, coils < 1, radius too small, rings does not divide coils.

    Example:
        >>> maps = jr.simulate.coil_maps((64, 48), 8)
        >>> maps.shape, bool(jnp.allclose(jnp.sum(jnp.abs(maps) ** 2, axis=0), 1))
        ((8, 64, 48), True)

    Source: the line currents of a birdcage, Hayes et al. (1985); the same family as the maps of SigPy and Gadgetron.
    """
    shape = check_shape(shape, "coil_maps", (2, 3))
    dtype = jnp.dtype(dtype or jnp.result_type(complex))
    if not jnp.issubdtype(dtype, jnp.complexfloating):
        raise ValueError(f"coil_maps: wanted a complex dtype, got {dtype}")
    if coils < 1:
        raise ValueError(f"coil_maps: wanted 1 coil or more, got {coils}")
    if is_concrete(radius) and not float(radius) > math.sqrt(2):  # pyright: ignore[reportArgumentType]
        raise ValueError(f"coil_maps: radius must exceed sqrt(2), or a coil lies inside the image; got {radius}")
    if len(shape) == 2 and rings not in (None, 1):
        raise ValueError(f"coil_maps: rings is for 3-D shapes, got rings={rings} with shape {shape}")
    rings = rings or (2 if len(shape) == 3 and coils >= 8 and coils % 2 == 0 else 1)
    if rings < 1 or coils % rings:
        raise ValueError(f"coil_maps: rings must divide coils, got {rings} rings and {coils} coils")

    return _line_currents(jnp.asarray(radius, jnp.finfo(dtype).dtype), shape, coils, rings, normalise)


@functools.partial(jax.jit, static_argnames=("shape", "coils", "rings", "normalise"))
def _line_currents(radius, shape, coils, rings, normalise):
    real = radius.dtype
    column = (-1,) + (1,) * len(shape)
    each = coils // rings
    # Each ring is turned by part of a coil, so that no coil sits straight behind another.
    turn = np.arange(coils) % each + np.arange(coils) // each / rings
    angle = jnp.asarray(2 * np.pi * turn / each, real).reshape(column)
    height = jnp.asarray(2 * (np.arange(coils) // each + 0.5) / rings - 1, real).reshape(column)
    *z, y, x = (jnp.asarray(t, real) for t in np.meshgrid(*map(pixel_centres, shape), indexing="ij", sparse=True))
    u, w = x - radius * jnp.cos(angle), y - radius * jnp.sin(angle)
    square = u**2 + w**2 + ((z[0] - height) ** 2 if z else 0)
    # w + iu over the square is smooth everywhere but at the coil: no branch cut, unlike an arctan2 phase.
    maps = jax.lax.complex(w / square, u / square) * jax.lax.complex(jnp.cos(angle), -jnp.sin(angle))
    if normalise:
        maps = maps / jnp.sqrt(jnp.sum(maps.real**2 + maps.imag**2, axis=0))
    return maps
