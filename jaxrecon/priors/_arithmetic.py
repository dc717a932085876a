"""What the priors share: magnitudes, and the two shrinkages."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from ..value import safe_sqrt


def absolute_squared(x: jax.Array) -> jax.Array:
    """|x|^2, elementwise."""
    return jnp.square(x.real) + jnp.square(x.imag) if jnp.iscomplexobj(x) else jnp.square(x)


def magnitude(x: jax.Array, axis: Any = None) -> jax.Array:
    """|x| elementwise, or the l2 norm over `axis` with that axis kept; gradient 0 at 0."""
    if axis is None:
        return safe_sqrt(absolute_squared(x)) if jnp.iscomplexobj(x) else jnp.abs(x)
    return safe_sqrt(jnp.sum(absolute_squared(x), axis, keepdims=True))


def soft(x: jax.Array, threshold: jax.Array, axis: Any = None) -> jax.Array:
    """x (1 - threshold / |x|)_+, |x| elementwise or over `axis`: towards zero by the threshold, keeping the phase."""
    if axis is None and not jnp.iscomplexobj(x):
        return x - jnp.clip(x, -threshold, threshold)
    squares = absolute_squared(x)
    squares = squares if axis is None else jnp.sum(squares, axis, keepdims=True)
    outside = squares > jnp.square(threshold)
    # Double where: neither the root nor the quotient is taken at 0, so gradients there are 0.
    return x * jnp.where(outside, 1 - threshold / jnp.sqrt(jnp.where(outside, squares, 1)), 0)


def clip_magnitude(x: jax.Array, radius: jax.Array, axis: Any = None) -> jax.Array:
    """The nearest point with |x| <= radius: x - soft(x, radius), in one pass."""
    if axis is None and not jnp.iscomplexobj(x):
        return jnp.clip(x, -radius, radius)
    squares = absolute_squared(x)
    squares = squares if axis is None else jnp.sum(squares, axis, keepdims=True)
    outside = squares > jnp.square(radius)
    return x * jnp.where(outside, radius / jnp.sqrt(jnp.where(outside, squares, 1)), 1)
