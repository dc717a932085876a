import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrecon.simulate import CorrelatedNoise, GaussianNoise, ImpulsiveNoise, MixedNoise, PoissonNoise

KEY = jax.random.key(0)


@jax.jit
def noisy(noise, b, mask=None, key=KEY):
    return noise(key, b, mask)


EVERY = (
    GaussianNoise((0.01, 0.1)),
    PoissonNoise((1e2, 1e4)),
    CorrelatedNoise((0.01, 0.1), (0.5, 2.0), axes=(-2, -1)),
    ImpulsiveNoise((0.01, 0.1), (1.0, 3.0), relative=True),
    MixedNoise([GaussianNoise(0.1), PoissonNoise((1e2, 1e3)), ImpulsiveNoise(0.1, 1.0)]),
)


CASES = [pytest.param(noise, dtype, marks=() if (i, dtype) in ((2, "float32"), (4, "complex128")) else pytest.mark.slow,
                      id=f"{type(noise).__name__}-{dtype}")
         for i, noise in enumerate(EVERY) for dtype in ("float32", "complex128")]


@pytest.mark.parametrize(("noise", "dtype"), CASES)
def test_one_function_of_the_key_under_jit_and_vmap(noise, dtype):
    """Values as arguments, a batch of examples each with its own draw, and only where the mask is."""
    keys = jax.random.split(KEY, 3)
    mask = jnp.arange(12)[:, None] % 3 == 0
    b = jnp.linspace(0.5, 1.0, 120).reshape(12, 10).astype(dtype) * (1 if dtype == "float32" else 1 + 1j)
    batch = jax.vmap(lambda k: noisy(noise, b, mask, k))(keys)
    assert batch.dtype == dtype and np.all(np.isfinite(batch))
    one = noisy(noise, b, mask, keys[1])
    np.testing.assert_allclose(batch[1], one, rtol=2e-5 if dtype == "float32" else 1e-12)
    assert np.any(batch[0] != batch[1]) and np.any(batch != b)
    np.testing.assert_array_equal(batch[:, 1], jnp.broadcast_to(b[1], (3, 10)))  # not measured: unchanged


def test_gaussian_levels_are_absolute_or_relative():
    b = jnp.full((200, 300), 3 + 4j)
    n = np.asarray(noisy(GaussianNoise(0.3), b) - b)
    assert n.real.std() == pytest.approx(0.3, rel=0.01) and n.imag.std() == pytest.approx(0.3, rel=0.01)
    half = jnp.where(jnp.arange(300) < 150, b, 100)
    n = np.asarray(noisy(GaussianNoise(0.1, relative=True), half, jnp.arange(300) < 150) - half)[:, :150]
    assert n.real.std() == pytest.approx(0.5, rel=0.02)  # |b| = 5 where it is measured


def test_a_range_is_drawn_evenly_in_its_logarithm():
    drawn = jax.jit(jax.vmap(lambda k: GaussianNoise((0.01, 1.0)).draw(k).sigma))(jax.random.split(KEY, 4000))
    octile = np.histogram(np.log10(drawn), np.linspace(-2, 0, 9))[0] / 4000
    np.testing.assert_allclose(octile, 1 / 8, atol=0.02)
    both = ImpulsiveNoise((0.1, 0.5), (1.0, 2.0)).draw(KEY)
    assert 0.1 <= both.fraction <= 0.5 and 1 <= both.size <= 2 and GaussianNoise(0.1).draw(KEY).sigma == 0.1


@pytest.mark.parametrize("counts", [20.0, pytest.param(1e5, marks=pytest.mark.slow)])
def test_poisson_variance_is_its_mean(counts):
    b = jnp.broadcast_to(jnp.array([1.0, -0.25]), (20000, 2))
    y = np.asarray(noisy(PoissonNoise(counts), b))
    np.testing.assert_allclose(y.mean(0), [1, -0.25], atol=4 / np.sqrt(counts * 20000))
    np.testing.assert_allclose(y.var(0) * counts, [1, 0.25], rtol=0.05)
    np.testing.assert_allclose(y * counts, np.round(y * counts), atol=1e-6 * counts)
    np.testing.assert_array_equal(noisy(PoissonNoise(counts), 0 * b), 0)


def test_poisson_transmission():
    p = jnp.full((300, 300), 1.5)
    y = np.asarray(noisy(PoissonNoise(1e4, transmission=True), p))
    assert y.mean() == pytest.approx(1.5, abs=1e-3)
    assert y.var() == pytest.approx(np.exp(1.5) / 1e4, rel=0.03)
    dark = noisy(PoissonNoise(10.0, transmission=True), 50 / 1.5 * p)[0]  # nothing arrives: half a photon
    np.testing.assert_allclose(dark, np.log(20), rtol=1e-12)
    with pytest.raises(ValueError, match="line integrals are real"):
        PoissonNoise(10.0, transmission=True)(KEY, 1j * p)


@pytest.mark.parametrize("dtype", [pytest.param("float64", marks=pytest.mark.slow), "complex128"])
def test_correlated_noise_has_the_stated_covariance(dtype):
    n = np.asarray(noisy(CorrelatedNoise(0.5, 1.5, axes=(-1,)), jnp.zeros((4000, 64), dtype)))
    parts = (n.real, n.imag) if dtype == "complex128" else (n,)
    for part in parts:
        for d in range(5):
            assert np.mean(part * np.roll(part, d, -1)) == pytest.approx(
                0.25 * np.exp(-(d**2) / (4 * 1.5**2)), abs=0.004)
        assert abs(np.mean(part * np.roll(part, 1, 0))) < 0.004  # other rows are independent
    if dtype == "complex128":
        assert abs(np.mean(n.real * n.imag)) < 0.004


def test_correlated_coils_and_no_width():
    c = jnp.array([[2.0, 0.5j], [-0.5j, 1.0]])
    n = np.asarray(noisy(CorrelatedNoise(1.0, 1.0, covariance=c), jnp.zeros((2, 400, 128), complex))).reshape(2, -1)
    np.testing.assert_allclose(n @ n.conj().T / n.shape[1], 2 * c, atol=0.06)
    white = np.asarray(noisy(CorrelatedNoise(1.0, 0.0), jnp.zeros((400, 128))))
    assert white.std() == pytest.approx(1, rel=0.01) and abs(np.mean(white * np.roll(white, 1, -1))) < 0.01


def test_impulses_hit_a_fraction_with_their_size():
    b = jnp.linspace(1, 2, 60000).reshape(200, 300)
    n = np.asarray(noisy(ImpulsiveNoise(0.05, 3.0), b) - b)
    assert np.mean(n != 0) == pytest.approx(0.05, abs=0.003)
    np.testing.assert_allclose(np.abs(n[n != 0]), 3, rtol=1e-12)
    assert abs(np.mean(np.sign(n[n != 0]))) < 0.06
    z = np.asarray(noisy(ImpulsiveNoise(0.5, 2.0), jnp.zeros((100, 100), complex)))
    np.testing.assert_allclose(np.abs(z[z != 0]), 2, rtol=1e-12)
    assert abs(np.mean(z)) < 0.05  # phases all round


def test_dead_detectors_are_dead_in_every_view():
    b = jnp.ones((7, 500))
    y = np.asarray(noisy(ImpulsiveNoise(0.2, 0.0, shared=(0,), replace=True), b))
    dead = y[0] == 0
    assert 60 < dead.sum() < 140 and np.all(y == np.where(dead, 0, 1))
    hot = np.asarray(noisy(ImpulsiveNoise(0.2, 5.0, shared=0), b))
    assert np.all(hot == hot[0]) and set(np.unique(hot)) == {-4.0, 1.0, 6.0}


def test_a_mixture_draws_its_kinds_with_their_weights():
    noise = MixedNoise([GaussianNoise(0.0), ImpulsiveNoise(1.0, 1.0), ImpulsiveNoise(1.0, 2.0)], jnp.array([1.0, 3, 0]))
    drawn = jax.jit(jax.vmap(lambda k: noise(k, jnp.zeros(()))))(jax.random.split(KEY, 2000))
    values, counts = np.unique(np.abs(drawn), return_counts=True)
    np.testing.assert_array_equal(values, [0, 1])
    assert counts[1] / 2000 == pytest.approx(0.75, abs=0.03)


def test_gradients_pass_and_are_finite_at_zero():
    for noise in (GaussianNoise(0.1, relative=True), CorrelatedNoise(0.1, 1.0, relative=True)):
        slope = jax.grad(lambda b, n=noise: jnp.sum(noisy(n, b) ** 2))(jnp.zeros((4, 4)))
        assert np.all(np.isfinite(slope))
    slope = jax.grad(lambda s: jnp.sum(noisy(GaussianNoise(s), jnp.zeros((4, 4)))))(0.5)
    np.testing.assert_allclose(slope, jnp.sum(noisy(GaussianNoise(1.0), jnp.zeros((4, 4)))), rtol=1e-12)


@pytest.mark.parametrize(("make", "message"), [
    (lambda: GaussianNoise(-1.0), "not negative"),
    (lambda: GaussianNoise((0.0, 1.0)), "0 < low <= high"),
    (lambda: GaussianNoise((2.0, 1.0)), "0 < low <= high"),
    (lambda: GaussianNoise((1.0, 2.0, 3.0)), "a pair"),
    (lambda: PoissonNoise(0.0), "above 0"),
    (lambda: PoissonNoise((1.0, 1e12)), "2\\^30"),
    (lambda: ImpulsiveNoise((0.1, 1.1), 1.0), "probability"),
    (lambda: ImpulsiveNoise(0.1, 1.0, shared=(2,))(KEY, jnp.ones((3, 3))), "2 axes"),
    (lambda: CorrelatedNoise(0.1, axes=(0, -2))(KEY, jnp.ones((3, 3))), "different"),
    (lambda: MixedNoise([]), "at least one"),
    (lambda: MixedNoise([GaussianNoise(1.0)], (1.0, 2.0)), "as many weights"),
    (lambda: MixedNoise([GaussianNoise(1.0)], (-1.0,)), "not be negative"),
    (lambda: GaussianNoise(1.0)(KEY, jnp.ones((3, 3)), jnp.ones(2)), "does not broadcast"),
])
def test_bad_values_say_what_is_wanted(make, message):
    with pytest.raises(ValueError, match=message):
        make()
    with pytest.raises(TypeError, match="noise values"):
        MixedNoise([0.1])
