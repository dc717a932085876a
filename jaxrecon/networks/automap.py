"""AUTOMAP: dense layers from measurements to image, then convolutions."""

from __future__ import annotations

import math
from itertools import pairwise

from flax import nnx

from .base import architecture
from .mlp import ACTIVATIONS, activation, dense
from .parts import convolutions, in_sequence


@architecture
class AUTOMAP:
    """Dense layers learn the transform, convolutions clean up its image (Zhu et al. 2018).

    Args:
        inputs: length of the measured vector (real and imaginary parts of complex data apart).
        shape: of the image.
        channels: 1 for a real image, 2 for a complex one.
        hidden: widths of the hidden dense layers; () makes the transform linear.
        features: of the convolutions.
        depth: number of convolutions; 0 leaves the dense layers alone.
        size: of their kernels, in pixels.
        activation: of the dense layers; the convolutions have ReLU, and their result is added to the dense one.

    Parameters, with N = channels prod(shape), hidden widths n_1 .. n_L, F features, kernels of size s, depth d >= 2:
        sum_l (n_{l-1} + 1) n_l, n_0 = inputs, n_{L+1} = N, and s^2 (2 c F + (d - 2) F^2) + (d - 1) F + c.

    Example:
        >>> net = jr.networks.build(jr.networks.AUTOMAP(inputs=128, shape=(8, 8), channels=2), jax.random.key(0))
        >>> net(jnp.ones(128)).shape
        (8, 8, 2)
    """

    inputs: int
    shape: tuple[int, ...]
    channels: int = 1
    hidden: tuple[int, ...] = ()
    features: int = 32
    depth: int = 3
    size: int = 5
    activation: str = "tanh"

    def __post_init__(self):
        object.__setattr__(self, "shape", tuple(self.shape))
        object.__setattr__(self, "hidden", tuple(self.hidden))
        activation(self.activation)
        if self.depth == 1 or self.depth < 0:
            raise ValueError(f"AUTOMAP needs depth >= 2, or 0 for dense layers alone, got {self.depth}")

    def __call__(self, rngs: nnx.Rngs) -> nnx.Module:
        return _AUTOMAP(self, rngs)


class _AUTOMAP(nnx.Module):
    def __init__(self, a: AUTOMAP, rngs):
        self.shape, self.activation = (*a.shape, a.channels), a.activation
        widths = (a.inputs, *a.hidden, math.prod(self.shape))
        self.dense = nnx.List([dense(i, o, rngs) for i, o in pairwise(widths)])
        self.convs = nnx.List([]) if not a.depth else convolutions(
            a.channels, a.channels, a.features, a.depth, last=0.0, rngs=rngs, size=a.size, ndim=len(a.shape))

    def __call__(self, b):
        for layer in self.dense[:-1]:
            b = ACTIVATIONS[self.activation](layer(b))
        x = self.dense[-1](b).reshape(self.shape)
        return x + in_sequence(self.convs, x) if self.convs else x
