"""Eigenvectors whose derivatives stay finite: what calibration needs from eigh, and nothing that depends on its phases.

JAX's own derivative of eigh divides by every difference of eigenvalues, so that one repeated eigenvalue (an exact null
space is the normal case here) makes all of it NaN. A projector and a leading eigenvector need only the gaps that
separate what is kept from what is not.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxrecon.value import safe_divide, safe_sqrt


def _eigh(matrix: jax.Array) -> tuple[jax.Array, jax.Array]:
    # not symmetrised: the callers' matrices are Hermitian as made, and a copy of all pixels' matrices is not free
    return jnp.linalg.eigh(matrix, symmetrize_input=False)  # pyright: ignore[reportReturnType]


def _dagger(matrix: jax.Array) -> jax.Array:
    return jnp.conj(jnp.swapaxes(matrix, -1, -2))


@jax.custom_jvp
def leading_projector(matrix: jax.Array, threshold: jax.Array) -> jax.Array:
    """The orthogonal projector onto the eigenvectors of `matrix` (n, n) with eigenvalue > threshold * the largest."""
    return _projector(matrix, threshold)[0]


def _projector(matrix, threshold):
    values, vectors = _eigh(matrix)
    keep = (values > threshold * values[-1]).astype(values.dtype)
    return (vectors * keep) @ _dagger(vectors), values, vectors, keep


@leading_projector.defjvp
def _leading_projector_jvp(primals, tangents):
    projector, values, vectors, keep = _projector(*primals)
    # d P = V (F o V^H dM V) V^H, F_ij = (k_i - k_j) / (w_i - w_j): zero within the kept and within the others
    factor = safe_divide(keep[:, None] - keep, values[:, None] - values)
    return projector, vectors @ (factor * (_dagger(vectors) @ tangents[0] @ vectors)) @ _dagger(vectors)


def leading_eigenpairs(matrix: jax.Array, count: int) -> tuple[jax.Array, jax.Array]:
    """The `count` largest eigenvalues (..., count), descending, and eigenvectors (..., n, count) of (..., n, n).

    The phase of each vector is LAPACK's: a caller fixes it, and derivatives make sense only after that.
    """

    @jax.custom_jvp
    def pairs(m):
        values, vectors = _eigh(m)
        return values[..., ::-1][..., :count], vectors[..., ::-1][..., :count]

    @pairs.defjvp
    def _(primals, tangents):
        values, vectors = _eigh(primals[0])
        values, vectors = values[..., ::-1], vectors[..., ::-1]
        top_values, top = values[..., :count], vectors[..., :count]
        change = _dagger(vectors) @ tangents[0] @ top
        gaps = safe_divide(jnp.ones((), values.dtype), top_values[..., None, :] - values[..., :, None])
        turned = vectors @ (gaps * change)
        raised = jnp.real(jnp.diagonal(change, axis1=-2, axis2=-1))
        return (top_values, top), (raised, turned)

    return pairs(matrix)


def unit_phase(z: jax.Array) -> jax.Array:
    """z / |z|, and 1 where z = 0 (with gradient 0)."""
    size = safe_sqrt(jnp.square(z.real) + jnp.square(z.imag)) if jnp.iscomplexobj(z) else jnp.abs(z)
    return jnp.where(size > 0, safe_divide(z, size), 1)


def fix_phase(vectors: jax.Array) -> jax.Array:
    """Turn each column of (n, count) so that its largest entry is real and positive: the same on every machine."""
    largest = jnp.argmax(jnp.abs(vectors), axis=0)
    return vectors * jnp.conj(unit_phase(vectors[largest, jnp.arange(vectors.shape[1])]))
