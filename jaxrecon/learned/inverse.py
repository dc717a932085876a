"""The learned inverse: a network from measurements to image."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp

from ..fidelity import cast_measurements
from ..networks.base import build
from ..operator import LinearOperator
from ..value import describe, is_complex, value
from .scale import image_scale


@value
class LearnedInverse:
    """x = net(b): the inverse of A learned from examples alone; A gives only the shape of x (Zhu et al. 2018).

    Args:
        net: a factory rngs -> nnx.Module such as `jr.networks.MLP(...)` or `jr.networks.AUTOMAP(...)`, a module or a
            network. It takes one real vector, all measurements (first the real, then the imaginary parts of complex
            ones), and gives as many numbers as the image has pixels (twice as many for a complex image: shaped
            (..., ny, nx, 2)), in any shape.
        key: for initial weights, where `net` is a factory.

    The measurements enter at root mean square 1, so that the method commutes with their scale.

    Example:
        >>> net = jr.networks.MLP(inputs=32, outputs=32, hidden=(16,))
        >>> r = jr.LearnedInverse(net, key=jax.random.key(0))
        >>> r(jr.Fourier((4, 4)), jnp.ones((4, 4), complex)).shape
        (4, 4)
    """

    net: Any
    key: Any = None

    def check(self):
        object.__setattr__(self, "net", build(self.net, self.key))
        object.__setattr__(self, "key", None)

    def __call__(self, A: LinearOperator, b: Any) -> jax.Array:
        b, domain = cast_measurements(A, b)
        flat = jnp.concatenate([v.ravel() for v in jax.tree.leaves(b)])
        scale = image_scale(flat)
        if not is_complex(domain):
            scale = jnp.abs(scale)  # the phase of the data of a real image is no common factor, it means something
        flat = flat / scale
        y = self.net(jnp.concatenate([flat.real, flat.imag]) if is_complex(flat) else flat)
        channels = 2 if is_complex(domain) else 1
        if y.size != channels * math.prod(domain.shape):
            raise ValueError(f"the network gives {describe(y)}, but an image {describe(domain)} has {channels} x "
                             f"{math.prod(domain.shape)} numbers")
        y = y.reshape(*domain.shape, channels)
        x = jax.lax.complex(y[..., 0], y[..., 1]) if channels == 2 else y[..., 0]
        return (scale * x).astype(domain.dtype)
