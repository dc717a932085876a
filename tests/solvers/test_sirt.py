"""SIRT and SART against their updates in NumPy, and against what they minimise."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import nnls

from jaxrecon.fidelity import LeastSquares, PoissonLikelihood
from jaxrecon.geometry import FanBeam, ParallelBeam
from jaxrecon.operator import batched, dense, with_norm
from jaxrecon.operators import Convolution, Diagonal, Fourier, Gradient, Identity, Matrix, SystemMatrix
from jaxrecon.operators.xray import XRay
from jaxrecon.priors import L1, Box, NonNegative
from jaxrecon.solvers import SART, SIRT, Landweber, solve, unroll
from jaxrecon.solvers.subsets import subsets_of

V, D, SHAPE = 11, 13, (7, 8)
GOLDEN = {4: [0, 2, 1, 3], 11: [0, 7, 3, 9, 5, 1, 8, 4, 10, 6, 2]}


@functools.cache
def scanner():
    A = XRay(FanBeam(np.linspace(0, 6, V), D, 20.0, 10.0, 1.5), SHAPE)
    return A, np.asarray(dense(A))


def inverse(v):
    return np.where(v > 0, 1 / np.where(v > 0, v, 1), 0)


def update(M, b, x, t=1.0):
    """One update of all unknowns by the rows M."""
    return x + t * inverse(abs(M).sum(0)) * (M.conj().T @ (inverse(abs(M).sum(1)) * (b - M @ x)))


def passes(M, b, order, number, t=1.0, project=lambda x: x):
    """`number` passes over the subsets `order` of rows."""
    x = np.zeros(M.shape[1])
    for _ in range(number):
        for rows in order:
            x = project(update(M[rows], b[rows], x, t))
    return x


def system(rng, m=30, n=12):
    return rng.uniform(0, 1, (m, n)) * (rng.uniform(0, 1, (m, n)) < 0.6), rng.uniform(0, 3, m)


# ---- SIRT


@pytest.mark.parametrize("solver, t, project", [
    (SIRT(), 1.0, lambda x: x),
    (SIRT(NonNegative(), relaxation=1.7), 1.7, lambda x: np.maximum(x, 0)),
    (SIRT(Box(0.2, 0.5)), 1.0, lambda x: np.clip(x, 0.2, 0.5)),
])
def test_sirt_is_its_update(rng, solver, t, project):
    M, b = system(rng)
    M[3], M[:, 5] = 0, 0
    x = solve(Matrix(M), b, solver, iterations=9).x
    np.testing.assert_allclose(x, passes(M, b, [slice(None)], 9, t, project), atol=1e-12)
    A, M = scanner()
    b = M @ rng.uniform(0, 1, M.shape[1]) + rng.standard_normal(V * D)
    x = solve(A, b.reshape(V, D), solver, iterations=9).x
    np.testing.assert_allclose(x.ravel(), passes(M, b, [slice(None)], 9, t, project), atol=1e-10)


def test_sirt_is_landweber_in_its_weights(rng):
    M, b = system(rng)
    root_c, root_r = np.sqrt(inverse(M.sum(0))), np.sqrt(inverse(M.sum(1)))
    A = root_r[:, None] * M * root_c
    np.testing.assert_allclose(np.linalg.norm(A, 2), 1)  # why it needs no step size
    z = solve(Matrix(A), root_r * b, Landweber(1.0), iterations=25).x
    np.testing.assert_allclose(solve(Matrix(M), b, SIRT(), iterations=25).x, root_c * z, atol=1e-12)


def test_what_sirt_minimises(rng):
    M, b = system(rng)
    b = b - 1
    root = np.sqrt(inverse(M.sum(1)))
    weighted = np.linalg.lstsq(root[:, None] * M, root * b)[0]
    assert np.linalg.norm(weighted - np.linalg.lstsq(M, b)[0]) > 0.05
    np.testing.assert_allclose(solve(Matrix(M), b, SIRT(), iterations=3000).x, weighted, atol=1e-8)
    constrained = nnls(root[:, None] * M, root * b)[0]
    assert np.sum(constrained == 0) > 2
    np.testing.assert_allclose(solve(Matrix(M), b, SIRT(NonNegative()), iterations=3000).x, constrained, atol=1e-8)


def test_weights_are_those_of_scaled_rows(rng):
    A, M = scanner()
    b, w = rng.uniform(0, 3, (V, D)), rng.uniform(0, 2, (V, D))
    root = np.sqrt(w).ravel()
    for solver, order in ((SIRT(), [slice(None)]), (SART(4), rows_of(4))):
        wanted = passes(root[:, None] * M, root * b.ravel(), order, 3)
        got = solve(A, b, solver, iterations=3, data=LeastSquares(w)).x
        np.testing.assert_allclose(got.ravel(), wanted, atol=1e-10)


def test_signed_and_complex_matrices_converge(rng):
    M = rng.standard_normal((20, 6)) + 1j * rng.standard_normal((20, 6))
    x = rng.standard_normal(6) + 1j * rng.standard_normal(6)
    for solver in (SIRT(), SART(5)):
        np.testing.assert_allclose(solve(Matrix(M), M @ x, solver, iterations=400).x, x, atol=1e-8)
    real = np.abs(x).reshape(2, 3)
    A = SystemMatrix(M.reshape(20, 2, 3))
    for solver in (SIRT(NonNegative()), SART(5, NonNegative())):
        np.testing.assert_allclose(solve(A, A(real), solver, iterations=400).x, real, atol=1e-8)


# ---- SART


def rows_of(subsets):
    order = GOLDEN.get(subsets, range(subsets))
    return [np.concatenate([np.arange(v * D, (v + 1) * D) for v in range(s, V, subsets)]) for s in order]


@pytest.mark.parametrize("subsets", [None, 4])
def test_sart_is_its_updates(rng, subsets):
    A, M = scanner()
    b = M @ rng.uniform(0, 1, M.shape[1]) + rng.standard_normal(V * D)
    order = rows_of(subsets or V)
    solver = SART(subsets, NonNegative(), relaxation=0.6)
    got = solve(A, b.reshape(V, D), solver, iterations=3).x
    np.testing.assert_allclose(got.ravel(), passes(M, b, order, 3, 0.6, lambda x: np.maximum(x, 0)), atol=1e-10)


def test_sart_of_a_matrix(rng):
    M, b = system(rng)
    x = solve(Matrix(M), b, SART(7, order="cyclic"), iterations=4).x
    np.testing.assert_allclose(x, passes(M, b, [np.arange(s, 30, 7) for s in range(7)], 4), atol=1e-12)
    scaled = solve(Diagonal(jnp.full(30, 2.0)) @ (0.5 * Matrix(M)), b, SART(7, order="cyclic"), iterations=4).x
    np.testing.assert_allclose(scaled, x, atol=1e-12)


def test_one_subset_is_sirt(rng):
    M, b = system(rng)
    np.testing.assert_allclose(solve(Matrix(M), b, SART(1), iterations=5).x,
                               solve(Matrix(M), b, SIRT(), iterations=5).x, atol=1e-13)


def test_subsets():
    for n, visit in GOLDEN.items():
        index, present = subsets_of(Matrix(np.ones((V, 1))), np.ones(V), n, "golden")
        assert index[:, 0].tolist() == visit
        assert sorted(index[present]) == list(range(V))
        assert all(v % n == s for s, views in zip(visit, index, strict=True) for v in views)
    assert subsets_of(Matrix(np.ones((6, 1))), np.ones(6), 3, "cyclic").index.tolist() == [[0, 3], [1, 4], [2, 5]]


# ---- under transformations


@pytest.mark.slow
def test_transformations(rng):
    M, b = system(rng)
    A = Matrix(M)

    def error(t, solver):
        return jnp.sum(solve(A, b, solver(relaxation=t), iterations=5).x ** 2)

    for solver in (SIRT, functools.partial(SART, 7)):
        slope = jax.grad(error)(0.8, solver)
        np.testing.assert_allclose(slope, (error(0.80001, solver) - error(0.79999, solver)) / 2e-5, rtol=1e-5)
        many = jax.vmap(lambda t, s=solver: solve(A, b, s(relaxation=t), iterations=3).x)(jnp.array([0.5, 1.0]))
        np.testing.assert_allclose(many[1], solve(A, b, solver(), iterations=3).x, atol=1e-13)
        x = unroll(A, b, solver(relaxation=jnp.ones(3)), iterations=3)
        np.testing.assert_allclose(x, many[1], atol=1e-13)
        single = solve(Matrix(M.astype("float32")), b, solver(prior=NonNegative()), iterations=3)
        assert single.x.dtype == jnp.float32 and single.ok


# ---- what they refuse


@pytest.mark.parametrize("solver", [SIRT, SART])
def test_errors(solver):
    for wrong in ({"relaxation": 0.0}, {"relaxation": 2.0}):
        with pytest.raises(ValueError, match="relaxation"):
            solver(**wrong)
    with pytest.raises(ValueError, match=r"constraint.*L1"):
        solver(prior=L1(0.1))
    with pytest.raises(TypeError, match="prior"):
        solver(prior=0.1)
    A = scanner()[0]
    with pytest.raises(ValueError, match="least-squares"):
        solve(A, np.ones((V, D)), solver(), data=PoissonLikelihood("emission"))


def test_operators_that_do_not_suit():
    with pytest.raises(ValueError, match="complex"):
        solve(Fourier((4, 4)), np.ones((4, 4)), SIRT())
    assert not solve(Gradient((4, 4)), np.ones((2, 4, 4)), SIRT(), iterations=1).ok
    for kernel in ([-0.3, 1.6, -0.3], [-0.01, 1.02, -0.01]):  # row sums of 1
        assert not solve(Convolution(np.array(kernel), (64,)), np.ones(64), SIRT(), iterations=1).ok
    assert solve(Convolution(np.array([0.3, 0.4, 0.3]), (64,)), np.ones(64), SIRT(), iterations=1).ok
    assert solve(Identity((4, 4)), np.ones((4, 4)), SIRT(), iterations=1).ok
    for A, b in ((Identity((4, 4)), np.ones((4, 4))), (batched(scanner()[0], 2), np.ones((2, V, D)))):
        with pytest.raises(ValueError, match="views"):
            solve(A, b, SART(2))
    with pytest.raises(ValueError, match="subsets <= 11"):
        solve(scanner()[0], np.ones((V, D)), SART(12))
    with pytest.raises(ValueError, match="order"):
        SART(order="random")
    with pytest.raises(ValueError, match="subsets >= 1"):
        SART(0)


def test_sart_takes_an_operator_with_its_norm():
    X = XRay(ParallelBeam(np.linspace(0, np.pi, 12, endpoint=False), 25), (16, 16))
    b = X(jnp.ones((16, 16)))
    want = solve(X, b, SART(), 2).x
    np.testing.assert_allclose(solve(with_norm(X), b, SART(), 2).x, want, rtol=1e-5)
    np.testing.assert_allclose(solve(X, b, SART(), 2, scale="system").x, want, rtol=1e-4)
