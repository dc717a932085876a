"""Units of an image: what makes a network see the same numbers whatever the scanner's gain and phase."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from ..value import is_complex, norm, norm_squared, safe_divide


def image_scale(x: jax.Array) -> jax.Array:
    """c such that x / c has root mean square 1 and, where it is complex, bright pixels of mean phase 0.

    c is complex for a complex x; it commutes with factors: c(f x) = f c(x), with f > 0 for real x. 1 for x = 0.

    Example:
        >>> round(float(image_scale(jnp.array([3.0, -3.0]))), 6)
        3.0
    """
    size = norm(x) / x.size**0.5
    size = jnp.where(size > 0, size, 1)
    if not is_complex(x):
        return size
    bright = jnp.sum(x / size * (jnp.abs(x) / size))
    length = jnp.abs(bright)
    # Without any common phase the direction is noise, but no less a number.
    phase = jnp.where(length > 0, safe_divide(bright, length), 1)
    return size * phase


def divide_measurements(b: Any, scale: jax.Array) -> Any:
    """b / scale over all arrays of measurements; a real b keeps its kind."""
    return jax.tree.map(lambda v: v / scale if is_complex(v) else v / jnp.abs(scale), b)


def least_squares_backprojection(A: Any, b: Any) -> jax.Array:
    """t A^H b with the t that minimises |A (t A^H b) - b|: one steepest-descent step, in the units of the image."""
    g = A.apply_adjoint(b)
    return safe_divide(norm_squared(g), norm_squared(A.apply(g))) * g
