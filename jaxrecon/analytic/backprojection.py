"""Sums over views, in the memory of one view."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from ..operator import matched_pair


def sum_over_views(spread: Callable, shared: Any, data: Any, rows: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """sum_v spread(shared, data_v, rows_v), an image of `shape`; `spread` is linear in the rows, and holds no arrays.

    Its transpose goes view by view as well. Reverse mode through the scan would keep what each view has computed for
    each pixel.
    """
    def forward(data, rows):
        def view(image, item):
            return image + spread(data[0], *item), None

        return lax.scan(view, jnp.zeros(shape, rows.dtype), (data[1], rows))[0]

    def adjoint(data, image):
        like = jax.ShapeDtypeStruct(rows.shape[1:], image.dtype)

        def view(_, item):
            (row,) = jax.linear_transpose(functools.partial(spread, data[0], item), like)(jnp.conj(image))
            return None, jnp.conj(row)

        return lax.scan(view, None, data[1])[1]

    return matched_pair(forward, adjoint, (shared, data), rows)


def take(values: jax.Array, *index: jax.Array) -> jax.Array:
    """values[index], where the caller knows that every index lies inside."""
    return values.at[index].get(mode="promise_in_bounds", wrap_negative_indices=False)
