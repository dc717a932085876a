"""U-Net: an encoder and a decoder joined by skips."""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import nnx

from .base import architecture
from .parts import conv, cropped


@architecture
class UNet:
    """Two convolutions per scale, the image halved `levels` times and doubled again, skips concatenated
    (Ronneberger et al. 2015; x + net(x) after Jin et al. 2017).

    Args:
        channels: image channels, in and out: 1 for real images, 2 for complex ones.
        features: width at full resolution; doubles with each level.
        levels: number of halvings.
        residual: add the input: a fresh network is then the identity.
        padding: "zero" or "circular".
        conditional: module(x, sigma), with the noise level as one more channel.

    Images of any size: mirrored up to the next multiple of 2^levels, and cropped back.

    Parameters, with F features, L levels, c channels (conditional: c + 1 in): with widths w_l = F 2^l,
        9 (c F + F^2) + 2 F, then for each level l < L: 9 (w_l w_{l+1} + w_{l+1}^2) + 2 w_{l+1} down and
        4 w_{l+1} w_l + 9 (2 w_l^2 + w_l^2) + 3 w_l up, and (F + 1) c.

    Example:
        >>> net = jr.networks.build(jr.networks.UNet(channels=2, features=2, levels=1), jax.random.key(0))
        >>> net(jnp.ones((13, 10, 2))).shape
        (13, 10, 2)
    """

    ndim: ClassVar[int] = 2
    channels: int = 1
    features: int = 32
    levels: int = 3
    residual: bool = True
    padding: str = "zero"
    conditional: bool = False

    def __post_init__(self):
        if self.levels < 1 or self.features < 1:
            raise ValueError(f"UNet needs levels >= 1 and features >= 1, got {self.levels} and {self.features}")

    def __call__(self, rngs: nnx.Rngs) -> nnx.Module:
        return _UNet(self, rngs)


class _Twice(nnx.Module):
    def __init__(self, inputs, outputs, padding, rngs):
        self.conv1 = conv(inputs, outputs, rngs=rngs, padding=padding)
        self.conv2 = conv(outputs, outputs, rngs=rngs, padding=padding)

    def __call__(self, x):
        return jax.nn.relu(self.conv2(jax.nn.relu(self.conv1(x))))


class _UNet(nnx.Module):
    def __init__(self, a: UNet, rngs):
        widths = [a.features * 2**level for level in range(a.levels + 1)]
        steps = list(pairwise(widths))
        self.first = _Twice(a.channels + a.conditional, a.features, a.padding, rngs)
        self.down = nnx.List([_Twice(fine, coarse, a.padding, rngs) for fine, coarse in steps])
        self.double = nnx.List([nnx.ConvTranspose(coarse, fine, (2, 2), strides=2, rngs=rngs)
                                for fine, coarse in steps])
        self.up = nnx.List([_Twice(2 * fine, fine, a.padding, rngs) for fine, _ in steps])
        self.last = conv(a.features, a.channels, size=1, rngs=rngs, scale=0.0 if a.residual else 1.0)
        self.residual, self.conditional, self.multiple = a.residual, a.conditional, 2**a.levels

    def __call__(self, x, *sigma):
        h = x
        if self.conditional:
            h = jnp.concatenate([x, jnp.broadcast_to(sigma[0], (*x.shape[:-1], 1)).astype(x.dtype)], axis=-1)
        y = cropped(self.body, h, self.multiple)
        return x + y if self.residual else y

    def body(self, x):
        scales = [self.first(x)]
        for down in self.down:
            scales.append(down(halved(scales[-1])))
        x = scales.pop()
        for double, up in zip(reversed(self.double), reversed(self.up), strict=True):
            x = up(jnp.concatenate([scales.pop(), double(x)], axis=-1))
        return self.last(x)


def halved(x: jax.Array) -> jax.Array:
    """The mean over 2 x 2 pixels."""
    ny, nx, c = x.shape
    return x.reshape(ny // 2, 2, nx // 2, 2, c).mean(axis=(1, 3))
