"""The algebra of operators against dense matrices, and what it says to bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrecon.operator import LinearOperator, batched, dense, operator_norm, real_part, stack
from jaxrecon.operators.coils import CoilMaps
from jaxrecon.operators.elementary import Diagonal, Identity, Matrix
from jaxrecon.operators.fourier import Fourier
from jaxrecon.operators.function import linear
from jaxrecon.testing import check_operator

KEY = jax.random.key(0)
RNG = np.random.default_rng(3)
R, R2 = RNG.standard_normal((4, 3)), RNG.standard_normal((4, 3))
C = R + 1j * RNG.standard_normal((4, 3))
D, DC = R[0], C[0]
A, B, AC, BC = Matrix(R), Matrix(R2), Matrix(C), Matrix(C.T)

SHIFT = np.fft.fftshift(np.eye(4), 0)

# operator, its matrix
CASES = {
    "matrix": (A, R),
    "complex matrix": (AC, C),
    "single matrix": (Matrix(R.astype("float32")), R.astype("float32")),
    "diagonal": (Diagonal(D), np.diag(D)),
    "identity": (Identity(3), np.eye(3)),
    "adjoint": (AC.H, C.conj().T),
    "product": (BC @ A, C.T @ R),
    "sum": (A + 2.0 * AC, R + 2 * C),
    "difference": (A - B / 4, R - R2 / 4),
    "negative": (-AC, -C),
    "complex multiple of a real operator": ((2 - 1j) * A, (2 - 1j) * R),
    "gram": (AC.gram, C.conj().T @ C),
    "product gram": ((BC @ Diagonal(R[:, 0])).gram, (C.T @ np.diag(R[:, 0])).conj().T @ (C.T @ np.diag(R[:, 0]))),
    "function": (linear(jnp.cumsum, (3,)), np.tril(np.ones((3, 3)))),
    "stack": (stack([AC, Diagonal(D)]), np.vstack([C, np.diag(D)])),
    "batch": (batched(A, 2), np.kron(np.eye(2), R)),
    "lifted product": (Diagonal(D) @ CoilMaps(C[:2]), np.vstack([np.diag(D * C[0]), np.diag(D * C[1])])),
    "Fourier of a sum": (Fourier(4) @ (A + AC), np.fft.fft(SHIFT) @ SHIFT @ (R + C) / 2),
}


def test_a_domain_of_whole_numbers_is_of_floats():
    assert linear(jnp.cumsum, np.zeros(3, "uint8")).domain.dtype == jnp.float64
    assert linear(jnp.cumsum, np.zeros(3, "float32")).domain.dtype == jnp.float32


@pytest.mark.parametrize("case", CASES)
def test_matrix_of_every_operator(case):
    operator, matrix = CASES[case]
    tolerance = 1e-6 if "single" in case else 1e-13
    np.testing.assert_allclose(dense(operator), matrix, atol=tolerance)
    if not isinstance(operator.codomain, tuple):
        # The columns of A^H, which is another route through the code than that of A.
        np.testing.assert_allclose(dense(operator.H), matrix.conj().T, atol=tolerance)


# Each goes through all of check_operator: the kinds that combine, not every one of them.
@pytest.mark.parametrize("operator", [
    BC @ A + (1 + 2j) * (BC @ B), stack([AC, Diagonal(D)]), batched(AC.H, 2), real_part(AC),
    (1 + 2j) * real_part(AC) + A, real_part(BC) @ A, BC @ real_part(AC), stack([real_part(AC), A]),
    linear(lambda x: (x[:2], jnp.sum(x)), (3,)), linear(jnp.imag, jax.ShapeDtypeStruct((3,), "complex128")),
    real_part(Fourier(5, mask=np.arange(5) > 1)), Matrix(C.astype("complex64")), Diagonal(DC), Identity(3),
], ids=["sum", "stack", "batch", "real", "real sum", "real outer", "real inner", "real stack", "tuple", "to real",
        "real circulant", "single", "diagonal", "identity"])
def test_combinations_are_sound(operator):
    check_operator(operator, KEY)


def test_adjoint_is_found_by_transposition():
    F = linear(lambda p, x: p @ x + jnp.sum(x), jax.ShapeDtypeStruct((3,), "complex128"), params=jnp.asarray(C))
    np.testing.assert_allclose(dense(F.H), dense(F).conj().T, atol=1e-14)


@pytest.mark.parametrize("name", ["float32", "float64", "complex64", "complex128"])
def test_adjoint_dtypes_of_real_coefficients(name):
    x = A.H(jnp.ones(4, name))
    assert x.dtype == jnp.promote_types(name, jnp.float64)  # the precision of A where it is finer
    assert Matrix(R.astype("float32")).H(jnp.ones(4, name)).dtype == name
    assert linear(jnp.cumsum, jax.ShapeDtypeStruct((4,), "float32")).H(jnp.ones(4, name)).dtype == name


def test_factor_does_not_lift_the_precision():
    F = jnp.float64(3.0) * Matrix(R.astype("float32"))
    assert F(jnp.ones(3, "float32")).dtype == jnp.float32
    assert F.H(jnp.ones(4, "float32")).dtype == jnp.float32
    assert (2j * F).domain.dtype == jnp.complex64


def test_integers_and_bools_are_taken_at_the_dtype_of_the_operator():
    np.testing.assert_allclose(A(np.array([1, 0, 2])), R @ [1, 0, 2], rtol=1e-14)
    np.testing.assert_allclose(A(np.array([True, False, True])), R @ [1, 0, 1], rtol=1e-14)


def test_gram_is_specialised():
    np.testing.assert_allclose(Diagonal(DC).gram.d, np.abs(DC) ** 2)
    assert isinstance(Fourier(4).gram, Identity)
    assert isinstance((Fourier(4) @ Diagonal(np.ones(4))).gram, Diagonal)
    for G in (A.gram, (BC @ A).gram, stack([A, B]).gram, real_part(AC).gram):
        np.testing.assert_allclose(dense(G), dense(G).conj().T, atol=1e-13)
    assert all(G.H is G for G in (A.gram, (BC @ A).gram, real_part(AC).gram, Fourier(4, np.ones(4)).gram))


def test_real_part():
    F = real_part(AC)
    assert F.domain.dtype == jnp.float64
    assert real_part(F) is F
    y = jnp.asarray(C[:, 1])
    np.testing.assert_allclose(F.H(y), (C.conj().T @ C[:, 1]).real, rtol=1e-13)
    np.testing.assert_allclose(dense(F.gram), (C.conj().T @ C).real, rtol=1e-13)


def test_products_with_a_real_unknown_inside_take_real_x_only():
    F = real_part(BC) @ A
    assert F.real_domain
    assert F.domain.dtype == jnp.float64
    with pytest.raises(ValueError, match=r"real x only.*real_part"):
        real_part(BC) @ AC


def test_spectra_combine():
    M, N = (Fourier((4, 5), jnp.asarray(RNG.random((4, 5)))).gram for _ in range(2))
    S = M + 3.0 * N + Identity((4, 5))
    x = jnp.asarray(RNG.standard_normal((4, 5)) + 1j)
    np.testing.assert_allclose(jnp.fft.ifftn(S.spectrum * jnp.fft.fftn(x)), S(x), atol=1e-13)
    assert (M + Diagonal(jnp.ones((4, 5)))).spectrum is None


def test_operator_norm():
    wanted = np.linalg.norm(C, 2)
    np.testing.assert_allclose(operator_norm(AC, 400), wanted, rtol=1e-10)
    np.testing.assert_allclose(operator_norm(AC, 400, jax.random.key(5)), wanted, rtol=1e-10)
    assert operator_norm(Matrix(np.zeros((2, 2)))) == 0
    u, _, vh = np.linalg.svd(R)
    slope = jax.grad(lambda a: operator_norm(Matrix(a), 400))(jnp.asarray(R))
    np.testing.assert_allclose(slope, np.outer(u[:, 0], vh[0]), atol=1e-8)
    assert np.all(np.isfinite(jax.grad(lambda a: operator_norm(Matrix(a)))(jnp.zeros((2, 2)))))
    with pytest.raises(ValueError, match=r">= 1, got 0"):
        operator_norm(A, 0)


def test_operators_are_values():
    leaves, tree = jax.tree.flatten(2.0 * AC + A)
    assert len(leaves) == 2  # a multiple of a matrix is a matrix
    stacked = jax.vmap(lambda c: c * A)(jnp.arange(3.0))
    x = jnp.ones(3)
    np.testing.assert_allclose(jax.vmap(lambda F: F(x))(stacked), np.arange(3.0)[:, None] * (R @ x), rtol=1e-13)
    assert jax.tree.structure(3.0 * A + B) == tree
    slope = jax.grad(lambda F: jnp.sum(F(x) ** 2))(A)
    np.testing.assert_allclose(slope.a, 2 * np.outer(R @ x, x), rtol=1e-13)


def test_new_values_do_not_trace_again():
    traces = []

    @jax.jit
    def run(F, x):
        traces.append(1)
        return F.H(F(x)), F.gram(x)

    for seed in range(3):
        a = jnp.asarray(np.random.default_rng(seed).standard_normal((4, 3)))
        run(stack([Matrix(a), seed * Matrix(a) + A]), a[0])
        run(stack([Matrix(a), seed * Matrix(a) + A]).prepared, a[0])
    assert len(traces) == 1


@pytest.mark.parametrize(("make", "error", "message"), [
    (lambda: A(jnp.ones(4)), ValueError, r"Matrix takes shape \(3,\), got \(4,\)"),
    (lambda: A(jnp.ones((5, 3))), ValueError, r"jr.batched\(A, 5\)"),
    (lambda: A.H(jnp.ones(3)), ValueError, r"Matrix.H takes shape \(4,\), got \(3,\)"),
    (lambda: A((jnp.ones(3), jnp.ones(3))), ValueError, "the number of arrays differs"),
    (lambda: stack([A, B]).H(jnp.ones(4)), ValueError, "the number of arrays differs"),
    (lambda: real_part(AC)(jnp.ones(3, complex)), ValueError, "takes a real x, got complex128"),
    (lambda: Matrix(np.ones(3)), ValueError, r"2-D array.*got shape \(3,\)"),
    (lambda: A @ B, ValueError, r"Matrix gives float64\[4\], A = Matrix takes float64\[3\]"),
    (lambda: A + BC, ValueError, r"equal shapes: domain float64\[3\] and complex128\[4\]"),
    (lambda: stack([A, BC]), ValueError, r"one domain.*\(3,\), \(4,\)"),
    (lambda: stack([]), ValueError, "at least one"),
    (lambda: batched(A, 0), ValueError, r"n >= 1, got \(0,\)"),
    (lambda: batched(A), ValueError, "n >= 1"),
    (lambda: jnp.ones(3) * A, TypeError, "jr.Diagonal"),
    (lambda: A * A, TypeError, "A @ B"),
    (lambda: linear(lambda x: x * x, (3,)), ValueError, "not linear"),
    (lambda: linear(lambda x: x / jnp.max(x), (3,)), ValueError, "not linear"),
    (lambda: linear(jnp.abs, (3,)), ValueError, "not linear"),
    (lambda: linear(lambda x: np.roll(x, 1), (3,)), ValueError, r"float64\[3\] to NumPy.*jax.numpy"),
    (lambda: linear(lambda x: x if x[0] > 0 else -x, (3,)), ValueError, "branches on its values"),
    (lambda: linear(lambda x: x + 1, (3,)), ValueError, "affine"),
    (lambda: linear(lambda x: None, (3,)), ValueError, "returns no array"),
    (lambda: linear(jnp.multiply, (3,), jnp.full(3, jnp.nan)), ValueError, "NaN or infinite values in params"),
    (lambda: linear(lambda x, y: x, (3,)), ValueError, r"does not take x of float64\[3\]"),
    (lambda: Identity("three"), TypeError, "a domain is a shape"),
    (lambda: LinearOperator().domain, NotImplementedError, "must define `domain`"),
])
def test_errors_name_both_values_and_the_fix(make, error, message):
    with pytest.raises(error, match=message):
        make()
