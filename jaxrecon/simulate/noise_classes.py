"""Kinds of noise as values: noisy = noise(key, b), with a level that may be drawn anew for every example.

A level is a number, or a pair (low, high): then each call draws one from the key, evenly in its logarithm. Every class
is a pure function of the key, of any shape, real or complex, under jit and vmap; `draw(key)` fixes the levels.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from ..value import is_concrete, norm_squared, safe_divide, safe_sqrt, static, value
from .counts import poisson
from .noise import _factor, _floating, _measured, add_noise


class Noise:
    """What the classes share; a subclass gives `levels`, the names of its levels, and `apply`."""

    levels: tuple[str, ...] = ()

    def check(self):
        for name in self.levels:
            _check_level(self, name)

    def draw(self, key: jax.Array) -> Any:
        """The same noise, every level that is a range drawn: log(level) ~ U(log low, log high)."""
        keys = jax.random.split(key, max(len(self.levels), 1))
        fixed = dict(zip(self.levels, map(_draw_level, keys, (getattr(self, n) for n in self.levels)), strict=False))
        new = object.__new__(type(self))  # the levels are checked already, and traced here
        for field in dataclasses.fields(self):  # pyright: ignore[reportArgumentType]
            object.__setattr__(new, field.name, fixed.get(field.name, getattr(self, field.name)))
        return new

    def __call__(self, key: jax.Array, b: ArrayLike, mask: ArrayLike | None = None) -> jax.Array:
        """The noisy data.

        Args:
            key: jax.random.key.
            b: data, real or complex, any shape.
            mask: broadcast against b; only samples where it is not zero are changed, and count in `relative` levels.
                None: all.

        Returns:
            Data of b's shape and dtype.
        """
        b = _floating(b)
        measured = _measured(mask, b, type(self).__name__)
        level_key, key = jax.random.split(key)
        return jnp.where(measured, self.draw(level_key).apply(key, b, measured), b)

    def apply(self, key: jax.Array, b: jax.Array, measured: jax.Array) -> jax.Array:
        raise NotImplementedError(f"{type(self).__name__} must define `apply`")


@value
class GaussianNoise(Noise):
    """White noise: b + sigma n, n standard normal in every real component.

    Args:
        sigma: level, or (low, high).
        relative: sigma is in units of the root mean square of the measured |b|, instead of those of b.

    Raises:
        ValueError: a level that is negative, or a range whose low is not positive or above its high.

    Example:
        >>> noise = jr.simulate.GaussianNoise((0.01, 0.1))
        >>> keys = jax.random.split(jax.random.key(0), 3)
        >>> jax.vmap(noise, (0, None))(keys, jnp.ones((4, 4))).shape
        (3, 4, 4)
    """

    sigma: Any
    relative: bool = static(default=False)
    levels = ("sigma",)

    def apply(self, key, b, measured):
        return add_noise(key, b, sigma=self.sigma * _unit(self, b, measured))


@value
class PoissonNoise(Noise):
    """Noise of counted quanta: its variance grows with the signal.

    Emission: each real component r becomes sign(r) s Poisson(|r| / s), s = max|b| / counts, over the measured samples.
    Transmission: b are line integrals and become -log(max(Poisson(counts e^-b), 1/2) / counts).

    Args:
        counts: mean counts at the largest |b| (transmission: of the blank scan): level, or (low, high); at most 2^30.
        transmission: see above; b must then be real.

    Raises:
        ValueError: levels as for `GaussianNoise`; counts that are 0 or above 2^30; complex b in transmission.

    Example:
        >>> b = jnp.full((64, 64), 2.0)
        >>> float(jnp.std(jr.simulate.PoissonNoise(1e4)(jax.random.key(0), b)).round(3))
        0.02
    """

    counts: Any
    transmission: bool = static(default=False)
    levels = ("counts",)

    def check(self):
        Noise.check(self)
        if is_concrete(self.counts) and not np.all((np.asarray(self.counts) > 0) & (np.asarray(self.counts) <= 2**30)):
            raise ValueError(f"PoissonNoise: counts must lie above 0 and be at most 2^30, got {self.counts}")

    def apply(self, key, b, measured):
        counts = jnp.asarray(self.counts, b.real.dtype)
        if self.transmission:
            if jnp.iscomplexobj(b):
                raise ValueError(f"PoissonNoise: line integrals are real, got {b.dtype}; pass b.real")
            # Far below 0 the mean would be infinite.
            drawn = poisson(key, jnp.minimum(counts * jnp.exp(-b), 2.0**30))
            return jnp.log(counts) - jnp.log(jnp.maximum(drawn, 0.5))
        unit = jnp.max(jnp.where(measured, jnp.abs(b), 0)) / counts

        def counted(key, r):
            r = jnp.where(measured, r, 0)
            return unit * jnp.sign(r) * poisson(key, safe_divide(jnp.abs(r), unit))

        if not jnp.iscomplexobj(b):
            return counted(key, b)
        re, im = jax.random.split(key)
        return jax.lax.complex(counted(re, b.real), counted(im, b.imag))


@value
class CorrelatedNoise(Noise):
    """Stationary Gaussian noise, smoothed by a Gaussian of `width` samples: b + sigma h * n, |h|_2 = 1, circular.

    Neighbours at distance d have correlation exp(-d^2 / (4 width^2)) along each axis, and every sample the standard
    deviation sigma per real component.

    Args:
        sigma: level, or (low, high).
        width: standard deviation of the smoothing kernel, in samples: level, or (low, high); 0 is white.
        axes: the axes along which neighbours are correlated, such as that of the detectors.
        covariance: of the coils on the leading axis, as for `add_noise`; None: independent.
        relative: as for `GaussianNoise`.

    Raises:
        ValueError: levels as for `GaussianNoise`; axes that b does not have.

    Example:
        >>> noise = jr.simulate.CorrelatedNoise(1.0, width=2.0)
        >>> n = noise(jax.random.key(0), jnp.zeros((200, 128)))
        >>> float(jnp.mean(n * jnp.roll(n, 2, -1)).round(1)), round(float(jnp.exp(-0.25)), 1)
        (0.8, 0.8)
    """

    sigma: Any
    width: Any = 1.0
    axes: tuple[int, ...] = static(default=(-1,))
    covariance: Any = None
    relative: bool = static(default=False)
    levels = ("sigma", "width")

    def check(self):
        Noise.check(self)
        object.__setattr__(self, "axes", (self.axes,) if isinstance(self.axes, int) else tuple(self.axes))

    def apply(self, key, b, measured):
        if any(not -b.ndim <= a < b.ndim for a in self.axes) or len({a % b.ndim for a in self.axes}) < len(self.axes):
            raise ValueError(f"CorrelatedNoise: axes must be different ones of data with {b.ndim} axes, "
                             f"got {self.axes}")
        n = add_noise(key, jnp.zeros_like(b), sigma=1.0)
        if self.covariance is not None:
            n = jnp.tensordot(_factor(self.covariance, b), n, axes=1)
        spectrum = jnp.ones((), b.real.dtype)
        for axis in self.axes:
            f = jnp.asarray(np.fft.fftfreq(b.shape[axis]), b.real.dtype)
            h = jnp.exp(-2 * (jnp.pi * f * jnp.asarray(self.width, f.dtype)) ** 2)
            h = h / jnp.sqrt(jnp.mean(h**2))
            spectrum = spectrum * h.reshape((-1,) + (1,) * (b.ndim - 1 - axis % b.ndim))
        smooth = jnp.fft.ifftn(spectrum * jnp.fft.fftn(n, axes=self.axes), axes=self.axes)
        smooth = smooth if jnp.iscomplexobj(b) else smooth.real
        sigma = jnp.asarray(self.sigma, b.real.dtype) * _unit(self, b, measured)
        return b + (sigma * smooth).astype(b.dtype)


@value
class ImpulsiveNoise(Noise):
    """Spikes: a fraction of the samples, drawn independently, gets + size u, u a random sign (phase, where complex).

    With `shared` axes a spike holds along them: shared=(0,) on a (views, detectors) sinogram draws detectors, which are
    wrong in every view. With `replace` the sample is lost: size u takes its place, and size = 0 is a dead detector.

    Args:
        fraction: probability of a spike: level, or (low, high), at most 1.
        size: level, or (low, high).
        shared: axes along which a spike holds.
        replace: put the spike in the place of the sample.
        relative: size is in units of the root mean square of the measured |b|; else in those of b.

    Raises:
        ValueError: levels as for `GaussianNoise`; a fraction above 1; axes that b does not have.

    Example:
        >>> dead = jr.simulate.ImpulsiveNoise(0.1, size=0.0, shared=(0,), replace=True)
        >>> b = dead(jax.random.key(0), jnp.ones((5, 400)))
        >>> bool(jnp.all(b[0] == b[4])), 20 < int(jnp.sum(b[0] == 0)) < 60
        (True, True)
    """

    fraction: Any
    size: Any
    shared: tuple[int, ...] = static(default=())
    replace: bool = static(default=False)
    relative: bool = static(default=False)
    levels = ("fraction", "size")

    def check(self):
        Noise.check(self)
        object.__setattr__(self, "shared", (self.shared,) if isinstance(self.shared, int) else tuple(self.shared))
        if is_concrete(self.fraction) and np.any(np.asarray(self.fraction) > 1):
            raise ValueError(f"ImpulsiveNoise: fraction is a probability, at most 1, got {self.fraction}")

    def apply(self, key, b, measured):
        if any(not -b.ndim <= a < b.ndim for a in self.shared):
            raise ValueError(f"ImpulsiveNoise: shared axes must be those of data with {b.ndim} axes, got {self.shared}")
        shared = {a % b.ndim for a in self.shared}
        shape = tuple(1 if axis in shared else n for axis, n in enumerate(b.shape))
        where_key, u_key = jax.random.split(key)
        real = b.real.dtype
        hit = jax.random.uniform(where_key, shape, real) < jnp.asarray(self.fraction, real)
        if jnp.iscomplexobj(b):
            angle = jax.random.uniform(u_key, shape, real, 0, 2 * np.pi)
            u = jax.lax.complex(jnp.cos(angle), jnp.sin(angle))
        else:
            u = jax.random.rademacher(u_key, shape, real)
        spike = (jnp.asarray(self.size, real) * _unit(self, b, measured)).astype(real) * u
        return jnp.where(hit, spike if self.replace else b + spike, b)


@value
class MixedNoise(Noise):
    """One of several kinds, drawn by the key for every example, and its level with it.

    Under vmap every kind is computed for every example, and one of them kept.

    Args:
        kinds: noise values.
        weights: probabilities up to a factor, one each; None: all alike.

    Raises:
        TypeError: a kind that is no noise value. ValueError: none, or as many weights as kinds are not given.

    Example:
        >>> kinds = [jr.simulate.GaussianNoise((0.01, 0.1)), jr.simulate.PoissonNoise((1e2, 1e4))]
        >>> noise = jr.simulate.MixedNoise(kinds)
        >>> noise(jax.random.key(0), jnp.ones((4, 4))).shape
        (4, 4)
    """

    kinds: Any
    weights: Any = None

    def check(self):
        object.__setattr__(self, "kinds", tuple(self.kinds))
        if not self.kinds:
            raise ValueError("MixedNoise needs at least one kind of noise, got none")
        wrong = [k for k in self.kinds if not isinstance(k, Noise)]
        if wrong:
            raise TypeError(f"MixedNoise takes noise values such as jr.simulate.GaussianNoise(0.1), got {wrong[0]!r}")
        if self.weights is not None:
            w = jnp.asarray(self.weights)
            object.__setattr__(self, "weights", w)
            if w.shape != (len(self.kinds),):
                raise ValueError(f"MixedNoise: {len(self.kinds)} kinds need as many weights, got shape {w.shape}")
            if is_concrete(w) and not (np.all(np.asarray(w) >= 0) and np.sum(np.asarray(w)) > 0):
                raise ValueError(f"MixedNoise: weights must not be negative, nor all 0, got {w}")

    def draw(self, key):
        return self

    def apply(self, key, b, measured):
        which, level, key = jax.random.split(key, 3)
        weights = jnp.ones(len(self.kinds)) if self.weights is None else jnp.asarray(self.weights)
        index = jax.random.categorical(which, jnp.log(weights))
        branches = [lambda level, key, b, kind=kind: kind.draw(level).apply(key, b, measured) for kind in self.kinds]
        return jax.lax.switch(index, branches, level, key, b)


def _unit(noise: Any, b: jax.Array, measured: jax.Array) -> jax.Array:
    """What a level of 1 means: the root mean square of the measured samples, or 1."""
    if not noise.relative:
        return jnp.ones((), b.real.dtype)
    count = jnp.sum(jnp.broadcast_to(measured, b.shape)).astype(b.real.dtype)
    return safe_sqrt(safe_divide(norm_squared(jnp.where(measured, b, 0)), count))


def _draw_level(key: jax.Array, level: Any) -> Any:
    if not isinstance(level, tuple):
        return level
    low, high = (jnp.asarray(v, jnp.result_type(float)) for v in level)
    return low * (high / low) ** jax.random.uniform(key, (), low.dtype)


def _check_level(noise: Any, name: str) -> None:
    """A range, however it was given, becomes a tuple: that is how `draw` knows it."""
    level, who = getattr(noise, name), type(noise).__name__
    if isinstance(level, list | tuple) or np.ndim(level):
        level = tuple(level)
        object.__setattr__(noise, name, level)
    ends = level if isinstance(level, tuple) else (level,)
    if any(np.ndim(v) for v in ends) or (isinstance(level, tuple) and len(ends) != 2):
        raise ValueError(f"{who}: {name} is a number or a pair (low, high), got {level!r}; use jax.vmap for several")
    if not is_concrete(ends):
        return
    low, high = float(ends[0]), float(ends[-1])
    if isinstance(level, tuple):
        if not 0 < low <= high < np.inf:
            raise ValueError(f"{who}: the range of {name} needs 0 < low <= high, got {level}; it is drawn "
                             "evenly in its logarithm")
    elif not 0 <= low < np.inf:
        raise ValueError(f"{who}: {name} must be a number, not negative, got {level}")
