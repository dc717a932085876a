"""Coil compression against numpy's SVD: the subspace, the Eckart-Young optimum, the energy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrecon.calibration import compress_coils


def coils_of_falling_energy(rng, coils=8, shape=(12, 13)):
    mix = np.linalg.qr(rng.standard_normal((coils, coils, 2)) @ [1, 1j])[0] * 0.6 ** np.arange(coils)
    return np.tensordot(mix, rng.standard_normal((coils, *shape, 2)) @ [1, 1j], 1)


@pytest.mark.parametrize("coils_out", [1, 3, 8])
def test_is_the_best_approximation(rng, coils_out):
    kspace = coils_of_falling_energy(rng)
    flat = kspace.reshape(8, -1)
    u, s, vh = np.linalg.svd(flat, full_matrices=False)
    compressed, matrix, energy = compress_coils(jnp.asarray(kspace), coils_out)
    assert compressed.shape == (coils_out, 12, 13) and matrix.shape == (coils_out, 8)
    np.testing.assert_allclose(matrix @ matrix.conj().T, np.eye(coils_out), atol=1e-12)
    np.testing.assert_allclose(compressed, np.tensordot(matrix, kspace, 1), atol=1e-12)
    back = matrix.conj().T @ compressed.reshape(coils_out, -1)
    best = (u[:, :coils_out] * s[:coils_out]) @ vh[:coils_out]
    np.testing.assert_allclose(back, best, atol=1e-10 * s[0])
    assert abs(np.linalg.norm(flat - back) ** 2 - np.sum(s[coils_out:] ** 2)) < 1e-10 * np.sum(s**2)
    np.testing.assert_allclose(energy, np.sum(s[:coils_out] ** 2) / np.sum(s**2), atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(compressed.reshape(coils_out, -1), axis=1), s[:coils_out], rtol=1e-10)


def test_maps_are_compressed_by_the_same_matrix(rng):
    maps = rng.standard_normal((4, 10, 10, 2)) @ [1, 1j]
    x = rng.standard_normal((10, 10, 2)) @ [1, 1j]
    compressed, matrix, _ = compress_coils(jnp.asarray(maps * x), 2)
    np.testing.assert_allclose(compressed, jnp.tensordot(matrix, maps, 1) * x, atol=1e-12)


def test_matrix_from_the_calibration_data_alone(rng):
    kspace = coils_of_falling_energy(rng)
    centre = kspace[:, 3:9, 4:9]
    compressed, matrix, energy = compress_coils(jnp.asarray(kspace), 3, calibration=jnp.asarray(centre))
    _, expected, expected_energy = compress_coils(jnp.asarray(centre), 3)
    np.testing.assert_allclose(matrix, expected, atol=1e-12)
    np.testing.assert_allclose(energy, expected_energy)
    np.testing.assert_allclose(compressed, np.tensordot(expected, kspace, 1), atol=1e-12)


@pytest.mark.slow
def test_dtypes_scale_jit_vmap_and_gradient(rng):
    kspace = jnp.asarray(np.stack([coils_of_falling_energy(rng) for _ in range(2)]))
    single = compress_coils((1e-25 * kspace[0]).astype("complex64"), 3)
    assert (single.kspace.dtype, single.matrix.dtype, single.energy.dtype) == ("complex64", "complex64", "float32")
    loop = [compress_coils(k, 3) for k in kspace]
    np.testing.assert_allclose(single.matrix, loop[0].matrix, atol=1e-4)
    batch = jax.jit(jax.vmap(lambda k: compress_coils(k, 3)))(kspace)
    np.testing.assert_allclose(batch.kspace, jnp.stack([c.kspace for c in loop]), atol=1e-10)
    real = compress_coils(kspace[0].real, 3)
    assert real.matrix.dtype == jnp.float64

    @jax.jit
    def loss(t):
        compressed, _, energy = compress_coils(kspace[0] + t * kspace[1], 3)
        return jnp.sum(compressed.real**3) + energy

    h = 1e-6
    np.testing.assert_allclose(jax.grad(loss)(0.3), (loss(0.3 + h) - loss(0.3 - h)) / (2 * h), rtol=1e-6)
    zero = jax.grad(lambda k: compress_coils(k, 3).energy)(jnp.zeros((4, 5, 5)))
    assert bool(jnp.all(jnp.isfinite(zero)))


def test_bad_input_says_what_to_do():
    kspace = jnp.ones((4, 5, 5))
    with pytest.raises(ValueError, match="number of coils, 4; got 5"):
        compress_coils(kspace, 5)
    with pytest.raises(ValueError, match="coil axis first"):
        compress_coils(kspace, 2, calibration=jnp.ones((3, 5, 5)))


def test_sixteen_coils_of_a_brain_are_eight(shared_data):
    kspace = jnp.asarray(shared_data("mri_brain16_cart128.npz")["ksp"])
    assert compress_coils(kspace, 8, calibration=kspace[:, 52:76, 52:76]).energy > 0.98
