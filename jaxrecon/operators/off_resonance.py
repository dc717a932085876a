"""Off-resonance: spins that precess at another frequency than the scanner's while k-space is read out.

    y_m = sum_n A_mn exp(-2 pi i f_n t_m) x_n

The exponential couples image and time and would cost a matrix. Time segmentation makes it a short sum of products,

    exp(-2 pi i f t) = sum_l b_l(t) exp(-2 pi i f s_l),    so    y = sum_l b_l(t) . A (exp(-2 pi i f s_l) . x),

with L moments s_l and the interpolators b that fit best, in the least-squares sense, for the frequencies of the map.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ..operator import LinearOperator, SelfAdjoint, real_dtype, with_dtype
from ..operator.base import Measuring
from ..value import is_complex, is_concrete, static, value

# Error of the exponential that `segments=None` allows: root mean square over the map, at the worst moment.
_ACCURACY = 1e-3
# More turns of the phase are a mistake in units, and a fit without end.
_MOST_TURNS = 1000
# Frequencies per segment at which the fit is made.
_FINENESS = 16
# Weight of frequencies that the map lacks, against those that it has: keeps the fit sound when the map is moved a bit.
_FLOOR = 1e-3


@value
class OffResonance(Measuring):
    """A with off-resonance: y(t) = sum_n A_n(t) exp(-2 pi i f_n t) x_n, by time segmentation.

    A positive f is a spin that precesses faster than the demodulation, in the sense in which a positive node k gives
    exp(-2 pi i n k). The adjoint of a NUFFT with its `Gridding` is the conjugate phase reconstruction.

    Args:
        operator: A, such as `NUFFT(...)`, `NUFFT(...) @ CoilMaps(...)` or `Fourier(...)`.
        field_map: f in Hz, real, of the shape of x. Gradients reach it.
        times: t in seconds since the excitation (or since the moment at which x has its phase), real; broadcasts to
            the trailing axes of the measurements: (samples,) or (interleaves, samples).
        segments: L; one application of A each. None takes as many as an error of 1e-3 needs (about 5 more than the
            largest difference of phase in turns), which must be known outside jit.

    Raises:
        ValueError: shapes that do not fit, field map or times not finite, or segments=None under jit, vmap or grad.
        TypeError: a complex field map or complex times, or an A whose measurements are not one array.

    Example:
        >>> A = jr.OffResonance(jr.Fourier((4, 4)), 30 * jnp.ones((4, 4)), times=1e-3 * jnp.arange(4))
        >>> A.segments, A(jnp.ones((4, 4))).shape
        (1, (4, 4))

    Source: Noll et al. (1991); least-squares interpolators: Sutton, Noll & Fessler (2003).
    """

    operator: LinearOperator
    field_map: Any
    times: Any
    segments: Any = static(default=None)

    def check(self):
        field_map, times = _real(self.field_map, "field_map"), _real(self.times, "times")
        image, codomain = self.operator.domain, self.operator.codomain
        if not isinstance(codomain, jax.ShapeDtypeStruct):
            raise TypeError(f"OffResonance needs one array of measurements, but {type(self.operator).__name__} gives "
                            "several; put each part of the stack into its own OffResonance")
        if field_map.shape != image.shape:
            raise ValueError(f"field_map has shape {field_map.shape}, but {type(self.operator).__name__} takes x of "
                             f"{image.shape}")
        if not _broadcasts(times.shape, codomain.shape):
            raise ValueError(f"times of shape {times.shape} do not broadcast to the measurements, {codomain.shape}; "
                             "give one time per sample along the trailing axes")
        for name, v in (("field_map", field_map), ("times", times)):
            if is_concrete(v) and not np.all(np.isfinite(np.asarray(v))):
                raise ValueError(f"{name} must be finite, got NaN or infinity; set pixels without signal to 0")
        segments = self.segments
        if segments is None:
            if not is_concrete(field_map, times):
                raise ValueError("segments=None depends on the values of field_map and times, which are traced here; "
                                 "pass segments=L, such as that of an OffResonance made outside jit")
            segments = _enough_segments(np.asarray(field_map, float), np.asarray(times, float))
        if int(segments) != segments or segments < 1:
            raise ValueError(f"segments must be a whole number >= 1, got {segments}")
        object.__setattr__(self, "field_map", field_map)
        object.__setattr__(self, "times", times)
        object.__setattr__(self, "segments", int(segments))

    @property
    def domain(self):
        return with_dtype(self.operator.domain, real_dtype(self.operator.domain), complex_kind=True)

    @property
    def prepared(self):
        field_map, times = (v.astype(real_dtype(self.operator.domain)) for v in (self.field_map, self.times))
        moments, basis = _segmentation(field_map, times, self.segments)
        return Segmented(self.operator.prepared, field_map, times, moments, basis)

    def weighted_gram(self, w):
        return self.prepared.weighted_gram(w)

    def apply(self, x):
        return self.prepared.apply(x)

    def apply_adjoint(self, y):
        return self.prepared.apply_adjoint(y)


@value
class Segmented(Measuring):
    """y = sum_l b_l . A (exp(-2 pi i f s_l) . x), a sum over moments s_l (L,) with a basis b (L, *times)."""

    operator: LinearOperator
    field_map: Any
    times: Any
    moments: Any
    basis: Any

    @property
    def domain(self):
        return with_dtype(self.operator.domain, real_dtype(self.operator.domain), complex_kind=True)

    def weighted_gram(self, w):
        """sum_m exp(2 pi i f s_m) . A^H diag(w c_m) A exp(-2 pi i f s_m), where A^H diag(w c_m) A is cheap.

        (A^H A)_ab depends on f_a - f_b alone: one sum over moments, of frequencies in twice the range, takes the place
        of two (Fessler et al. 2005). It is A^H diag(w) A as nearly as the segmentation is the exponential.
        """
        if self.operator.weighted_gram(w * self.basis[0].real) is None:
            return None
        moments, basis = _segmentation(self.field_map, self.times, 2 * len(self.moments), differences=True)

        def gram(c) -> Any:
            G: Any = self.operator.weighted_gram(w * c)
            return G.prepared

        return SegmentedGram(lax.map(gram, basis.real), self.field_map, moments)

    def apply(self, x):
        def add(y, segment):
            moment, b = segment
            return y + _like(b, y) * self.operator.apply(_phase(moment, self.field_map, x) * x), None

        x = _complex(x)
        shape = jax.eval_shape(lambda A, x: A.apply(x), self.operator, x)
        # One segment at a time: memory stays at that of A, and CPUs gain nothing from a batch.
        return lax.scan(add, jnp.zeros(shape.shape, shape.dtype), (self.moments, self.basis))[0]

    def apply_adjoint(self, y):
        def add(x, segment):
            moment, b = segment
            part = self.operator.apply_adjoint(jnp.conj(_like(b, y)) * y)
            return x + jnp.conj(_phase(moment, self.field_map, x)) * part, None

        y = _complex(y)
        real = jnp.promote_types(real_dtype(y), real_dtype(self.operator.domain))
        start = jnp.zeros(self.operator.domain.shape, jnp.promote_types(real, jnp.complex64))
        return lax.scan(add, start, (self.moments, self.basis))[0]


@value
class SegmentedGram(SelfAdjoint):
    """x -> sum_m exp(2 pi i f s_m) . G_m (exp(-2 pi i f s_m) . x), with self-adjoint G_m stacked in one value."""

    operators: Any
    field_map: Any
    moments: Any

    @property
    def domain(self):
        return jax.eval_shape(lambda G: jax.tree.map(lambda v: v[0], G), self.operators).domain

    def apply(self, x):
        def add(y, segment):
            G, moment = segment
            phase = _phase(moment, self.field_map, x)
            return y + jnp.conj(phase) * G.apply(phase * x), None

        x = _complex(x)
        return lax.scan(add, jnp.zeros_like(x), (self.operators, self.moments))[0]


def _phase(moment, field_map, x):
    # Whole turns are dropped before the angle is rounded to the precision of x.
    turns = moment * field_map
    angle = (-2 * math.pi * (turns - lax.round(lax.stop_gradient(turns)))).astype(real_dtype(x))
    return lax.complex(jnp.cos(angle), jnp.sin(angle))


def _real(v, name):
    v = jnp.asarray(v)
    if is_complex(v):
        raise TypeError(f"{name} must be real, got {v.dtype}")
    return v if jnp.issubdtype(v.dtype, jnp.floating) else v.astype(float)


def _broadcasts(shape, to):
    return len(shape) <= len(to) and all(n in (1, m) for n, m in zip(shape[::-1], to[::-1], strict=False))


def _complex(x):
    return x.astype(jnp.promote_types(x.dtype, jnp.complex64))


def _like(b, y):
    return b.astype(jnp.promote_types(real_dtype(y), jnp.complex64))


# ---- moments and interpolators


def _frequencies(xp, field_map, count):
    """`count` frequencies over the range of the map, and the share of its pixels that each stands for."""
    low, high = xp.min(field_map), xp.max(field_map)
    width = (high - low) / (count - 1)
    nearest = xp.round((field_map.ravel() - low) / xp.where(width > 0, width, 1)).astype(int)
    share = xp.zeros(count, field_map.dtype)
    if xp is np:
        np.add.at(share, nearest, 1 / nearest.size)
    else:
        share = share.at[nearest].add(1 / nearest.size)
    return low + width * xp.arange(count), share


def _exponentials(xp, frequencies, times):
    return xp.exp(-2j * math.pi * frequencies[:, None] * times)


def _fit(xp, frequencies, share, moments):
    """P with b(t) = P e(t): least squares over the frequencies f_k of exp(-2 pi i f_k t), weighted by their shares."""
    root = xp.sqrt(share + _FLOOR / len(frequencies))[:, None]
    system = root * _exponentials(xp, frequencies, moments)
    # JAX's default, which NumPy does not share: smaller ones let rounding in float32 through a thousandfold.
    cut = 10 * max(system.shape) * jnp.finfo(frequencies.dtype).eps
    return xp.linalg.pinv(system, rcond=cut) * root.T


def _moments(xp, times, segments):
    """The middle of the times, or evenly spaced ones from the first to the last."""
    low, high = xp.min(times), xp.max(times)
    steps = (np.arange(segments) / (segments - 1)) if segments > 1 else np.full(1, 0.5)
    return low + (high - low) * xp.asarray(steps, times.dtype)


@functools.partial(jax.jit, static_argnums=2, static_argnames="differences")
def _segmentation(field_map, times, segments, differences=False):
    """Moments s (L,) and basis (L, *times): for the frequencies of the map, or (a real one) for their differences."""
    # The interpolators serve every frequency in the range of the map, so they do not move with a single pixel of it:
    # the derivative is that of the exponential, and none passes through the fit.
    frequencies, share = _frequencies(jnp, lax.stop_gradient(field_map), _FINENESS * segments)
    if differences:
        width = frequencies[-1] - frequencies[0]
        frequencies, share = jnp.linspace(-width, width, frequencies.size), jnp.ones_like(share) / share.size
    moments = _moments(jnp, lax.stop_gradient(times), segments)
    fit = _fit(jnp, frequencies, share, moments)
    basis = fit @ _exponentials(jnp, frequencies, times.ravel())
    return moments, basis.reshape(segments, *times.shape)


def _enough_segments(field_map, times):
    """The fewest segments that keep the exponential within _ACCURACY, root mean square over the map."""
    turns = np.ptp(field_map) * np.ptp(times)
    if turns == 0:
        return 1
    if turns > _MOST_TURNS:
        raise ValueError(f"off-resonance turns the phase {turns:.4g} times during the read-out: the field map spans "
                         f"{np.ptp(field_map):.4g} Hz, the times {np.ptp(times):.4g} s; are the times in seconds?")
    trial = np.linspace(times.min(), times.max(), 16 * math.ceil(turns) + 16)
    segments = 1
    while True:
        frequencies, share = _frequencies(np, field_map, _FINENESS * segments)
        moments = _moments(np, times, segments)
        exact = _exponentials(np, frequencies, trial)
        error = _exponentials(np, frequencies, moments) @ (_fit(np, frequencies, share, moments) @ exact) - exact
        if np.sqrt(np.max(share @ np.abs(error) ** 2)) <= _ACCURACY:
            return segments
        segments += 1 + math.floor(max(0, turns / 4 - segments))
