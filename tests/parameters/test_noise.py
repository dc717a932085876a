import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrecon.learned.noise_level import noise_level
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
