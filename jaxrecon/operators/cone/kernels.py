"""Projection and back-projection of a cone beam, as gathers with the same weights."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from ...operator import real_dtype
from .tables import DEPTH_BITS, PAD, Columns, Tables, centred


def _length(t: Tables, size: Any, height: Any, rows: int, dtype: Any) -> jax.Array:
    """(V, R, C): the length of a ray in one slab."""
    v = (centred(rows) * height)[:, None] * t.lift[:, None, :]
    return (size * jnp.sqrt(t.slant[:, None, :] + v * v)).astype(dtype)


def _depth(c, step, dtype):
    return (c.near + c.pace * step).astype(dtype) * 2.0**-DEPTH_BITS


def _heights(rows, height, dtype):
    return jnp.asarray(centred(rows), dtype) * jnp.asarray(height, dtype)


def _take(values, index):
    return values.at[index].get(mode="promise_in_bounds", wrap_negative_indices=False)


def _on_device(t):
    return jax.tree.map(jnp.asarray, t)


# ---- forward: in each slab a detector column gathers two lines along z, each of its rays two values of them


@functools.partial(jax.jit, static_argnames=("rows", "bits"))
def project(data: Any, x: jax.Array, *, rows: int, bits: int) -> jax.Array:
    """(nz, ny, nx) -> (V, R, C)."""
    t, size, height = _on_device(data)
    real, (nz, ny, nx), (views, number) = real_dtype(x), x.shape, t.columns.base.shape
    slabs, total = max(ny, nx), views * number
    chunk = min(total, _chunk())
    chunks = -(-total // chunk)

    def chunked(v):
        return jnp.pad(v.ravel(), (0, chunks * chunk - total), mode="edge").reshape(chunks, chunk)

    # Row s and column s of the volume side by side, each with zeros around.
    by_row, by_column = (jnp.pad(v, ((0, slabs - v.shape[0]), (PAD, PAD), (0, 0)))
                         for v in (x.transpose(1, 2, 0), x.transpose(2, 1, 0)))
    planes = jnp.pad(jnp.concatenate([by_row, by_column], 1), ((0, 0), (0, 0), (PAD, PAD)))
    heights = _heights(rows, height, real)

    def slab(c, total, item):
        plane, step = item
        place = c.base + c.slope * step
        last = jnp.where(c.along_x, ny, nx) + (2 * PAD - 2)
        j = jnp.clip(place >> bits, 0, last) + jnp.where(c.along_x, nx + 2 * PAD, 0)
        f = (place & ((1 << bits) - 1)).astype(real)[:, None] * 2.0**-bits
        left, right = _take(plane, j), _take(plane, j + 1)
        lines = left + f * (right - left)
        z = jnp.clip((nz - 1) / 2 + _depth(c, step, real)[:, None] * heights, -PAD, nz) + PAD
        k = z.astype(jnp.int32)
        low, high = (jnp.take_along_axis(lines, k + i, 1, mode="promise_in_bounds") for i in (0, 1))
        return total + low + (z - k) * (high - low), None

    def group(_, c):
        start = jnp.zeros((chunk, rows), x.dtype)
        return None, lax.scan(functools.partial(slab, c), start, (planes, jnp.arange(slabs) - slabs // 2))[0]

    _, y = lax.scan(group, None, jax.tree.map(chunked, t.columns))
    y = y.reshape(-1, rows)[:total].reshape(views, number, rows).transpose(0, 2, 1)
    return y * _length(t, size, height, rows, real)


def _chunk():
    """Detector columns at a time: on CPU, what stays in the cache."""
    return 256 if jax.default_backend() == "cpu" else 1 << 14


# ---- adjoint: along z, a voxel gathers from the rows of each column that sees it; across, from those columns


@functools.partial(jax.jit, static_argnames=("shape", "taps", "bits"))
def backproject(data: Any, y: jax.Array, *, shape: tuple[int, int, int], taps: tuple[int, int], bits: int) -> jax.Array:
    """(V, R, C) -> (nz, ny, nx), the adjoint of `project`."""
    t, size, height = _on_device(data)
    real, (nz, ny, nx), (_, rows, number) = real_dtype(y), shape, y.shape
    y = (y * _length(t, size, height, rows, real)).transpose(0, 2, 1)
    k, heights = jnp.asarray(centred(nz), real), _heights(rows, height, real)
    i, j = jnp.arange(ny)[:, None], jnp.arange(nx)[None, :]
    px, py = j - (nx - 1) / 2, (ny - 1) / 2 - i
    steps = jnp.arange(max(ny, nx)) - max(ny, nx) // 2

    def along_z(y, depth):
        """(R,) of one detector column -> (slabs, nz)."""
        step = jnp.maximum(depth, 2.0**-12)[:, None] * height.astype(real)
        first = jnp.clip(jnp.ceil((k - 1) / step + (rows - 1) / 2), 0, rows - taps[1]).astype(jnp.int32)
        total = jnp.zeros((depth.shape[0], nz), y.dtype)
        for tap in range(taps[1]):
            z = depth[:, None] * _take(heights, first + tap)
            total = total + jnp.maximum(0, 1 - jnp.abs(z - k)) * _take(y, first + tap)
        return total

    def first_column(sees):
        """Of those whose rays pass within one voxel of a voxel, along a row or a column."""
        def column(dx, dy):
            top, bottom = (sees[n, 0] * (px + dx) + sees[n, 1] * (py + dy) + sees[n, 2] for n in (0, 1))
            return top / bottom

        ends = [column(1, 0), column(-1, 0), column(0, 1), column(0, -1)]
        return jnp.clip(jnp.ceil(functools.reduce(jnp.minimum, ends)), 0, number - taps[0]).astype(jnp.int32)

    def view(volume, item):
        y, c, sees = item
        lines = jax.vmap(along_z)(y, _depth(Columns(*(v[:, None] for v in c)), steps, real))
        first = first_column(sees)
        for tap in range(taps[0]):
            n = first + tap
            along_x = _take(c.along_x, n)
            slab, across = jnp.where(along_x, j, i), jnp.where(along_x, i, j)
            place = _take(c.base, n) + _take(c.slope, n) * (slab - steps.shape[0] // 2)
            off = jnp.abs(place - ((across + PAD) << bits)).astype(real) * 2.0**-bits
            weight = jnp.maximum(0, 1 - off)[..., None]
            volume = volume + weight * lines.at[n, slab].get(mode="promise_in_bounds", wrap_negative_indices=False)
        return volume, None

    start = jnp.zeros((ny, nx, nz), y.dtype)
    return lax.scan(view, start, (y, t.columns, t.sees))[0].transpose(2, 0, 1)
