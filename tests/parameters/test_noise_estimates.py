import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrecon as jr
from jaxrecon.parameters import measured_noise, noise_level
from jaxrecon.simulate import random_ellipses


@pytest.mark.parametrize("sigma", [0.02, 0.1])
def test_finds_sigma_under_an_image(rng, sigma):
    image = np.asarray(random_ellipses(jax.random.key(2), (129, 128), mean_count=6))  # edges on 3 % of the details
    noise = sigma * rng.standard_normal((2, 129, 128))
    assert float(noise_level(image + noise[0])) == pytest.approx(sigma, rel=0.06)
    assert float(noise_level(image * (1 + 2j) + noise[0] + 1j * noise[1])) == pytest.approx(sigma, rel=0.06)
    single = noise_level(jnp.asarray(image + noise[0], "float32"))
    assert single.dtype == "float32" and float(single) == pytest.approx(sigma, rel=0.06)


def test_agrees_with_an_independent_median(rng):
    x = rng.standard_normal((20, 21)) ** 3
    d = np.abs(x[1:, 1:] - x[:-1, 1:] - x[1:, :-1] + x[:-1, :-1]) / 2
    np.testing.assert_allclose(noise_level(x), np.median(d) / 0.6744897501960817, rtol=1e-12)
    signal = rng.standard_normal(300)
    expected = np.median(np.abs(np.diff(signal))) / np.sqrt(2) / 0.6744897501960817
    np.testing.assert_allclose(noise_level(signal), expected, rtol=1e-12)


def test_a_masked_background_does_not_count(rng):
    x = np.zeros((128, 128))
    x[40:90, 40:90] = 1 + 0.05 * rng.standard_normal((50, 50))
    assert float(noise_level(x)) == pytest.approx(0.05, rel=0.12)  # the border of the region is 8 % of its details
    assert float(noise_level(np.ones((8, 8)))) == 0 and float(noise_level(np.zeros((4, 4), complex))) == 0


def test_scales_batches_and_differentiates(rng):
    x = jnp.asarray(rng.standard_normal((3, 16, 16)))
    np.testing.assert_allclose(noise_level(-7 * x[0]), 7 * noise_level(x[0]), rtol=1e-12)
    np.testing.assert_allclose(jax.jit(jax.vmap(noise_level))(x), [noise_level(v) for v in x], rtol=1e-12)
    slope = jax.grad(noise_level)(x[0])
    np.testing.assert_allclose(jnp.sum(slope * x[0]), noise_level(x[0]), rtol=1e-10)  # homogeneous of degree 1
    assert np.all(np.isfinite(jax.grad(noise_level)(jnp.zeros((4, 4)))))


def test_too_small():
    with pytest.raises(ValueError, match="2 or more samples"):
        noise_level(jnp.ones((1, 8)))


def test_noise_of_measurements():
    """Within a tenth, from an image and from k-space with missing lines; whatever the phase."""
    y, x = jnp.meshgrid(*(jnp.linspace(-1, 1, 64),) * 2, indexing="ij")
    image = jnp.exp(-20 * (x**2 + 2 * y**2)) + 0.5 * jnp.exp(-40 * ((x - 0.3) ** 2 + y**2))
    noise = 0.02 * jax.random.normal(jax.random.key(0), image.shape)
    assert abs(measured_noise(jr.Identity(image.shape), image + noise) / 0.02 - 1) < 0.1
    mask = jr.simulate.variable_density_mask(jax.random.key(1), image.shape, 2, calibration=8)
    A = jr.Fourier(image.shape, mask=mask)
    k = jr.simulate.add_noise(jax.random.key(2), A(image), sigma=0.02, mask=mask)
    found = measured_noise(A, k)
    assert abs(found / 0.02 - 1) < 0.1
    np.testing.assert_allclose(measured_noise(A, jnp.exp(1j) * k), found, rtol=1e-12)
    assert float(measured_noise(A, 0 * k)) == 0


def test_noise_of_a_sinogram(rng):
    """From the air beside the object, where there is some; noise behind the object may be stronger."""
    angles = np.arange(40) * np.pi / 40
    A = jr.XRay(jr.ParallelBeam(angles, 96), (64, 64))
    clean = np.asarray(A(jr.simulate.shepp_logan((64, 64))))
    noise = rng.standard_normal(clean.shape) * np.where(clean > 0, 0.5, 0.05)
    assert float(measured_noise(A, clean + noise)) == pytest.approx(0.05, rel=0.1)
    narrow = jr.XRay(jr.ParallelBeam(angles, 40), (64, 64))  # no air
    y, x = np.meshgrid(*(np.linspace(-1, 1, 64),) * 2, indexing="ij")
    clean = np.asarray(narrow(np.exp(-x**2 - 2 * y**2)))
    assert float(measured_noise(narrow, clean + 0.5 * rng.standard_normal(clean.shape))) == pytest.approx(
        0.5, rel=0.1)


def test_noise_of_stacked_measurements(rng):
    A = jr.stack([jr.Identity((64, 64)), jr.Identity((64, 64))])
    b = tuple(0.3 * rng.standard_normal((2, 64, 64)))
    assert float(measured_noise(A, b)) == pytest.approx(0.3, rel=0.1)
