"""Simulated counts have the mean and variance that they claim."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrecon.simulate.counts import poisson_counts

KEY = jax.random.key(0)


@pytest.mark.slow
@pytest.mark.parametrize("blank, background, noise, mean", [
    (1e4, 0.0, 0.0, 1e4 * np.exp(-1.5)), (50.0, 3.0, 0.0, 50 * np.exp(-1.5) + 3),
    (50.0, 3.0, 4.0, 50 * np.exp(-1.5) + 3), (None, 0.0, 0.0, 1.5), (None, 0.5, 2.0, 2.0),
])
def test_mean_and_variance(blank, background, noise, mean):
    n = 40000
    y = np.asarray(poisson_counts(KEY, jnp.full(n, 1.5), blank, background, noise))
    variance = mean + noise**2
    assert abs(y.mean() - mean) < 5 * np.sqrt(variance / n)
    # The variance of a sample variance of Poisson counts: (m + 2 m^2) / n.
    assert abs(y.var() - variance) < 5 * np.sqrt((variance + 2 * variance**2) / n)
    if not noise:
        assert (y == np.round(y)).all()


@pytest.mark.parametrize("mean", [9e4, 1.1e5, 1e7, 1e9])
def test_large_means_have_their_variance(mean):
    n = 20000
    y = np.asarray(poisson_counts(KEY, jnp.full(n, mean, "float32")), float)
    z = (y - mean) / mean**0.5
    assert abs(z.mean()) < 4 / n**0.5 and abs(z.std() - 1) < 4 / (2 * n) ** 0.5
    assert abs(np.mean(z**4) - 3) < 4 * (96 / n) ** 0.5


def test_slopes_are_none_also_at_zero():
    slope = jax.grad(lambda p: jnp.sum(poisson_counts(KEY, p)))(jnp.array([0.0, 1.0, 1e6]))
    assert not np.any(slope)


def test_small_means_have_poisson_probabilities():
    y = np.asarray(poisson_counts(KEY, jnp.full(100000, 0.7)))
    for k, p in enumerate(np.exp(-0.7) * np.array([1, 0.7, 0.245])):
        assert abs(np.mean(y == k) - p) < 5 * np.sqrt(p / 1e5)


@pytest.mark.slow
def test_arrays_dtypes_and_transformations():
    p = jnp.ones((3, 4), "float32")
    blank = np.array([0.0, 10.0, 1e6, 1e8])
    y = poisson_counts(KEY, p, blank)
    assert y.dtype == "float32"
    assert y.shape == (3, 4)
    assert not y[:, 0].any()
    np.testing.assert_allclose(y[:, 3], 1e8 / np.e, rtol=1e-3)
    keys = jax.random.split(KEY, 2)
    many = jax.jit(jax.vmap(poisson_counts, (0, None, None)))(keys, p, blank)
    np.testing.assert_array_equal(many[1], poisson_counts(keys[1], p, blank))
    assert poisson_counts(KEY, np.ones(2, int)).dtype == "float64"


@pytest.mark.parametrize("arguments, message", [
    ((np.ones(3), -1.0), "blank must not be negative, its least is -1"),
    ((np.ones(3), 1.0, np.nan), "background must not be negative"),
    ((np.ones(3), np.ones(2)), r"blank of shape \(2,\) does not broadcast to the measurements, \(3,\)"),
    ((np.ones(3) * 1j,), "real"),
    ((-np.ones(3),), "0 to 2\\^30 counts, got -1 to -1"),
    ((np.full(3, -30.0), 1.0), r"got 1.07e\+13"),
])
def test_refuses_what_it_cannot_do(arguments, message):
    with pytest.raises(ValueError, match=message):
        poisson_counts(KEY, *arguments)
