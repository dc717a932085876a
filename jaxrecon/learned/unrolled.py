"""Unrolled iterations: x <- f_k(DC(x)), trained end to end."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from ..consistency import ConsistencyStep, GradientStep
from ..consistency.base import check_step
from ..fidelity import cast_measurements
from ..networks.base import Network, build
from ..operator import LinearOperator, without_norm
from ..parameters import noise_level
from ..solvers import Alternating, unroll
from ..value import repeated, static, value
from .checks import check_count, check_initial
from .denoiser import Denoiser
from .scale import divide_measurements, image_scale, least_squares_backprojection


@value
class Unrolled:
    """x_{k+1} = f_k(DC_k(x_k)), k = 0 .. iterations - 1, with networks f_k: a solver whose prior is trained.

    With a GradientStep learned proximal gradient descent (Hammernik et al. 2018), with a ProximalStep and shared=True
    MoDL (Aggarwal et al. 2019), with SampleReplacement a cascade (Schlemper et al. 2018), with a KaczmarzSweep learned
    Kaczmarz. Trains: the networks, and the leaves of `dc` (positive ones as their log).

    Args:
        net: a factory rngs -> nnx.Module such as `jr.networks.ConvNet(residual=True)`, a module or a network. A
            conditional one is told the noise level of the first image.
        iterations: P.
        shared: one set of weights (and one dc) for all iterations instead of P of them.
        dc: a data-consistency step, the first guess of its leaves.
        initial: a reconstructor that gives x_0; None starts at 0.
        checkpoint: recompute each iteration in the backward pass, for a fraction of the memory.
        rolled: one compiled iteration in a loop, or (False) all written out. None: a loop, except on CPU, where
            convolutions inside a loop are 18 to 54 times slower; there too with `checkpoint`, which saves no memory
            where the iterations are written out.
        key: for initial weights, where `net` is a factory.

    The iterations run on an image of root mean square 1, so that the method commutes with the scale of b.

    Example:
        >>> net = jr.networks.ConvNet(channels=2, features=4, depth=2)
        >>> r = jr.Unrolled(net, iterations=3, dc=jr.SampleReplacement(), key=jax.random.key(0))
        >>> r(jr.Fourier((8, 8)), jnp.ones((8, 8), complex)).shape
        (8, 8)
    """

    trains = ("dc",)

    net: Any
    iterations: int = static(default=10)
    shared: bool = static(default=False)
    dc: ConsistencyStep = dataclasses.field(default_factory=GradientStep)
    initial: Any = None
    checkpoint: bool = static(default=False)
    rolled: bool | None = static(default=None)
    key: Any = None

    def check(self):
        check_count(self, "iterations")
        check_step(self.dc)
        if self.initial is not None:
            check_initial(self.initial)
        copies = None if self.shared else self.iterations
        stacked = isinstance(self.net, Network) and self.net.copies is not None
        if stacked and self.shared:
            raise ValueError(f"shared=True takes one set of weights, but the network has {self.net.copies}")
        if not self.shared and not stacked:
            object.__setattr__(self, "dc", repeated(self.dc, self.iterations))
        object.__setattr__(self, "net", build(self.net, self.key, copies))
        object.__setattr__(self, "key", None)

    def prepare(self, A: LinearOperator) -> LinearOperator:
        """A with what the data consistency asks of it: for many images of one A."""
        return self.dc.prepare(A)

    def __call__(self, A: LinearOperator, b: Any) -> jax.Array:
        b, _ = cast_measurements(A, b)
        if self.initial is None:
            first, x0 = least_squares_backprojection(A, b), None
        else:
            first = x0 = self.initial(without_norm(A), b)
        scale = image_scale(first)
        if x0 is not None:
            x0 = x0 / scale
        sigma = noise_level(first / scale) if self.net.conditional else None
        if sigma is not None and not self.shared:
            sigma = jnp.full(self.iterations, sigma)
        solvers = Alternating(self.dc, Denoiser(self.net, sigma))
        x = unroll(A, divide_measurements(b, scale), solvers, self.iterations, x0, checkpoint=self.checkpoint,
                   shared=self.shared, rolled=is_rolled(self.rolled, self.checkpoint))
        return scale * x


def is_rolled(rolled: bool | None, checkpoint: bool = False) -> bool:
    """The form of a loop whose step holds a network, where the caller does not choose."""
    return (checkpoint or jax.default_backend() != "cpu") if rolled is None else rolled
