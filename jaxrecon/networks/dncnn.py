"""DnCNN: a convolutional network that predicts the noise."""

from __future__ import annotations

from itertools import pairwise

import jax
from flax import nnx

from .base import architecture
from .parts import conv


@architecture
class DnCNN:
    """x - net(x): `depth` convolutions of 3 x 3 pixels with ReLU between them (Zhang et al. 2017), without batch
    normalisation: that of published weights is folded into their kernels.

    Args:
        channels: image channels, in and out.
        depth: number of convolutions, >= 2; 17 in the paper.
        features: channels of the hidden layers.
        padding: "zero" or "circular".
        bias: False makes the network homogeneous, net(c x) = c net(x) for c > 0 (Mohan et al. 2020).

    Parameters, with F features, depth d, c channels: 9 (2 c F + (d - 2) F^2), and (d - 1) F + c biases.

    `jr.networks.from_torch` reads published weights.

    Example:
        >>> net = jr.networks.build(jr.networks.DnCNN(depth=17, features=64), jax.random.key(0))
        >>> jr.networks.count_parameters(net) == 9 * (2 * 64 + 15 * 64**2) + 16 * 64 + 1
        True
    """

    channels: int = 1
    depth: int = 17
    features: int = 64
    padding: str = "zero"
    bias: bool = True

    def __post_init__(self):
        if self.depth < 2 or self.features < 1:
            raise ValueError(f"DnCNN needs depth >= 2 and features >= 1, got {self.depth} and {self.features}")

    def __call__(self, rngs: nnx.Rngs) -> nnx.Module:
        return _DnCNN(self, rngs)


class _DnCNN(nnx.Module):
    def __init__(self, a: DnCNN, rngs):
        widths = [a.channels, *[a.features] * (a.depth - 1), a.channels]
        self.layers = nnx.List([conv(i, o, rngs=rngs, padding=a.padding, bias=a.bias,
                                     scale=0.0 if k == a.depth - 1 else 1.0)
                                for k, (i, o) in enumerate(pairwise(widths))])

    def __call__(self, x):
        noise = x
        for layer in self.layers[:-1]:
            noise = jax.nn.relu(layer(noise))
        return x - self.layers[-1](noise)
