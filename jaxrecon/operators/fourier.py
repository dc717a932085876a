"""The centred unitary Fourier transform, with or without a sampling mask.

The centred transform is fftshift(fft(ifftshift(x))) / sqrt(N); the shifts as written cost twice the FFT. With
c = N // 2 along each axis

    exp(-2 pi i (n - c)(k - c) / N) = exp(-2 pi i n k / N) exp(2 pi i n c / N) exp(2 pi i c k / N) exp(-2 pi i c^2 / N),

so a plain FFT between two modulations does the same: checkerboard signs where N is even, phases where N is odd.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..operator import LinearOperator, SelfAdjoint, real_dtype
from ..value import as_sizes, static, value
from .elementary import Identity


@value
class Fourier(LinearOperator):
    """Masked centred unitary FFT: y = mask * fftshift(fftn(ifftshift(x))) / sqrt(N), over `axes`.

    The measurements have the full shape, with zeros where nothing was sampled.

    Args:
        shape: shape of x.
        mask: bool or real array that broadcasts to `shape`, in centred order (zero frequency at N // 2); None samples
            everything. Kept as floats, so that gradients reach its values. An axis of length 1 in the mask, as in a
            line mask (ny, 1), spares `gram` that axis's FFT.
        axes: the 1 to 3 axes to transform; (-1,) by default where x is one-dimensional.
        dtype: complex dtype of x; None is JAX's default (complex128 where x64 is enabled). Real x is taken as well.

    Raises:
        ValueError: the mask does not broadcast to `shape`, or the axes do not exist or repeat.
        TypeError: the mask is complex, or `dtype` is real.

    Example:
        >>> F = jr.Fourier((4, 4))
        >>> round(float(abs(F(jnp.ones((4, 4)))[2, 2])), 6)
        4.0
    """

    shape: tuple[int, ...] = static()
    mask: Any = None
    axes: tuple[int, ...] = static(default=(-2, -1))
    dtype: Any = static(default=None)

    def check(self):
        shape = as_sizes("Fourier", self.shape)
        if not shape or min(shape) < 1:
            raise ValueError(f"Fourier needs a shape of sizes >= 1, got {shape}")
        axes = as_sizes("axes of Fourier", self.axes)
        if len(shape) == 1 and axes == (-2, -1):
            axes = (-1,)
        dtype = jnp.result_type(complex) if self.dtype is None else jax.dtypes.canonicalize_dtype(self.dtype)
        if not jnp.issubdtype(dtype, jnp.complexfloating):
            raise TypeError(f"Fourier needs a complex dtype, got {dtype}; for real x use jr.real_part(jr.Fourier(...))")
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "axes", _normal_axes(axes, len(shape)))
        object.__setattr__(self, "dtype", jnp.dtype(dtype))
        object.__setattr__(self, "mask", as_mask(self.mask, shape, jnp.finfo(dtype).dtype))

    @property
    def domain(self):
        return jax.ShapeDtypeStruct(self.shape, self.dtype)

    @property
    def orthogonal(self):
        return self.mask is None

    @property
    def sampled_energy(self):
        return jnp.ones(())

    @property
    def locations(self):
        return self.shape if self.mask is None else full_rank(self.mask, len(self.shape)).shape

    @property
    def frequencies(self):
        return grid_frequencies(self.shape, self.axes, self.dtype)

    def kept(self, keep):
        keep = jnp.asarray(keep)
        return Fourier(self.shape, keep if self.mask is None else self.mask * keep, self.axes, self.dtype)

    @property
    def gram(self):
        if self.mask is None:
            return Identity(self.domain)
        mask = full_rank(self.mask, len(self.shape))
        return FourierGram(squared_uncentred(mask, self.axes), self.shape, varying_axes(mask, self.axes), self.dtype)

    def apply(self, x):
        return masked(self.mask, centred_fft(x, self.axes))

    def apply_adjoint(self, y):
        return centred_ifft(masked(self.mask, y), self.axes)


@value
class FourierGram(SelfAdjoint):
    """F^H mask^2 F: circulant, so the centring cancels and only the mask is shifted.

    The axes along which the mask is constant need no transform at all.
    """

    weights: Any
    shape: tuple[int, ...] = static()
    axes: tuple[int, ...] = static()
    dtype: Any = static()

    @property
    def domain(self):
        return jax.ShapeDtypeStruct(self.shape, self.dtype)

    @property
    def spectrum(self):
        others = [d for d in range(len(self.shape)) if d not in self.axes]
        if any(self.weights.shape[d] != 1 for d in others):
            return None  # the weights vary along an axis that is not transformed
        return jnp.broadcast_to(self.weights, self.shape)

    def apply(self, x):
        if not self.axes:
            return masked(self.weights, x)
        return jnp.fft.ifftn(masked(self.weights, jnp.fft.fftn(x, axes=self.axes)), axes=self.axes)


# ---- the transform between two modulations


def centred_fft(x: jax.Array, axes: Sequence[int]) -> jax.Array:
    """fftshift(fftn(ifftshift(x))) / sqrt(N) over `axes`, without the shifts."""
    before, after = _phases(x.shape, axes)
    return _times(jnp.fft.fftn(_times(x, before), axes=axes), after)


def centred_ifft(y: jax.Array, axes: Sequence[int]) -> jax.Array:
    """The inverse, and adjoint, of `centred_fft`."""
    before, after = _phases(y.shape, axes)
    # ifftn divides by N and the phases by sqrt(N): times N in all.
    after = [v.conj() * y.shape[d] for v, d in zip(after, axes, strict=True)]
    return _times(jnp.fft.ifftn(_times(y, after), axes=axes), [v.conj() for v in before])


def _phases(shape, axes):
    """One vector per axis, broadcastable: what multiplies before and after the plain FFT."""
    before, after = [], []
    for d in axes:
        n = shape[d]
        j, c = np.arange(n), n // 2
        column = [n if e == d else 1 for e in range(len(shape))]
        before.append(_phase(c * j, n).reshape(column))
        after.append((_phase(c * (j - c), n) / math.sqrt(n)).reshape(column))
    return before, after


def _phase(numerator, n):
    """exp(2 pi i numerator / n): reduced modulo n first, so that signs are exact (and real) and phases accurate."""
    r = np.mod(numerator, n)
    if n % 2 == 0 and np.all((r == 0) | (2 * r == n)):
        return np.where(r == 0, 1.0, -1.0)
    return np.exp(2j * np.pi * r / n)


def _times(x, vectors):
    real = real_dtype(x)
    for v in vectors:
        x = x * jnp.asarray(v, jnp.promote_types(real, jnp.complex64) if np.iscomplexobj(v) else real)
    return x


# ---- masks


def masked(weights: jax.Array | None, x: jax.Array) -> jax.Array:
    """weights * x with real weights at the precision of x; x where there are none."""
    return x if weights is None else weights.astype(real_dtype(x)) * x


def as_mask(mask: Any, shape: tuple[int, ...], dtype: Any) -> jax.Array | None:
    """A mask as a real array of `dtype` that is known to broadcast to `shape`."""
    if mask is None:
        return None
    mask = jnp.asarray(mask)
    if jnp.issubdtype(mask.dtype, jnp.complexfloating):
        raise TypeError(f"a mask is bool or real, got {mask.dtype}; pass jnp.abs(mask) or mask.real")
    if mask.ndim > len(shape) or any(m not in (1, n) for m, n in zip(mask.shape[::-1], shape[::-1], strict=False)):
        hint = ""
        if mask.ndim == 1 and mask.shape[0] == shape[0]:
            hint = "; for lines along the first axis pass mask[:, None]"
        elif mask.ndim > len(shape):
            hint = "; for a batch of masks build the operator under jax.vmap"
        raise ValueError(f"mask of shape {mask.shape} does not broadcast to {shape}{hint}")
    return mask.astype(dtype)


def full_rank(mask: jax.Array, ndim: int) -> jax.Array:
    """The mask with leading axes of length 1, up to `ndim` axes."""
    return mask.reshape((1,) * (ndim - mask.ndim) + mask.shape)


def varying_axes(mask: jax.Array, axes: Sequence[int]) -> tuple[int, ...]:
    """Those of `axes` along which the mask (of full rank) is not known to be constant."""
    return tuple(d for d in axes if mask.shape[d] != 1)


def grid_frequencies(shape: tuple[int, ...], axes: Sequence[int], dtype: Any) -> jax.Array:
    """|k| in cycles per pixel on the grid, over those of its axes that are transformed."""
    squares = [(((jnp.arange(shape[a]) - shape[a] // 2) / shape[a]) ** 2).reshape(
        [shape[a] if d == a else 1 for d in range(len(shape))]) for a in axes]
    return jnp.sqrt(sum(squares[1:], squares[0])).astype(jnp.finfo(dtype).dtype)


def squared_uncentred(mask: jax.Array, axes: Sequence[int]) -> jax.Array:
    """mask^2 in the order of the uncentred FFT."""
    return jnp.fft.ifftshift(jnp.square(mask), axes=axes)


def _normal_axes(axes, ndim):
    if not 1 <= len(axes) <= 3 or any(not -ndim <= a < ndim for a in axes) or len({a % ndim for a in axes}) < len(axes):
        raise ValueError(f"Fourier needs 1 to 3 different axes in [{-ndim}, {ndim - 1}], got {tuple(axes)}")
    return tuple(sorted(a % ndim for a in axes))
