"""Priors with closed forms: values and proximal maps by hand and by scipy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize

from jaxrecon.operator import dense
from jaxrecon.operators import Diagonal, Matrix
from jaxrecon.operators.gradient import Gradient
from jaxrecon.priors import L1, L2, L21, Box, ElasticNet, NonNegative, PartsApart, RealValued
from jaxrecon.value import value


@value
class Rotation(Matrix):
    """A matrix that says that its columns are orthonormal."""

    @property
    def orthogonal(self):
        return True


def brute_force(prior, v, t):
    """argmin t g(u) + 1/2|u - v|^2 over real and imaginary parts, from several starts, without derivatives."""
    n = v.size
    complex_kind = np.iscomplexobj(v)

    def unpack(p):
        return (p[:n] + 1j * p[n:] if complex_kind else p).reshape(v.shape)

    value = jax.jit(lambda u: t * prior(u) + 0.5 * jnp.sum(jnp.abs(u - v) ** 2))
    start = np.concatenate([v.real.ravel(), v.imag.ravel()]) if complex_kind else v.ravel()
    best = min((minimize(lambda p: float(value(unpack(p))), s, method="Powell", options={"xtol": 1e-10, "ftol": 1e-15})
                for s in (start, 0.5 * start)), key=lambda found: found.fun)
    return unpack(best.x)


@pytest.mark.parametrize("kind", ["real", "complex"])
@pytest.mark.parametrize("prior", [
    L1(0.6), L1(np.array([0.1, 2.0])), L21(0.6), ElasticNet(0.5, 0.8), L2(1.3), PartsApart(L1(0.4)),
    L2(0.7, Matrix(jnp.array([[1.0, 2.0], [0.0, 1.0]])))], ids=lambda p: repr(p)[:30])
def test_prox_equals_brute_force(prior, kind):
    v = np.array([1.2, -0.5]) + (1j * np.array([-0.4, 0.3]) if kind == "complex" else 0)
    np.testing.assert_allclose(prior.prox(jnp.asarray(v), 0.9), brute_force(prior, v, 0.9), atol=1e-5)


def test_values_by_hand():
    x = jnp.array([[3.0, 0.0], [-4.0, 2.0]])
    assert float(L1(0.5)(x)) == 4.5
    assert float(L1(jnp.array([1.0, 2.0]))(x)) == 7 + 4
    assert float(L1(1.0)(jnp.array([3 - 4j, 0]))) == 5
    assert float(L2(2.0)(x)) == 29
    assert float(L2(jnp.array([[2.0, 7.0], [0.0, 0.0]]))(x)) == 9
    assert float(L2(2.0, Diagonal(jnp.array([1.0, 2.0])))(jnp.array([1.0, 1.0]))) == 5
    assert float(L21(1.0)(x)) == 5 + 2
    np.testing.assert_allclose(L21(1.0, axis=1)(x), 3 + 20**0.5)
    np.testing.assert_allclose(L21(1.0, axis=(0, 1))(x), 29**0.5)
    assert float(L21(jnp.array([1.0, 10.0]))(x)) == 5 + 20
    assert float(L21(jnp.array([1.0, 10.0]), axis=-1)(jnp.array([[3.0, 4.0], [0.0, 1.0]]))) == 5 + 10
    assert float(ElasticNet(1.0, 2.0)(x)) == 9 + 29


def test_soft_threshold_by_hand():
    v = jnp.array([3.0, -0.5, 0.25])
    assert L1(0.5).prox(v, 2.0).tolist() == [2.0, 0.0, 0.0]
    np.testing.assert_allclose(L1(1.0).prox(jnp.array([3 + 4j, 0.3j]), 2.5), [1.5 + 2j, 0], atol=1e-15)
    grouped = L21(1.0).prox(jnp.array([[3.0, 1.0], [4.0, 0.0]]), 2.5)
    np.testing.assert_allclose(grouped, [[1.5, 0], [2.0, 0]], atol=1e-15)
    assert L1(0.0).prox(v).tolist() == v.tolist()


def test_moreau(rng):
    v = jnp.asarray(rng.standard_normal((3, 4)) + 1j * rng.standard_normal((3, 4)))
    for prior in (L1(0.7), L21(0.7), PartsApart(L21(0.7)), L1(0.7 * jnp.ones(4))):
        for w in (v, v.real):
            np.testing.assert_allclose(prior.conjugate_prox(w, 0.9), w - prior.prox(w, 0.9), atol=1e-15)


@pytest.mark.parametrize("kind", ["real", "complex"])
def test_l1_in_an_orthogonal_transform(rng, kind):
    a = rng.standard_normal((6, 6)) + (1j * rng.standard_normal((6, 6)) if kind == "complex" else 0)
    W = Rotation(jnp.asarray(np.linalg.qr(a)[0]))
    lam, v = jnp.asarray(rng.uniform(0.1, 1, 6)), jnp.asarray(rng.standard_normal(6).astype(a.dtype))
    prior = L1(lam, W)
    np.testing.assert_allclose(W(prior.prox(v, 0.5)), L1(lam).prox(W(v), 0.5), atol=1e-14)
    np.testing.assert_allclose(prior(v), jnp.sum(lam * jnp.abs(W.a @ v)), rtol=1e-14)
    transform, penalty = prior.split(v)
    assert transform is W and penalty.transform is None


def test_l1_refuses_what_has_no_closed_form(rng):
    frame = Rotation(jnp.asarray(np.linalg.qr(rng.standard_normal((6, 3)))[0]))
    for W, v in ((Gradient((3,)), jnp.ones(3)), (Matrix(jnp.eye(3)), jnp.ones(3)), (frame, jnp.ones(3))):
        with pytest.raises(ValueError, match=r"not orthogonal.*ADMM or PDHG"):
            L1(1.0, W).prox(v)
    with pytest.raises(TypeError, match="transform must be a linear operator, got float"):
        L1(1.0, 2.0)
    with pytest.raises(TypeError, match="operator must be a linear operator, got int"):
        L2(1.0, 2)


@pytest.mark.parametrize("kind", ["float64", "complex128"])
@pytest.mark.parametrize("boundary", ["symmetric", "circular"])
def test_l2_through_an_operator_equals_dense_algebra(rng, kind, boundary):
    D = Gradient((4, 5), boundary)
    K = np.asarray(dense(D))
    v = jnp.asarray(rng.standard_normal((4, 5)) + (1j * rng.standard_normal((4, 5)) if kind == "complex128" else 0))
    for lam, diagonal in ((3.0, 3.0 * np.ones(40)), (w := rng.uniform(0, 2, (2, 4, 5)), w.ravel())):
        prior = L2(lam, D)
        want = np.linalg.solve(np.eye(20) + 0.5 * K.T @ (diagonal[:, None] * K), np.asarray(v).ravel())
        u, state = prior.warm_prox(v, 0.5, prior.start(v))
        for got in (prior.prox(v, 0.5), u, prior.warm_prox(v, 0.5, state)[0]):
            assert got.dtype == v.dtype
            np.testing.assert_allclose(got.ravel(), want, atol=1e-13)


def test_l2_gradient_reaches_the_operator(rng):
    a, v = jnp.asarray(rng.standard_normal((5, 4))), jnp.asarray(rng.standard_normal(4))

    def ours(a, lam):
        return jnp.sum(L2(lam, Matrix(a)).prox(v, 0.5) ** 3)

    def wanted(a, lam):
        return jnp.sum(jnp.linalg.solve(jnp.eye(4) + 0.5 * lam * a.T @ a, v) ** 3)

    for got, want in zip(jax.grad(ours, (0, 1))(a, 0.7), jax.grad(wanted, (0, 1))(a, 0.7), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-10)


def test_constraints_by_hand():
    v = jnp.array([-1 + 2j, 0.5 - 1j, 3.0])
    np.testing.assert_array_equal(NonNegative().prox(v), jnp.array([0, 0.5, 3.0 + 0j]))
    np.testing.assert_array_equal(Box(0.0, 1.0).prox(v), jnp.array([0, 0.5, 1.0 + 0j]))
    np.testing.assert_array_equal(Box(jnp.array([0.0, 1.0, 0.0]), 2.0).prox(v.real), jnp.array([0, 1.0, 2.0]))
    np.testing.assert_array_equal(RealValued().prox(v), v.real + 0j)
    assert float(Box(0.0, 1.0)(jnp.array([0.0, 1.0]))) == 0 and float(Box(0.0, 1.0)(jnp.array([1.1]))) == np.inf
    assert float(NonNegative()(jnp.array([1 + 1e-9j]))) == np.inf
    with pytest.raises(ValueError, match=r"lo <= hi, got lo = 1.0, hi = 0.0"):
        Box(1.0, 0.0)


def test_l21_errors():
    with pytest.raises(ValueError, match=r"over axis 2 needs an array with that axis, got shape \(3, 4\)"):
        L21(1.0, axis=2)(jnp.ones((3, 4)))
