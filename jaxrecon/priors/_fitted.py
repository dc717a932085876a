"""What a prior holds, its operator and its weights, as it acts on the images that it meets."""

from __future__ import annotations

from typing import Any

import jax

from ..checks import broadcasts
from ..operator import LinearOperator, real_part
from ..value import describe, is_complex
from .base import scalar_like


def operator_for(owner: Any, K: LinearOperator, x: Any) -> LinearOperator:
    """K on images like x: `real_part(K)` where K makes complex coefficients of a real x.

    Raises:
        ValueError: images of another shape, or complex ones where K takes real ones only.
    """
    made_for = K.domain
    if not isinstance(made_for, jax.ShapeDtypeStruct) or made_for.shape != x.shape:
        raise ValueError(f"{type(owner).__name__}: its {type(K).__name__} takes {describe(made_for)}, but the image "
                         f"has shape {tuple(x.shape)}; make the operator for that shape")
    if not is_complex(x):
        # One with real coefficients, such as a wavelet transform for complex images, stays what it is.
        return real_part(K) if is_complex(jax.eval_shape(K.apply, jax.ShapeDtypeStruct(x.shape, x.dtype))) else K
    if K.real_domain:
        raise ValueError(f"{type(owner).__name__}: its {type(K).__name__} takes real images, and this one is "
                         f"{x.dtype}; drop jr.real_part, or make the image real by jr.real_part(A)")
    return K


def values_for(owner: Any, values: Any, x: Any, shape: tuple[int, ...] | None = None) -> jax.Array:
    """A number, or an array that broadcasts to `shape` (of x, unless given), at the precision of x.

    Raises:
        ValueError: it does not, or would make x larger.
    """
    shape = tuple(x.shape) if shape is None else shape
    values = scalar_like(values, x)
    if not broadcasts(values.shape, shape):
        raise ValueError(f"{type(owner).__name__}: an array of shape {values.shape} does not fit the values of shape "
                         f"{shape} that it stands beside; give one number, or an array that broadcasts to that shape")
    return values
