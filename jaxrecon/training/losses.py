"""Losses of ONE image: how far it is from its reference; means over pixels, so that its size does not matter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from .. import metrics
from ..value import is_complex, safe_divide, safe_sqrt


def mse(x: jax.Array, ref: jax.Array) -> jax.Array:
    """mean |x - ref|^2; complex images by their complex difference.

    Example:
        >>> float(jr.training.mse(jnp.array([1.0, 3.0]), jnp.array([1.0, 1.0])))
        2.0
    """
    return jnp.mean(_squared(x - ref))


def l1(x: jax.Array, ref: jax.Array) -> jax.Array:
    """mean |x - ref|; its gradient where both are equal is 0.

    Example:
        >>> float(jr.training.l1(jnp.array([1.0, 3.0]), jnp.array([1.0, 1.0])))
        1.0
    """
    return jnp.mean(magnitude(x - ref))


def nmse(x: jax.Array, ref: jax.Array) -> jax.Array:
    """|x - ref|^2 / |ref|^2: examples of every scale count alike; 0 for an empty reference.

    Example:
        >>> float(jr.training.nmse(jnp.array([1.0, 3.0]), jnp.array([1.0, 1.0])))
        2.0
    """
    return safe_divide(jnp.sum(_squared(x - ref)), jnp.sum(_squared(ref)))


def ssim(x: jax.Array, ref: jax.Array) -> jax.Array:
    """1 - SSIM of the magnitudes, with the range of the reference's (Wang et al. 2004); 0 for a constant reference.

    Example:
        >>> x = jr.simulate.shepp_logan((16, 16))
        >>> float(jr.training.ssim(x, x))
        0.0
    """
    x, ref = (magnitude(v) if is_complex(v) else v for v in (x, ref))
    span = jnp.max(ref) - jnp.min(ref)
    return jnp.where(span > 0, 1 - metrics.ssim(x, ref, data_range=jnp.where(span > 0, span, 1)), 0)


def magnitude(x: jax.Array) -> jax.Array:
    """|x|, whose gradient at 0 is 0."""
    return safe_sqrt(_squared(x)) if is_complex(x) else jnp.abs(x)


def _squared(x: jax.Array) -> jax.Array:
    return x.real**2 + x.imag**2 if is_complex(x) else x**2


def magnitude_mse(x: jax.Array, ref: jax.Array) -> jax.Array:
    """mean (|x| - |ref|)^2: the phase is free."""
    return mse(magnitude(x), magnitude(ref))


def magnitude_l1(x: jax.Array, ref: jax.Array) -> jax.Array:
    """mean ||x| - |ref||: the phase is free."""
    return l1(magnitude(x), magnitude(ref))


LOSSES: dict[str, Callable] = {"mse": mse, "l1": l1, "nmse": nmse, "ssim": ssim, "magnitude_mse": magnitude_mse,
                               "magnitude_l1": magnitude_l1}


class SelfSupervised:
    """A loss that needs no reference: loss(reconstructor, A, b, key) -> real scalar of ONE example.

    A subclass is a value (`jr.value`) and gives `loss_and_image`; `jr.fit` calls it with a key of its own for each
    example of each step.
    """

    def loss_and_image(self, reconstructor: Any, A: Any, b: Any, key: jax.Array | None) -> tuple[jax.Array, jax.Array]:
        """(loss, the image x that it reconstructed)."""
        raise NotImplementedError(f"{type(self).__name__} must define `loss_and_image`")

    def __call__(self, reconstructor: Any, A: Any, b: Any, key: jax.Array | None = None) -> jax.Array:
        return self.loss_and_image(reconstructor, A, b, key)[0]


def loss_function(loss: Any) -> Callable:
    """The loss as a pytree: a self-supervised one as it is, any other (by its name, or a function) without leaves."""
    if isinstance(loss, SelfSupervised):
        if jax.tree.leaves(loss, is_leaf=lambda v: v is not loss) == [loss]:
            raise TypeError(f"{type(loss).__name__} must be a value: write @jr.value above its class")
        return loss
    if isinstance(loss, str):
        if loss not in LOSSES:
            raise ValueError(f"loss must be one of {', '.join(LOSSES)} or a function (x, ref) -> scalar, got {loss!r}")
        return Partial(LOSSES[loss])
    if not callable(loss):
        raise TypeError(f"loss must be one of {', '.join(LOSSES)}, a function (x, ref) -> scalar or a self-supervised "
                        f"loss such as jr.training.SURE(sigma), got {loss!r}")
    return Partial(loss)
