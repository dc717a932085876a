"""The Wiener filter against a dense solve, Tikhonov and scikit-image."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from skimage import restoration

import jaxrecon as jr
from jaxrecon.wiener import Wiener


@pytest.fixture
def blurred(rng):
    A = jr.Convolution(rng.uniform(0, 1, (3, 4)) / 6, (7, 8))
    x = rng.standard_normal((7, 8))
    return A, x, A(x) + 0.05 * rng.standard_normal((7, 8))


def test_a_scalar_is_tikhonov(blurred):
    A, _, b = blurred
    np.testing.assert_allclose(Wiener(0.03)(A, b), jr.tikhonov(A, b, 0.03), atol=1e-12)
    z = b + 1j * b[::-1]
    np.testing.assert_allclose(Wiener(0.03)(A, z), jr.tikhonov(A, z, 0.03), atol=1e-12)


def test_spectra_give_the_best_linear_estimate(rng):
    """x = C_x A^H (A C_x A^H + C_n)^-1 b, with circulant covariances."""
    A = jr.Convolution(rng.standard_normal((3, 3)), (6, 5))
    signal = 1 / (1 + np.add.outer(np.fft.fftfreq(6) ** 2, np.fft.fftfreq(5) ** 2) * 50)
    noise = 0.1 + 0.05 * np.abs(np.fft.fftfreq(5))
    F = np.kron(np.fft.fft(np.eye(6), norm="ortho"), np.fft.fft(np.eye(5), norm="ortho"))

    def covariance(power):
        return (F.conj().T @ np.diag(np.broadcast_to(power, (6, 5)).ravel()) @ F).real

    a, b = np.asarray(jr.dense(A)), rng.standard_normal((6, 5))
    Cx = covariance(signal)
    wanted = Cx @ a.T @ np.linalg.solve(a @ Cx @ a.T + covariance(noise), b.ravel())
    np.testing.assert_allclose(Wiener(noise / signal)(A, b).ravel(), wanted, atol=1e-12)


def test_equals_scikit_image(rng):
    x = rng.uniform(0, 1, (16, 16))
    psf = np.ones((5, 5)) / 25
    laplacian = np.zeros((16, 16))
    laplacian[[0, 0, 0, 1, -1], [0, 1, -1, 0, 0]] = [4, -1, -1, -1, -1]
    A = jr.Convolution(psf, (16, 16))
    b = np.asarray(A(x))
    wanted = restoration.wiener(b, psf, balance=0.2, clip=False)
    got = Wiener(0.2 * np.abs(np.fft.fft2(laplacian)) ** 2)(A, b)
    np.testing.assert_allclose(got, wanted, atol=1e-10)


def test_noiseless_data_give_the_image_and_infinite_ratios_remove_it(blurred):
    A, x, _ = blurred
    np.testing.assert_allclose(Wiener(0.0)(A, A(x)), x, atol=1e-9)
    ratio = np.zeros((7, 8))
    ratio[0, 0] = np.inf
    np.testing.assert_allclose(Wiener(ratio)(A, A(x)), x - x.mean(), atol=1e-9)


@pytest.mark.slow
def test_three_axes_dtypes_and_transformations(rng):
    A = jr.Convolution(rng.uniform(0, 1, (2, 3, 2)).astype("float32"), (4, 5, 6))
    b = rng.standard_normal((4, 5, 6)).astype("float32")
    x = Wiener(0.1)(A, b)
    assert x.dtype == "float32"
    np.testing.assert_allclose(x, jr.tikhonov(A, b, 0.1), atol=1e-4)
    many = jax.vmap(lambda s: Wiener(s)(A, b))(jnp.array([0.1, 1.0]))
    np.testing.assert_allclose(many[0], x, atol=1e-6)

    def loss(s, k):
        return jnp.sum(Wiener(s)(jr.Convolution(k, (6,)), b[0, 0]) ** 2)

    k = jnp.array([0.2, 0.7, 0.4])
    slope = jax.grad(loss, (0, 1))(0.1, k)
    np.testing.assert_allclose(slope[0], (loss(0.1 + 1e-5, k) - loss(0.1 - 1e-5, k)) / 2e-5, rtol=1e-4)
    e = jnp.array([0, 1e-5, 0])
    np.testing.assert_allclose(slope[1][1], (loss(0.1, k + e) - loss(0.1, k - e)) / 2e-5, rtol=1e-4)


def test_refuses_what_it_cannot_do(blurred):
    A, _, b = blurred
    with pytest.raises(ValueError, match=r"boundary 'circular', got Convolution; jr\.CGNR"):
        Wiener(0.1)(jr.Convolution(A.kernel, A.shape, "zero"), b)
    with pytest.raises(ValueError, match="real noise_to_signal, got complex128"):
        Wiener(1j)
    with pytest.raises(ValueError, match=">= 0, its least is -1"):
        Wiener(-1.0)
    with pytest.raises(ValueError, match=r"noise_to_signal of shape \(3,\) does not broadcast"):
        Wiener(np.ones(3))(A, b)
    with pytest.raises(ValueError, match=r"jax\.vmap"):
        Wiener(1.0)(A, b[None])
