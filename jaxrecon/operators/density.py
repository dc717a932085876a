"""Density compensation: the area of k-space that each sample of a non-Cartesian scan stands for.

Weights are in (cycles/pixel)^ndim and sum to the area that is covered. A^H diag(N w) A of a NUFFT is then about the
identity, and jr.LeastSquares(weights=N w) the density-compensated data term, with N the number of pixels.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from ..value import safe_divide, safe_sqrt
from .nufft.gridding import interpolate, spread
from .nufft.kernel import transform
from .nufft.operator import NUFFT, checked_nodes
from .nufft.plan import make_kernels, make_plan

WIDTH = 6


def pipe_menon(nodes: Any, shape: tuple[int, ...] | None = None, iterations: int = 20) -> jax.Array:
    """Density weights of any nodes by iteration: w <- w / (K w), until the smoothed density K w is 1 at each node.

    K_ij = psi(k_i - k_j), where psi >= 0 is a Kaiser-Bessel kernel convolved with itself, over 6 cells of the grid.

    Args:
        nodes: (..., ndim) in cycles/pixel, or a `NUFFT`.
        shape: of the image; that of the NUFFT where nodes is one.
        iterations: 10 to 30 are usual.

    Returns:
        w (...), real, in (cycles/pixel)^ndim: 1/N for Cartesian nodes. No gradient passes to the nodes.

    Raises:
        ValueError: no shape, bad nodes, or iterations < 1.

    Example:
        >>> w = jr.pipe_menon(jr.simulate.radial(50, 64), (32, 32))
        >>> w.shape, round(float(w.sum()), 1)
        ((50, 64), 0.8)

    Source: Pipe & Menon (1999).
    """
    if isinstance(nodes, NUFFT):
        nodes, shape = nodes.nodes, nodes.shape if shape is None else shape
    if shape is None:
        raise ValueError("pipe_menon needs the shape of the image: pipe_menon(nodes, shape)")
    if iterations < 1:
        raise ValueError(f"pipe_menon needs iterations >= 1, got {iterations}")
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    nodes = checked_nodes(nodes, len(shape))
    return _pipe_menon(nodes.reshape(-1, len(shape)), shape, iterations).reshape(nodes.shape[:-1])


@functools.partial(jax.jit, static_argnums=(1, 2))
def _pipe_menon(nodes, shape, iterations):
    kernels = make_kernels(shape, WIDTH, 2.0)
    plan = make_plan(nodes, kernels)
    # The integral of psi over k-space.
    area = math.prod(float(transform(k)[k.size // 2]) ** 2 / k.grid for k in kernels)

    def step(_, w):
        return safe_divide(w * area, interpolate(plan, spread(plan, w[:, None]))[:, 0])

    return lax.fori_loop(0, iterations, step, jnp.full(nodes.shape[0], area, nodes.dtype))


def radial_density(nodes: Any) -> jax.Array:
    """Density weights of evenly turned spokes through, or out of, the centre: the ramp |k|^(ndim - 1).

    A sample at radius r = |k| stands for its share of the shell from r - dr/2 to r + dr/2 (area 2 pi r dr, or
    4 pi r^2 dr, on a plane or in space). One at the centre of a plane stands for pi dr^2 / 6, two thirds of the disc of
    radius dr/2, as the trapezoidal rule wants for the kink of |k|; in space for its ball.

    Args:
        nodes: (..., samples, ndim) in cycles/pixel, ndim 2 or 3: spokes of at least 2 evenly spaced samples, all
            equally long. For a stack of stars pass nodes[..., 1:].

    Returns:
        w (..., samples), real, in (cycles/pixel)^ndim. Differentiable.

    Raises:
        ValueError: nodes of another shape.

    Example:
        >>> w = jr.radial_density(jr.simulate.radial(50, 64))
        >>> round(float(w.sum()), 3)
        0.786

    Source: Lauterbur & Lai (1980); the ramp of filtered backprojection.
    """
    ndim = jnp.shape(nodes)[-1] if jnp.ndim(nodes) else 0
    if ndim not in (2, 3) or jnp.ndim(nodes) < 2 or jnp.shape(nodes)[-2] < 2:
        raise ValueError(f"radial_density needs spokes (..., samples, ndim), ndim 2 or 3, got {jnp.shape(nodes)}")
    k = checked_nodes(nodes, ndim)
    samples = k.shape[-2]
    dr = safe_sqrt(jnp.sum((k[..., -1, :] - k[..., 0, :]) ** 2, -1))[..., None] / (samples - 1)
    r = safe_sqrt(jnp.sum(k**2, -1))
    # A spoke through the centre crosses a shell twice, unless r is beyond its shorter end.
    through = jnp.sum(k[..., -1, :] * k[..., 0, :], -1)[..., None] < 0
    crossings = math.prod(k.shape[:-2]) * jnp.where(through, 2, 1)
    inner, outer = jnp.maximum(r - dr / 2, 0), r + dr / 2
    unit = math.pi if ndim == 2 else 4 * math.pi / 3
    shell = unit * (outer**ndim - inner**ndim) / crossings
    centre = unit * (dr**2 / 6 if ndim == 2 else (dr / 2) ** 3) / math.prod(k.shape[:-2])
    return jnp.where(r < dr / 2, centre, shell)
