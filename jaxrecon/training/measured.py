"""What was measured of b, and what A makes of an image: the ground of every loss without a reference."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from ..fidelity import cast_measurements
from ..operator import LinearOperator
from ..parameters import measured
from ..parameters.trial import real_count
from ..value import describe


def measured_samples(A: LinearOperator, b: jax.Array, mask: Any = None) -> jax.Array:
    """True where b was measured: where the mask is not 0, or, where none is given, where A sees the image; shape of b.

    Raises:
        ValueError: the mask does not broadcast to b.
    """
    mask = measured(A) if mask is None else jnp.asarray(mask)
    try:
        return jnp.broadcast_to(mask != 0, b.shape)
    except ValueError:
        raise ValueError(f"the mask of shape {mask.shape} does not broadcast to the measurements, {b.shape}") from None


def real_values(samples: jax.Array, b: jax.Array) -> jax.Array:
    """How many real numbers were measured, at least 1."""
    return jnp.maximum(real_count(samples, b).astype(b.real.dtype), 1)


def checked_measurements(name: str, A: LinearOperator, b: Any) -> jax.Array:
    """b at the precision of A.

    Raises:
        ValueError: it is not one array, or not shaped as the measurements of A.
    """
    b, _ = cast_measurements(A, b)
    if not hasattr(b, "shape"):
        raise ValueError(f"{name} needs one array of measurements, got {describe(b)}; write a loss of your own for a "
                         "stack: a value derived from jr.training.SelfSupervised")
    return b


def image(reconstructor: Any, A: LinearOperator, b: jax.Array) -> jax.Array:
    """reconstructor(A, b), known to be what A takes."""
    x = reconstructor(A, b)
    if jnp.shape(x) != tuple(A.domain.shape):
        raise ValueError(f"the reconstructor gives {describe(x)}, but A takes {describe(A.domain)}")
    return x


def need_key(name: str, key: jax.Array | None) -> jax.Array:
    if key is None:
        raise ValueError(f"fit needs key=jax.random.key(...) for what {name} draws")
    return key
