"""Parallel imaging with a Cartesian mask: coil maps, then the centred unitary Fourier transform, fused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from ..operator import LinearOperator, SelfAdjoint
from ..value import static, value
from .coils import sum_of_squares
from .elementary import Diagonal
from .fourier import (
    as_mask,
    centred_fft,
    centred_ifft,
    full_rank,
    grid_frequencies,
    masked,
    squared_uncentred,
    varying_axes,
)

# Complex numbers per step of the sum over coils on CPU: what stays in the second-level cache, yet feeds two cores.
CHUNK = 2**18


@value
class Sense(LinearOperator):
    """y_c = mask * F(m_c * x); made by `sense`."""

    maps: Any
    mask: Any = None

    def check(self):
        maps = jnp.asarray(self.maps)
        if not 2 <= maps.ndim <= 4:
            raise ValueError(f"sense needs maps of shape (coils, ny, nx) or (coils, nz, ny, nx), got {maps.shape}; "
                             "for one coil pass maps[None]")
        real = jnp.finfo(maps.dtype).dtype if jnp.issubdtype(maps.dtype, jnp.inexact) else jnp.result_type(float)
        object.__setattr__(self, "maps", maps.astype(jnp.promote_types(real, jnp.complex64)))
        object.__setattr__(self, "mask", as_mask(self.mask, maps.shape[1:], real))

    @property
    def domain(self):
        return jax.ShapeDtypeStruct(self.maps.shape[1:], self.maps.dtype)

    @property
    def sampled_energy(self):
        return sum_of_squares(self.maps)

    @property
    def locations(self):
        image = self.maps.shape[1:]
        return image if self.mask is None else full_rank(self.mask, len(image)).shape

    @property
    def frequencies(self):
        return grid_frequencies(self.maps.shape[1:], range(self.maps.ndim - 1), self.maps.dtype)

    def kept(self, keep):
        keep = jnp.asarray(keep)
        if keep.ndim == self.maps.ndim:
            if keep.shape[0] != 1:
                return super().kept(keep)  # another mask for each coil
            keep = keep[0]
        return Sense(self.maps, keep if self.mask is None else self.mask * keep)

    @property
    def gram(self):
        if self.mask is None:
            return Diagonal(sum_of_squares(self.maps))
        image = self.maps.shape[1:]
        mask = full_rank(self.mask, len(image))
        weights = squared_uncentred(mask, range(len(image)))
        varying = varying_axes(mask, range(len(image)))
        if not varying:
            return Diagonal(weights * sum_of_squares(self.maps))
        # Transformed axes last: XLA moves them there before each FFT otherwise.
        order = tuple(d for d in range(len(image)) if d not in varying) + varying
        return SenseGram(self.maps.transpose(0, *(d + 1 for d in order)), weights.transpose(order), order, len(varying))

    def apply(self, x):
        return masked(self.mask, centred_fft(self.maps * x, range(1, self.maps.ndim)))

    def apply_adjoint(self, y):
        def part(maps, y):
            return jnp.conj(maps) * centred_ifft(masked(self.mask, y), range(1, maps.ndim))

        return coil_sum(part, self.maps, y)


@value
class SenseGram(SelfAdjoint):
    """x -> sum_c conj(m_c) F^H mask^2 F (m_c x): no centring, and only the axes along which the mask varies."""

    maps: Any
    weights: Any
    order: tuple[int, ...] = static()
    transformed: int = static()

    @property
    def domain(self):
        shape = self.maps.shape[1:]
        return jax.ShapeDtypeStruct(tuple(shape[self.order.index(d)] for d in range(len(shape))), self.maps.dtype)

    def apply(self, x):
        axes = tuple(range(-self.transformed, 0))
        x = x.transpose(self.order)

        def part(maps):
            return jnp.conj(maps) * jnp.fft.ifftn(masked(self.weights, jnp.fft.fftn(maps * x, axes=axes)), axes=axes)

        return coil_sum(part, self.maps).transpose([self.order.index(d) for d in range(x.ndim)])


def sense(maps: Any, mask: Any = None) -> Sense:
    """Parallel imaging: y_c = mask * F(m_c * x), the same as `Fourier(image, mask) @ CoilMaps(maps)` but faster.

    Args:
        maps: complex coil sensitivities (coils, ny, nx), or (coils, nz, ny, nx) for a 3-D scan, where F is over all
            three axes. Their dtype is that of x.
        mask: bool or real array that broadcasts to the image; None samples everything. Pass a line mask as (ny, 1) or
            (1, nx): `gram` then transforms along that one axis only.

    Returns:
        An operator (ny, nx) -> (coils, ny, nx); unsampled measurements are zero. `maps` and `mask` are its leaves.

    Raises:
        ValueError: the maps have no coil axis, or the mask does not broadcast to the image.
        TypeError: the mask is complex.

    Example:
        >>> A = jr.sense(jnp.ones((2, 4, 4), "complex64"), mask=jnp.arange(4)[:, None] % 2 == 0)
        >>> A(jnp.ones((4, 4))).shape, A.gram(jnp.ones((4, 4))).shape
        ((2, 4, 4), (4, 4))

    Source: Pruessmann et al. 1999, 2001.
    """
    return Sense(maps, mask)


def coil_sum(part: Callable, *stacks: jax.Array) -> jax.Array:
    """The sum over coils of part(maps, ...), given stacks with the coils in front.

    On CPU a few coils at a time, which stay in the cache between FFT, mask and inverse FFT; elsewhere all at once.
    """
    coils = stacks[0].shape[0]
    step = coils if jax.default_backend() != "cpu" else _chunk(coils, stacks[0].size // max(coils, 1))
    if step == coils:
        return jnp.sum(part(*stacks), axis=0)
    chunks = tuple(s.reshape(coils // step, step, *s.shape[1:]) for s in stacks)
    return jnp.sum(jax.lax.map(lambda chunk: jnp.sum(part(*chunk), axis=0), chunks), axis=0)


def _chunk(coils, pixels):
    """The largest divisor of `coils` that keeps a step within CHUNK numbers."""
    return max(n for n in range(1, coils + 1) if coils % n == 0 and (n == 1 or n * pixels <= CHUNK))
