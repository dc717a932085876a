"""Filtered back-projection of a circular cone beam: Feldkamp, Davis and Kress."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp

from ..geometry import ConeBeam
from ..operator import real_dtype
from .backprojection import sum_over_views, take
from .fbp import place_pixels, positions
from .filters import ramp_filter
from .plan import circle_vectors, fan_plan


def feldkamp(geometry: ConeBeam, shape: tuple[int, int, int], voxel_size: Any, b: jax.Array, filter: str,
             cutoff: Any) -> jax.Array:
    """The volume (nz, ny, nx) of projections (V, rows, columns), in their dtype.

    As a fan beam in each tilted plane through the source (Feldkamp, Davis and Kress 1984): exact in the plane of the
    source, and less so the further a ray is tilted. A voxel that some views miss is too dark.
    """
    g = geometry
    vectors = circle_vectors(g.angles, g.source_origin, g.origin_detector, g.column_spacing)
    real = real_dtype(b)
    made, *numbers = jax.tree.map(lambda v: jnp.asarray(v, real),
                                  (fan_plan(*vectors, g.num_columns), g.source_origin, g.origin_detector,
                                   g.row_spacing, g.column_spacing, voxel_size))
    return _reconstruct(made, b, cutoff, *numbers, filter=filter, shape=shape)


@functools.partial(jax.jit, static_argnames=("filter", "shape"))
def _reconstruct(plan, b, cutoff, source_origin, origin_detector, row_spacing, column_spacing, voxel_size, *, filter,
                 shape):
    rows, columns = b.shape[1:]
    distance = source_origin + origin_detector
    u = (jnp.arange(columns) - (columns - 1) / 2) * column_spacing
    v = (jnp.arange(rows) - (rows - 1) / 2) * row_spacing
    flat = jnp.square(distance) + jnp.square(u)
    tilt = jnp.sqrt(flat / (flat + jnp.square(v)[:, None])).astype(u.dtype)
    z = (jnp.arange(shape[0]) - (shape[0] - 1) / 2) * voxel_size
    rise = (z * (distance / (source_origin * row_spacing))).astype(u.dtype)

    def spread(shared, data, view):
        (tilt, rise, cutoff), (weights, spacing, place) = shared, data
        view = ramp_filter(weights * tilt * view, spacing, filter, cutoff, margin=columns)
        t, inverse = positions(place)
        t = jnp.clip(t, 0, view.shape[1] + 1)
        s = jnp.clip(rise[:, None, None] * inverse + (rows + 1) / 2, 0, rows + 1)
        j, k = t.astype(jnp.int32), s.astype(jnp.int32)
        view = jnp.pad(view, ((1, 2), (1, 2)))
        f, g = t - j, s - k
        low = take(view, k, j) * (1 - f) + take(view, k, j + 1) * f
        high = take(view, k + 1, j) * (1 - f) + take(view, k + 1, j + 1) * f
        return inverse * inverse * (low + g * (high - low))

    data = (plan.weights, plan.spacing, place_pixels(plan, voxel_size, shape[1:], columns))
    return sum_over_views(spread, (tilt, rise, cutoff), data, b, shape)
