"""Post-processing: a network after a classical reconstruction."""

from __future__ import annotations

from typing import Any

import jax

from ..networks.base import apply_to_image, build
from ..operator import LinearOperator, without_norm
from ..parameters import noise_level
from ..value import value
from .checks import check_initial
from .scale import image_scale


@value
class PostProcessed:
    """x = net(initial(A, b)): a network that cleans up the image of another reconstructor (Jin et al. 2017).

    Args:
        initial: any reconstructor, `jr.ZeroFilled()`, `jr.FBP()`, `jr.Iterative(...)`; not trained.
        net: a factory rngs -> nnx.Module such as `jr.networks.UNet()`, a module or a network. A conditional one is told
            the noise level of the initial image.
        key: for initial weights, where `net` is a factory.

    The network sees an image of root mean square 1, so that the method commutes with the scale of b.

    Example:
        >>> net = jr.networks.ConvNet(channels=2, features=4)
        >>> r = jr.PostProcessed(jr.ZeroFilled(), net, key=jax.random.key(0))
        >>> r(jr.Fourier((8, 8)), jnp.ones((8, 8), complex)).shape
        (8, 8)
    """

    initial: Any
    net: Any
    key: Any = None

    def check(self):
        check_initial(self.initial)
        object.__setattr__(self, "net", build(self.net, self.key))
        object.__setattr__(self, "key", None)

    def __call__(self, A: LinearOperator, b: Any) -> jax.Array:
        x = self.initial(without_norm(A), b)
        scale = image_scale(x)
        x = x / scale
        return scale * apply_to_image(self.net, x, *([noise_level(x)] if self.net.conditional else []))
