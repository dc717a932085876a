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

# Numbers in the largest intermediate of a step: on CPU what stays in a core's cache, elsewhere few and large steps.
STEP, LARGE_STEP = 2**17, 2**27


def interpolate(plan: Plan, grid: jax.Array) -> jax.Array:
    """(*plan.grid, C) real -> (M, C)."""
    columns = grid.shape[-1]
    step, steps = _steps(plan, columns)
    window = (*[k.window for k in plan.kernels], columns)
    grid = jnp.pad(grid, [(0, k.width - 1) for k in plan.kernels] + [(0, 0)], mode="wrap")

    def body(i, out):
        tile, _, (first, *others) = _rows(plan, i * step, step, grid.dtype)
        windows = jax.vmap(lambda t: lax.dynamic_slice(grid, (*_corner(plan, t), jnp.zeros_like(t)), window))(tile)
        # The one sum that is worth a matrix product: (B, S) x (S, S ... C).
        y = _matmul(first, windows.reshape(*windows.shape[:2], -1))
        for band in others:
            y = jnp.sum(band[..., None] * y.reshape(*band.shape, -1), axis=2)
        return lax.dynamic_update_slice_in_dim(out, y, i * step, 0)

    out = lax.fori_loop(0, steps, body, jnp.zeros((*plan.slots.shape, columns), grid.dtype))
    return out.reshape(-1, columns).at[plan.position].get(mode="promise_in_bounds")


def spread(plan: Plan, samples: jax.Array) -> jax.Array:
    """(M, C) real -> (*plan.grid, C): the transpose of `interpolate`."""
    columns = samples.shape[-1]
    step, steps = _steps(plan, columns)
    ndim = len(plan.kernels)
    numbers = lax.ScatterDimensionNumbers(tuple(range(1, ndim + 2)), (), tuple(range(ndim)))

    def body(i, grid):
        tile, slots, (first, *others) = _rows(plan, i * step, step, samples.dtype)
        y = samples.at[slots].get(mode="fill", fill_value=0)[:, :, None]
        for band in others[::-1]:
            y = (band[..., None] * y.reshape(*y.shape[:2], 1, -1)).reshape(*band.shape[:2], 1, -1)
        windows = _matmul(jnp.swapaxes(first, 1, 2), y[:, :, 0])
        windows = windows.reshape(step, *[k.window for k in plan.kernels], columns)
        return lax.scatter_add(grid, jnp.stack(_corner(plan, tile), -1), windows, numbers, mode="promise_in_bounds")

    grid = jnp.zeros((*[k.grid + k.width - 1 for k in plan.kernels], columns), samples.dtype)
    grid = lax.fori_loop(0, steps, body, grid)
    for axis, kernel in enumerate(plan.kernels):
        grid = _wrapped(grid, axis, kernel.grid)
    return grid


def _steps(plan, columns):
    """Blocks per step, which divide the blocks, and the number of steps that meet a node."""
    blocks, size = plan.slots.shape
    numbers = size * math.prod(k.window for k in plan.kernels[1:]) * columns
    limit = (STEP if jax.default_backend() == "cpu" else LARGE_STEP) // numbers
    step = max(n for n in range(1, blocks + 1) if blocks % n == 0 and (n == 1 or n <= limit))
    return step, -(-plan.used // step)


def _rows(plan, start, step, dtype):
    rows = [lax.dynamic_slice_in_dim(v, start, step) for v in (plan.tile, plan.slots, *plan.bands)]
    return rows[0], rows[1], [v.astype(dtype) for v in rows[2:]]


def _corner(plan, tile):
    """The first cell of a tile's window, per axis."""
    corner = []
    for kernel in plan.kernels[::-1]:
        tile, place = jnp.divmod(tile, kernel.grid // kernel.tile)
        corner.append(place * kernel.tile)
    return corner[::-1]


def _wrapped(grid, axis, size):
    """The grid is periodic: what reaches beyond its end belongs to its beginning."""
    body, rest = lax.slice_in_dim(grid, 0, size, axis=axis), lax.slice_in_dim(grid, size, None, axis=axis)
    while rest.shape[axis]:
        reach = min(size, rest.shape[axis])
        index = (slice(None),) * axis + (slice(reach),)
        body = body.at[index].add(lax.slice_in_dim(rest, 0, reach, axis=axis))
        rest = lax.slice_in_dim(rest, reach, None, axis=axis)
    return body


def _matmul(a, b):
    return jnp.matmul(a, b, precision="highest")
