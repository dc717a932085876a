"""Coil compression: many coils become a few virtual ones that keep most of the signal."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrecon.calibration.eigen import fix_phase, leading_eigenpairs
from jaxrecon.value import describe, safe_divide


class Compression(NamedTuple):
    """Compressed data (coils_out, ...), the matrix (coils_out, coils) that made them, the fraction of energy kept."""

    kspace: jax.Array
    matrix: jax.Array
    energy: jax.Array


def compress_coils(kspace: jax.Array, coils_out: int, calibration: jax.Array | None = None) -> Compression:
    """Compress coils by the singular value decomposition of the data, B = U S V^H: kept are U_k^H B.

    The matrix has orthonormal rows: white noise stays white (whiten first), and among all matrices of its shape it
    keeps the most energy. Coil maps are compressed by the same matrix: `jnp.tensordot(matrix, maps, 1)`.

    Args:
        kspace: (coils, ...) k-space or images, any number of axes.
        coils_out: number of virtual coils, 1 to coils.
        calibration: (coils, ...) data to find the matrix from, such as the centre of k-space; None: kspace itself.

    Returns:
        A named tuple (kspace, matrix, energy): (coils_out, ...), (coils_out, coils), and the fraction of energy kept of
        the data that the matrix was found from. Virtual coils come in falling order of energy; the largest entry of
        each row of the matrix is real and positive.

    Raises:
        ValueError: coils_out outside 1 to coils; calibration of other coils.

    Example:
        >>> kspace = jnp.array([1.0, 1j])[:, None, None] * jnp.ones((2, 16, 1))
        >>> compressed, matrix, energy = jr.compress_coils(kspace, 1)
        >>> compressed.shape, matrix.shape, round(float(energy), 6)
        ((1, 16, 1), (1, 2), 1.0)

    Source: Buehrer et al. 2007, Array compression for MRI with large coil arrays, MRM 57; Huang et al. 2008, A software
    channel compression technique for faster reconstruction with many channels, MRI 26.
    """
    kspace = jnp.asarray(kspace)
    source = kspace if calibration is None else jnp.asarray(calibration)
    if kspace.ndim < 2 or source.ndim < 2 or source.shape[0] != kspace.shape[0]:
        raise ValueError("k-space and calibration must be (coils, ...) with the same coils, got "
                         f"{describe(kspace)} and {describe(source)}: is the coil axis first?")
    if not 1 <= coils_out <= kspace.shape[0]:
        raise ValueError(f"coils_out must lie between 1 and the number of coils, {kspace.shape[0]}; got {coils_out}")
    return _compress(kspace, source.reshape(source.shape[0], -1), coils_out)


@partial(jax.jit, static_argnames="coils_out")
def _compress(kspace, flat, coils_out):
    flat = flat.astype(jnp.result_type(flat, jnp.float32))
    peak = jax.lax.stop_gradient(jnp.max(jnp.abs(flat)))  # energies of 1e-25 underflow in float32
    flat = flat / jnp.where(peak > 0, peak, 1)
    gram = flat @ jnp.conj(flat.T)
    kept, vectors = leading_eigenpairs(gram, coils_out)
    matrix = jnp.conj(fix_phase(vectors)).T
    energy = jnp.clip(safe_divide(jnp.sum(kept), jnp.real(jnp.trace(gram))), 0, 1)
    return Compression(jnp.tensordot(matrix, kspace, 1), matrix, energy)
