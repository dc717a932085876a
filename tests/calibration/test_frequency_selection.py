import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrecon as jr
from jaxrecon.calibration.mpi import (
    background_sigma,
    frequency_snr,
    relative_lam,
    row_weights,
    select_frequencies,
)
from jaxrecon.operators import SystemMatrix
from jaxrecon.simulate import MPISequence, add_noise, mpi_system_matrix


def test_snr_is_the_published_formula(rng):
    s = rng.standard_normal((2, 3, 4, 5)) + 1j * rng.standard_normal((2, 3, 4, 5))
    b = rng.standard_normal((7, 2, 3)) + 1j * rng.standard_normal((7, 2, 3))
    got = frequency_snr(s, b)
    for c in range(2):
        for k in range(3):
            signal = np.abs(s[c, k] - b[:, c, k].mean()).max()
            noise = np.abs(np.diff(b[:, c, k])).mean()
            assert float(got[c, k]) == pytest.approx(signal / noise, rel=1e-12)
    assert not np.any(frequency_snr(s, np.ones((3, 2, 3))))
    assert frequency_snr(s.astype("complex64"), b.astype("complex64")).dtype == jnp.float32


def test_drift_of_the_background_counts_little():
    s = np.zeros((1, 1, 4))
    s[..., 2] = 1
    drift = np.linspace(-1, 1, 101)[:, None, None]
    assert float(frequency_snr(s, drift)[0, 0]) == pytest.approx(50)


def test_sigma_is_per_real_component():
    noise = add_noise(jax.random.key(0), jnp.zeros((4000, 3), complex), sigma=jnp.array([1.0, 2.0, 0.5]))
    np.testing.assert_allclose(background_sigma(5 + noise), [1, 2, 0.5], rtol=0.03)
    np.testing.assert_allclose(background_sigma(noise.real[:, 0]), 1, rtol=0.05)
    x = np.random.default_rng(0).standard_normal((5, 2))
    np.testing.assert_allclose(background_sigma(x), x.std(0, ddof=1), rtol=1e-12)
    # The square of such a number is 0 in single precision.
    np.testing.assert_allclose(background_sigma(jnp.array([1e-23, 3e-23, 2e-23], "float32")), 1e-23, rtol=1e-5)
    assert background_sigma(jnp.zeros(3)) == 0


def test_selection_by_snr_band_and_order():
    sequence = MPISequence()
    f, orders = sequence.frequencies, sequence.mixing_orders()
    snr = np.ones((2, 817))
    snr[1, 60:] = 10
    mask = select_frequencies(f, snr)
    np.testing.assert_array_equal(np.flatnonzero(~mask[0]), np.arange(53))  # 52 * 1531.86 Hz = 79.66 kHz
    assert select_frequencies(f, snr, threshold=5).sum() == 817 - 60
    assert not select_frequencies(f, snr, threshold=5)[0].any()
    np.testing.assert_array_equal(np.flatnonzero(select_frequencies(f, snr, band=(None, 4e3))[0]), [0, 1, 2])
    low = select_frequencies(f, snr, band=(None, None), orders=orders, largest_order=2)
    assert np.flatnonzero(low[0]).tolist() == [0, 1, 16, 17, 32, 33, 34]
    snr[0, 100] = np.nan
    assert not select_frequencies(f, snr)[0, 100]


def test_whitening_is_the_maximum_likelihood_estimate(rng):
    s = rng.standard_normal((40, 3)) + 1j * rng.standard_normal((40, 3))
    sigma = np.geomspace(1e-3, 10, 40)
    A = SystemMatrix(s)
    x = np.array([1.0, 2.0, 3.0])
    b = A(x) + sigma * (rng.standard_normal(40) + 1j * rng.standard_normal(40))
    w = row_weights(A, sigma)
    got = jr.solve(A, b, jr.CGNR(), iterations=10, data=jr.LeastSquares(w)).x
    rows, values = np.concatenate([s.real, s.imag]), np.concatenate([b.real, b.imag])
    both = np.tile(1 / sigma, 2)
    np.testing.assert_allclose(got, np.linalg.lstsq(both[:, None] * rows, both * values)[0], rtol=1e-8)
    np.testing.assert_allclose(row_weights(A), 1 / (np.abs(s) ** 2).sum(1), rtol=1e-12)
    assert float(row_weights(SystemMatrix(np.zeros((1, 2))))[0]) == 0


def test_relative_lam_does_not_depend_on_units(rng):
    s, w = rng.standard_normal((9, 4)) + 1j, rng.random(9)
    lam = relative_lam(SystemMatrix(s), 0.1, w)
    np.testing.assert_allclose(lam, 0.1 * np.trace(s.conj().T @ np.diag(w) @ s).real / 4, rtol=1e-12)
    np.testing.assert_allclose(relative_lam(SystemMatrix(1e6 * s), 0.1, w), 1e12 * lam, rtol=1e-12)
    b = rng.standard_normal(9) + 1j
    one = jr.solve(SystemMatrix(s), b, jr.CGNR(relative_lam(SystemMatrix(s), 0.1)), iterations=4).x
    two = jr.solve(SystemMatrix(1e-6 * s), b, jr.CGNR(relative_lam(SystemMatrix(1e-6 * s), 0.1)), iterations=4).x
    np.testing.assert_allclose(two, 1e6 * one, rtol=1e-8)
    assert relative_lam(SystemMatrix(s), jnp.array([0.1, 1.0])).shape == (2,)


@pytest.mark.slow
def test_from_a_noisy_calibration_to_an_image():
    # The whole chain, with a matrix whose noise differs by receive channel.
    sequence, shape = MPISequence(), (6, 6)
    clean = mpi_system_matrix(sequence, shape=shape)
    level = jnp.array([1.0, 3.0])[:, None] * 3e-7
    measured = add_noise(jax.random.key(1), clean, sigma=level[..., None, None])
    background = add_noise(jax.random.key(2), jnp.zeros((40, 2, 817), complex), sigma=level)
    rows = select_frequencies(sequence.frequencies, frequency_snr(measured, background), threshold=10)
    assert 100 < rows.sum() < 1200 and rows[0].sum() > rows[1].sum()
    sigma = background_sigma(background)[rows]
    np.testing.assert_allclose(np.median(sigma[: rows[0].sum()]), 3e-7, rtol=0.1)
    A = SystemMatrix(measured[rows])
    x = np.zeros(shape)
    x[1:4, 2:4], x[4, 1] = 1.0, 0.5
    b = add_noise(jax.random.key(3), SystemMatrix(clean[rows])(x), sigma=sigma)
    w = row_weights(A, sigma)
    solver = jr.Kaczmarz(relative_lam(A, 1e-5, w), prior=jr.NonNegative())
    got = jr.solve(A, b, solver, iterations=60, data=jr.LeastSquares(w)).x
    error = np.linalg.norm(got - x) / np.linalg.norm(x)
    assert error < 0.05, error


@pytest.mark.parametrize(("make", "message"), [
    (lambda: frequency_snr(np.ones((2, 3, 4)), np.ones((1, 2, 3))), "at least two frames"),
    (lambda: frequency_snr(np.ones((2, 3, 4)), np.ones((5, 2, 4))), r"got \(2, 3, 4\) and \(5, 2, 4\)"),
    (lambda: background_sigma(np.ones((1, 3))), "at least two frames"),
    (lambda: select_frequencies(np.ones(3), np.ones((2, 4))), "frequencies on its last axis"),
    (lambda: select_frequencies(np.ones(3), np.ones(3), threshold=2), "the largest snr is 1"),
    (lambda: select_frequencies(np.ones(3), np.ones(3), largest_order=2), "go together"),
    (lambda: row_weights(SystemMatrix(np.ones((2, 3))), np.ones(3)), "one number per row"),
    (lambda: row_weights(SystemMatrix(np.ones((2, 3))), -np.ones(2)), "not be negative"),
])
def test_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_component_without_noise_has_a_gradient():
    slope = jax.grad(lambda v: jnp.sum(background_sigma(v)))(jnp.ones((3, 2)).at[0, 0].set(2.0))
    assert jnp.all(jnp.isfinite(slope)) and jnp.all(slope[:, 1] == 0) and jnp.any(slope[:, 0] != 0)
