"""Richardson-Lucy against plain NumPy, scikit-image, and the conditions of its limit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from skimage import restoration

import jaxrecon as jr
from jaxrecon.fidelity import PoissonLikelihood
from jaxrecon.solvers import RichardsonLucy
from jaxrecon.solvers.subsets import subsets_of


@pytest.fixture
def counted(rng):
    a = rng.uniform(0, 1, (30, 8)) * (rng.uniform(size=(30, 8)) < 0.5)
    return a, rng.poisson(a @ np.array([40, 0, 0, 90, 10, 0, 5, 60]) + 4).astype(float)


@pytest.mark.parametrize("background", [0.0, 4.0])
def test_equals_plain_numpy(counted, background):
    a, y = counted
    x = np.full(8, max((y - background).clip(0).sum() / a.sum(), 0))
    wanted = []
    for _ in range(10):
        x = x / a.sum(0) * (a.T @ (y / (a @ x + background)))
        wanted.append(x)
    data = PoissonLikelihood("emission", background=background)
    s = jr.solve(jr.Matrix(a), y, RichardsonLucy(), 10, data=data, record="x")
    np.testing.assert_allclose(s.history, wanted, rtol=1e-10)


@pytest.mark.parametrize("subsets", [4, None])
@pytest.mark.parametrize("order", ["cyclic", "golden"])
def test_ordered_subsets_equal_plain_numpy(counted, subsets, order):
    a, y = counted
    a[:, 5] = 0  # seen by none
    a[::4, 6] = 0  # not seen by one of the subsets
    n = subsets or 30
    visit = subsets_of(jr.Matrix(a), y, subsets, order).index[:, 0]
    assert sorted(visit) == list(range(n)) and (order == "golden") == (list(visit) != sorted(visit))
    x, wanted = np.linspace(1, 2, 8), []
    for _ in range(3):
        x[5] = 0
        for first in visit:
            part, counts = a[first::n], y[first::n]
            seen = part.sum(0)
            x = np.where(seen > 0, x / np.where(seen > 0, seen, 1) * (part.T @ (counts / (part @ x + 4))), x)
        wanted.append(x.copy())
    data = PoissonLikelihood("emission", background=4.0)
    s = jr.solve(jr.Matrix(a), y, RichardsonLucy(subsets, order), 3, data=data, record="x", x0=np.linspace(1, 2, 8))
    np.testing.assert_allclose(s.history, wanted, rtol=1e-9)


def test_ordered_subsets_of_views_reach_the_same_activity():
    A = jr.XRay(jr.ParallelBeam(np.linspace(0, np.pi, 24, endpoint=False), 23), (16, 16))
    truth = 1.0 + jnp.zeros((16, 16)).at[4:9, 5:12].set(3.0)
    for b in (A(truth), A(truth).astype("float32")):
        fast = jr.solve(A, b, RichardsonLucy(8), 40)
        slow = jr.solve(A, b, RichardsonLucy(), 320)
        assert fast.ok and fast.x.dtype == slow.x.dtype
        assert jr.metrics.nrmse(fast.x, truth) < 1.1 * jr.metrics.nrmse(slow.x, truth)
    np.testing.assert_allclose(jr.solve(jr.real_part(A), b, RichardsonLucy(8), 2).x,
                               jr.solve(A, b, RichardsonLucy(8), 2).x, rtol=1e-5)
    with pytest.raises(ValueError, match="subsets are of views, and Convolution has none"):
        jr.solve(jr.Convolution(np.ones(3), (8,)), np.ones(8), RichardsonLucy(2), 1)
    with pytest.raises(ValueError, match="25 subsets cannot be made of 24 views"):
        jr.solve(A, A(truth), RichardsonLucy(25), 1)
    with pytest.raises(ValueError, match="subsets >= 1 or None, got 0"):
        RichardsonLucy(0)


def test_equals_scikit_image(rng):
    x, psf = rng.uniform(0.1, 1, (20, 24)), rng.uniform(0, 1, (5, 5))
    psf /= psf.sum()
    A = jr.Convolution(psf, x.shape, "zero")
    b = np.asarray(A(x))
    # scikit-image divides by no sensitivity, as if nothing left the image: compare where A^T 1 = 1.
    wanted = restoration.richardson_lucy(b, psf, num_iter=1, clip=False)
    got = jr.solve(A, b, RichardsonLucy(), 1, x0=np.full(x.shape, 0.5)).x
    inner = (slice(4, -4),) * 2
    np.testing.assert_allclose(got[inner], wanted[inner], rtol=1e-8)
    C = jr.Convolution(psf, x.shape)
    b, z = np.asarray(C(x)), np.full(x.shape, 0.5)
    for _ in range(20):
        z = z * np.asarray(C.H(b / C(z)))
    np.testing.assert_allclose(jr.solve(C, b, RichardsonLucy(), 20, x0=np.full(x.shape, 0.5)).x, z, rtol=1e-8)


def test_likelihood_falls_at_every_step_to_a_minimum(counted):
    a, y = counted
    data = PoissonLikelihood("emission", background=4.0)
    s = jr.solve(jr.Matrix(a), y, RichardsonLucy(), 20000, data=data, record="objective")
    assert (np.diff(s.history) <= 1e-9).all()
    x = np.asarray(s.x)
    slope = a.T @ (1 - y / (a @ x + 4))
    # Karush, Kuhn and Tucker: no slope where x > 0, none downwards where x = 0.
    assert (np.abs(x * slope) < 1e-4).all()
    assert (slope > -1e-4).all()
    other = jr.solve(jr.Matrix(a), y, jr.FISTA(jr.NonNegative(), restart=True), 20000, data=data).x
    np.testing.assert_allclose(x, other, atol=1e-2)


def test_counts_are_kept(counted):
    a, y = counted
    s = jr.solve(jr.Matrix(a), y, RichardsonLucy(), 3, record="x")
    np.testing.assert_allclose([(a @ x).sum() for x in s.history], y.sum(), rtol=1e-12)


def test_starts(counted):
    a, y = counted
    start = np.r_[0.0, np.ones(7)]
    x = jr.solve(jr.Matrix(a), y, RichardsonLucy(), 5, x0=start).x
    assert x[0] == 0
    assert (x[1:] > 0).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("boundary", ["circular", "zero", "symmetric"])
def test_stays_finite_and_non_negative_where_nothing_was_counted(rng, dtype, boundary):
    x = np.zeros((16, 16))
    x[3, 4], x[10, 11] = 1e5, 1e-3
    A = jr.Convolution((rng.uniform(0, 1, (9, 9)) / 40).astype(dtype), (16, 16), boundary)
    b = np.round(np.maximum(A(x), 0))
    s = jr.solve(A, b, RichardsonLucy(), 200)
    assert s.ok
    assert s.x.dtype == dtype
    assert (s.x >= 0).all()
    assert jr.solve(A, 0 * b, RichardsonLucy(), 3).ok
    unseen = jr.Matrix(np.array([[1.0, 0.0], [2.0, 0.0]]))
    np.testing.assert_allclose(jr.solve(unseen, np.array([1.0, 2.0]), RichardsonLucy(), 3, x0=np.ones(2)).x, [1, 0])


def test_transformations(counted):
    a, y = counted
    A = jr.Matrix(a)
    many = jax.vmap(lambda y: jr.solve(A, y, RichardsonLucy(), 20).x)(jnp.stack([y, y[::-1]]))
    np.testing.assert_allclose(many[1], jr.solve(A, y[::-1], RichardsonLucy(), 20).x, rtol=1e-10)

    def loss(r):
        data = PoissonLikelihood("emission", background=r)
        return jnp.sum(jr.solve(A, y, RichardsonLucy(), 20, data=data).x ** 2)

    np.testing.assert_allclose(jax.grad(loss)(4.0), (loss(4.001) - loss(3.999)) / 2e-3, rtol=1e-5)


@pytest.mark.parametrize("data", [jr.LeastSquares(), PoissonLikelihood("transmission", 10.0)])
def test_refuses_other_statistics(counted, data):
    with pytest.raises(ValueError, match=r"RichardsonLucy maximises the emission likelihood.*data=jr\.Poisson"):
        jr.solve(jr.Matrix(counted[0]), counted[1], RichardsonLucy(), 1, data=data)
