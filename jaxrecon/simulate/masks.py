"""Cartesian sampling masks, centred: the zero frequency is at index N//2, as jr.Fourier has it."""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from ..value import is_concrete
from ._shape import check_shape


def uniform_mask(shape: tuple[int, ...], acceleration: float, calibration: int = 0, axis: int = -2, offset: int = 0,
                 dtype: DTypeLike = bool) -> jax.Array:
    """Every R-th line, and the central ones: line k is measured where (k - N//2 - offset) mod R = 0.

    Args:
        shape: of k-space, (ny, nx) or (nz, ny, nx).
        acceleration: R, a whole number; with calibration lines the net acceleration is lower.
        calibration: number of central lines measured besides.
        axis: the axis along which lines are left out.
        offset: lines by which the pattern is shifted away from the zero frequency.
        dtype: of the mask.

    Returns:
        The mask, of size N along `axis` and 1 along the others: (ny, 1) or (1, nx).

    Raises:
        ValueError: acceleration is not a whole number from 1 to N, or more calibration lines than lines.

    Example:
        >>> jr.simulate.uniform_mask((8, 8), 4, calibration=2, dtype=int).ravel()
        Array([1, 0, 0, 1, 1, 0, 0, 0], dtype=int64)
    """
    lines, n = _lines(shape, axis, "uniform_mask")
    if int(acceleration) != acceleration or not 1 <= acceleration <= n:
        raise ValueError(f"uniform_mask: acceleration must be a whole number from 1 to {n}, got {acceleration}; "
                         "random_mask takes any number")
    measured = (np.arange(n) - n // 2 - offset) % int(acceleration) == 0
    centre = _centre((n,), calibration, "uniform_mask")
    return jnp.asarray((measured | centre).reshape(lines), dtype=dtype)


def random_mask(key: jax.Array, shape: tuple[int, ...], acceleration: float, calibration: int | tuple[int, ...] = 0,
                axis: int | None = -2, dtype: DTypeLike = bool) -> jax.Array:
    """Lines (or points) drawn evenly, round(N / acceleration) of them, the calibration region among them.

    Args:
        key: jax.random.key; the same key gives the same mask, in float32 and float64 mode alike. vmap over keys works.
        shape: of k-space, (ny, nx) or (nz, ny, nx).
        acceleration: N / count, 1 or more; N counts lines, or points where axis is None.
        calibration: size of the fully measured centre: lines, or points along each axis (one number for all of them).
        axis: the axis along which lines are left out; None: points are drawn instead of lines.
        dtype: of the mask.

    Returns:
        The mask: lines as (ny, 1) or (1, nx), points as `shape`.

    Raises:
        ValueError: acceleration below 1, or a calibration region larger than the budget.

    Example:
        >>> mask = jr.simulate.random_mask(jax.random.key(0), (64, 64), 4, calibration=8)
        >>> mask.shape, int(mask.sum())
        ((64, 1), 16)
    """
    return _drawn(key, shape, acceleration, calibration, axis, dtype, "random_mask",
                  lambda distance: np.ones_like(distance))


def variable_density_mask(key: jax.Array, shape: tuple[int, ...], acceleration: float,
                          calibration: int | tuple[int, ...] = 0, axis: int | None = -2, power: float = 2.0,
                          dtype: DTypeLike = bool) -> jax.Array:
    """Lines (or points) drawn with a density that falls from the centre: p(r) = min(1, c (1 - r)^power).

    c makes the probabilities add up to round(N / acceleration), which is exactly how many are drawn.

    Args:
        key: jax.random.key; the same key gives the same mask, in float32 and float64 mode alike. vmap over keys works.
        shape: of k-space, (ny, nx) or (nz, ny, nx).
        acceleration: N / count, 1 or more; N counts lines, or points where axis is None.
        calibration: size of the fully measured centre: lines, or points along each axis (one number for all of them).
        axis: the axis along which lines are left out; None: points are drawn instead of lines.
        power: of the density, 0 (even) or more; r is the distance from the zero frequency, 1 just outside k-space
            (for points: in its corners).
        dtype: of the mask.

    Returns:
        The mask: lines as (ny, 1) or (1, nx), points as `shape`.

    Raises:
        ValueError: acceleration below 1, power below 0, or a calibration region larger than the budget.

    Example:
        >>> mask = jr.simulate.variable_density_mask(jax.random.key(0), (64, 64), 8, calibration=8, axis=None)
        >>> mask.shape, int(mask.sum())
        ((64, 64), 512)

    Source: Lustig, Donoho & Pauly (2007); fixed-size draw: Rosen (1997), Pareto sampling.
    """
    if not power >= 0:
        raise ValueError(f"variable_density_mask: power must be 0 or more, got {power}")
    return _drawn(key, shape, acceleration, calibration, axis, dtype, "variable_density_mask",
                  lambda distance: (1 - distance) ** power)


def poisson_disc_mask(key: jax.Array, shape: tuple[int, int], acceleration: float,
                      calibration: int | tuple[int, int] = 0, growth: float = 3.0, elliptical: bool = True,
                      dtype: DTypeLike = bool) -> jax.Array:
    """Points that keep a distance from one another, growing outwards: random but without clusters or holes.

    Any two points p, q outside the calibration region have |p - q| >= min(d(p), d(q)), d(p) = s (1 + growth r(p)),
    r = 1 at the ends of the axes; s is found so that round(ny nx / acceleration) points are measured, exactly.

    Args:
        key: jax.random.key; the same key gives the same mask. Made on the host: not under jit or vmap over keys.
        shape: (ny, nx), the two phase-encoded axes.
        acceleration: ny nx / count, 1 or more; the empty corners of an elliptical mask count as left out.
        calibration: size of the fully measured centre along each axis (one number for both).
        growth: 0 is a uniform Poisson disc; 3 makes the distance at the edge four times that at the centre.
        elliptical: measure nothing outside the ellipse that touches the sides.
        dtype: of the mask.

    Returns:
        The mask, of `shape`.

    Raises:
        ValueError: acceleration below 1 (or below 4/pi, if elliptical), growth below 0, or a calibration region larger
            than the budget.

    Example:
        >>> mask = jr.simulate.poisson_disc_mask(jax.random.key(0), (64, 64), 8, calibration=12)
        >>> int(mask.sum()), bool(mask[26:38, 26:38].all())
        (512, True)

    Source: Bridson (2007); in MRI: Vasanawala et al. (2011).
    """
    name = "poisson_disc_mask"
    ny, nx = check_shape(shape, name, (2,))
    shape = ny, nx
    if not is_concrete(key):
        raise TypeError(f"{name}: the mask is made on the host and needs a concrete key; call it outside jit and vmap")
    if not growth >= 0:
        raise ValueError(f"{name}: growth must be 0 or more, got {growth}")
    centre = _centre(shape, calibration, name)
    count = _budget(shape, acceleration, centre, name)
    axes = [(np.arange(n) - n // 2) / (n / 2) for n in shape]
    r = np.sqrt(sum(t**2 for t in np.meshgrid(*axes, indexing="ij", sparse=True)))
    allowed = (r <= 1) | centre if elliptical else np.ones(shape, bool)
    if count > allowed.sum():
        raise ValueError(f"{name}: acceleration {acceleration} needs {count} points and the ellipse holds "
                         f"{allowed.sum()}; raise the acceleration or pass elliptical=False")

    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)).ravel())
    order = rng.permutation(np.flatnonzero(allowed & ~centre))
    wanted = count - int(centre.sum())
    # Discs of one size make rings on the pixel grid, where distances jump from 1 to sqrt(2) to 2: vary them a little.
    relative = (1 + growth * r) * rng.uniform(1, 1.5, shape)
    chosen = _disc_points(order, shape, relative, wanted)
    mask = centre.copy()
    # `order` is random, so its first points are a random part of those chosen: dropping the rest keeps the density.
    mask.flat[chosen[:wanted]] = True
    return jnp.asarray(mask, dtype=dtype)


def _disc_points(order: np.ndarray, shape: tuple[int, int], relative: np.ndarray, wanted: int) -> np.ndarray:
    """The sparsest greedy packing with `wanted` points or more, found by bisection of the discs' scale."""
    if wanted <= 1:  # a disc always holds one point
        return order[:wanted]
    low, high, best = 0.0, 1.0, order
    found = _pack(order, shape, high * relative)
    while len(found) >= wanted:
        low, best = high, found
        high *= 2
        found = _pack(order, shape, high * relative)
    for _ in range(20):
        if len(best) <= 1.005 * wanted:
            break
        middle = (low + high) / 2
        found = _pack(order, shape, middle * relative)
        if len(found) >= wanted:
            low, best = middle, found
        else:
            high = middle
    # A subset of one packing in its original random order: the caller drops the surplus from the end.
    return best


def _pack(order: np.ndarray, shape: tuple[int, int], distance: np.ndarray) -> np.ndarray:
    """Visit points in `order`, keep each one that lies in no earlier point's disc."""
    distance = np.minimum(distance, math.hypot(*shape))  # all of the image: no more to take
    reach = math.ceil(float(distance.flat[order].max()))
    ny, nx = shape[0] + 2 * reach, shape[1] + 2 * reach
    taken = bytearray(ny * nx)  # indexing single bytes is what the loop does most, and numpy is slow at it
    grid = np.frombuffer(taken, np.uint8).reshape(ny, nx)
    offsets = np.arange(-reach, reach + 1)
    square = offsets[:, None] ** 2 + offsets**2
    rows, columns = np.divmod(order, shape[1])
    distances = distance.flat[order]
    flat = ((rows + reach) * nx + columns + reach).tolist()
    kept = []
    for i, at in enumerate(flat):
        if taken[at]:
            continue
        kept.append(i)
        d = distances[i]
        k = math.ceil(d) - 1  # the furthest whole offset below d
        if k > 0:
            y, x = rows[i] + reach, columns[i] + reach
            inner = slice(reach - k, reach + k + 1)
            grid[y - k : y + k + 1, x - k : x + k + 1] |= square[inner, inner] < d * d
    return order[kept]


def _drawn(key: jax.Array, shape: tuple[int, ...], acceleration: float, calibration: int | tuple[int, ...],
           axis: int | None, dtype: DTypeLike, name: str, density: Callable[[np.ndarray], np.ndarray]) -> jax.Array:
    if axis is None:
        lines = sizes = check_shape(shape, name, (1, 2, 3))
    else:
        lines, n = _lines(shape, axis, name)
        sizes = (n,)
    centre = _centre(sizes, calibration, name)
    count = _budget(sizes, acceleration, centre, name)
    axes = [(np.arange(n) - n // 2) / (n // 2 + 1) for n in sizes]
    distance = np.sqrt(sum(t**2 for t in np.meshgrid(*axes, indexing="ij", sparse=True)) / len(sizes))
    p = _probabilities(np.where(centre, 0, density(distance)).ravel(), count - int(centre.sum()))
    p = np.where(centre.ravel(), 1, p)
    with np.errstate(divide="ignore"):
        logit = np.log(p) - np.log1p(-p)
    # The `count` smallest of odds(u)/odds(p) hit the probabilities p almost exactly, with a fixed count. float32 in
    # either mode, so that a key means one mask.
    score = jnp.asarray(logit, jnp.float32) - jax.random.logistic(key, logit.shape, jnp.float32)
    _, drawn = jax.lax.top_k(score, count)
    return jnp.zeros(logit.shape, bool).at[drawn].set(True).reshape(lines).astype(dtype)


def _probabilities(weights: np.ndarray, count: int) -> np.ndarray:
    """min(1, c * weights) that adds up to `count`."""
    ordered = np.sort(weights)[::-1]
    tail = np.cumsum(ordered[::-1])[::-1]  # the weight from the k-th on
    for k in range(count):  # the k heaviest are certain
        c = (count - k) / tail[k]
        if c * ordered[k] <= 1:
            return np.minimum(1, c * weights)
    return (weights >= ordered[count - 1]) * 1.0 if count else np.zeros_like(weights)


def _lines(shape: tuple[int, ...], axis: int, name: str) -> tuple[tuple[int, ...], int]:
    shape = check_shape(shape, name, (1, 2, 3))
    if not -len(shape) <= axis < len(shape):
        raise ValueError(f"{name}: axis {axis} is out of range for shape {shape}")
    axis %= len(shape)
    return tuple(n if i == axis else 1 for i, n in enumerate(shape)), shape[axis]


def _centre(sizes: tuple[int, ...], calibration: int | tuple[int, ...], name: str) -> np.ndarray:
    """True in the calibration box around index N//2."""
    each = tuple(calibration) if isinstance(calibration, tuple | list) else (calibration,) * len(sizes)
    if len(each) != len(sizes):
        raise ValueError(f"{name}: calibration {calibration} needs one number, or {len(sizes)}")
    if any(c < 0 or c > n for c, n in zip(each, sizes, strict=True)):
        raise ValueError(f"{name}: calibration {calibration} must lie between 0 and the size {sizes}; lower it")
    boxes = [(np.arange(n) >= n // 2 - c // 2) & (np.arange(n) < n // 2 - c // 2 + c)
             for n, c in zip(sizes, each, strict=True)]
    return np.logical_and.reduce(np.meshgrid(*boxes, indexing="ij"))


def _budget(sizes: tuple[int, ...], acceleration: float, centre: np.ndarray, name: str) -> int:
    if not acceleration >= 1:
        raise ValueError(f"{name}: acceleration must be 1 or more, got {acceleration}")
    total = math.prod(sizes)
    count, calibration = max(1, round(total / acceleration)), int(centre.sum())
    if calibration > count:
        raise ValueError(f"{name}: the calibration region takes {calibration} samples and acceleration {acceleration} "
                         f"leaves {count} of {total}; lower the calibration or the acceleration")
    return count
