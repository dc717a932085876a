"""Line integrals and their weights, against the plain logarithm and Monte-Carlo variances."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrecon.simulate.counts import poisson_counts
from jaxrecon.transmission import line_integrals, transmission_weights


def test_line_integrals_are_the_logarithm(rng):
    p = rng.uniform(-0.1, 5, (3, 4))
    blank, dark = rng.uniform(900, 1000, 4), rng.uniform(0, 20, 4)
    counts = (blank - dark) * np.exp(-p) + dark
    np.testing.assert_allclose(line_integrals(counts, blank, dark), p, atol=1e-12)
    out = line_integrals(counts.astype("float32"), blank, dark)
    assert out.dtype == "float32"
    np.testing.assert_allclose(out, p, atol=1e-4)


def test_counts_that_are_not_positive_have_a_documented_value():
    counts = np.array([100.0, 7.0, 4.0, 5.0, -3.0])
    wanted = -np.log(np.array([95.0, 2.0, 1.0, 1.0, 1.0]) / 195)
    np.testing.assert_allclose(line_integrals(counts, 200.0, 5.0), wanted)
    np.testing.assert_allclose(line_integrals(1e-3 * counts, 0.2, 0.005), wanted)
    np.testing.assert_allclose(line_integrals(counts, 200.0, 5.0, floor=4.0), -np.log(np.array([95, 4, 4, 4, 4]) / 195))
    np.testing.assert_allclose(line_integrals(np.zeros(2), np.array([10.0, 0.0])), [np.log(20), 0])
    dead = np.array([200.0, 200.0, 5.0, 3.0, 200.0])
    p, w = line_integrals(counts, dead, 5.0), transmission_weights(counts, dead, 5.0)
    assert p[2] == p[3] == w[2] == w[3] == 0
    assert jnp.isfinite(p).all()
    np.testing.assert_array_equal(w[4], 0)


@pytest.mark.parametrize("blank, dark, noise", [(2000.0, 0.0, 0.0), (2000.0, 100.0, 0.0), (2000.0, 50.0, 20.0)])
def test_weights_are_inverse_variances(blank, dark, noise):
    p, n = np.array([0.0, 0.5, 1.0, 1.5]), 20000
    y = poisson_counts(jax.random.key(1), np.broadcast_to(p, (n, 4)), blank - dark, dark, noise)
    variance = np.var(np.asarray(line_integrals(y, blank, dark)), axis=0)
    mean = (blank - dark) * np.exp(-p) + dark
    np.testing.assert_allclose(1 / transmission_weights(mean, blank, dark, noise), variance, rtol=0.05)
    # From the noisy counts themselves, in the mean.
    estimated = np.asarray(transmission_weights(y, blank, dark, noise)).mean(0)
    np.testing.assert_allclose(1 / estimated, variance, rtol=0.05)


def test_weights_without_dark_and_noise_are_the_counts(rng):
    y = rng.integers(0, 50, 10).astype(float)
    np.testing.assert_allclose(transmission_weights(y, 60.0), y)


def test_transformations():
    counts = jnp.array([[3.0, 0.0, 9.0], [50.0, 20.0, 0.0]])
    many = jax.jit(jax.vmap(line_integrals, (0, None)))(counts, 60.0)
    np.testing.assert_allclose(many, np.stack([line_integrals(c, 60.0) for c in counts]), rtol=1e-12)
    g = jax.grad(lambda c: jnp.sum(line_integrals(c, 60.0) + transmission_weights(c, 60.0, 1.0)))(counts)
    assert jnp.isfinite(g).all()


@pytest.mark.parametrize("function", [line_integrals, transmission_weights])
def test_refuses_what_it_cannot_do(function):
    with pytest.raises(ValueError, match=r"blank of shape \(10, 3\) does not broadcast"):
        function(np.ones((2, 3)), np.ones((10, 3)))
    with pytest.raises(ValueError, match="must be real"):
        function(np.ones(3) * 1j, 1.0)
    with pytest.raises(ValueError, match="floor is the least net count"):
        line_integrals(np.ones(3), 1.0, floor=0.0)
    with pytest.raises(ValueError, match=r"floor of shape \(2, 1\) does not broadcast"):
        line_integrals(np.ones(3), 1.0, floor=np.ones((2, 1)))
    with pytest.raises(ValueError, match=r"electronic_noise of shape \(2, 1\) does not broadcast"):
        transmission_weights(np.ones(3), 1.0, electronic_noise=np.ones((2, 1)))
    for floor in (None, 1.0):
        np.testing.assert_allclose(line_integrals(np.array([100.0, np.nan]), 200.0, floor=floor), [np.log(2), np.nan])
    with pytest.raises(ValueError, match="electronic_noise must not be negative"):
        transmission_weights(np.ones(3), 1.0, electronic_noise=-1.0)
