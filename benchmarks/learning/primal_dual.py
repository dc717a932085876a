"""Learned primal-dual for CT whose networks see filtered residuals.

The dual network gets A x - b in place of A x, and the primal one A^H h also filtered by N |f| / 2 (the filtered
back-projection of h); otherwise it is the method of Adler and Oktem (2018). The idea: with A / |A| the singular values
of the X-ray transform fall as (N |f|)^-1/2, and soon A x and b differ by some percent only, both of which networks with
fresh weights would have to find out. Measured, with both changes at once: the plain form reached 26.35 dB after 658
images, this one between 244 and 364.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import jaxrecon as jr

GAIN = 8.0  # brings residuals to the size of images


def reconstructor(iterations: int, features: int, initial: Any, key: jax.Array, memory: int = 5) -> Any:
    """For real images and data."""
    return jr.LearnedPrimalDual(iterations, memory=memory, initial=initial, key=key, primal=Primal(memory, features),
                                dual=Dual(memory, features))


def _convolutions(memory: int, features: int, rngs: nnx.Rngs) -> nnx.Module:
    return jr.networks.ConvNet(in_channels=memory + 2, out_channels=memory, features=features, residual=False)(rngs)


@jr.networks.architecture
class Dual:
    """(h, A x, b) -> the step of h."""

    memory: int = 5
    features: int = 32

    def __call__(self, rngs):
        return _Dual(self, rngs)


class _Dual(nnx.Module):
    def __init__(self, a: Dual, rngs):
        self.net = _convolutions(a.memory, a.features, rngs)

    def __call__(self, v):
        h, predicted, b = v[..., :-2], v[..., -2:-1], v[..., -1:]
        return self.net(jnp.concatenate([h, GAIN * (predicted - b), b], -1))


@jr.networks.architecture
class Primal:
    """(x, A^H h) -> the step of x."""

    memory: int = 5
    features: int = 32

    def __call__(self, rngs):
        return _Primal(self, rngs)


class _Primal(nnx.Module):
    def __init__(self, a: Primal, rngs):
        self.net = _convolutions(a.memory, a.features, rngs)

    def __call__(self, v):
        x, back = v[..., :-1], v[..., -1]
        ny, nx = back.shape
        f = np.hypot(np.fft.fftfreq(ny)[:, None], np.fft.rfftfreq(nx))
        filtered = jnp.fft.irfft2(jnp.fft.rfft2(back) * (ny / 2 * f).astype(back.dtype), s=(ny, nx))
        return self.net(jnp.concatenate([x, GAIN * back[..., None], filtered[..., None]], -1))
