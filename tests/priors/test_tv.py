"""Total variation and the fused lasso against known answers and independent solvers of their duals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import lsq_linear

import jaxrecon as jr
from jaxrecon.operator import dense
from jaxrecon.operators.gradient import Gradient
from jaxrecon.priors import L1, TV, FusedLasso, PartsApart


def bounded_dual(K, radius, v):
    """u = v - K^T q, q the least-squares solution within |q| <= radius: an active-set method (BVLS), exact."""
    found = lsq_linear(K.T, v.ravel(), (-radius, radius), method="bvls", tol=1e-14)
    return (v.ravel() - K.T @ found.x).reshape(v.shape)


def projected_gradient(K, project, v, steps):
    """The same by plain projected gradients in numpy, for balls that are not boxes."""
    q, norm2 = np.zeros(K.shape[0], v.dtype), np.linalg.norm(K, 2) ** 2
    r, k = q, 1.0
    for _ in range(steps):
        new = project(r + K @ (v.ravel() - K.T @ r) / norm2)
        if np.vdot(new - r, new - q).real < 0:
            k = 1.0
        k_new = (1 + np.sqrt(1 + 4 * k * k)) / 2
        q, r, k = new, new + (k - 1) / k_new * (new - q), k_new
    return (v.ravel() - K.T @ q).reshape(v.shape)


def test_the_1d_prox_of_a_step():
    # The answer by hand: each plateau of two pixels moves by weight / 2.
    x = jnp.array([0.0, 0.0, 1.0, 1.0])
    for isotropic in (True, False):
        prior = TV(1.0, isotropic=isotropic)
        assert float(prior(x)) == 1
        np.testing.assert_allclose(prior.prox(x, 0.2), [0.1, 0.1, 0.9, 0.9], atol=1e-10)
        np.testing.assert_allclose(TV(0.2, isotropic=isotropic).prox(x), [0.1, 0.1, 0.9, 0.9], atol=1e-10)
        np.testing.assert_allclose(prior.prox(x, 2.0), [0.5] * 4, atol=1e-10)


def test_values_by_hand():
    x = jnp.array([[0.0, 3.0], [4.0, 0.0]])
    assert float(TV(2.0)(x)) == 2 * (5 + 3 + 4)
    assert float(TV(2.0, isotropic=False)(x)) == 2 * (7 + 3 + 4)
    assert float(TV(1.0, isotropic=False, boundary="circular")(x)) == 2 * (3 + 3 + 4 + 4)
    assert float(TV(jnp.array([[1.0, 2.0], [0.0, 5.0]]))(x)) == 5 + 2 * 3
    z = jnp.array([0.0, 3 + 4j])
    assert float(TV(1.0)(z)) == 5 and float(TV(1.0, complex="separate")(z)) == 7
    assert float(FusedLasso(1.0, 10.0)(z)) == 5 + 50


@pytest.mark.parametrize("boundary", ["symmetric", "circular"])
@pytest.mark.parametrize("shape", [(30,), (6, 7), (3, 4, 3)])
def test_anisotropic_equals_an_active_set_method(rng, shape, boundary):
    v = rng.standard_normal(shape)
    K = np.asarray(dense(Gradient(shape, boundary)))
    u = TV(0.4, isotropic=False, boundary=boundary).prox(jnp.asarray(v), 0.5)
    np.testing.assert_allclose(u, bounded_dual(K[np.abs(K).sum(1) > 0], 0.2, v), atol=1e-8)


def test_fused_lasso_equals_an_active_set_method(rng):
    v = rng.standard_normal((5, 6))
    K = np.concatenate([np.eye(30), np.asarray(dense(Gradient((5, 6))))])
    radius = np.where(np.arange(len(K)) < 30, 0.3, 0.2)
    used = np.abs(K).sum(1) > 0
    u = FusedLasso(0.6, 0.4).prox(jnp.asarray(v), 0.5)
    np.testing.assert_allclose(u, bounded_dual(K[used], radius[used], v), atol=1e-8)


@pytest.mark.parametrize("kind", ["float64", "complex128"])
@pytest.mark.parametrize("l1", [0.0, 0.15])
def test_isotropic_equals_projected_gradients(rng, kind, l1):
    shape, tv = (5, 6), 0.2
    v = rng.standard_normal(shape) + (1j * rng.standard_normal(shape) if kind == "complex128" else 0)
    K = np.concatenate([np.eye(30), np.asarray(dense(Gradient(shape)))])

    def project(q):
        one, two = q[:30], q[30:].reshape(2, 30)
        two = two / np.maximum(1, np.sqrt((np.abs(two) ** 2).sum(0)) / tv)
        return np.concatenate([one * l1 / np.maximum(l1, np.abs(one)) if l1 else 0 * one, two.ravel()])

    prior = FusedLasso(l1, tv, isotropic=True) if l1 else TV(tv)
    np.testing.assert_allclose(prior.prox(jnp.asarray(v)), projected_gradient(K, project, v, 20_000), atol=1e-7)


def test_threshold_after_tv_is_not_the_isotropic_fused_lasso(rng):
    v = jnp.asarray(rng.standard_normal((5, 6)))
    joint, chained = FusedLasso(0.3, 0.4, isotropic=True), L1(0.3).prox(TV(0.4).prox(v))
    assert np.abs(joint.prox(v) - chained).max() > 1e-3

    def objective(u):
        return joint(u) + 0.5 * jnp.sum((u - v) ** 2)

    assert objective(joint.prox(v)) < objective(chained) - 1e-5


def test_complex_separate_is_two_real_problems(rng):
    v = jnp.asarray(rng.standard_normal((5, 6)) + 1j * rng.standard_normal((5, 6)))
    real, apart = TV(0.3), TV(0.3, complex="separate")
    np.testing.assert_allclose(apart.prox(v), real.prox(v.real) + 1j * real.prox(v.imag), atol=1e-8)
    assert isinstance(apart.split(v)[1], PartsApart)


def test_joint_complex_follows_a_global_phase(rng):
    v = jnp.asarray(rng.standard_normal((5, 6)) + 1j * rng.standard_normal((5, 6)))
    turn = np.exp(0.7j)
    np.testing.assert_allclose(TV(0.3).prox(turn * v), turn * TV(0.3).prox(v), atol=1e-7)
    assert np.abs(TV(0.3, complex="separate").prox(turn * v) - turn * TV(0.3, complex="separate").prox(v)).max() > 1e-3


def test_prox_commutes_with_scale(rng):
    v = jnp.asarray(rng.standard_normal((6, 6)))
    for scale in (1e-6, 1e6):
        np.testing.assert_allclose(TV(0.3 * scale).prox(scale * v) / scale, TV(0.3).prox(v), atol=1e-8)
        single = TV(0.3 * scale).prox((scale * v).astype("float32")) / scale
        np.testing.assert_allclose(single, TV(0.3).prox(v), atol=1e-5)


def test_denoising_of_discs():
    # Objective and PSNR: SCICO 0.0.7 in float64, confirmed by an independent numpy solver.
    n = 128
    t = (np.arange(n) + 0.5) / n * 2 - 1
    Y, X = np.meshgrid(t, t, indexing="ij")
    x = 1.0 * (X**2 + Y**2 < 0.64) - 0.5 * ((X - 0.2) ** 2 + (Y + 0.1) ** 2 < 0.09)
    x = x + 0.3 * ((X + 0.3) ** 2 + (Y - 0.3) ** 2 < 0.04)
    noisy = x + 0.1 * np.random.RandomState(0).randn(n, n)
    prior = TV(0.1, inner=800)
    y = jnp.asarray(noisy)
    u, q = jax.jit(lambda y: prior.warm_prox(y, 1.0, prior.start(y)))(y)
    objective = float(prior(u) + 0.5 * jnp.sum((u - y) ** 2))
    np.testing.assert_allclose(objective, 123.2831, rtol=1e-4)
    np.testing.assert_allclose(10 * np.log10(np.ptp(x) ** 2 / np.mean((u - x) ** 2)), 35.791, atol=2e-3)
    # What makes u the minimiser: |q| <= lam, u = y - grad^H q, and <q, grad u> = lam |grad u| up to the duality gap.
    assert float(jnp.sqrt(jnp.sum(q**2, 0)).max()) <= 0.1 * (1 + 1e-12)
    np.testing.assert_allclose(u, y - Gradient((n, n)).H(q), atol=1e-12)
    gap = float(prior(u) - jnp.sum(q * Gradient((n, n))(u)))
    assert 0 <= gap < 1e-5 * objective


def test_optimality_conditions(rng):
    v = jnp.asarray(rng.standard_normal((8, 8)))
    u = TV(0.5).prox(v)
    D = Gradient((8, 8))
    g = np.asarray(D(u))
    steep = np.sqrt((g**2).sum(0)) > 1e-6
    # Where u is steep the dual is lam grad u / |grad u|; elsewhere some dual of at most lam must make up v - u.
    known = np.where(steep, 0.5 * g / np.where(steep, np.sqrt((g**2).sum(0)), 1), 0)
    rest = np.asarray(v - u - D.H(jnp.asarray(known)))
    K = np.asarray(dense(D))[np.tile(~steep.ravel(), 2)]
    used = np.abs(K).sum(1) > 0
    found = lsq_linear(K[used].T, rest.ravel(), (-0.5, 0.5), method="bvls", tol=1e-14)
    assert 2 * found.cost < 1e-12


def test_errors():
    with pytest.raises(ValueError, match=r"boundary must be one of \('symmetric', 'circular'\), got 'zero'"):
        TV(1.0, boundary="zero")
    with pytest.raises(ValueError, match="complex must be 'joint' or 'separate', got 'both'"):
        TV(1.0, complex="both")
    with pytest.raises(ValueError, match="inner must be at least 1 step, got 0"):
        TV(1.0, inner=0)
    with pytest.raises(ValueError, match="boundary must be one of"):
        FusedLasso(1.0, 1.0, boundary="zero")
    with pytest.raises(ValueError, match="inner must be at least 1"):
        FusedLasso(1.0, 1.0, inner=0)
    with pytest.raises(ValueError, match="1 to 3 axes"):
        TV(1.0).prox(jnp.ones((2, 2, 2, 2)))


def test_constrained_tv_is_what_admm_finds():
    rng = np.random.default_rng(0)
    A = jr.SystemMatrix(rng.standard_normal((30, 42)), (6, 7))
    b = A(jnp.asarray(np.maximum(rng.standard_normal((6, 7)), -0.2))) + 0.1 * rng.standard_normal(30)
    tv, positive = jr.TV(0.7), jr.NonNegative()
    x = jr.solve(A, b, jr.FISTA(jr.Constrained(tv, positive)), iterations=2000).x
    want = jr.solve(A, b, jr.ADMM([tv, positive]), iterations=2000).x
    assert float(x.min()) == 0 and int(jnp.sum(x == 0)) > 3
    np.testing.assert_allclose(x, want, atol=1e-6)
    for solver in (jr.CondatVu, jr.PDHG):
        found = jr.solve(A, b, solver(jr.Constrained(tv, positive)), iterations=20_000).x
        np.testing.assert_allclose(found, want, atol=1e-5)


@pytest.mark.parametrize(("make", "words"), [
    (lambda: jr.Constrained(jr.L1(1.0), jr.NonNegative()), "takes jr.TV or jr.FusedLasso, got L1"),
    (lambda: jr.Constrained(jr.TV(1.0), jr.L1(1.0)), "takes a constraint.*got L1"),
    (lambda: jr.Constrained(jr.TV(1.0), [jr.NonNegative()]), "takes a constraint"),
])
def test_what_constrained_takes(make, words):
    with pytest.raises(TypeError, match=words):
        make()
