"""A denoising network in the place of a prior."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from ..networks.base import apply_to_image, build
from ..priors import Prior
from ..priors.base import scalar_like
from ..value import is_concrete, value


@value
class Denoiser(Prior):
    """A prior known by its prox alone: prox(v, t) = net(v), or net(v, sigma) where the network is conditional.

    Goes wherever a prior goes: `enhance` of Alternating, ISTA, FISTA, ADMM (Venkatakrishnan et al. 2013). It has no
    value g(x), so record="objective" raises.

    Args:
        net: a factory rngs -> nnx.Module, a module or a network; `jr.networks.pretrained("denoiser")` is ready to use.
        sigma: noise level that a conditional network is told, per real component, in units of the image. None: sqrt(t),
            the standard deviation for which the prox with weight t is the MAP denoiser. A blind network ignores it.
        key: for initial weights, where `net` is a factory.

    A complex image enters as two channels; a network of one channel treats real and imaginary parts one by one.

    Example:
        >>> denoiser = jr.Denoiser(jr.networks.ConvNet(features=4, depth=2), key=jax.random.key(0))
        >>> denoiser.prox(jnp.ones((8, 8))).shape
        (8, 8)
    """

    net: Any
    sigma: Any = None
    key: Any = None

    def check(self):
        object.__setattr__(self, "net", build(self.net, self.key))
        object.__setattr__(self, "key", None)
        if self.sigma is not None and is_concrete(self.sigma) and bool(jnp.any(jnp.asarray(self.sigma) < 0)):
            raise ValueError(f"Denoiser needs sigma >= 0, got {self.sigma}")

    def __call__(self, x: Any) -> jax.Array:
        raise ValueError("a denoiser is known by its prox alone and has no objective; record 'fidelity', 'residual' or "
                         "'change' instead")

    def prox(self, v: jax.Array, t: Any = 1.0) -> jax.Array:
        if not self.net.conditional:
            return apply_to_image(self.net, v)
        sigma = jnp.sqrt(scalar_like(t, v)) if self.sigma is None else scalar_like(self.sigma, v)
        return apply_to_image(self.net, v, sigma)
