"""What the architectures share: convolutions, and the change between pixels and channels."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx


def conv(inputs: int, outputs: int, *, rngs: nnx.Rngs, size: int = 3, stride: int = 1, bias: bool = True,
         padding: str = "zero", scale: float = 1.0, ndim: int = 2) -> nnx.Conv:
    """A convolution over ndim axes of `size` pixels, with He's initial weights times `scale` (0: it starts as zero)."""
    if padding not in ("zero", "circular"):
        raise ValueError(f'padding must be "zero" or "circular", got {padding!r}')
    weights = nnx.initializers.variance_scaling(2 * scale**2, "fan_in", "normal") if scale else nnx.initializers.zeros
    return nnx.Conv(inputs, outputs, ndim * (size,), strides=stride, use_bias=bias, kernel_init=weights,
                    padding={"zero": "SAME", "circular": "CIRCULAR"}[padding], rngs=rngs)


def convolutions(inputs: int, outputs: int, features: int, depth: int, *, last: float, **options: Any) -> nnx.List:
    """`depth` convolutions in sequence, the hidden ones of width `features`; `last` scales the weights of the last."""
    widths = (inputs, *[features] * (depth - 1), outputs)
    return nnx.List([conv(i, o, scale=last if k == depth - 1 else 1.0, **options)
                     for k, (i, o) in enumerate(pairwise(widths))])


def in_sequence(layers: nnx.List, x: jax.Array) -> jax.Array:
    """The layers one after the other, with ReLU between them."""
    for layer in layers[:-1]:
        x = jax.nn.relu(layer(x))
    return layers[-1](x)


def unshuffled(x: jax.Array, s: int) -> jax.Array:
    """(ny, nx, c) -> (ny/s, nx/s, s^2 c): every s-th pixel as a channel of its own."""
    ny, nx, c = x.shape
    return x.reshape(ny // s, s, nx // s, s, c).transpose(0, 2, 1, 3, 4).reshape(ny // s, nx // s, s * s * c)


def shuffled(x: jax.Array, s: int) -> jax.Array:
    """The inverse of `unshuffled`."""
    ny, nx, c = x.shape
    return x.reshape(ny, nx, s, s, c // s**2).transpose(0, 2, 1, 3, 4).reshape(ny * s, nx * s, c // s**2)


def cropped(f: Callable[[jax.Array], Any], x: jax.Array, multiple: int) -> jax.Array:
    """f on x mirrored to sizes divisible by `multiple`, cropped back."""
    ny, nx = x.shape[:2]
    pad = (-ny % multiple, -nx % multiple)
    padded = jnp.pad(x, ((0, pad[0]), (0, pad[1]), (0, 0)), mode="symmetric") if any(pad) else x
    return f(padded)[:ny, :nx]
