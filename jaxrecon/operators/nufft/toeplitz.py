"""The Gram operator of a NUFFT: a convolution, by embedding its Toeplitz matrix in a circulant one.

    (A^H W A x)_n = sum_m q_(n-m) x_m,    q_d = sum_j w_j exp(2 pi i d.k_j) / N,    |d_i| < N_i
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import jax
import jax.numpy as jnp

from ...operator import SelfAdjoint, real_dtype
from ...value import static, value
from ..convolution import fast_length
from .plan import SPLIT, split
from .transform import to_image


@value
class NUFFTGram(SelfAdjoint):
    """A^H diag(w) A of a NUFFT; `prepared` holds the spectrum of q."""

    operator: Any  # a NUFFT, prepared or not
    weights: Any = None

    @property
    def domain(self):
        return self.operator.domain

    @property
    def prepared(self):
        A = self.operator.prepared
        domain, nodes = A.domain, A.operator.nodes
        real = jnp.finfo(domain.dtype).dtype
        w = jnp.asarray(1 if self.weights is None else self.weights, real)
        w = jnp.broadcast_to(w, nodes.shape[:-1]).reshape(-1)
        return ToeplitzGram(_spectrum(A.plan, nodes.reshape(-1, nodes.shape[-1]), w), domain.shape, domain.dtype)

    def apply(self, x):
        return self.prepared.apply(x)


@value
class ToeplitzGram(SelfAdjoint):
    """x -> the part within the image of the circular convolution of zero-padded x, whose spectrum is real."""

    eigenvalues: Any
    shape: tuple[int, ...] = static()
    dtype: Any = static()

    @property
    def domain(self):
        return jax.ShapeDtypeStruct(self.shape, self.dtype)

    @property
    def one_by_one(self):
        return jax.default_backend() == "cpu"

    def apply(self, x):
        x = jnp.fft.fftn(x, self.eigenvalues.shape)
        return jnp.fft.ifftn(self.eigenvalues.astype(real_dtype(x)) * x)[tuple(slice(n) for n in self.shape)]


@jax.jit
def _spectrum(plan, nodes, w):
    """The FFT of q, real since q_-d = conj q_d: twice the real part of that of one half of the lags."""
    size, ndim = plan.size, len(plan.size)
    # The lags -N .. N-1, or 0 .. N-1 along the first axis, are boxes of the size of the image, which one plan serves:
    # with lag d = n + c, exp(2 pi i d.k) is exp(2 pi i n.k) times exp(2 pi i c.k), a weight.
    shifts = itertools.product(*[(n // 2 - n, n // 2) if d else (n // 2,) for d, n in enumerate(size)])
    boxes = to_image(plan, nodes, jnp.stack([w * _exponential(nodes, c) for c in shifts]))
    boxes = boxes.reshape(1, *[2] * (ndim - 1), *size).transpose([i for d in range(ndim) for i in (d, ndim + d)])
    q = boxes.reshape([2 * n if d else n for d, n in enumerate(size)]) / math.sqrt(math.prod(size))
    q = q.at[0].multiply(0.5)  # holds both d and -d
    for axis, n in enumerate(size[1:], 1):
        negative, positive = jnp.split(q, 2, axis)
        gap = [(0, fast_length(2 * n) - 2 * n if a == axis else 0) for a in range(ndim)]
        q = jnp.concatenate([jnp.pad(positive, gap), negative], axis)
    return 2 * jnp.fft.fftn(q, [fast_length(2 * n) for n in size]).real


def _exponential(nodes, lag):
    """exp(2 pi i lag.k), whole turns dropped before rounding."""
    turns = 0
    for d, n in enumerate(lag):
        coarse, fine = split(nodes[:, d])
        turns = turns + jnp.mod(coarse * n, SPLIT) / SPLIT + fine * n
    angle = 2 * math.pi * turns
    return jax.lax.complex(jnp.cos(angle), jnp.sin(angle))
