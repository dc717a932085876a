"""Convolution with a kernel, of the size of the image."""

from __future__ import annotations

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ..operator import LinearOperator, matched_pair
from ..value import as_sizes, is_complex, static, value

# Up to here a fused sum of shifted slices beats two FFTs (7 x 7 at 256^2: .6 of the time, 3 x 3: .3).
_DIRECT_TAPS = 49

_EXTENSION = {"circular": "wrap", "zero": "constant", "symmetric": "symmetric"}


@value
class Convolution(LinearOperator):
    """Convolution, y[i] = sum_j k[j] x[i + c - j], of the size of x; c is the centre of the kernel.

    Kernels may be larger than the image: x is extended as far as they reach. Small ones are applied as a sum of shifted
    images, others by FFT. With the circular boundary `gram` knows its spectrum |k^|^2, so that ADMM solves exactly.

    Args:
        kernel: real or complex array with as many axes as x, 1 to 3. Gradients reach it.
        shape: shape of x.
        boundary: what x is outside: "circular" (periodic), "zero" (y is the crop of the linear convolution), or
            "symmetric" (mirrored about its edge, x[-1] = x[0]).
        origin: the centre c: "centre", K // 2 along an axis of K taps, or "corner", 0.

    Raises:
        ValueError: unknown boundary or origin; axes of kernel and shape differ in number; an empty axis.

    Example:
        >>> A = jr.Convolution(jnp.array([1.0, 2.0, 4.0]), (4,), boundary="zero")
        >>> A(jnp.array([0.0, 1.0, 0.0, 0.0])).tolist()
        [1.0, 2.0, 4.0, 0.0]
    """

    kernel: Any
    shape: Any = static()
    boundary: str = static(default="circular")
    origin: str = static(default="centre")

    def check(self):
        kernel = jnp.asarray(self.kernel)
        shape = as_sizes("Convolution", self.shape)
        kernel = kernel if jnp.issubdtype(kernel.dtype, jnp.inexact) else kernel.astype(float)
        object.__setattr__(self, "kernel", kernel)
        object.__setattr__(self, "shape", shape)
        if self.boundary not in _EXTENSION:
            raise ValueError(f"boundary is one of {', '.join(map(repr, _EXTENSION))}, got {self.boundary!r}")
        if self.origin not in ("centre", "corner"):
            raise ValueError(f"origin is 'centre' or 'corner', got {self.origin!r}")
        if kernel.ndim != len(shape):
            raise ValueError(f"Convolution needs a kernel with the axes of x, got kernel {kernel.shape} and shape "
                             f"{shape}; add axes of size 1, or lift over leading axes with jr.batched")
        if not 1 <= len(shape) <= 3:
            raise ValueError(f"Convolution takes 1 to 3 axes, got shape {shape}; use jr.batched for further axes")
        if 0 in shape or 0 in kernel.shape:
            raise ValueError(f"Convolution needs non-empty axes, got kernel {kernel.shape} and shape {shape}")

    @property
    def domain(self):
        return jax.ShapeDtypeStruct(self.shape, self.kernel.dtype)

    @property
    def spectrum(self):
        return self._transfer(half=False) if self.boundary == "circular" else None

    @property
    def gram(self):
        if self.boundary != "circular":
            return super().gram
        return self._filter(_power(self.spectrum), self.boundary)

    @property
    def prepared(self):
        return self if self._direct else self._filter(self._transfer(half=False), self.boundary)

    def apply(self, x):
        x = x.astype(jnp.result_type(x, self.kernel))
        if self._direct:
            return matched_pair(self._direct_forward, self._direct_adjoint, self.kernel, x)
        return self._for(x).apply(x)

    def apply_adjoint(self, y):
        y = y.astype(jnp.result_type(y, self.kernel))
        if self._direct:
            return matched_pair(self._direct_adjoint, self._direct_forward, self.kernel, y)
        return self._for(y).apply_adjoint(y)

    @property
    def _direct(self):
        return math.prod(self.kernel.shape) <= _DIRECT_TAPS

    @property
    def _centre(self):
        return tuple(k // 2 if self.origin == "centre" else 0 for k in self.kernel.shape)

    @property
    def _reach(self):
        """How far the kernel reaches beyond either end of x."""
        return tuple((k - 1 - c, c) for k, c in zip(self.kernel.shape, self._centre, strict=True))

    def _direct_forward(self, kernel, x):
        return _direct(kernel, x, self._reach, self.boundary)

    def _direct_adjoint(self, kernel, y):
        return _direct_adjoint(kernel, y, self._reach, self.boundary)

    def _transfer(self, half):
        return _transfer_function(self.kernel, self._grid, self._roll, half)

    @property
    def _grid(self):
        if self.boundary == "circular":
            return self.shape
        # Zero: the reach beyond both ends may overlap, as it is cropped. Symmetric: x is that much longer.
        reach = max if self.boundary == "zero" else sum
        return tuple(fast_length(n + reach(r)) for n, r in zip(self.shape, self._reach, strict=True))

    @property
    def _roll(self):
        return tuple(k - 1 for k in self.kernel.shape) if self.boundary == "symmetric" else self._centre

    def _for(self, x):
        half = not is_complex(x)
        return self._filter(self._transfer(half), self.boundary, half)

    def _filter(self, transfer, boundary, half=False):
        reach = self._reach if boundary == "symmetric" else None
        return Filter(transfer, self.shape, self._grid, boundary, not is_complex(self.kernel), half, reach)


@value
class Filter(LinearOperator):
    """y = F^-1 t F x, cropped to the size of x: a convolution by its transfer function t.

    Args:
        transfer: t on `grid`, in the order of the (uncentred) FFT.
        shape: shape of x.
        grid: shape of the FFT; x is extended to it as `boundary` says.
        boundary: as for `Convolution`.
        real: whether t belongs to a real kernel, so that a real x gives a real y.
        half: whether t holds the half spectrum of a real FFT only.
        reach: for the symmetric boundary, how many samples are mirrored (before, after) along each axis.
    """

    transfer: Any
    shape: tuple[int, ...] = static()
    grid: tuple[int, ...] = static()
    boundary: str = static(default="circular")
    real: bool = static(default=False)
    half: bool = static(default=False)
    reach: Any = static(default=None)

    @property
    def domain(self):
        dtype = jnp.finfo(self.transfer.dtype).dtype
        return jax.ShapeDtypeStruct(self.shape, dtype if self.real else jnp.promote_types(dtype, jnp.complex64))

    @property
    def spectrum(self):
        return self.transfer if self.boundary == "circular" and not self.half else None

    @property
    def gram(self):
        if self.spectrum is None:
            return super().gram
        return Filter(_power(self.transfer), self.shape, self.grid, self.boundary, self.real)

    def apply(self, x):
        return matched_pair(self._forward, self._adjoint, self.transfer, self._cast(x))

    def apply_adjoint(self, y):
        return matched_pair(self._adjoint, self._forward, self.transfer, self._cast(y))

    def _cast(self, x):
        return x.astype(jnp.result_type(x, self.domain.dtype))

    def _forward(self, t, x):
        return _filtered(t, x, self.grid, self.reach)

    def _adjoint(self, t, y):
        return _filtered_adjoint(t, y, self.grid, self.reach)


# Jitted below: called outside jit, each small step would compile by itself.

# ---- by slices


@functools.partial(jax.jit, static_argnums=(2, 3))
def _direct(kernel, x, reach, boundary):
    return _sum_of_shifts(kernel, jnp.pad(x, reach, _EXTENSION[boundary]))


@functools.partial(jax.jit, static_argnums=(2, 3))
def _direct_adjoint(kernel, y, reach, boundary):
    kernel = jnp.conj(jnp.flip(kernel))
    if boundary != "symmetric":
        return _sum_of_shifts(kernel, jnp.pad(y, [r[::-1] for r in reach], _EXTENSION[boundary]))
    return _fold(_sum_of_shifts(kernel, jnp.pad(y, [(k - 1, k - 1) for k in kernel.shape])), reach)


def _sum_of_shifts(kernel, x):
    """sum_j k[j] x[i + K - 1 - j], in one fused loop over all taps.

    lax.conv is 30 to 100 times slower here on CPU, inside a scan and outside.
    """
    x = lax.optimization_barrier(x)
    size = [n - k + 1 for n, k in zip(x.shape, kernel.shape, strict=True)]

    def total(v):
        terms = []
        for tap in np.ndindex(kernel.shape):
            start = [k - 1 - j for k, j in zip(kernel.shape, tap, strict=True)]
            terms.append(kernel[tap] * lax.slice(v, start, [s + n for s, n in zip(start, size, strict=True)]))
        return functools.reduce(jnp.add, terms)

    # XLA multiplies complex by real as complex by complex.
    split = is_complex(x) and not is_complex(kernel)
    return lax.complex(total(x.real), total(x.imag)) if split else total(x)


def _fold(x, reach):
    """The transpose of the symmetric extension: the mirror images, each as long as the image, added onto it."""
    for axis, (before, after) in enumerate(reach):
        n = x.shape[axis] - before - after
        images = []
        for i in range(-before // n, (n + after - 1) // n + 1):
            start, stop = max(i * n, -before), min((i + 1) * n, n + after)
            piece = lax.slice_in_dim(x, start + before, stop + before, axis=axis)
            margin = (start - i * n, (i + 1) * n - stop)
            piece = jnp.pad(piece, [margin if a == axis else (0, 0) for a in range(x.ndim)])
            images.append(jnp.flip(piece, axis) if i % 2 else piece)
        x = functools.reduce(jnp.add, images)
    return x


# ---- by FFT


def fast_length(n: int) -> int:
    """The smallest length >= n whose prime factors are 2, 3, 5 and 7, for which FFTs are fast."""
    while True:
        rest = n
        for p in (2, 3, 5, 7):
            while rest % p == 0:
                rest //= p
        if rest == 1:
            return n
        n += 1


@functools.partial(jax.jit, static_argnums=(1, 2, 3))
def _transfer_function(kernel, grid, centre, half):
    """The FFT on `grid` of the kernel with its centre at the origin; what is larger than the grid wraps around."""
    for axis, n in enumerate(grid):
        k = kernel.shape[axis]
        kernel = jnp.pad(kernel, [(0, -k % n if a == axis else 0) for a in range(kernel.ndim)])
        if k > n:
            kernel = kernel.reshape(*kernel.shape[:axis], -1, n, *kernel.shape[axis + 1:]).sum(axis)
    kernel = jnp.roll(kernel, [-c for c in centre], range(len(centre)))
    return jnp.fft.rfftn(kernel) if half else jnp.fft.fftn(kernel)


@functools.partial(jax.jit, static_argnums=(2, 3))
def _filtered(transfer, x, grid, reach):
    shape = x.shape
    if reach is not None:
        x = jnp.pad(x, reach, "symmetric")
    return _crop(_multiplied(transfer, x, grid), shape)


@functools.partial(jax.jit, static_argnums=(2, 3))
def _filtered_adjoint(transfer, y, grid, reach):
    x = _multiplied(jnp.conj(transfer), y, grid)
    if reach is None:
        return _crop(x, y.shape)
    return _fold(_crop(x, [n + sum(r) for n, r in zip(y.shape, reach, strict=True)]), reach)


def _multiplied(transfer, x, grid):
    if is_complex(x):
        return jnp.fft.ifftn(transfer * jnp.fft.fftn(x, grid))
    return jnp.fft.irfftn(transfer[..., : grid[-1] // 2 + 1] * jnp.fft.rfftn(x, grid), grid)


def _crop(x, shape):
    return x[tuple(map(slice, shape))]


def _power(t):
    return jnp.square(t.real) + jnp.square(t.imag)
