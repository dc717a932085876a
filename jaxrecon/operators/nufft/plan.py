"""What the nodes decide: which block of samples meets which tile of the grid, and with which weights.

The grid is cut into tiles. Nodes are sorted by tile, and each tile's nodes are dealt into
blocks of equal size, the last one of a tile padded with empty slots. A block then needs one small window of the grid,
and its interpolation (or spreading) is a dense product of small matrices: arithmetic that is several times what the
taps alone need, but of the kind that CPUs and GPUs are fastest at. No scatter of single taps is left.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ...value import static, value
from ..convolution import fast_length
from .kernel import Kernel, polynomials

# Cells of a tile per axis, by the number of axes: small enough that few products are with zeros, large enough for the
# windows to be few.
TILES = {1: (8,), 2: (8, 8), 3: (4, 4, 8)}
# Splits a node into a part with so few bits that its multiple of the grid's size is exact, and a small remainder.
SPLIT = 4096


@value
class Plan:
    """Tables of a set of M nodes.

    Attributes:
        slots: (blocks, B) which node sits in a slot; M where it is empty.
        position: (M,) in which of the blocks * B slots a node sits.
        tile: (blocks,) whose window a block meets. used: number of blocks that hold nodes; the rest come last.
        bands: per axis (blocks, B, window), the weights of the window's cells.
        kernels: per axis.
    """

    slots: Any
    position: Any
    tile: Any
    used: Any
    bands: tuple[Any, ...]
    kernels: tuple[Kernel, ...] = static()

    @property
    def size(self) -> tuple[int, ...]:
        return tuple(k.size for k in self.kernels)

    @property
    def grid(self) -> tuple[int, ...]:
        return tuple(k.grid for k in self.kernels)


def make_kernels(shape: tuple[int, ...], width: int, oversampling: float) -> tuple[Kernel, ...]:
    """Grids of at least oversampling * N cells, made of whole tiles, whose FFT is fast."""
    def cells(n, tile):
        return tile * fast_length(max(math.ceil(oversampling * n / tile), math.ceil(width / tile)))

    return tuple(Kernel(n, cells(n, tile), width, tile) for n, tile in zip(shape, TILES[len(shape)], strict=True))


@functools.partial(jax.jit, static_argnums=1)
def make_plan(nodes: jax.Array, kernels: tuple[Kernel, ...]) -> Plan:
    """The plan of nodes (M, ndim), in the dtype of the nodes. It carries no derivative."""
    nodes = lax.stop_gradient(nodes)
    count = nodes.shape[0]
    tiles = [k.grid // k.tile for k in kernels]
    first, phase = zip(*[_first_tap(nodes[:, d], k) for d, k in enumerate(kernels)], strict=True)
    tile = jnp.zeros(count, jnp.int32)
    for f, n, kernel in zip(first, tiles, kernels, strict=True):
        tile = tile * n + f // kernel.tile

    size = block_size(count, math.prod(tiles))
    order = _order(tile, math.prod(tiles))
    held = jnp.zeros(math.prod(tiles), jnp.int32).at[tile].add(1)
    start, blocks_before = jnp.cumsum(held) - held, jnp.cumsum(-(-held // size))
    # At most one block in each tile that has nodes is not full.
    bound = _divisible(count // size + min(count - count // size, math.prod(tiles)))
    block = jnp.arange(bound, dtype=jnp.int32)
    block_tile = jnp.minimum(_inverse_of_sorted(blocks_before, bound), math.prod(tiles) - 1)
    rank = (block - blocks_before[block_tile] + -(-held // size)[block_tile]) * size
    rank = rank[:, None] + jnp.arange(size, dtype=jnp.int32)
    full = (rank < held[block_tile][:, None]) & (block < blocks_before[-1])[:, None]
    slots = jnp.where(full, order.at[start[block_tile][:, None] + rank].get(mode="clip"), count)
    position = jnp.zeros(count, jnp.int32).at[slots.reshape(-1)].set(
        jnp.arange(bound * size, dtype=jnp.int32), mode="drop", unique_indices=False)
    bands = tuple(_band(f, z, slots, k) for f, z, k in zip(first, phase, kernels, strict=True))
    return Plan(slots, position, block_tile, blocks_before[-1], bands, kernels)


def block_size(count: int, tiles: int) -> int:
    """Slots per block: about what a tile holds on average (many are empty), within what small products like."""
    return int(np.clip(2 ** math.floor(math.log2(max(1, 2 * count / tiles))), 8, 32))


def _order(tile, tiles):
    """The nodes sorted by tile."""
    count = tile.shape[0]
    if count * tiles >= 2**32:
        return jnp.argsort(tile, stable=False).astype(jnp.int32)
    # Tile and node in one number: XLA sorts single numbers five times as fast as pairs on CPU.
    key = tile.astype(jnp.uint32) * jnp.uint32(count) + jnp.arange(count, dtype=jnp.uint32)
    return (jnp.sort(key) % jnp.uint32(count)).astype(jnp.int32)


def _divisible(blocks):
    """A few blocks more, so that steps of almost any size divide them."""
    unit = min(128, 2 ** math.ceil(math.log2(max(1, blocks))))
    return -(-blocks // unit) * unit


def _first_tap(k, kernel):
    """The first grid cell that a node reaches, modulo the grid, and 0 <= z < 1 from there to the kernel's edge."""
    grid = kernel.grid
    coarse, fine = split(k)
    cells = coarse * grid
    # The edge, k G - W/2, as whole + part; twice SPLIT makes half of an odd width whole.
    edge = 2 * cells - kernel.width * SPLIT
    whole = edge // (2 * SPLIT)
    part = (edge - whole * (2 * SPLIT)).astype(k.dtype) / (2 * SPLIT) + fine * grid
    up = jnp.ceil(part)
    return jnp.mod(whole + up.astype(jnp.int32), grid), up - part


def split(k: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Integers c and a small remainder with k = c / SPLIT + remainder, modulo 1; the remainder carries the derivative.

    In float32 a product of k and some hundreds of pixels or cells would lose the last digits that are asked for.
    """
    k = k - lax.round(lax.stop_gradient(k), lax.RoundingMethod.TO_NEAREST_EVEN)
    coarse = lax.round(lax.stop_gradient(k) * SPLIT, lax.RoundingMethod.TO_NEAREST_EVEN)
    return coarse.astype(jnp.int32), k - coarse / SPLIT


def _band(first, phase, slots, kernel):
    """(blocks, B, window): the W taps of each node, shifted to its place in the window; 0 in empty slots."""
    count = first.shape[0]
    offset, z = [v.at[slots].get(mode="fill", fill_value=0) for v in (first % kernel.tile, phase)]
    v = (2 * z - 1)[..., None]
    coefficients = jnp.asarray(polynomials(kernel), z.dtype)
    taps = coefficients[0]
    for c in coefficients[1:]:
        taps = taps * v + c
    # Otherwise XLA evaluates the polynomials anew for every cell of the window.
    taps = lax.optimization_barrier(jnp.where((slots < count)[..., None], taps, 0))
    band = jnp.zeros((*slots.shape, kernel.window), z.dtype)
    cell = jnp.arange(kernel.window, dtype=jnp.int32)
    for j in range(kernel.width):
        band = jnp.where(offset[..., None] + j == cell, taps[..., j:j + 1], band)
    return band


def _inverse_of_sorted(ends, bound):
    """For b = 0 .. bound-1 the number of entries of the sorted `ends` that are <= b."""
    marks = jnp.zeros(bound + 1, jnp.int32).at[ends].add(1, mode="drop")
    return jnp.cumsum(marks)[:bound]
