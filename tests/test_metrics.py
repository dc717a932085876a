import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrecon.metrics import nmse, nrmse, psnr, ssim

skimage = pytest.importorskip("skimage.metrics")


def pair(rng, shape, dtype="float64"):
    ref = rng.random(shape)
    x = ref + 0.2 * rng.standard_normal(shape)
    if np.issubdtype(dtype, np.complexfloating):
        ref, x = ref * np.exp(1j * rng.random(shape)), x * np.exp(1j * rng.random(shape))
    return x.astype(dtype), ref.astype(dtype)


@pytest.mark.parametrize("shape", [(30, 41), (11, 12, 13)])
@pytest.mark.parametrize("options", [{}, {"win_size": 5, "use_sample_covariance": False}, {"gaussian_weights": True},
                                     {"gaussian_weights": True, "sigma": 0.8, "K1": 0.02, "K2": 0.1}])
def test_ssim_is_scikit_images(rng, shape, options):
    x, ref = pair(rng, shape)
    ours = ssim(x, ref, data_range=1.3, **options)
    assert float(ours) == pytest.approx(skimage.structural_similarity(x, ref, data_range=1.3, **options), abs=1e-10)


def test_ssim_does_not_depend_on_units_and_survives_an_offset(rng):
    """In single precision, whose squares of 1e3 are coarser than the variances beside them, and of 1e-20 zero."""
    x, ref = pair(rng, (30, 41))
    want = float(skimage.structural_similarity(x, ref, data_range=1.3))
    for unit in (1e-12, 1e-8, 1e8, 1e12):
        assert float(ssim(*(np.float32(unit * v) for v in (x, ref)), data_range=1.3 * unit)) == \
            pytest.approx(want, abs=1e-5)
    far = [np.float32(1000 + v) for v in (x, ref)]
    want = skimage.structural_similarity(*(v.astype(float) for v in far), data_range=1.3)
    assert float(ssim(*far, data_range=1.3)) == pytest.approx(want, abs=1e-5)


def test_psnr_and_errors_are_scikit_images(rng):
    x, ref = pair(rng, (20, 30))
    assert float(psnr(x, ref, data_range=2.5)) == pytest.approx(
        skimage.peak_signal_noise_ratio(ref, x, data_range=2.5), abs=1e-10)
    expected = skimage.normalized_root_mse(ref, x)
    assert float(nrmse(x, ref)) == pytest.approx(expected, rel=1e-12)
    assert float(nmse(x, ref)) == pytest.approx(expected**2, rel=1e-12)


def test_integers_do_not_wrap_around(rng):
    x, ref = (rng.integers(0, 256, (16, 16)).astype("uint8") for _ in range(2))
    assert float(psnr(x, ref, data_range=255)) == pytest.approx(
        skimage.peak_signal_noise_ratio(ref, x, data_range=255), abs=1e-10)
    assert float(ssim(x, ref, data_range=255)) == pytest.approx(
        skimage.structural_similarity(x, ref, data_range=255), abs=1e-10)


def test_complex_images_are_compared_by_magnitude_unless_asked(rng):
    x, ref = pair(rng, (16, 18), "complex128")
    m, mref = np.abs(x), np.abs(ref)
    for f in (psnr, ssim):
        np.testing.assert_allclose(f(x, ref, data_range=1), f(m, mref, data_range=1), rtol=1e-12)
        np.testing.assert_allclose(f(m, ref, data_range=1), f(m, mref, data_range=1), rtol=1e-12)
    for f in (nmse, nrmse):
        np.testing.assert_allclose(f(x, ref), f(m, mref), rtol=1e-12)
    e = np.linalg.norm(x - ref) / np.linalg.norm(ref)
    assert float(nrmse(x, ref, complex=True)) == pytest.approx(e, rel=1e-12)
    assert float(nmse(x, ref, complex=True)) == pytest.approx(e**2, rel=1e-12)
    mse = np.mean(np.abs(x - ref) ** 2)
    assert float(psnr(x, ref, data_range=3, complex=True)) == pytest.approx(10 * np.log10(9 / mse), abs=1e-10)
    parts = [skimage.structural_similarity(p(x), p(ref), data_range=1) for p in (np.real, np.imag)]
    assert float(ssim(x, ref, data_range=1, complex=True)) == pytest.approx(np.mean(parts), abs=1e-10)


def test_fitted_scale_is_the_least_squares_one(rng):
    x, ref = pair(rng, (9, 10), "complex128")
    s = np.linalg.lstsq(x.reshape(-1, 1), ref.ravel(), rcond=None)[0][0]
    expected = np.linalg.norm(s * x - ref) / np.linalg.norm(ref)
    assert float(nrmse(x, ref, fit_scale=True, complex=True)) == pytest.approx(expected, rel=1e-12)
    assert float(nrmse(3j * x, ref, fit_scale=True, complex=True)) == pytest.approx(expected, rel=1e-12)
    m, mref = np.abs(x), np.abs(ref)
    s = np.linalg.lstsq(m.reshape(-1, 1), mref.ravel(), rcond=None)[0][0]
    expected = np.linalg.norm(s * m - mref) / np.linalg.norm(mref)
    assert float(nrmse(1e6j * x, ref, fit_scale=True)) == pytest.approx(expected, rel=1e-12)
    assert float(nmse(x, ref, fit_scale=True)) == pytest.approx(expected**2, rel=1e-12)
    assert float(nrmse(0 * m, mref, fit_scale=True)) == 1.0


@pytest.mark.parametrize("dtype", [pytest.param("float32", marks=pytest.mark.slow), "complex64"])
def test_single_precision_stays_single(rng, dtype):
    x, ref = pair(rng, (24, 20), dtype)
    wide = tuple(v.astype("complex128" if dtype == "complex64" else "float64") for v in (x, ref))
    for f, kwargs in ((psnr, {"data_range": 1}), (ssim, {"data_range": 1}), (nmse, {}), (nrmse, {})):
        assert f(x, ref, **kwargs).dtype == "float32"
        np.testing.assert_allclose(f(x, ref, **kwargs), f(*wide, **kwargs), rtol=2e-5)


def test_jit_vmap_and_gradients(rng):
    x, ref = pair(rng, (4, 12, 10))
    for f in (lambda a, b, r: ssim(a, b, data_range=r), lambda a, b, r: psnr(a, b, data_range=r)):
        batch = jax.jit(jax.vmap(f, (0, 0, None)))(x, ref, 1.5)
        np.testing.assert_allclose(batch, [f(a, b, 1.5) for a, b in zip(x, ref, strict=True)], rtol=1e-12)
    d, h = rng.standard_normal((12, 10)), 1e-6
    metrics = [lambda a: ssim(a, ref[0], data_range=1.0), lambda a: psnr(a, ref[0], data_range=1.0),
               lambda a: nmse(a, ref[0]), lambda a: nrmse(a, ref[0], fit_scale=True),
               lambda a: ssim(a, ref[0], data_range=1.0, gaussian_weights=True, sigma=1.0)]
    for f in metrics:
        numeric = (f(x[0] + h * d) - f(x[0] - h * d)) / (2 * h)
        np.testing.assert_allclose(jnp.vdot(jax.grad(f)(x[0]), d), numeric, rtol=1e-6)


def test_equal_images_and_their_gradients(rng):
    _, ref = pair(rng, (12, 12))
    assert float(psnr(ref, ref, data_range=1)) == np.inf
    assert float(ssim(ref, ref, data_range=1)) == pytest.approx(1, abs=1e-14)
    assert float(nrmse(ref, ref)) == 0
    for f in (lambda a: psnr(a, ref, data_range=1), lambda a: ssim(a, ref, data_range=1), lambda a: nrmse(a, ref)):
        np.testing.assert_allclose(jax.grad(f)(ref), 0, atol=1e-12)
    z = jnp.zeros((8, 8), complex)
    assert np.all(np.isfinite(jax.grad(lambda a: ssim(a, ref[:8, :8] + 0j, data_range=1))(z)))


A = np.ones((8, 8))


@pytest.mark.parametrize("f", [psnr, ssim])
def test_data_range_is_required_and_positive(f):
    with pytest.raises(TypeError, match="needs data_range="):
        f(A, A)
    for bad, words in ((0.0, "positive number, got 0.0"), (-1, "got -1"), (np.nan, "nan"), (np.inf, "inf"),
                       (np.ones(2), "scalar"), (1j, "real")):
        with pytest.raises(ValueError, match=words):
            f(A, A, data_range=bad)


@pytest.mark.parametrize(("call", "words"), [
    (lambda: psnr(A, A[:4], data_range=1), r"float64\[8, 8\] and float64\[4, 8\]"),
    (lambda: ssim(A, A[None], data_range=1), "one shape"),
    (lambda: nmse(A, A[:1]), "one shape"),  # would broadcast
    (lambda: nrmse(A, 1.0), "one shape"),
    (lambda: ssim(A[:5], A[:5], data_range=1), "window of 7 exceeds"),
    (lambda: ssim(A[0], A[0], data_range=1), "2-D or 3-D"),
    (lambda: ssim(A, A, data_range=1, win_size=4), "odd"),
    (lambda: ssim(A, A, data_range=1, win_size=7, gaussian_weights=True), "window of 11, got 7"),
])
def test_bad_input(call, words):
    with pytest.raises(ValueError, match=words):
        call()
