"""Filtered back-projection of parallel and fan beams."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp

from ..operator import real_dtype
from .backprojection import sum_over_views, take
from .filters import ramp_filter
from .plan import plan


def filtered_backprojection(geometry: Any, shape: tuple[int, int], pixel_size: Any, b: jax.Array, filter: str,
                            cutoff: Any) -> jax.Array:
    """The image (ny, nx) of a sinogram (V, D), in the dtype of the sinogram."""
    made = jax.tree.map(lambda v: jnp.asarray(v, real_dtype(b)), plan(geometry))
    return _reconstruct(made, jnp.asarray(pixel_size, real_dtype(b)), b, cutoff, filter=filter, shape=shape)


@functools.partial(jax.jit, static_argnames=("filter", "shape"))
def _reconstruct(plan, pixel_size, b, cutoff, *, filter, shape):
    # The rays that a shifted detector misses on its short side, and the corners of the image, lie beyond its ends.
    margin = b.shape[-1]
    rows = ramp_filter(plan.weights * b, plan.spacing, filter, cutoff, margin)
    return sum_over_views(_spread, (), place_pixels(plan, pixel_size, shape, margin), rows, shape)


def place_pixels(plan: Any, pixel_size: Any, shape: tuple[int, int], margin: int) -> Any:
    """n . p and d . p of all pixels: each as (V, nx) and (V, ny), which are added up pixel by pixel.

    Samples are counted in a row with a margin and one more sample at either end. None in place of d . p = 1.
    """
    ny, nx = shape
    x, y = (jnp.arange(nx) - (nx - 1) / 2) * pixel_size, ((ny - 1) / 2 - jnp.arange(ny)) * pixel_size

    def split(v):
        return v[:, :1] * x + v[:, 2:], v[:, 1:2] * y

    if plan.denominator is None:
        return split(plan.numerator + jnp.array([0, 0, margin + 1], x.dtype)), None
    return split(plan.numerator + (margin + 1) * plan.denominator), split(plan.denominator)


def positions(place: Any) -> tuple[Any, Any]:
    """The sample that each pixel takes, and 1 / (d . p), which is 0 at the source and behind it."""
    (across, down), depth = place
    t = across[None, :] + down[:, None]
    if depth is None:
        return t, None
    inverse = 1 / (depth[0][None, :] + depth[1][:, None])
    inverse = jnp.where((inverse > 0) & (inverse < 1e6), inverse, 0)
    return t * inverse, inverse


def _spread(_, place, row):
    """What a filtered row gives to every pixel: linear interpolation between samples, 0 beyond them."""
    t, inverse = positions(place)
    t = jnp.clip(t, 0, row.shape[0] + 1)
    j = t.astype(jnp.int32)
    row = jnp.pad(row, (1, 2))
    left, right = take(row, j), take(row, j + 1)
    image = left + (t - j) * (right - left)
    return image if inverse is None else inverse * inverse * image
