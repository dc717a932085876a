"""Orthogonal wavelet transform, periodised, over all axes of an image."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ..operator import LinearOperator, matched_pair
from ..value import static, value
from .elementary import Identity, as_domain, floating

# Below this length a level is one small matrix product: as fast as the sum of slices, and a third of the compile time
# (at 160 it would take twice the time).
_MATRIX_BELOW = 96


@value
class Wavelet(LinearOperator):
    """Orthogonal discrete wavelet transform with periodic boundary, over all axes of x.

    y = W x with W^H W = I. The coefficients lie in one array of the shape of x, nested: the coarsest approximation in
    the corner at the origin, around it the details level by level ([LL | details]; the layout of
    `pywt.coeffs_to_array(pywt.wavedecn(x, wavelet, "periodization", levels))`). x may be real or complex.

    Args:
        shape: shape of x, 1 to 3 axes (or an array or `jax.ShapeDtypeStruct`), each divisible by 2^levels.
        wavelet: "haar", "db1" to "db38", "sym2" to "sym20" or "coif1" to "coif17" (PyWavelets' names).
        levels: number of halvings, at least 1.
        dtype: dtype of x; JAX's default float where it is None.

    Raises:
        ValueError: a wavelet that is unknown or not orthogonal; a size not divisible by 2^levels.

    Example:
        >>> W = jr.Wavelet((4,), "haar", levels=1)
        >>> print(W(jnp.array([1.0, 3.0, 2.0, 2.0])).round(3))
        [ 2.828  2.828 -1.414  0.   ]

    Source: Mallat (1989), A theory for multiresolution signal decomposition; filters of Daubechies (1992).
    """

    shape: Any = static()
    wavelet: str = static(default="db4")
    levels: int = static(default=4)
    dtype: Any = static(default=None)

    def check(self):
        s = as_domain(self.shape)
        object.__setattr__(self, "shape", s.shape)
        object.__setattr__(self, "dtype", floating("Wavelet", s.dtype if self.dtype is None else self.dtype))
        if not 1 <= len(self.shape) <= 3:
            raise ValueError(f"Wavelet transforms 1 to 3 axes, got shape {self.shape}; use jr.batched for further axes")
        if int(self.levels) != self.levels or self.levels < 1:
            raise ValueError(f"Wavelet needs a whole number of levels >= 1, got {self.levels}")
        object.__setattr__(self, "levels", int(self.levels))
        filters(self.wavelet)
        step = 2**self.levels
        if any(n % step or n == 0 for n in self.shape):
            possible = min((n & -n).bit_length() - 1 for n in self.shape)
            padded = tuple(-(-max(n, 1) // step) * step for n in self.shape)
            fewer = f"use levels <= {possible}, or " if possible > 0 else ""
            raise ValueError(f"Wavelet with {self.levels} levels needs sizes divisible by {step}, got {self.shape}; "
                             f"{fewer}pad x to {padded}")

    @property
    def domain(self):
        return jax.ShapeDtypeStruct(self.shape, self.dtype)

    @property
    def orthogonal(self):
        return True

    @property
    def gram(self):
        return Identity(self.shape, self.dtype)

    def apply(self, x):
        return matched_pair(self._forward, self._adjoint, (), x)

    def apply_adjoint(self, y):
        return matched_pair(self._adjoint, self._forward, (), y)

    def _forward(self, _, x):
        return _analysis(x, self.wavelet, self.levels)

    def _adjoint(self, _, y):
        return _synthesis(y, self.wavelet, self.levels)


# ---- filters


@functools.cache
def filters(wavelet: str) -> np.ndarray:
    """Low-pass and high-pass analysis filter of an orthogonal wavelet, shape (2, taps), in the order of correlation.

    Tap m of output k multiplies x[2k + m - taps/2 + 1].
    """
    from pywt import Wavelet as Table  # pyright: ignore[reportAttributeAccessIssue]
    from pywt import wavelist  # pyright: ignore[reportAttributeAccessIssue]

    works = [w for family in ("haar", "db", "sym", "coif") for w in wavelist(family)]
    if wavelet not in works:
        why = "unknown" if wavelet not in wavelist() else "not orthogonal with finite filters"
        raise ValueError(f"wavelet {wavelet!r} is {why}; use haar, db1 to db38, sym2 to sym20 or coif1 to coif17")
    low = _orthonormal(np.array(Table(wavelet).dec_lo))
    high = low * (-1.0) ** np.arange(low.size)
    return np.stack([low[::-1], high])


def _orthonormal(low):
    """The filter nearest to `low` whose shifts by two are orthonormal: tabulated symlets miss that by up to 1e-11."""
    n = low.size
    for _ in range(3):
        shifts = np.stack([np.concatenate([low[2 * k:], np.zeros(2 * k)]) for k in range(n // 2)])
        back = np.stack([np.concatenate([np.zeros(2 * k), low[:n - 2 * k]]) for k in range(n // 2)])
        error = shifts @ low - np.eye(n // 2)[0]
        low = low - np.linalg.lstsq(shifts + back, error, rcond=None)[0]
    return low


@functools.cache
def _taps(wavelet: str) -> tuple[tuple[int, int, float, float], ...]:
    """(phase, shift, low, high) of each tap: output k takes x[2 (k + shift) + phase]."""
    low, high = filters(wavelet)
    start = low.size // 2 - 1
    return tuple(((m - start) % 2, (m - start) // 2, float(low[m]), float(high[m])) for m in range(low.size))


@functools.cache
def _matrix(wavelet: str, n: int) -> np.ndarray:
    """One level on n samples as a matrix [low; high]; taps beyond n wrap around."""
    a = np.zeros((2, n // 2, n))
    k = np.arange(n // 2)
    for phase, shift, low, high in _taps(wavelet):
        j = (2 * (k + shift) + phase) % n
        a[0, k, j] += low
        a[1, k, j] += high
    return a.reshape(n, n)


# ---- levels. Jitted: called outside jit, a transform would compile its dozens of small steps one by one.


@functools.partial(jax.jit, static_argnums=(1, 2))
def _analysis(x, wavelet, levels):
    stages = []
    for _ in range(levels):
        for axis in reversed(range(x.ndim)):
            x = _split(x, wavelet, axis)
        stages.append(x)
        x = x[tuple(slice(n // 2) for n in x.shape)]
    y = stages.pop()
    for around in reversed(stages):
        y = _set_corner(around, y)
    return y


@functools.partial(jax.jit, static_argnums=(1, 2))
def _synthesis(y, wavelet, levels):
    x = y[tuple(slice(n >> levels) for n in y.shape)]
    for level in reversed(range(levels)):
        x = _set_corner(y[tuple(slice(n >> level) for n in y.shape)], x)
        for axis in range(y.ndim):
            x = _merge(x, wavelet, axis)
    return x


def _set_corner(around, corner):
    """`around` with `corner` at its origin.

    Concatenated: XLA:CPU may run a dynamic_update_slice whose update is computed from its operand in place, and then
    reads what it has overwritten (openxla/xla#49176).
    """
    for axis in reversed(range(corner.ndim)):
        rest = [slice(n) for n in corner.shape[:axis]] + [slice(corner.shape[axis], None)]
        corner = jnp.concatenate([corner, around[tuple(rest)]], axis)
    return corner


# ---- one level along one axis. The padded array is materialised behind a barrier, and all taps of both filters are one
# fused loop over it: left to itself XLA computes the previous stage again for each tap.


def _split(x, wavelet, axis):
    """[low | high] of x along one axis."""
    shape, n = x.shape, x.shape[axis]
    taps = _taps(wavelet)
    if n < max(_MATRIX_BELOW, len(taps)):
        return _product(_matrix(wavelet, n), x, axis)
    before, after = -min(t[1] for t in taps), max(t[1] for t in taps)
    x = x.reshape(*shape[:axis], n // 2, 2, *shape[axis + 1:])
    x = lax.optimization_barrier(_wrap(x, axis, before, after))
    weights = _columns(np.array([t[2:] for t in taps]), x.ndim - axis - 1)

    def terms(v):
        for (phase, shift, *_), w in zip(taps, weights, strict=True):
            start = before + shift
            v_tap = lax.index_in_dim(v, phase, axis + 1, keepdims=False)
            v_tap = lax.slice_in_dim(v_tap, start, start + n // 2, axis=axis)
            yield w, jnp.expand_dims(v_tap, axis)

    return lax.optimization_barrier(_weighted_sum(terms, x)).reshape(shape)


def _merge(y, wavelet, axis):
    """The transpose of `_split`."""
    shape, n = y.shape, y.shape[axis]
    taps = _taps(wavelet)
    if n < max(_MATRIX_BELOW, len(taps)):
        return _product(_matrix(wavelet, n).T, y, axis)
    before, after = max(t[1] for t in taps), -min(t[1] for t in taps)
    y = y.reshape(*shape[:axis], 2, n // 2, *shape[axis + 1:])
    y = lax.optimization_barrier(_wrap(y, axis + 1, before, after))
    # Interleaving costs nothing where whole rows alternate; along the last axis it is a copy of its own, after the sum.
    last = axis == len(shape) - 1
    by_shift = {}
    for phase, shift, *pair in taps:
        for band in (0, 1):
            by_shift.setdefault((shift, band), [0.0, 0.0])[phase] = pair[band]
    weights = _columns(np.array(list(by_shift.values())), len(shape) - axis - (0 if last else 1))

    def terms(v):
        for (shift, band), w in zip(by_shift, weights, strict=True):
            v_tap = lax.index_in_dim(v, band, axis, keepdims=False)
            v_tap = lax.slice_in_dim(v_tap, before - shift, before - shift + n // 2, axis=axis)
            yield w, jnp.expand_dims(v_tap, axis if last else axis + 1)

    x = lax.optimization_barrier(_weighted_sum(terms, y))
    return (jnp.swapaxes(x, axis, axis + 1) if last else x).reshape(shape)


def _columns(table, trailing):
    """Rows of a table of pairs, each shaped to run along an axis that has `trailing` axes behind it."""
    return [row.reshape(2, *(1,) * trailing) for row in table]


def _weighted_sum(terms, x):
    """sum w v over terms(x); real and imaginary part apart, as XLA multiplies complex by real as complex by complex."""
    def total(v):
        return functools.reduce(jnp.add, [w.astype(v.dtype) * t for w, t in terms(v)])

    return lax.complex(total(x.real), total(x.imag)) if jnp.iscomplexobj(x) else total(x)


def _wrap(x, axis, before, after):
    n = x.shape[axis]
    parts = [(n - before, n), (0, n), (0, after)]
    return jnp.concatenate([lax.slice_in_dim(x, a, b, axis=axis) for a, b in parts if a < b], axis)


def _product(a, x, axis):
    def apply(v):
        m = a.astype(v.dtype)
        if axis == v.ndim - 1:
            return jnp.matmul(v, m.T, precision="highest")
        return jnp.moveaxis(jnp.tensordot(m, v, (1, axis), precision="highest"), 0, axis)

    return lax.complex(apply(x.real), apply(x.imag)) if jnp.iscomplexobj(x) else apply(x)
