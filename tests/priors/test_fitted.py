"""Operators and weights inside priors on the images that they meet: real ones under complex transforms, misfits."""

import jax.numpy as jnp
import numpy as np
import pytest

import jaxrecon as jr

SOLVERS = [lambda prior: jr.ADMM(prior, 0.5), lambda prior: jr.PDHG(prior), lambda prior: jr.CondatVu(prior)]


def problem(rng, n=6):
    A = jr.Matrix(jnp.asarray(rng.normal(size=(n + 3, n))))
    return A, jnp.asarray(rng.normal(size=n + 3))


@pytest.mark.parametrize("solver", [*SOLVERS, lambda prior: jr.FISTA(prior)], ids=["admm", "pdhg", "condatvu", "fista"])
@pytest.mark.parametrize("circulant", [True, False])
def test_a_quadratic_prior_in_complex_coefficients_of_a_real_image(solver, circulant, rng):
    """min 1/2 |A x - b|^2 + lam/2 |W x|^2 over real x has the normal matrix A^T A + lam Re(W^H W)."""
    A, b = problem(rng)
    if circulant:
        W = jr.Convolution(jnp.asarray(rng.normal(size=6) + 1j * rng.normal(size=6)), (6,), boundary="circular")
    else:
        W = jr.Matrix(jnp.asarray(rng.normal(size=(4, 6)) + 1j * rng.normal(size=(4, 6))))
    D = np.asarray(jr.dense(W))
    want = np.linalg.solve(A.matrix.T @ A.matrix + 0.3 * (D.conj().T @ D).real, A.matrix.T @ b)
    found = jr.solve(A, b, solver(jr.L2(0.3, W)), iterations=6000)
    assert found.x.dtype == jnp.float64
    np.testing.assert_allclose(found.x, want, atol=1e-6)


@pytest.mark.parametrize("solver", SOLVERS, ids=["admm", "pdhg", "condatvu"])
def test_sparse_complex_coefficients_of_a_real_image(solver, rng):
    """With A = 1 and W the unitary Fourier transform, the soft threshold of the spectrum is the spectrum of a real
    image, which is thus the minimiser over real ones, too."""
    b = jnp.asarray(rng.normal(size=8))
    F = jr.Fourier((8,))
    want = F.H(jr.L1(0.5).prox(F(b)))
    assert np.abs(want.imag).max() < 1e-12
    found = jr.solve(jr.Identity((8,)), b, solver(jr.L1(0.5, F)), iterations=2000)
    assert found.x.dtype == jnp.float64
    np.testing.assert_allclose(found.x, want.real, atol=1e-8)
    with pytest.raises(ValueError, match=r"L1 in Fourier of real images has no closed-form prox; use ADMM"):
        jr.solve(jr.Identity((8,)), b, jr.FISTA(jr.L1(0.5, F)), iterations=2)


def test_real_coefficients_stay_orthogonal_on_real_images(rng):
    W = jr.Wavelet((16,), "haar", levels=1, dtype="complex64")
    x = jnp.asarray(rng.normal(size=16), "float32")
    found, want = jr.L1(0.1, W).prox(x), jr.L1(0.1, jr.Wavelet((16,), "haar", levels=1, dtype="float32")).prox(x)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, want, atol=1e-6)


@pytest.mark.parametrize("solver", [*SOLVERS, lambda prior: jr.FISTA(prior)], ids=["admm", "pdhg", "condatvu", "fista"])
@pytest.mark.parametrize("prior", [lambda W: jr.L1(0.1, W), lambda W: jr.L2(0.1, W)], ids=["l1", "l2"])
def test_a_transform_of_other_images_is_named(solver, prior, rng):
    A, b = problem(rng)
    with pytest.raises(ValueError, match=r"its Matrix takes float64\[5\], but the image has shape \(6,\)"):
        jr.solve(A, b, solver(prior(jr.Matrix(jnp.eye(5)))), iterations=2)
    A = jr.Matrix(A.matrix.astype(complex))
    with pytest.raises(ValueError, match=r"its RealPart takes real images, and this one is complex128"):
        jr.solve(A, b.astype(complex), solver(prior(jr.real_part(jr.Fourier((6,))))), iterations=2)


@pytest.mark.parametrize("prior", [
    jr.L1(jnp.ones(5)), jr.L2(jnp.ones(5)), jr.ElasticNet(jnp.ones(5), 1.0), jr.ElasticNet(1.0, jnp.ones(5)),
    jr.L21(jnp.ones(5)), jr.TV(jnp.ones(5)), jr.TV(jnp.ones(5), isotropic=False), jr.FusedLasso(jnp.ones(5), 1.0),
    jr.FusedLasso(1.0, jnp.ones(5)), jr.Box(jnp.zeros(5), 1.0), jr.Box(0.0, jnp.ones((2, 6, 4))),
    jr.Nuclear(jnp.ones(5)), jr.L1(jnp.ones((3, 6, 4))), jr.L2(jnp.ones(5), jr.Gradient((6, 4))),
    jr.L1(jnp.ones(5), jr.Wavelet((6, 4), "haar", levels=1)),
], ids=lambda p: type(p).__name__)
def test_weights_and_bounds_of_another_size_are_named(prior):
    x = jnp.ones((6, 4))
    for call in (prior, prior.prox):
        with pytest.raises(ValueError, match=r"an array of shape \([\d, ]*\) does not fit the values of shape"):
            call(x)
