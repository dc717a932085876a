"""From a calibration scan of magnetic particle imaging to the rows that are worth solving for."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from ..operator import LinearOperator, dense
from ..value import is_concrete, safe_divide, safe_sqrt


def frequency_snr(s: ArrayLike, background: ArrayLike) -> jax.Array:
    """Signal-to-noise ratio of each component: max_r |s_k(r) - mean_n b_kn| / mean_n |b_k,n+1 - b_kn|.

    The convention of MPIFiles and of /calibration/snr in MDF. Differences of successive frames leave slow drift out.

    Args:
        s: the system matrix (..., *shape) as measured: its leading axes are those of one background frame, such as
            (channels, frequencies).
        background: (frames, ...), at least two empty measurements, in their order in time.

    Returns:
        (...), 0 where a component's background does not vary.

    Raises:
        ValueError: fewer than two frames, axes that do not fit.

    Example:
        >>> s = jnp.array([[[1.0, 9.0, 1.0]]])  # one channel, one frequency, three voxels
        >>> jr.frequency_snr(s, jnp.array([[[0.0]], [[2.0]], [[1.0]]])).tolist()
        [[5.333333...]]
    """
    s, background = jnp.asarray(s), jnp.asarray(background)
    lead = background.shape[1:]
    if background.ndim < 2 or background.shape[0] < 2 or s.shape[: len(lead)] != lead or s.ndim <= len(lead):
        raise ValueError("frequency_snr takes s of shape (channels, frequencies, *image) and at least two frames of "
                         f"background, (frames, channels, frequencies); got {s.shape} and {background.shape}")
    mean = jnp.mean(background, axis=0)
    voxels = s.reshape(*lead, -1)
    signal = jnp.max(jnp.abs(voxels - mean[..., None]), axis=-1)
    return safe_divide(signal, jnp.mean(jnp.abs(jnp.diff(background, axis=0)), axis=0))


def background_sigma(background: ArrayLike) -> jax.Array:
    """The noise of each component: its standard deviation per real component over empty frames.

    Args:
        background: (frames, ...), real or complex, at least two.

    Returns:
        (...), real.

    Example:
        >>> float(jr.background_sigma(jnp.array([1.0, 3.0, 2.0])))
        1.0
    """
    background = jnp.asarray(background)
    if background.ndim < 1 or background.shape[0] < 2:
        raise ValueError(f"background_sigma takes at least two frames, got shape {background.shape}")
    # In units of the largest value: squares of volts may be below what float32 holds.
    unit = jnp.max(jnp.abs(background))
    off = safe_divide(background - jnp.mean(background, axis=0), unit)
    values = (background.shape[0] - 1) * (2 if jnp.iscomplexobj(background) else 1)
    return unit * safe_sqrt(jnp.sum(jnp.square(off.real) + jnp.square(off.imag), axis=0) / values)


def select_frequencies(frequencies: ArrayLike, snr: ArrayLike, *, threshold: float = 0.0,
                       band: tuple[float | None, float | None] = (80e3, None), orders: ArrayLike | None = None,
                       largest_order: int | None = None) -> np.ndarray:
    """A mask of the components to reconstruct from: snr >= threshold, inside the band, of low mixing order.

    Args:
        frequencies: (K,) in Hz.
        snr: (..., K), such as `frequency_snr` or what an MDF file holds; ones of that shape for no selection by it.
        threshold: least snr; 2 to 5 is usual.
        band: least and largest frequency in Hz, None for open. 80 kHz leaves out the excitation and its filter.
        orders: (K, D) of `MPISequence.mixing_orders`, with `largest_order`: sum_d |m_d| may not exceed it.

    Returns:
        bool (..., K) on the host: s[mask] and frames[:, mask] are the selected rows.

    Raises:
        ValueError: shapes that do not fit; nothing is left.

    Example:
        >>> snr = jnp.array([[9.0, 1.0, 9.0], [9.0, 9.0, 9.0]])
        >>> jr.select_frequencies([25e3, 90e3, 110e3], snr, threshold=3).tolist()
        [[False, False, True], [False, True, True]]
    """
    frequencies, snr = np.asarray(frequencies), np.asarray(snr)
    if frequencies.ndim != 1 or snr.ndim < 1 or snr.shape[-1:] != frequencies.shape:
        raise ValueError(f"snr needs the frequencies on its last axis, got {snr.shape} for {frequencies.shape}")
    if (orders is None) != (largest_order is None):
        raise ValueError("orders and largest_order go together: give both or none")
    low, high = band
    mask = (snr >= threshold) & np.isfinite(snr)
    mask &= (frequencies >= (-np.inf if low is None else low)) & (frequencies <= (np.inf if high is None else high))
    if orders is not None:
        total = np.abs(np.asarray(orders)).sum(-1)
        if total.shape != frequencies.shape:
            raise ValueError(f"orders needs shape ({frequencies.size}, channels), got {np.shape(orders)}")
        mask &= total <= largest_order
    if not mask.any():
        raise ValueError(f"no component is left: the largest snr is {snr.max():.3g} (threshold {threshold}), the "
                         f"frequencies reach from {frequencies.min():.4g} to {frequencies.max():.4g} Hz (band {band})")
    return mask


def row_weights(A: LinearOperator, sigma: ArrayLike | None = None) -> jax.Array:
    """Weights for `jr.LeastSquares(weights)`: 1 / sigma_k^2 (whitening), or 1 / |s_k|^2 (equal rows) without sigma.

    Whitening is the maximum-likelihood choice; equal rows, the usual one in MPI, lifts weak high frequencies. In the
    solvers each row and measurement is multiplied by the root, and lam then belongs to the weighted matrix.

    Args:
        A: an operator with a matrix, such as `jr.SystemMatrix`.
        sigma: (rows,) noise levels, such as `background_sigma(...)[mask]`.

    Returns:
        (rows,) real; 0 for a row of zeros, or a sigma of 0.

    Example:
        >>> jr.row_weights(jr.SystemMatrix(jnp.array([[2.0, 0.0], [3.0, 4.0]]))).tolist()
        [0.25, 0.04]
    """
    a: Any = dense(A)
    if sigma is None:
        return safe_divide(1.0, jnp.sum(jnp.square(a.real) + jnp.square(a.imag), axis=1))
    sigma = jnp.asarray(sigma)
    if sigma.shape != a.shape[:1]:
        raise ValueError(f"sigma needs one number per row, ({a.shape[0]},), got {sigma.shape}; select rows first, "
                         "sigma[mask]")
    if is_concrete(sigma) and bool(np.any(np.asarray(sigma) < 0)):
        raise ValueError("sigma must not be negative")
    return safe_divide(1.0, jnp.square(sigma))


def relative_lam(A: LinearOperator, factor: Any, weights: ArrayLike | None = None) -> jax.Array:
    """lam = factor * trace(S^H W S) / N: a regularisation weight that does not depend on the units of S and W.

    The scale of RegularizedLeastSquares.jl and MPIReco (`SystemMatrixBasedNormalization`): factors of 1e-4 to 1 are
    usual in MPI.

    Args:
        A: an operator with a matrix of N columns.
        factor: scalar, or an array of several.
        weights: (rows,) what is given to `jr.LeastSquares`, W; None: 1.

    Example:
        >>> float(jr.relative_lam(jr.SystemMatrix(jnp.array([[2.0, 0.0], [3.0, 4.0]])), 2.0))
        29.0
    """
    a = dense(A)
    energy = jnp.sum(jnp.square(a.real) + jnp.square(a.imag), axis=1)
    if weights is not None:
        energy = energy * jnp.asarray(weights, energy.dtype)
    return jnp.asarray(factor, energy.dtype) * jnp.sum(energy) / a.shape[1]
