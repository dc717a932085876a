"""Denoisers that provably let an iteration converge."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..networks.base import Network
from ..networks.convnet import ConvNet
from ..networks.dncnn import DnCNN
from ..priors import Prior
from ..priors.base import scalar_like
from ..solvers.base import check_prior
from ..value import is_concrete, value

GRID = 12  # frequencies per axis and pixel of a kernel's reach
SQUARES = 10  # a norm of 64 channels is then known to .1 %


@value
class Averaged(Prior):
    """D(x) = (1 - share) x + share N(x).

    Where N does not expand distances (`jr.learned.nonexpansive` of a network that is not residual), ISTA and HQS with D
    converge to a fixed point, if there is one, for every A and every step below 2/|A|^2 (Hertrich et al. 2021).

    Args:
        denoiser: N, a `jr.Denoiser` or any prior.
        share: in (0, 1).

    Example:
        >>> jr.learned.Averaged(jr.NonNegative(), 0.5).prox(jnp.array([-2.0, 2.0])).tolist()
        [-1.0, 2.0]
    """

    denoiser: Prior
    share: Any = 0.5

    def check(self):
        check_prior(self, self.denoiser)
        if is_concrete(self.share) and not np.all((np.asarray(self.share) > 0) & (np.asarray(self.share) < 1)):
            raise ValueError(f"Averaged needs 0 < share < 1, got {self.share}")

    def __call__(self, x):
        return self.denoiser(x)

    def prox(self, v, t=1.0):
        return v + scalar_like(self.share, v) * (self.denoiser.prox(v, t) - v)


def nonexpansive(network: Network, bound: Any = 1.0) -> Network:
    """The network with its convolutions scaled so that |f(x) - f(y)| <= bound |x - y| for their sequence f.

    Each kernel is divided by its norm as an operator, where that exceeds 1 (Ryu et al. 2019), and the biases with it: f
    keeps its form, times one factor. For a network f (ConvNet with residual=False) this is what `Averaged` asks for.
    A residual one, x + f(x) or x - f(x), differs from the identity by a `bound`-Lipschitz map: with bound < 1 ISTA and
    HQS converge where the data term is strongly convex enough, not for every A. Differentiable, so that a network is
    trained through it; one that was trained without loses most of its effect.

    Args:
        network: a ConvNet or a DnCNN.
        bound: > 0.

    Raises:
        ValueError: another architecture; its branches would need bounds of their own.

    Example:
        >>> net = jr.networks.ConvNet(features=4, depth=2, residual=False)
        >>> net = jr.learned.nonexpansive(jr.networks.build(net, jax.random.key(0)))
        >>> bool(jr.learned.convolution_norm(net.parameters["layers"][0]["kernel"]) < 1.0001)
        True
    """
    if not isinstance(network, Network) or not isinstance(network.factory, ConvNet | DnCNN):
        raise ValueError("nonexpansive takes a network of one sequence of convolutions, built from jr.networks.ConvNet "
                         f"or DnCNN, got {network!r}")
    if is_concrete(bound) and not np.all(np.asarray(bound) > 0):
        raise ValueError(f"nonexpansive needs bound > 0, got {bound}")
    if network.copies is not None:
        single = dataclasses.replace(network, copies=None)
        return dataclasses.replace(jax.vmap(lambda n: nonexpansive(n, bound))(single), copies=network.copies)
    layers, factor = {}, jnp.ones(())
    last = len(network.parameters["layers"]) - 1
    for k, layer in sorted(network.parameters["layers"].items()):
        kernel = layer["kernel"]
        scale = 1 / jnp.maximum(convolution_norm(kernel), 1)
        scale = scale * bound if k == last else scale
        factor = factor * scale
        layers[k] = {name: (v * (scale if name == "kernel" else factor)).astype(v.dtype) for name, v in layer.items()}
    return dataclasses.replace(network, parameters=network.parameters | {"layers": layers})


def convolution_norm(kernel: jax.Array) -> jax.Array:
    """The norm of a convolution as an operator on images of any size, with zero or circular boundary: an upper bound,
    2 % above it at most for 3 x 3 pixels.

    The largest singular value of its matrix (channels in, channels out) over all frequencies (Sedghi et al. 2019).
    Between the frequencies of a grid of M per axis a polynomial of degree d exceeds them by a factor 1 / cos(pi d / M)
    at most (Ehlich and Zeller 1964).

    Args:
        kernel: (k, k, in, out), or with any other number of axes before the channels.

    Example:
        >>> round(float(jr.learned.convolution_norm(jnp.full((3, 3, 1, 1), 1 / 9))), 3)
        1.017
    """
    size = kernel.shape[:-2]
    grid = [max(1, GRID * (k - 1)) for k in size]
    transfer = jnp.fft.rfftn(kernel, grid, axes=range(len(size)))
    if kernel.shape[-2] > kernel.shape[-1]:
        transfer = jnp.swapaxes(transfer, -1, -2)
    gram = transfer @ jnp.conj(jnp.swapaxes(transfer, -1, -2))
    between = math.prod(math.cos(math.pi * (k - 1) / 2 / n) for k, n in zip(size, grid, strict=True))
    return jnp.exp(jnp.max(_log_norm(gram)) / 2) / between


def _log_norm(g: jax.Array) -> jax.Array:
    """log |G|_2 of Hermitian G (.., n, n), from above: |G|_2 <= |G^m|_F^(1/m) <= n^(1/2m) |G|_2 with m = 2^SQUARES.

    By products alone: two batched eigenvalue problems of one program wait for each other for ever where XLA has no more
    than two threads.
    """
    def frobenius(g):
        tiny = jnp.finfo(g.real.dtype).tiny
        return jnp.sqrt(jnp.maximum(jnp.sum(jnp.abs(g) ** 2, (-2, -1)), tiny))

    size = frobenius(g)
    log_size, g = jnp.log(size), g / size[..., None, None]
    for k in range(1, SQUARES + 1):
        g = g @ g
        size = frobenius(g)
        log_size, g = log_size + jnp.log(size) / 2**k, g / size[..., None, None]
    return log_size
