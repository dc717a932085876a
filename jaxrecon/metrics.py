"""How far an image is from a reference: PSNR, SSIM, NMSE, NRMSE. Complex images are compared by magnitude unless asked.

Each function takes ONE image, 2-D or 3-D; batches come from jax.vmap. All are differentiable.
"""

from __future__ import annotations

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from .value import describe, inner, is_concrete, norm, norm_squared, safe_divide


def psnr(x: ArrayLike, ref: ArrayLike, *, data_range: ArrayLike | None = None, complex: bool = False) -> jax.Array:
    """Peak signal-to-noise ratio in dB: 10 log10(data_range^2 / mean |x - ref|^2).

    Args:
        x, ref: image and reference, of one shape, real or complex.
        data_range: required: the span of values, a positive scalar; usually max - min of the reference (of the whole
            volume, if slices are to be comparable).
        complex: compare complex values instead of magnitudes.

    Returns:
        A real scalar; inf where x equals ref (with gradient 0).

    Raises:
        TypeError: data_range is missing.
        ValueError: shapes differ, or data_range is not a positive number.

    Example:
        >>> ref = jnp.eye(8)
        >>> float(jr.metrics.psnr(ref + 0.1, ref, data_range=1.0).round(6))
        20.0
    """
    x, ref = _pair(x, ref, complex, "psnr")
    data_range = _range(data_range, x, "psnr")
    mse = norm_squared(x - ref) / x.size
    exact = mse == 0
    return jnp.where(exact, jnp.inf, 20 * jnp.log10(data_range) - 10 * jnp.log10(jnp.where(exact, 1, mse)))


def ssim(x: ArrayLike, ref: ArrayLike, *, data_range: ArrayLike | None = None, win_size: int | None = None,
         gaussian_weights: bool = False, sigma: float = 1.5, use_sample_covariance: bool = True, K1: float = 0.01,
         K2: float = 0.03, complex: bool = False) -> jax.Array:
    """Structural similarity: the mean, over all windows inside the image, of

    (2 mx my + c1)(2 vxy + c2) / ((mx^2 + my^2 + c1)(vx + vy + c2)),  c_i = (K_i data_range)^2.

    The same number as skimage.metrics.structural_similarity with the same options. Wang et al.'s own choice is
    gaussian_weights=True, use_sample_covariance=False.

    Args:
        x, ref: image and reference, of one shape, 2-D or 3-D (windows are then cubes: vmap over slices for 2-D ones).
        data_range: required: the span of values, a positive scalar.
        win_size: side of the window, odd; None: 7, or what holds 3.5 sigma if gaussian_weights.
        gaussian_weights: weigh the window by a Gaussian of width `sigma` pixels.
        use_sample_covariance: divide variances by n - 1 instead of n.
        complex: the mean of the SSIM of real and of imaginary parts, instead of the SSIM of magnitudes.

    Returns:
        A real scalar, 1 where x equals ref.

    Raises:
        TypeError: data_range is missing.
        ValueError: shapes differ, are not 2-D or 3-D or smaller than the window; data_range is not a positive number.

    Example:
        >>> ref = jr.simulate.shepp_logan((32, 32))
        >>> float(jr.metrics.ssim(ref, ref, data_range=1.0))
        1.0

    Source: Wang et al. (2004).
    """
    x, ref = _pair(x, ref, complex, "ssim")
    data_range = _range(data_range, x, "ssim")
    if x.ndim not in (2, 3):
        raise ValueError(f"ssim: wanted one 2-D or 3-D image, got shape {x.shape}; use jax.vmap for a batch")
    if gaussian_weights:
        # scipy's kernel ends at 3.5 sigma whatever the window; win_size only sets the rim that is left out.
        radius = int(3.5 * sigma + 0.5)
        weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
        if win_size not in (None, 2 * radius + 1):
            raise ValueError(f"ssim: a Gaussian of sigma {sigma} has a window of {2 * radius + 1}, got {win_size}; "
                             "leave win_size out")
    else:
        weights = np.ones(7 if win_size is None else win_size)
    size = len(weights)
    if size % 2 == 0 or size < 3:
        raise ValueError(f"ssim: win_size must be odd and 3 or more, got {size}")
    if min(x.shape) < size:
        raise ValueError(f"ssim: the window of {size} exceeds the image {x.shape}; pass a smaller win_size")
    window = tuple((weights / weights.sum()).tolist())
    count = size**x.ndim
    unbias = count / (count - 1) if use_sample_covariance else 1.0
    # In units of the range, whose fourth power single precision cannot always hold.
    x, ref, c1, c2 = x / data_range, ref / data_range, K1**2, K2**2
    if jnp.iscomplexobj(x):
        return (_ssim(x.real, ref.real, c1, c2, window, unbias) + _ssim(x.imag, ref.imag, c1, c2, window, unbias)) / 2
    return _ssim(x, ref, c1, c2, window, unbias)


def nmse(x: ArrayLike, ref: ArrayLike, *, fit_scale: bool = False, complex: bool = False) -> jax.Array:
    """Normalised mean squared error: |x - ref|^2 / |ref|^2, the square of nrmse.

    Args, Raises: as nrmse.

    Returns:
        A real scalar.

    Example:
        >>> float(jr.metrics.nmse(jnp.array([3.0, 3.0]), jnp.array([3.0, 4.0])))
        0.04
    """
    e, ref = _error(x, ref, fit_scale, complex, "nmse")
    return norm_squared(e) / norm_squared(ref)


def nrmse(x: ArrayLike, ref: ArrayLike, *, fit_scale: bool = False, complex: bool = False) -> jax.Array:
    """Normalised root mean squared error: |s x - ref| / |ref|.

    Args:
        x, ref: image and reference, of one shape, real or complex.
        fit_scale: s = <x, ref> / <x, x>, the best scale (and global phase, where complex=True); otherwise s = 1.
        complex: compare complex values instead of magnitudes.

    Returns:
        A real scalar; its gradient where x equals ref is 0.

    Raises:
        ValueError: shapes differ.

    Example:
        >>> ref = jnp.array([3.0, 4.0])
        >>> float(jr.metrics.nrmse(2 * ref, ref)), float(jr.metrics.nrmse(2 * ref, ref, fit_scale=True))
        (1.0, 0.0)
    """
    e, ref = _error(x, ref, fit_scale, complex, "nrmse")
    return norm(e) / jnp.sqrt(norm_squared(ref))


def _error(x: ArrayLike, ref: ArrayLike, fit_scale: bool, complex: bool, name: str) -> tuple[jax.Array, jax.Array]:
    x, ref = _pair(x, ref, complex, name)
    if fit_scale:
        x = safe_divide(inner(x, ref), norm_squared(x)) * x
    return x - ref, ref


def _pair(x: ArrayLike, ref: ArrayLike, complex: bool, name: str) -> tuple[jax.Array, jax.Array]:
    """Both images in one inexact dtype: integers would wrap around in x - ref."""
    if jnp.shape(x) != jnp.shape(ref):
        raise ValueError(f"{name}: image and reference must have one shape, got {describe(x)} and {describe(ref)}")
    x, ref = jnp.asarray(x), jnp.asarray(ref)
    dtype = jnp.result_type(x, ref)
    if not jnp.issubdtype(dtype, jnp.inexact):
        dtype = jnp.result_type(float)
    x, ref = x.astype(dtype), ref.astype(dtype)
    return (x, ref) if complex or not jnp.iscomplexobj(x) else (jnp.abs(x), jnp.abs(ref))


def _range(data_range: ArrayLike | None, x: jax.Array, name: str) -> jax.Array:
    if data_range is None:
        raise TypeError(f"{name} needs data_range=, the span of values the score refers to, for example "
                        f"{name}(x, ref, data_range=ref.max() - ref.min()); there is no default, as each guess gives "
                        "another number")
    if jnp.ndim(data_range):
        raise ValueError(f"{name}: data_range must be a scalar, got shape {jnp.shape(data_range)}")
    if jnp.iscomplexobj(data_range):
        raise ValueError(f"{name}: data_range must be real, got {data_range}; take it from the magnitudes")
    if is_concrete(data_range):
        span = float(data_range)  # pyright: ignore[reportArgumentType]
        if not 0 < span < math.inf:
            raise ValueError(f"{name}: data_range must be a positive number, got {data_range}; "
                             "is the reference constant?")
    return jnp.asarray(data_range, jnp.finfo(x.dtype).dtype)


@functools.partial(jax.jit, static_argnames=("window", "unbias"))
def _ssim(x, y, c1, c2, window, unbias):
    # Only windows that lie inside count, so a sum of shifted slices is the whole filter, and no boundary rule matters.
    def mean(v):
        for axis in range(v.ndim):
            length = v.shape[axis] - len(window) + 1
            terms = [w * jax.lax.slice_in_dim(v, i, i + length, axis=axis) for i, w in enumerate(window)]
            v = sum(terms[1:], terms[0])
        return v

    # Variances do not depend on a common offset, and would be lost to rounding beside a large one.
    offset = jax.lax.stop_gradient(jnp.mean(y))
    x, y = x - offset, y - offset
    mx, my = mean(x), mean(y)
    vx, vy = unbias * (mean(x * x) - mx * mx), unbias * (mean(y * y) - my * my)
    vxy = unbias * (mean(x * y) - mx * my)
    mx, my = mx + offset, my + offset
    return jnp.mean((2 * mx * my + c1) * (2 * vxy + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2)))
