"""Between a uniform grid and the nodes: one window of the grid and one block of nodes at a time.

    interpolation   y[b] = sum_ij u[b, i] v[b, j] window[i, j]
    spreading       window[i, j] += sum_b u[b, i] v[b, j] y[b]

Both take the same weights, so each is the other's transpose to rounding. Columns (the real and imaginary parts of every
coil) are last: they share the weights and lie side by side in memory.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jax import lax

from .plan import Plan

# Numbers that a step works on: on CPU what stays in a core's cache, elsewhere few and large steps.
STEP, LARGE_STEP = 2**18, 2**27


def interpolate(plan: Plan, grid: jax.Array) -> jax.Array:
    """(*plan.grid, C) real -> (M, C)."""
    columns = grid.shape[-1]
    step, steps = _steps(plan, columns)
    grid = jnp.pad(grid, [(0, k.window - k.tile) for k in plan.kernels] + [(0, 0)], mode="wrap")

    def body(i, out):
        tile, _, bands = _rows(plan, i * step, step, grid.dtype)
        windows = _windows(plan, grid, tile).reshape(step, -1, bands[-1].shape[-1] * columns)
        # The sum over all axes but the last is a matrix product; the last has too little left to be worth one.
        y = jnp.matmul(_outer(bands[:-1], bands[-1]), windows, precision="highest")
        y = jnp.sum(bands[-1][..., None] * y.reshape(*bands[-1].shape, columns), axis=2)
        return lax.dynamic_update_slice_in_dim(out, y, i * step, 0)

    out = lax.fori_loop(0, steps, body, jnp.zeros((*plan.slots.shape, columns), grid.dtype))
    return out.reshape(-1, columns).at[plan.position].get(mode="promise_in_bounds")


def spread(plan: Plan, samples: jax.Array) -> jax.Array:
    """(M, C) real -> (*plan.grid, C): the transpose of `interpolate`."""
    columns = samples.shape[-1]
    step, steps = _steps(plan, columns)

    def body(i, grid):
        tile, slots, bands = _rows(plan, i * step, step, samples.dtype)
        y = samples.at[slots].get(mode="fill", fill_value=0)[:, :, None]
        y = (bands[-1][..., None] * y).reshape(*slots.shape, -1)
        windows = jnp.matmul(jnp.swapaxes(_outer(bands[:-1], bands[-1]), 1, 2), y, precision="highest")
        return _add_windows(plan, grid, tile, windows.reshape(step, *[k.window for k in plan.kernels], columns))

    grid = jnp.zeros((*[k.grid + k.window - k.tile for k in plan.kernels], columns), samples.dtype)
    grid = lax.fori_loop(0, steps, body, grid)
    for axis, kernel in enumerate(plan.kernels):
        grid = _wrapped(grid, axis, kernel.grid)
    return grid


def _steps(plan, columns):
    """Blocks per step, which divide the blocks, and the number of steps that meet a node."""
    blocks, size = plan.slots.shape
    *others, last = [k.window for k in plan.kernels]
    numbers = math.prod(others) * last * columns + size * (math.prod(others) + last * columns)
    limit = (STEP if _on_cpu() else LARGE_STEP) // numbers
    step = max(n for n in range(1, blocks + 1) if blocks % n == 0 and (n == 1 or n <= limit))
    return step, -(-plan.used // step)


def _rows(plan, start, step, dtype):
    rows = [lax.dynamic_slice_in_dim(v, start, step) for v in (plan.tile, plan.slots, *plan.bands)]
    return rows[0], rows[1], [v.astype(dtype) for v in rows[2:]]


def _outer(bands, like):
    """(step, B, S) per axis -> (step, B, S * S * ...): the weights of all these axes; 1 for none."""
    weights = jnp.ones((*like.shape[:2], 1), like.dtype)
    for band in bands:
        weights = (weights[..., None] * band[:, :, None]).reshape(*like.shape[:2], -1)
    return weights


def _corner(plan, tile):
    """Where a tile's window starts in the grid with its columns."""
    corner = [jnp.zeros_like(tile)]
    for kernel in plan.kernels[::-1]:
        tile, place = jnp.divmod(tile, kernel.grid // kernel.tile)
        corner.append(place * kernel.tile)
    return corner[::-1]


def _windows(plan, grid, tile):
    shape = (*[k.window for k in plan.kernels], grid.shape[-1])

    def window(t):
        return lax.dynamic_slice(grid, _corner(plan, t), shape)

    # On CPU XLA copies a slice row by row, but a gather number by number.
    return lax.map(window, tile) if _on_cpu() else jax.vmap(window)(tile)


def _add_windows(plan, grid, tile, windows):
    def add(grid, item):
        t, window = item
        corner = _corner(plan, t)
        return lax.dynamic_update_slice(grid, lax.dynamic_slice(grid, corner, window.shape) + window, corner), None

    if _on_cpu():
        return lax.scan(add, grid, (tile, windows))[0]
    ndim = windows.ndim - 1
    numbers = lax.ScatterDimensionNumbers(tuple(range(1, ndim + 1)), (), tuple(range(ndim)))
    return lax.scatter_add(grid, jnp.stack(_corner(plan, tile), -1), windows, numbers, mode="promise_in_bounds")


def _wrapped(grid, axis, size):
    """The grid is periodic: what reaches beyond its end belongs to its beginning."""
    body, rest = lax.slice_in_dim(grid, 0, size, axis=axis), lax.slice_in_dim(grid, size, None, axis=axis)
    while rest.shape[axis]:
        reach = min(size, rest.shape[axis])
        index = (slice(None),) * axis + (slice(reach),)
        body = body.at[index].add(lax.slice_in_dim(rest, 0, reach, axis=axis))
        rest = lax.slice_in_dim(rest, reach, None, axis=axis)
    return body


def _on_cpu():
    return jax.default_backend() == "cpu"
