import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import nnls

import jaxrecon as jr
from jaxrecon.operators.system_matrix import LARGEST_GRAM, DenseGram, SystemGram, SystemMatrix

SHAPE = (4, 5)


@pytest.fixture
def s(rng):
    return rng.standard_normal((30, *SHAPE)) + 1j * rng.standard_normal((30, *SHAPE))


def real_rows(s):
    flat = s.reshape(len(s), -1)
    return np.stack([flat.real, flat.imag], 1).reshape(2 * len(s), -1)


def numpy_kaczmarz(a, b, lam, sweeps):
    x, w = np.zeros(a.shape[1]), np.zeros(len(a))
    for _ in range(sweeps):
        for k, row in enumerate(a):
            step = (b[k] - row @ x - w[k]) / (row @ row + lam)
            x += step * row
            w[k] += lam * step
        x = np.maximum(x, 0)
    return x


def test_operator_laws(s, rng):
    key = jax.random.key(0)
    A = SystemMatrix(s)
    jr.testing.check_operator(A, key)
    jr.testing.check_operator(A.gram, key)
    jr.testing.check_operator(A.weighted_gram(rng.random(30)).prepared, key)
    jr.testing.check_operator(SystemMatrix(s.real[:3]), key)


def test_equals_the_matrix(s, rng):
    A, flat, x = SystemMatrix(s), s.reshape(30, -1), rng.random(SHAPE)
    np.testing.assert_allclose(A(x), flat @ x.ravel(), rtol=1e-13)
    y = np.asarray(A(x))
    np.testing.assert_allclose(A.H(y), (flat.conj().T @ y).real.reshape(SHAPE), rtol=1e-12)
    np.testing.assert_array_equal(jr.dense(A), flat)
    np.testing.assert_array_equal(SystemMatrix(flat, SHAPE)(x), A(x))
    assert A.codomain.dtype == complex and A.domain.dtype == float
    single = SystemMatrix(s.astype("complex64"))
    assert single(x.astype("float32")).dtype == jnp.complex64 and single.H(y.astype("complex64")).dtype == jnp.float32


def test_gram_is_made_once_where_that_is_cheaper(s, rng):
    flat, w = s.reshape(30, -1), rng.random(30)
    plain, weighted = SystemMatrix(s).gram.prepared, SystemMatrix(s).weighted_gram(w).prepared
    assert isinstance(plain, DenseGram) and isinstance(weighted, DenseGram)
    np.testing.assert_allclose(plain.a, (flat.conj().T @ flat).real, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(weighted.a, (flat.conj().T @ (w[:, None] * flat)).real, rtol=1e-12, atol=1e-12)
    assert isinstance(SystemMatrix(s[:2]).gram.prepared, SystemGram)
    assert isinstance(SystemMatrix(np.ones((2000, LARGEST_GRAM + 1), "float32"), LARGEST_GRAM + 1).gram.prepared,
                      SystemGram)


@pytest.mark.parametrize("lam", [0.0, 0.3])
def test_kaczmarz_is_the_row_loop_with_projection(s, rng, lam):
    A, b = SystemMatrix(s), rng.standard_normal(30) + 1j * rng.standard_normal(30)
    got = jr.solve(A, b, jr.Kaczmarz(lam, prior=jr.NonNegative()), iterations=3).x
    wanted = numpy_kaczmarz(real_rows(s), np.stack([b.real, b.imag], 1).ravel(), lam, 3)
    np.testing.assert_allclose(got, wanted.reshape(SHAPE), rtol=1e-11, atol=1e-13)
    flat = jr.solve(jr.real_part(jr.Matrix(s.reshape(30, -1))), b, jr.Kaczmarz(lam, prior=jr.NonNegative()),
                    iterations=3).x
    np.testing.assert_allclose(got.ravel(), flat, rtol=1e-12, atol=1e-14)


@pytest.mark.slow
def test_every_solver_finds_the_minimiser(s, rng):
    A, b = SystemMatrix(s), rng.standard_normal(30) + 1j * rng.standard_normal(30)
    a, r = real_rows(s), np.stack([b.real, b.imag], 1).ravel()
    ridge = np.linalg.solve(a.T @ a + 20 * np.eye(20), a.T @ r).reshape(SHAPE)
    for solver, n in [(jr.CGNR(20.0), 25), (jr.Kaczmarz(20.0), 300)]:
        np.testing.assert_allclose(jr.solve(A, b, solver, iterations=n).x, ridge, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(jr.tikhonov(A, b, 20.0), ridge, rtol=1e-10, atol=1e-12)
    weak = 20 * rng.random(SHAPE) + 10
    got = jr.solve(A, b, jr.Kaczmarz(weak), iterations=300).x
    np.testing.assert_allclose(got.ravel(), np.linalg.solve(a.T @ a + np.diag(weak.ravel()), a.T @ r), rtol=1e-7)
    positive = nnls(a, r)[0].reshape(SHAPE)
    for solver in (jr.FISTA(jr.NonNegative()), jr.ADMM(jr.NonNegative(), rho=30.0)):
        np.testing.assert_allclose(jr.solve(A, b, solver, iterations=300).x, positive, rtol=1e-6, atol=1e-8)


def test_weights_move_into_the_rows(s, rng):
    A, b, w = SystemMatrix(s), rng.standard_normal(30) + 1j * rng.standard_normal(30), rng.random(30) + 0.1
    weighted, rooted = SystemMatrix(np.sqrt(w)[:, None, None] * s), np.sqrt(w) * b
    for solver in (jr.Kaczmarz(0.1, prior=jr.NonNegative()), jr.CGNR(0.1)):
        got = jr.solve(A, b, solver, iterations=5, data=jr.LeastSquares(w)).x
        np.testing.assert_allclose(got, jr.solve(weighted, rooted, solver, iterations=5).x, rtol=1e-9, atol=1e-11)
    np.testing.assert_array_equal(A.weighted(w).s, w[:, None] * A.s)


@pytest.mark.parametrize("solver", [jr.Kaczmarz(0.1, prior=jr.NonNegative()), jr.CGNR(0.1), jr.FISTA(jr.NonNegative())],
                         ids=["kaczmarz", "cgnr", "fista"])
def test_many_frames_are_one_program_that_shares_the_matrix(s, rng, solver):
    A = SystemMatrix(s)
    frames = rng.standard_normal((64, 30)) + 1j * rng.standard_normal((64, 30))
    traces = []

    @jax.jit
    def all_at_once(A, frames):
        traces.append(1)
        return jax.vmap(lambda b: jr.solve(A, b, solver, iterations=4).x)(frames)

    got = all_at_once(A, frames)
    all_at_once(SystemMatrix(2 * s), frames)
    assert len(traces) == 1
    one = np.stack([jr.solve(A, b, solver, iterations=4).x for b in frames[:5]])
    np.testing.assert_allclose(got[:5], one, rtol=1e-10, atol=1e-12)
    memory = all_at_once.lower(A, frames).compile().memory_analysis()
    if memory is not None:  # 64 matrices would take 614 kB
        assert memory.temp_size_in_bytes < 64 * 30 * 20 * 16 / 2


@pytest.mark.slow
def test_gradient_reaches_matrix_and_lam(s, rng):
    b = rng.standard_normal(30) + 1j * rng.standard_normal(30)

    def loss(scale, lam):
        x = jr.solve(SystemMatrix(scale * s), b, jr.Kaczmarz(lam, prior=jr.NonNegative()), iterations=2).x
        return jnp.sum(x**2)

    h = 1e-6
    got = jax.grad(loss, argnums=(0, 1))(1.0, 0.2)
    numeric = [(loss(1 + h, 0.2) - loss(1 - h, 0.2)) / (2 * h), (loss(1.0, 0.2 + h) - loss(1.0, 0.2 - h)) / (2 * h)]
    np.testing.assert_allclose(got, numeric, rtol=1e-5)


def test_errors(s):
    with pytest.raises(ValueError, match=r"got \(3,\) for an image of shape \(\)"):
        SystemMatrix(np.ones(3))
    with pytest.raises(ValueError, match=r"got \(30, 4, 5\) for an image of shape \(5, 5\)"):
        SystemMatrix(s, (5, 5))
    with pytest.raises(ValueError, match="takes a real x"):
        SystemMatrix(s)(np.ones(SHAPE, complex))
    with pytest.raises(ValueError, match=r"lam has shape \(20,\), but there are 20 unknowns, shaped"):
        jr.solve(SystemMatrix(s), np.ones(30, complex), jr.Kaczmarz(np.ones(20)), iterations=1)
    with pytest.raises(ValueError, match="FISTA"):
        jr.Kaczmarz(0.1, prior=jr.TV(1.0))


def test_admm_on_a_large_ill_conditioned_matrix_in_single_precision(rng):
    u, _ = np.linalg.qr(rng.standard_normal((60, 20)) + 1j * rng.standard_normal((60, 20)))
    v, _ = np.linalg.qr(rng.standard_normal((20, 20)))
    s = (3e4 * u * np.geomspace(1, 1e-3, 20)) @ v
    x = np.kron(np.eye(2), np.ones((2, 3)))[:, :5]
    b = (s @ x.ravel()).astype("complex64")
    # |A|^2 is 1e9: in float32 A^H A + K^H K is singular to rounding, and its Cholesky factor NaN.
    solver = jr.ADMM([jr.NonNegative(), jr.TV(1e3)], rho=1e4, balance=True)
    got = jr.solve(SystemMatrix(s.astype("complex64"), SHAPE), b, solver, iterations=300).x
    assert got.dtype == jnp.float32
    np.testing.assert_allclose(got, x, atol=0.02)
