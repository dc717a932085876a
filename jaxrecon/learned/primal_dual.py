"""The learned primal-dual method."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from ..fidelity import cast_measurements
from ..networks.base import Network, build
from ..networks.convnet import ConvNet
from ..operator import LinearOperator, with_norm, without_norm
from ..operator.known_norm import norm_of
from ..solvers.unrolling import scan_steps
from ..value import describe, is_complex, safe_divide, static, value
from .checks import check_count
from .scale import divide_measurements, image_scale, least_squares_backprojection
from .unrolled import is_rolled


@value
class LearnedPrimalDual:
    """h <- h + D_k(h, A x, b), x <- x + P_k(x, A^H h) with networks D_k, P_k: the primal-dual method with its proximal
    maps learned (Adler and Oktem 2018). x and h hold `memory` images and data sets; A acts on the first of each.

    Args:
        iterations: number of pairs of steps.
        features, depth: of the convolutional networks D_k and P_k.
        memory: images (and data sets) that are passed on from step to step.
        image_channels, data_channels: 1 where the image, the measurements are real, 2 where they are complex.
        shared: one pair of networks for all iterations.
        initial: a reconstructor that gives the first image; None starts at 0.
        checkpoint, rolled: as for `jr.Unrolled`.
        primal, dual: other networks than ConvNet(features, depth): factories, modules or networks. With m the memory
            and c, d the channels of image and data, P takes (m + 1) c channels and gives m c; D takes (m + 2) d and
            gives m d.
        key: for initial weights.

    A is scaled to norm 1 and the image to root mean square 1: the method commutes with the scale of b and of A. The
    measurements are one array, convolved over all its axes (views and detectors).

    Example:
        >>> A = jr.XRay(jr.ParallelBeam(jnp.linspace(0, jnp.pi, 6, endpoint=False), 12), (8, 8))
        >>> r = jr.LearnedPrimalDual(iterations=1, features=2, memory=2, key=jax.random.key(0))
        >>> r(A, jnp.ones((6, 12))).shape
        (8, 8)
    """

    iterations: int = static(default=10)
    features: int = static(default=32)
    depth: int = static(default=3)
    memory: int = static(default=5)
    image_channels: int = static(default=1)
    data_channels: int = static(default=1)
    shared: bool = static(default=False)
    initial: Any = None
    checkpoint: bool = static(default=False)
    rolled: bool | None = static(default=None)
    primal: Any = None
    dual: Any = None
    key: Any = None

    def check(self):
        for name in ("iterations", "memory"):
            check_count(self, name)
        keys = (None, None) if self.key is None else jax.random.split(self.key)
        extra = {"primal": (1, self.image_channels), "dual": (2, self.data_channels)}
        for key, (name, (more, channels)) in zip(keys, extra.items(), strict=True):
            net = getattr(self, name)
            if net is None:
                net = ConvNet(in_channels=(self.memory + more) * channels, out_channels=self.memory * channels,
                              features=self.features, depth=self.depth, residual=False)
            object.__setattr__(self, name, build(net, key, None if self.shared else self.iterations))
        object.__setattr__(self, "key", None)

    def prepare(self, A: LinearOperator) -> LinearOperator:
        """A with its norm, for many images of one A."""
        return with_norm(A)

    def __call__(self, A: LinearOperator, b: Any) -> jax.Array:
        b, domain = cast_measurements(A, b)
        self._check_kinds(b, domain)
        A = A.prepared
        norm = norm_of(A)
        first = least_squares_backprojection(A, b) if self.initial is None else self.initial(without_norm(A), b)
        scale = image_scale(first)
        b = safe_divide(divide_measurements(b, scale), norm)
        image = jnp.zeros_like(first) if self.initial is None else first / scale

        def step(state, nets):
            x, h = state
            primal, dual = (self.primal, self.dual) if nets is None else nets
            h = h + _on_stack(dual, jnp.concatenate([h, safe_divide(A.apply(x[0]), norm)[None], b[None]]), self.memory)
            back = safe_divide(A.apply_adjoint(h[0]), norm).astype(x.dtype)
            return x + _on_stack(primal, jnp.concatenate([x, back[None]]), self.memory), h

        start = jnp.stack(self.memory * [image]), jnp.zeros((self.memory, *b.shape), b.dtype)
        nets = None if self.shared else (self.primal, self.dual)
        x, _ = scan_steps(step, start, nets, self.iterations, self.checkpoint, is_rolled(self.rolled, self.checkpoint))
        return scale * x[0]

    def _check_kinds(self, b: Any, domain: Any) -> None:
        if not isinstance(b, jax.Array):
            raise ValueError(f"LearnedPrimalDual takes one array of measurements, got {describe(b)}")
        for name, array, channels in (("image", domain, self.image_channels), ("data", b, self.data_channels)):
            if channels != 1 + is_complex(array):
                raise ValueError(f"{name}_channels={channels}, but the {name} is {describe(array)}: 1 for real, 2 for "
                                 "complex")


def _on_stack(net: Network, stack: jax.Array, memory: int) -> jax.Array:
    """The network on (count, ...) arrays as channels; complex ones as real, then imaginary parts."""
    channels = jnp.concatenate([stack.real, stack.imag]) if is_complex(stack) else stack
    y = jnp.moveaxis(net(jnp.moveaxis(channels, 0, -1)), -1, 0)
    want = (memory * (2 if is_complex(stack) else 1), *stack.shape[1:])
    if y.shape != want:
        raise ValueError(f"a network of LearnedPrimalDual gives {describe(y)}, channels first, where {want} is needed")
    return jax.lax.complex(y[:memory], y[memory:]) if is_complex(stack) else y
