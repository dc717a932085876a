"""A plain convolutional network."""

from __future__ import annotations

from flax import nnx

from .base import architecture
from .parts import convolutions, in_sequence


@architecture
class ConvNet:
    """`depth` convolutions of 3 x 3 pixels with ReLU between them; x + net(x) where it is residual.

    Args:
        channels: image channels, in and out: 1 for real images, 2 for complex ones.
        features: channels of the hidden layers.
        depth: number of convolutions, >= 2.
        residual: add the input (where in and out have equal channels): a fresh network is then the identity.
        padding: "zero" or "circular".
        in_channels, out_channels: other than `channels`, as the blocks of learned primal-dual need.
        ndim: 2 for images, 3 for volumes.

    Parameters, with F features, depth d, i channels in and o out: 3^ndim (i F + (d - 2) F^2 + F o) + (d - 1) F + o.

    Example:
        >>> net = jr.networks.build(jr.networks.ConvNet(features=8, depth=3), jax.random.key(0))
        >>> jr.networks.count_parameters(net) == 9 * (8 + 8 * 8 + 8) + 2 * 8 + 1
        True
    """

    channels: int = 1
    features: int = 32
    depth: int = 3
    residual: bool = True
    padding: str = "zero"
    in_channels: int | None = None
    out_channels: int | None = None
    ndim: int = 2

    def __post_init__(self):
        if self.depth < 2 or self.features < 1:
            raise ValueError(f"ConvNet needs depth >= 2 and features >= 1, got {self.depth} and {self.features}")

    def __call__(self, rngs: nnx.Rngs) -> nnx.Module:
        return _ConvNet(self, rngs)


class _ConvNet(nnx.Module):
    def __init__(self, a: ConvNet, rngs):
        inputs, outputs = a.in_channels or a.channels, a.out_channels or a.channels
        if a.residual and inputs != outputs:
            raise ValueError(f"a residual ConvNet has as many channels in as out, got {inputs} and {outputs}")
        # What is added to something starts small: residual networks as the identity, others as nearly nothing.
        self.layers = convolutions(inputs, outputs, a.features, a.depth, last=0.0 if a.residual else 0.1, rngs=rngs,
                                   padding=a.padding, ndim=a.ndim)
        self.residual = a.residual

    def __call__(self, x):
        y = in_sequence(self.layers, x)
        return x + y if self.residual else y
