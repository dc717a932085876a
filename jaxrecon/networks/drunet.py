"""DRUNet: a residual U-Net that is told the noise level."""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import nnx

from .base import architecture
from .parts import conv, cropped, shuffled, unshuffled


@architecture
class DRUNet:
    """Encoder and decoder of residual blocks x + conv(relu(conv x)) with added skips (Zhang et al. 2021).

    Args:
        channels: image channels, in and out.
        features: widths from the finest scale to the coarsest; each scale halves the image.
        blocks: residual blocks per scale, on the way down and again on the way up; the coarsest has them once.
        shuffle: s > 1 starts from s^2 sub-images of every s-th pixel (Zhang et al. 2018): s^2 times cheaper.
        bias: False makes the network homogeneous, net(c x, c sigma) = c net(x, sigma) for c > 0: it then works at any
            scale and beyond the noise levels of its training (Mohan et al. 2020).
        conditional: module(x, sigma), with sigma as a constant channel; False: blind, module(x).

    Images of any size: mirrored up to the next multiple of s 2^L, and cropped back.

    Parameters, with widths F_0 .. F_L, B blocks, c channels, s = shuffle, without biases (conditional: + 9 F_0):
        18 s^2 c F_0 + 18 B (2 sum_{l<L} F_l^2 + F_L^2) + 8 sum_{l<L} F_l F_{l+1}.

    Example:
        >>> net = jr.networks.build(jr.networks.DRUNet(features=(4, 8), blocks=1), jax.random.key(0))
        >>> net(jnp.ones((9, 7, 1)), 0.1).shape
        (9, 7, 1)
    """

    ndim: ClassVar[int] = 2
    channels: int = 1
    features: tuple[int, ...] = (32, 64, 128)
    blocks: int = 2
    shuffle: int = 1
    bias: bool = False
    conditional: bool = True

    def __post_init__(self):
        object.__setattr__(self, "features", tuple(self.features))
        if not self.features or self.blocks < 1 or self.shuffle < 1:
            raise ValueError(f"DRUNet needs at least one width, blocks >= 1 and shuffle >= 1, got {self}")

    def __call__(self, rngs: nnx.Rngs) -> nnx.Module:
        return _DRUNet(self, rngs)


class _Block(nnx.Module):
    def __init__(self, features, bias, rngs):
        self.conv1 = conv(features, features, rngs=rngs, bias=bias)
        self.conv2 = conv(features, features, rngs=rngs, bias=bias, scale=0.1)

    def __call__(self, x):
        return x + self.conv2(jax.nn.relu(self.conv1(x)))


class _DRUNet(nnx.Module):
    def __init__(self, a: DRUNet, rngs):
        self.shuffle, self.multiple, self.conditional = a.shuffle, a.shuffle * 2 ** (len(a.features) - 1), a.conditional
        f, inputs = a.features, a.channels * a.shuffle**2

        def blocks(width):
            return nnx.List([_Block(width, a.bias, rngs) for _ in range(a.blocks)])

        self.head = conv(inputs + a.conditional, f[0], rngs=rngs, bias=a.bias)
        self.down = nnx.List([blocks(w) for w in f[:-1]])
        self.reduce = nnx.List([conv(w, v, size=2, stride=2, rngs=rngs, bias=a.bias) for w, v in pairwise(f)])
        self.body = blocks(f[-1])
        self.expand = nnx.List([conv(v, 4 * w, size=1, rngs=rngs, bias=a.bias) for w, v in pairwise(f)])
        self.up = nnx.List([blocks(w) for w in f[:-1]])
        self.tail = conv(f[0], inputs, rngs=rngs, bias=a.bias, scale=0.0)

    def __call__(self, x, *sigma):
        return x + cropped(lambda v: self.correction(v, *sigma), x, self.multiple)

    def correction(self, x, *sigma):
        h = unshuffled(x, self.shuffle)
        if self.conditional:
            h = jnp.concatenate([h, jnp.broadcast_to(sigma[0], (*h.shape[:-1], 1)).astype(h.dtype)], axis=-1)
        h, skips = self.head(h), []
        for blocks, reduce in zip(self.down, self.reduce, strict=True):
            for block in blocks:
                h = block(h)
            skips.append(h)
            h = reduce(h)
        for block in self.body:
            h = block(h)
        for blocks, expand, skip in zip(reversed(self.up), reversed(self.expand), reversed(skips), strict=True):
            h = skip + shuffled(expand(h), 2)
            for block in blocks:
                h = block(h)
        return shuffled(self.tail(h), self.shuffle)
