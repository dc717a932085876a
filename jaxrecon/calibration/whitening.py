"""Noise pre-whitening: correlated coils become coils of independent noise with sigma = 1."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from jaxrecon.value import describe, is_concrete


def noise_covariance(noise: jax.Array) -> jax.Array:
    """Covariance of the coils' noise, per real component: C = E[n n^H] / 2 for complex samples, E[n n^T] for real ones.

    So diag(C) = sigma^2 of each coil, sigma being the standard deviation of the real (or imaginary) part. The mean is
    taken to be zero.

    Args:
        noise: (coils, ...) samples measured without signal, at least as many as coils (some hundred are good).

    Returns:
        (coils, coils), Hermitian positive semi-definite, in the dtype of the samples.

    Raises:
        ValueError: no sample axis, or fewer samples than coils.

    Example:
        >>> noise = 3 * jax.random.normal(jax.random.key(0), (2, 100_000))
        >>> jnp.round(jr.noise_covariance(noise)).tolist()
        [[9.0, 0.0], [0.0, 9.0]]

    Source: Pruessmann et al. 2001, Advances in sensitivity encoding with arbitrary k-space trajectories, MRM 46.
    """
    noise = _inexact(noise)
    if noise.ndim < 2:
        raise ValueError(f"noise must be (coils, samples...), got {describe(noise)}")
    flat = noise.reshape(noise.shape[0], -1)
    if flat.shape[1] < flat.shape[0]:
        raise ValueError(f"{flat.shape[1]} noise samples cannot tell the covariance of {flat.shape[0]} coils: "
                         f"measure at least {flat.shape[0]} (is the coil axis first? got {describe(noise)})")
    components = 2 if jnp.iscomplexobj(flat) else 1
    return flat @ jnp.conj(flat.T) / (components * flat.shape[1])


def whitening_matrix(covariance: jax.Array) -> jax.Array:
    """The matrix W = L^-1 with W C W^H = I, from the Cholesky factor C = L L^H.

    Args:
        covariance: (coils, coils) Hermitian positive definite, as `noise_covariance` gives it.

    Returns:
        (coils, coils), lower triangular: coil j of the whitened data mixes coils 0 to j.

    Raises:
        ValueError: not a square matrix, not Hermitian, not finite, or singular (where its values are known).

    Example:
        >>> jr.whitening_matrix(jnp.diag(jnp.array([4.0, 9.0]))).diagonal().tolist()
        [0.5, 0.333...]
    """
    covariance = _inexact(covariance)
    if covariance.ndim != 2 or covariance.shape[0] != covariance.shape[1]:
        raise ValueError(f"covariance must be (coils, coils), got {describe(covariance)}")
    if is_concrete(covariance):
        _check_definite(np.asarray(covariance))
    eye = jnp.eye(len(covariance), dtype=covariance.dtype)
    return jax.scipy.linalg.solve_triangular(jnp.linalg.cholesky(covariance), eye, lower=True)


def whiten(data: jax.Array, covariance: jax.Array) -> jax.Array:
    """Whiten k-space, images or coil maps: W data along the coil axis, W C W^H = I.

    Data and maps whitened by the same covariance belong together: b = A x + n becomes W b = (W A) x + W n, whose noise
    has sigma = 1 (per real component) in every coil and no correlation, so that plain least squares is the likelihood.

    Args:
        data: (coils, ...).
        covariance: (coils, coils), as `noise_covariance` gives it.

    Returns:
        The shape of data.

    Raises:
        ValueError: coils that do not fit; a covariance that is not Hermitian positive definite.

    Example:
        >>> key = jax.random.key(0)
        >>> noise = jnp.array([[1.0, 0.0], [0.9, 0.1]]) @ jax.random.normal(key, (2, 1000), dtype=complex)
        >>> white = jr.whiten(noise, jr.noise_covariance(noise))
        >>> bool(jnp.allclose(jr.noise_covariance(white), jnp.eye(2)))
        True

    Source: Pruessmann et al. 2001, Advances in sensitivity encoding with arbitrary k-space trajectories, MRM 46.
    """
    data = jnp.asarray(data)
    if data.ndim < 1 or jnp.shape(covariance) != (data.shape[0],) * 2:
        raise ValueError(f"covariance must be (coils, coils) and data (coils, ...), got {describe(covariance)} and "
                         f"{describe(data)}: is the coil axis first?")
    return jnp.tensordot(whitening_matrix(covariance), data, 1)


def _inexact(x: jax.Array) -> jax.Array:
    x = jnp.asarray(x)
    return x.astype(jnp.result_type(x, jnp.float32))


def _check_definite(covariance: np.ndarray) -> None:
    if not np.all(np.isfinite(covariance)):
        raise ValueError("the noise covariance holds NaN or infinite values: check the noise samples")
    eps = float(np.finfo(covariance.dtype).eps)
    if not np.allclose(covariance, covariance.conj().T, atol=1e3 * eps * float(np.max(np.abs(covariance)))):
        raise ValueError("the noise covariance is not Hermitian: pass jr.noise_covariance(noise), not the noise itself")
    scale = np.sqrt(np.maximum(np.real(np.diagonal(covariance)), 0))
    dead = np.flatnonzero(scale == 0)
    if len(dead):
        raise ValueError(f"the noise covariance is singular: coils {dead.tolist()} have no noise (are they dead?); "
                         "drop these coils from noise, k-space and maps")
    # correlations, so that a coil of small gain does not read as a singular matrix
    least = float(np.linalg.eigvalsh(covariance / (scale[:, None] * scale))[0])
    if least < 10 * len(covariance) * eps:
        raise ValueError("the noise covariance is singular to rounding (least eigenvalue of the correlations "
                         f"{least:.1e}, wanted above {10 * len(covariance) * eps:.1e}): measure more noise "
                         "samples than coils, drop duplicated coils, or compress first (jr.compress_coils)")
