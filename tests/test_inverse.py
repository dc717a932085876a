"""Conjugate gradients run to rounding against dense algebra, and their implicit derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrecon.operator.inverse import implicit_solve, solve_positive
from jaxrecon.operators import Diagonal, Identity, Matrix, linear


def hermitian(rng, n, kind, rank=None):
    a = rng.standard_normal((rank or 2 * n, n))
    if kind == "complex":
        a = a + 1j * rng.standard_normal(a.shape)
    return a.conj().T @ a


def vector(rng, n, kind):
    return rng.standard_normal(n) + (1j * rng.standard_normal(n) if kind == "complex" else 0)


@pytest.mark.parametrize("kind", ["real", "complex"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_equals_dense_solve(rng, kind, dtype):
    m, b = hermitian(rng, 7, kind), vector(rng, 7, kind)
    cast = jnp.dtype(dtype) if kind == "real" else jnp.promote_types(dtype, jnp.complex64)
    x = solve_positive(Matrix(jnp.asarray(m, cast)), jnp.asarray(b, cast))
    assert x.dtype == cast
    want = np.linalg.solve(m, b)
    assert np.abs(x - want).max() < (1e-12 if dtype == "float64" else 2e-5) * np.abs(want).max()


def test_real_rhs_of_a_complex_operator(rng):
    m, b = hermitian(rng, 5, "complex"), vector(rng, 5, "real")
    x = solve_positive(Matrix(jnp.asarray(m)), jnp.asarray(b))
    np.testing.assert_allclose(x, np.linalg.solve(m, b), rtol=1e-11)


def test_complex_rhs_of_a_real_operator(rng):
    m, b = hermitian(rng, 5, "real"), vector(rng, 5, "complex")
    x = solve_positive(Matrix(jnp.asarray(m)), jnp.asarray(b))
    np.testing.assert_allclose(x, np.linalg.solve(m, b), rtol=1e-11)


def test_ill_conditioned(rng):
    q, _ = np.linalg.qr(rng.standard_normal((40, 40)))
    m = (q * np.logspace(0, -6, 40)) @ q.T
    want = rng.standard_normal(40)
    x = solve_positive(Matrix(jnp.asarray(m)), jnp.asarray(m @ want))
    assert np.abs(m @ x - m @ want).max() < 1e-13
    np.testing.assert_allclose(x, want, atol=1e-8)


@pytest.mark.parametrize(("kind", "warm"), [
    ("complex", True), *(pytest.param(*case, marks=pytest.mark.slow)
                         for case in [("real", True), ("real", False), ("complex", False)]),
])
def test_gradients_equal_those_of_dense_algebra(rng, kind, warm):
    m, b, w = jnp.asarray(hermitian(rng, 6, kind)), jnp.asarray(vector(rng, 6, kind)), jnp.asarray(vector(rng, 6, kind))
    start = jnp.asarray(vector(rng, 6, kind)) if warm else None

    def loss(solve):
        return lambda a, b: jnp.sum(jnp.abs(solve(a @ a.conj().T, b) - w) ** 2)

    ours = loss(lambda m, b: solve_positive(Matrix(m), b, start))
    dense = loss(jnp.linalg.solve)
    for i in (0, 1):
        got, want = jax.grad(ours, i)(m, b), jax.grad(dense, i)(m, b)
        np.testing.assert_allclose(got, want, atol=1e-9 * np.abs(want).max())
    tangent = (jnp.asarray(hermitian(rng, 6, kind)), jnp.asarray(vector(rng, 6, kind)))
    forward = [jax.jvp(f, (m, b), tangent)[1] for f in (ours, dense)]
    np.testing.assert_allclose(*forward, rtol=1e-9)


def test_gradients_equal_central_differences(rng):
    m, b = jnp.asarray(hermitian(rng, 6, "complex")), jnp.asarray(vector(rng, 6, "complex"))
    d, e = jnp.asarray(rng.standard_normal(6)), jnp.asarray(vector(rng, 6, "complex"))

    def loss(s):
        return jnp.sum(jnp.abs(solve_positive(Matrix(m) + Diagonal(1 + s * d), b + s * e) ** 3))

    step = 1e-5
    want = (loss(step) - loss(-step)) / (2 * step)
    np.testing.assert_allclose(jax.grad(loss)(0.0), want, rtol=1e-7)
    np.testing.assert_allclose(jax.jvp(loss, (0.0,), (1.0,))[1], want, rtol=1e-7)


@pytest.mark.slow
def test_second_derivative(rng):
    m, b = jnp.asarray(hermitian(rng, 5, "complex")), jnp.asarray(vector(rng, 5, "complex"))

    def loss(solve):
        return lambda s: jnp.sum(jnp.abs(solve(m + s * jnp.eye(5), b)) ** 2)

    ours, dense = loss(lambda m, b: solve_positive(Matrix(m), b)), loss(jnp.linalg.solve)
    np.testing.assert_allclose(jax.grad(jax.grad(ours))(0.3), jax.grad(jax.grad(dense))(0.3), rtol=1e-9)


def test_vmap_equals_loop(rng):
    m, b = jnp.asarray(hermitian(rng, 6, "complex")), jnp.asarray(rng.standard_normal((3, 6)) + 0j)
    shifts = jnp.array([0.0, 1.0, 100.0])

    def f(b, s):
        return solve_positive(Matrix(m) + s * Identity((6,)), b)

    np.testing.assert_allclose(jax.vmap(f)(b, shifts), jnp.stack([f(v, s) for v, s in zip(b, shifts, strict=True)]),
                               rtol=1e-12)

    def g(b, s):
        return jax.grad(lambda s: jnp.sum(jnp.abs(f(b, s)) ** 2))(s)

    np.testing.assert_allclose(jax.vmap(g)(b, shifts), jnp.stack([g(v, s) for v, s in zip(b, shifts, strict=True)]),
                               rtol=1e-10)


@pytest.mark.parametrize("kind", [pytest.param("real", marks=pytest.mark.slow), "complex"])
def test_zero_rhs_and_its_gradients(rng, kind):
    m, zero = jnp.asarray(hermitian(rng, 4, kind)), jnp.zeros(4, kind if kind == "complex" else float)
    x = solve_positive(Matrix(m), zero)
    assert np.all(x == 0)
    gradient = jax.grad(lambda m, b: jnp.sum(jnp.abs(1 + solve_positive(Matrix(m), b)) ** 2), (0, 1))(m, zero)
    assert np.all(gradient[0] == 0)
    np.testing.assert_allclose(gradient[1], np.linalg.solve(m, 2 * np.ones(4)).conj(), rtol=1e-10)


def test_starting_at_the_solution_needs_no_step(rng):
    m, want = hermitian(rng, 6, "real"), rng.standard_normal(6)
    x = solve_positive(Matrix(jnp.asarray(m)), jnp.asarray(m @ want), jnp.asarray(want), tolerance=1e-12)
    np.testing.assert_array_equal(x, want)
    x = solve_positive(Matrix(jnp.asarray(m)), jnp.asarray(m @ want), jnp.asarray(rng.standard_normal(6)))
    np.testing.assert_allclose(x, want, rtol=1e-11)


@pytest.mark.parametrize("kind", [pytest.param("real", marks=pytest.mark.slow), "complex"])
def test_singular_but_consistent(rng, kind):
    m = hermitian(rng, 8, kind, rank=5)
    b = m @ vector(rng, 8, kind)
    x = solve_positive(Matrix(jnp.asarray(m)), jnp.asarray(b))
    np.testing.assert_allclose(x, np.linalg.pinv(m, rcond=1e-10) @ b, atol=1e-11)

    # A derivative whose right-hand side stays in the range is that of the pseudo-inverse.
    w = m @ vector(rng, 8, kind)
    gradient = jax.grad(lambda b: jnp.sum(jnp.conj(w) * solve_positive(Matrix(jnp.asarray(m)), b)).real)(jnp.asarray(b))
    np.testing.assert_allclose(jnp.conj(gradient), np.linalg.pinv(m, rcond=1e-10) @ w, atol=1e-10)


def test_the_zero_operator_gives_zero():
    x = solve_positive(Matrix(jnp.zeros((3, 3))), jnp.ones(3))
    assert np.all(x == 0)


def test_a_map_linear_over_the_reals_only(rng):
    # z -> z + n Re(conj(n) z): self-adjoint under Re <., .>, not linear over the complex numbers.
    n, b = jnp.asarray(vector(rng, 4, "complex")), jnp.asarray(vector(rng, 4, "complex"))

    def apply(z):
        return z + n * (jnp.conj(n) * z).real

    x = implicit_solve(apply, b)
    np.testing.assert_allclose(apply(x), b, rtol=1e-12)
    gradient = jax.grad(lambda b: jnp.sum(implicit_solve(apply, b) * jnp.conj(n)).real)(b)
    np.testing.assert_allclose(jnp.conj(gradient), implicit_solve(apply, n), rtol=1e-11)


def test_iterations_and_tolerance(rng):
    m, b = hermitian(rng, 6, "real"), rng.standard_normal(6)
    x = solve_positive(Matrix(jnp.asarray(m)), jnp.asarray(b), iterations=1)
    np.testing.assert_allclose(x, (b @ b) / (b @ m @ b) * b, rtol=1e-12)
    for tolerance in (1e-2, 1e-6):
        x = solve_positive(Matrix(jnp.asarray(m)), jnp.asarray(b), tolerance=tolerance)
        assert 1e-15 < np.linalg.norm(m @ x - b) <= tolerance * np.linalg.norm(b)


def test_errors():
    M = Diagonal(jnp.ones(3))
    with pytest.raises(ValueError, match=r"rhs must be shaped as .*\[3\], got .*\[4\]"):
        solve_positive(M, jnp.ones(4))
    with pytest.raises(ValueError, match="x0 must be shaped"):
        solve_positive(M, jnp.ones(3), jnp.ones(2))
    with pytest.raises(ValueError, match="at least 1, got 0"):
        solve_positive(M, jnp.ones(3), iterations=0)


def test_compiles_once_for_new_values():
    traces = []

    def tracked(d, x):
        traces.append(1)
        return d * x

    first, second = (linear(tracked, (3,), jnp.full(3, v)) for v in (1.0, 2.0))
    solve_positive(first, jnp.ones(3))
    before = len(traces)
    solve_positive(second, jnp.zeros(3))
    assert len(traces) == before
