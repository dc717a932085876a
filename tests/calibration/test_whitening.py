"""Whitening of strongly correlated coils: the covariance becomes the identity, and data and maps stay together."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrecon.calibration import noise_covariance, whiten, whitening_matrix


def mixing(rng, coils):
    """Coils with correlations up to .99 and gains over three orders of magnitude."""
    common = rng.standard_normal((coils, 1, 2)) @ [1, 1j]
    own = rng.standard_normal((coils, coils, 2)) @ [1, 1j]
    return np.logspace(-2, 1, coils)[:, None] * (common + 0.15 * own)


def noise_of(rng, mix, n, is_complex=True):
    white = rng.standard_normal((len(mix), n, 2)) @ [1, 1j] if is_complex else rng.standard_normal((len(mix), n))
    return mix @ white


def test_covariance_is_per_real_component(rng):
    n = 400_000
    noise = jnp.asarray(3.0 * (rng.standard_normal((2, n, 2)) @ [1, 1j]))
    np.testing.assert_allclose(noise_covariance(noise), 9 * np.eye(2), atol=0.1)
    np.testing.assert_allclose(noise_covariance(noise.real), 9 * np.eye(2), atol=0.1)
    assert noise_covariance(noise.real.astype("float32")).dtype == jnp.float32


@pytest.mark.parametrize("is_complex", [True, False])
def test_white_noise_has_unit_variance_per_component(rng, is_complex):
    coils, n = 6, 200_000
    mix = mixing(rng, coils)
    mix = mix if is_complex else mix.real
    truth = mix @ mix.conj().T
    correlation = np.abs(truth) / np.sqrt(np.outer(np.diag(truth).real, np.diag(truth).real))
    assert (correlation - np.eye(coils)).max() > 0.9  # strongly correlated indeed
    covariance = noise_covariance(jnp.asarray(noise_of(rng, mix, n, is_complex)))
    fresh = whiten(jnp.asarray(noise_of(rng, mix, n, is_complex)), covariance)  # not the noise that was measured
    # entries have a standard deviation of about 1/sqrt(n): two estimates of it, 6 sigma
    np.testing.assert_allclose(noise_covariance(fresh), np.eye(coils), atol=6 * np.sqrt(4 / n))
    np.testing.assert_allclose(jnp.std(fresh.real, axis=1), 1, atol=0.02)
    # by the true covariance the identity is exact
    W = whitening_matrix(jnp.asarray(truth))
    np.testing.assert_allclose(W @ truth @ W.conj().T, np.eye(coils), atol=1e-9)
    np.testing.assert_allclose(W, np.tril(W))


def test_whitened_maps_give_the_whitened_data_and_the_best_estimate(rng):
    coils, pixels = 5, 7
    mix = mixing(rng, coils)
    covariance = jnp.asarray(mix @ mix.conj().T)
    maps = jnp.asarray(rng.standard_normal((coils, pixels, 2)) @ [1, 1j])
    x = jnp.asarray(rng.standard_normal((pixels, 2)) @ [1, 1j])
    np.testing.assert_allclose(whiten(maps * x, covariance), whiten(maps, covariance) * x, rtol=1e-9, atol=1e-9)
    # least squares of whitened data is Roemer's optimal combination m^H C^-1 b / m^H C^-1 m
    b = maps * x + jnp.asarray(noise_of(rng, mix, pixels))
    white_maps, white_b = whiten(maps, covariance), whiten(b, covariance)
    estimate = jnp.sum(white_maps.conj() * white_b, 0) / jnp.sum(jnp.abs(white_maps) ** 2, 0)
    inverse = np.linalg.inv(covariance)
    best = (np.einsum("cp,cd,dp->p", maps.conj(), inverse, b) / np.einsum("cp,cd,dp->p", maps.conj(), inverse, maps))
    np.testing.assert_allclose(estimate, best, rtol=1e-7)


def test_jit_vmap_grad_and_float32(rng):
    mix = mixing(rng, 3)
    covariance = jnp.asarray(mix @ mix.conj().T)
    data = jnp.asarray(rng.standard_normal((2, 3, 4, 5, 2)) @ [1, 1j])
    loop = jnp.stack([whiten(d, covariance) for d in data])
    np.testing.assert_allclose(jax.jit(jax.vmap(whiten, (0, None)))(data, covariance), loop, rtol=1e-10)
    assert whiten(data[0].astype("complex64"), covariance.astype("complex64")).dtype == jnp.complex64

    def energy(t):
        return jnp.sum(jnp.abs(whiten(data[0], covariance + t * jnp.eye(3))) ** 2)

    h = 1e-7
    np.testing.assert_allclose(jax.grad(energy)(0.1), (energy(0.1 + h) - energy(0.1 - h)) / (2 * h), rtol=1e-6)


def test_bad_covariances_say_what_to_do(rng):
    noise = jnp.asarray(rng.standard_normal((3, 100, 2)) @ [1, 1j])
    with pytest.raises(ValueError, match=r"coils \[1\] have no noise .*drop"):
        whiten(noise, noise_covariance(noise.at[1].set(0)))
    with pytest.raises(ValueError, match=r"singular to rounding .* \(jr\.compress_coils\)"):
        whiten(noise, noise_covariance(noise.at[1].set(2j * noise[0])))
    with pytest.raises(ValueError, match="2 noise samples cannot tell the covariance of 3 coils"):
        noise_covariance(noise[:, :2])
    with pytest.raises(ValueError, match="not Hermitian"):
        whitening_matrix(noise[:, :3])
    with pytest.raises(ValueError, match="NaN"):
        whitening_matrix(jnp.eye(3).at[0, 0].set(jnp.nan))
    with pytest.raises(ValueError, match=r"float64\[4, 4\] and complex128\[3, 100\]"):
        whiten(noise, jnp.eye(4))
    with pytest.raises(ValueError, match="samples"):
        noise_covariance(noise[0])
