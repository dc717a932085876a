"""DnCNN: a convolutional network that predicts the noise."""

from __future__ import annotations

from typing import ClassVar

from flax import nnx

from .base import architecture
from .parts import convolutions, in_sequence


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

    ndim: ClassVar[int] = 2
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
        self.layers = convolutions(a.channels, a.channels, a.features, a.depth, last=0.0, rngs=rngs,
                                   padding=a.padding, bias=a.bias)

    def __call__(self, x):
        return x - in_sequence(self.layers, x)
