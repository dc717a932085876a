"""Gaussian noise on measured data, at a given level or signal-to-noise ratio."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from ..checks import broadcasts
from ..value import describe, is_concrete, norm, safe_divide


def add_noise(key: jax.Array, b: Any, *, snr: ArrayLike | None = None, sigma: ArrayLike | None = None,
              mask: Any = None, covariance: ArrayLike | None = None) -> Any:
    """b + n, n Gaussian (complex where b is) on the measured samples: n = sigma L w, L L^H = covariance, w white.

    sigma is the standard deviation per real component: E|n|^2 = sigma^2 per real sample, 2 sigma^2 per complex one.
    With `snr` the draw is scaled so that 10 log10(|b|^2 / |n|^2) = snr, both norms over the measured samples, exactly.

    Args:
        key: jax.random.key.
        b: data, real or complex, any shape; coils on the leading axis where `covariance` is given. Or a tuple of data,
            as of `jr.stack`: one level for all, `snr` that of the whole, `mask` a tuple too.
        snr: in dB. Give either `snr` or `sigma`.
        sigma: standard deviation per real component; a scalar or an array broadcast against b.
        mask: broadcast against b; noise is added only where it is not zero. None: everywhere.
        covariance: (coils, coils), Hermitian positive definite, E n n^H = sigma^2 covariance per real component
            (2 sigma^2 covariance in all for complex b). None: white.

    Returns:
        The noisy data, of b's shape and dtype.

    Raises:
        ValueError: both or none of snr and sigma, sigma negative, shapes that do not fit, covariance not Hermitian
            positive definite, or complex with real b.

    Example:
        >>> b = jnp.ones((4, 32, 32), complex)
        >>> noisy = jr.simulate.add_noise(jax.random.key(0), b, snr=20)
        >>> ratio = jnp.sum(jnp.abs(b) ** 2) / jnp.sum(jnp.abs(noisy - b) ** 2)
        >>> float(jnp.round(10 * jnp.log10(ratio), 6))
        20.0
    """
    if (snr is None) == (sigma is None):
        raise ValueError(f"add_noise: give either snr (dB) or sigma, got snr={snr} and sigma={sigma}")
    if isinstance(b, tuple | list):
        return _add_to_parts(key, b, snr, sigma, mask, covariance)
    b = _floating(b)
    measured = _measured(mask, b, "add_noise")
    n = jax.random.normal(key, b.shape, b.dtype)
    if jnp.iscomplexobj(b):
        n = n * jnp.asarray(np.sqrt(2), n.real.dtype)  # jax draws complex normals of unit total variance
    if covariance is not None:
        n = jnp.tensordot(_factor(covariance, b), n, axes=1)
    n = jnp.where(measured, n, 0)
    if snr is not None:
        scale = safe_divide(norm(jnp.where(measured, b, 0)), norm(n)) * _amplitude(snr, n.real.dtype)
    else:
        if is_concrete(sigma) and bool(np.any(~(np.asarray(sigma) >= 0))):
            raise ValueError(f"add_noise: sigma must not be negative, got {sigma}")
        scale = jnp.asarray(sigma, n.real.dtype)
        _fits(scale.shape, b, "sigma", "add_noise")
    return b + scale * n


def _add_to_parts(key, b, snr, sigma, mask, covariance):
    masks = [None] * len(b) if mask is None else mask
    if covariance is not None or not isinstance(masks, tuple | list) or len(masks) != len(b):
        raise ValueError(f"add_noise: a tuple of {len(b)} data takes no covariance, and as mask None or a tuple of as "
                         f"many, got {describe(mask) if covariance is None else 'a covariance'}")
    parts, keys, level = [_floating(v) for v in b], jax.random.split(key, len(b)), 1.0 if sigma is None else sigma
    noise = [add_noise(k, jnp.zeros_like(v), sigma=level, mask=m) for k, v, m in zip(keys, parts, masks, strict=True)]
    if snr is not None:
        signal = [jnp.where(_measured(m, v, "add_noise"), v, 0) for v, m in zip(parts, masks, strict=True)]
        scale = safe_divide(norm(signal), norm(noise)) * _amplitude(snr, norm(signal).dtype)
        noise = [scale.astype(n.real.dtype) * n for n in noise]
    return type(b)([v + n for v, n in zip(parts, noise, strict=True)])


def noise_level(b: ArrayLike, snr: ArrayLike, mask: ArrayLike | None = None) -> jax.Array:
    """The sigma that gives `snr` in the mean: sigma = |b| 10^(-snr/20) / sqrt(real values measured).

    For when the level itself must be known (discrepancy principle, SURE); pass it on as add_noise(..., sigma=...).

    Args:
        b: noiseless data, real or complex.
        snr: in dB.
        mask: broadcast against b; only samples where it is not zero count. None: all.

    Returns:
        A real scalar: standard deviation per real component.

    Example:
        >>> float(jr.simulate.noise_level(jnp.ones(8), 20))
        0.1
    """
    b = _floating(b)
    measured = _measured(mask, b, "noise_level")
    values = jnp.sum(jnp.broadcast_to(measured, b.shape)) * (2 if jnp.iscomplexobj(b) else 1)
    signal = norm(jnp.where(measured, b, 0))
    return safe_divide(signal, jnp.sqrt(values.astype(signal.dtype))) * _amplitude(snr, signal.dtype)


def _floating(b: ArrayLike) -> jax.Array:
    b = jnp.asarray(b)
    return b if jnp.issubdtype(b.dtype, jnp.inexact) else b.astype(jnp.result_type(float))


def _amplitude(snr: ArrayLike, dtype) -> jax.Array:
    if jnp.ndim(snr):
        raise ValueError(f"snr must be a scalar (use jax.vmap for several), got shape {jnp.shape(snr)}")
    return 10 ** (-jnp.asarray(snr, dtype) / 20)


def _measured(mask: ArrayLike | None, b: jax.Array, name: str) -> jax.Array:
    if mask is None:
        return jnp.asarray(True)
    mask = jnp.asarray(mask)
    _fits(mask.shape, b, "mask", name)
    return mask != 0


def _fits(shape: tuple[int, ...], b: jax.Array, what: str, name: str) -> None:
    if not broadcasts(shape, b.shape):
        raise ValueError(f"{name}: {what} of shape {shape} does not broadcast to data of shape {b.shape}")


def _factor(covariance: ArrayLike, b: jax.Array) -> jax.Array:
    c = jnp.asarray(covariance)
    if b.ndim == 0 or c.shape != (b.shape[0], b.shape[0]):
        raise ValueError(f"add_noise: data {describe(b)} has its coils on the leading axis and needs a covariance of "
                         f"shape {(b.shape[0], b.shape[0]) if b.ndim else '(coils, coils)'}, got {c.shape}")
    if jnp.iscomplexobj(c) and not jnp.iscomplexobj(b):
        raise ValueError(f"add_noise: real data ({b.dtype}) cannot take a complex covariance; give its real part")
    if is_concrete(c):
        dense = np.asarray(c)
        if not np.allclose(dense, dense.conj().T, rtol=1e-4, atol=1e-6 * np.abs(dense).max()):
            raise ValueError("add_noise: covariance must be Hermitian; use (C + C^H) / 2")
        if not np.linalg.eigvalsh(dense)[0] > 0:
            raise ValueError("add_noise: covariance must be positive definite, its smallest eigenvalue is "
                             f"{np.linalg.eigvalsh(dense)[0]:.3g}; add a small multiple of the identity")
    return jnp.linalg.cholesky(c.astype(b.dtype))
