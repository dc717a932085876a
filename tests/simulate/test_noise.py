import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrecon.simulate import add_noise, noise_level

KEY = jax.random.key(0)


def snr_db(b, noisy):
    return 10 * np.log10(np.sum(np.abs(b) ** 2) / np.sum(np.abs(np.asarray(noisy) - b) ** 2))


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
def test_sigma_is_the_deviation_of_each_real_component(dtype):
    b = jnp.ones((400, 500), dtype)
    noisy = add_noise(KEY, b, sigma=0.3)
    n = np.asarray(noisy - b)
    assert noisy.dtype == dtype
    parts = (n.real, n.imag) if np.iscomplexobj(n) else (n,)
    for part in parts:
        assert part.std() == pytest.approx(0.3, rel=0.01) and abs(part.mean()) < 0.004
        assert np.mean((part / 0.3) ** 4) == pytest.approx(3, rel=0.05)  # Gaussian
    if len(parts) == 2:
        assert abs(np.corrcoef(n.real.ravel(), n.imag.ravel())[0, 1]) < 0.01


@pytest.mark.parametrize("dtype", ["float32", "complex128"])
@pytest.mark.parametrize("snr", [pytest.param(-3.0, marks=pytest.mark.slow), 25.0])
def test_snr_holds_over_the_measured_samples(rng, dtype, snr):
    b = rng.standard_normal((3, 20, 21)) * 7
    b = (b + 1j * b[::-1]).astype(dtype) if dtype == "complex128" else b.astype(dtype)
    mask = rng.random((20, 1)) < 0.4
    noisy = add_noise(KEY, b, snr=snr, mask=mask)  # b holds unmeasured values, which must not count
    n = np.asarray(noisy) - b
    assert np.all(n[:, ~mask[:, 0]] == 0) and np.all(n[:, mask[:, 0]] != 0)
    assert snr_db((b * mask).astype(complex), noisy - b + b * mask) == pytest.approx(snr, abs=1e-4)


@pytest.mark.slow
def test_noise_level_is_what_snr_means_on_average(rng):
    mask = np.arange(64)[:, None] % 3 == 0
    for b in (rng.standard_normal((64, 64)), rng.standard_normal((64, 64)) * (1 + 2j)):
        sigma = float(noise_level(b, 10, mask))
        kept = np.abs(b[mask[:, 0]]) ** 2
        assert sigma**2 * (2 if np.iscomplexobj(b) else 1) == pytest.approx(0.1 * kept.mean(), rel=1e-12)
        draws = jax.vmap(lambda k, b=b, s=sigma: add_noise(k, b * mask, sigma=s, mask=mask))(jax.random.split(KEY, 50))
        assert np.mean([snr_db(b * mask, d) for d in draws]) == pytest.approx(10, abs=0.05)


@pytest.mark.parametrize("dtype", [pytest.param("float64", marks=pytest.mark.slow), "complex128"])
def test_covariance_of_the_coils(rng, dtype):
    w = rng.standard_normal((4, 4)) + (1j * rng.standard_normal((4, 4)) if dtype == "complex128" else 0)
    c = w @ w.conj().T + np.eye(4)
    n = np.asarray(add_noise(KEY, jnp.zeros((4, 300, 300), dtype), sigma=0.5, covariance=c)).reshape(4, -1)
    expected = 0.25 * c * (2 if dtype == "complex128" else 1)
    np.testing.assert_allclose(n @ n.conj().T / n.shape[1], expected, atol=0.02 * np.abs(expected).max())
    white = add_noise(KEY, jnp.zeros((4, 8), dtype), sigma=0.5, covariance=np.eye(4))
    np.testing.assert_allclose(white, add_noise(KEY, jnp.zeros((4, 8), dtype), sigma=0.5), rtol=1e-12)
    b = rng.standard_normal((4, 9)).astype(dtype)
    assert snr_db(b, add_noise(KEY, b, snr=12, covariance=c)) == pytest.approx(12, abs=1e-9)


def test_a_tuple_of_data_has_one_level_and_one_snr(rng):
    b = (jnp.asarray(rng.standard_normal((30, 40)), "float32"), jnp.asarray(5 * rng.standard_normal(900) + 1j))
    mask = (None, rng.random(900) < 0.5)
    noisy = add_noise(KEY, b, snr=20, mask=mask)
    assert [v.dtype for v in noisy] == ["float32", "complex128"] and isinstance(noisy, tuple)
    n = [np.asarray(u - v) for u, v in zip(noisy, b, strict=True)]
    seen = [np.asarray(b[0]), np.asarray(b[1])[mask[1]]]
    power = [sum(np.sum(np.abs(v) ** 2) for v in parts) for parts in (seen, n)]
    np.testing.assert_allclose(10 * np.log10(power[0] / power[1]), 20, rtol=1e-5)
    assert np.all(n[1][~mask[1]] == 0)
    np.testing.assert_allclose(np.std(n[0]), np.std(n[1][mask[1]].real), rtol=0.15)
    level = add_noise(KEY, list(b), sigma=0.3)
    np.testing.assert_allclose(np.std(level[0] - b[0]), 0.3, rtol=0.1)
    assert not np.allclose((level[0] - b[0]).ravel()[:900], (level[1] - b[1]).real)
    with pytest.raises(ValueError, match="a tuple of 2 data takes no covariance, and as mask None or a tuple"):
        add_noise(KEY, b, snr=20, mask=mask[1])


def test_same_key_same_noise_and_jit_vmap_grad():
    b = jnp.ones((5, 6), complex)
    np.testing.assert_array_equal(add_noise(KEY, b, sigma=1), add_noise(KEY, b, sigma=1))
    f = jax.jit(lambda s: add_noise(KEY, b, snr=s))
    np.testing.assert_allclose(f(20.0), add_noise(KEY, b, snr=20.0), rtol=1e-12)
    np.testing.assert_allclose(jax.vmap(f)(jnp.array([10.0, 20.0]))[1], f(20.0), rtol=1e-12)
    zero = jax.grad(lambda t: jnp.sum(jnp.abs(add_noise(KEY, t * b, snr=20.0)) ** 2))(0.0)
    assert np.isfinite(zero)
    np.testing.assert_array_equal(add_noise(KEY, 0 * b, snr=20.0), 0)  # no signal, no noise, no NaN
    slope = jax.grad(lambda s: jnp.sum(add_noise(KEY, b, sigma=s).real))(0.0)
    np.testing.assert_allclose(slope, jnp.sum((add_noise(KEY, b, sigma=1.0) - b).real), rtol=1e-12)


B = jnp.ones((2, 3))


@pytest.mark.parametrize(("kwargs", "words"), [
    ({}, "either snr"),
    ({"snr": 1, "sigma": 1}, "either snr"),
    ({"sigma": -1.0}, "negative"),
    ({"sigma": jnp.ones(4)}, "does not broadcast"),
    ({"sigma": 1, "mask": jnp.ones(4)}, r"mask of shape \(4,\)"),
    ({"sigma": 1, "mask": jnp.ones((5, 2, 3))}, r"\(5, 2, 3\)"),
    ({"snr": jnp.ones(2)}, "vmap"),
    ({"sigma": 1, "covariance": jnp.eye(3)}, r"\(2, 2\).*\(3, 3\)"),
    ({"sigma": 1, "covariance": jnp.array([[1.0, 2], [0, 1]])}, "Hermitian"),
    ({"sigma": 1, "covariance": jnp.array([[1.0, 2], [2, 1]])}, "positive definite"),
    ({"sigma": 1, "covariance": jnp.eye(2) + 0j}, "real data"),
])
def test_bad_input(kwargs, words):
    with pytest.raises(ValueError, match=words):
        add_noise(KEY, B, **kwargs)
