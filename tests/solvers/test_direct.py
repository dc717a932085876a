"""Direct solves against numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrecon as jr

RNG = np.random.default_rng(3)


def matrix(m, n, rank=None, kind=float):
    def draw(*shape):
        x = RNG.standard_normal(shape)
        return x + 1j * RNG.standard_normal(shape) if kind is complex else x

    return draw(m, n) if rank is None else draw(m, rank) @ draw(rank, n)


def data(m, kind=float):
    return matrix(m, 1, kind=kind)[:, 0]


def solution(a, b, lam):
    return np.linalg.solve(a.conj().T @ a + lam * np.eye(a.shape[1]), a.conj().T @ b)


@pytest.mark.parametrize("method", ["svd", "cholesky"])
@pytest.mark.parametrize("shape", [(9, 5), (5, 9), (6, 6)], ids=["tall", "wide", "square"])
@pytest.mark.parametrize("kind", [float, complex])
def test_tikhonov(method, shape, kind):
    a, b = matrix(*shape, kind=kind), data(shape[0], kind)
    x = jr.tikhonov(jr.Matrix(a), b, 0.3, method=method)
    np.testing.assert_allclose(x, solution(a, b, 0.3), atol=1e-12)
    # Mixed kinds, and an operator that is not a matrix, on a 2-D image.
    np.testing.assert_allclose(
        jr.tikhonov(jr.Matrix(a), data(shape[0], complex) * 0 + b, 0.3, method=method), x, atol=1e-12
    )


def test_tikhonov_of_any_operator():
    d = jnp.asarray(RNG.standard_normal((3, 4)))
    K = jr.stack([jr.Diagonal(d), jr.Gradient((3, 4))])
    b = K(jnp.asarray(RNG.standard_normal((3, 4))))
    x = jr.tikhonov(K, b, 0.2)
    assert x.shape == (3, 4)
    dense, flat = np.asarray(jr.dense(K)), np.concatenate([np.ravel(v) for v in b])
    np.testing.assert_allclose(x.ravel(), solution(dense, flat, 0.2), atol=1e-12)
    np.testing.assert_allclose(jr.svd(K).tikhonov(b, 0.2), x, atol=1e-12)


@pytest.mark.parametrize("method", ["svd", "cholesky"])
def test_tikhonov_of_a_real_unknown(method):
    a, b = matrix(7, 4, kind=complex), data(7, complex)
    A = jr.real_part(jr.Matrix(a))
    want = np.linalg.solve((a.conj().T @ a).real + 0.3 * np.eye(4), (a.conj().T @ b).real)
    x = jr.tikhonov(A, b, 0.3, method=method)
    assert x.dtype == jnp.float64
    np.testing.assert_allclose(x, want, atol=1e-12)
    np.testing.assert_allclose(jr.svd(A).tikhonov(b, 0.3), want, atol=1e-12)


def svds(f, *args):
    """Shapes of what is decomposed in the program of f."""
    found = []

    def walk(jaxpr):
        for e in jaxpr.eqns:
            if e.primitive.name == "svd":
                found.append(e.invars[0].aval.shape)
            for p in e.params.values():
                for q in p if isinstance(p, tuple | list) else [p]:
                    inside = getattr(q, "jaxpr", q)
                    if hasattr(inside, "eqns"):
                        walk(inside)

    walk(jax.make_jaxpr(f)(*args).jaxpr)
    return found


def test_many_lam_make_one_factorisation():
    a, b = matrix(8, 5), data(8)
    A, lams = jr.Matrix(a), jnp.logspace(-3, 2, 20)
    many = jax.vmap(lambda lam: jr.tikhonov(A, b, lam))
    assert svds(many, lams) == [(8, 5)]
    np.testing.assert_allclose(many(lams), [solution(a, b, lam) for lam in lams], atol=1e-12)
    assert svds(jax.vmap(jax.grad(lambda lam: jnp.sum(jr.tikhonov(A, b, lam) ** 2))), lams) == [(8, 5)]


@pytest.mark.parametrize("shape, rank", [((9, 5), 3), ((5, 9), 3), ((5, 9), None), ((9, 5), None), ((6, 6), 1)])
@pytest.mark.parametrize("kind", [float, complex])
def test_lam_zero_is_the_pseudo_inverse(shape, rank, kind):
    a, b = matrix(*shape, rank, kind), data(shape[0], kind)
    want = np.linalg.pinv(a, rcond=1e-12) @ b
    np.testing.assert_allclose(jr.tikhonov(jr.Matrix(a), b, 0.0), want, atol=1e-10)
    np.testing.assert_allclose(jr.svd(jr.Matrix(a)).pseudo_inverse(b), want, atol=1e-10)
    np.testing.assert_allclose(jr.svd(jr.Matrix(a)).tikhonov(b, 0.0), want, atol=1e-10)
    # From above, continuously: a tiny lam does not bring the null space back.
    np.testing.assert_allclose(jr.tikhonov(jr.Matrix(a), b, 1e-13), want, atol=1e-8)


def test_svd_truncation_filters_and_picard():
    a, b = matrix(8, 5), data(8)
    u, s, vh = np.linalg.svd(a, full_matrices=False)
    F = jr.svd(jr.Matrix(a))
    np.testing.assert_allclose(F.s, s)
    np.testing.assert_allclose(F.filter_factors(0.4), s**2 / (s**2 + 0.4))
    for rank in (0, 2, 5):
        np.testing.assert_allclose(F.truncated(b, rank), vh[:rank].T @ (u[:, :rank].T @ b / s[:rank]), atol=1e-12)
    np.testing.assert_allclose(jax.vmap(lambda r: F.truncated(b, r))(jnp.arange(6))[2], F.truncated(b, 2))
    picard = F.picard(b)
    np.testing.assert_allclose(picard.coefficients, np.abs(u.T @ b))
    np.testing.assert_allclose(picard.ratios, np.abs(u.T @ b) / s)
    np.testing.assert_allclose(F.pseudo_inverse(b, rcond=(s[2] + s[3]) / 2 / s[0]), F.truncated(b, 3))
    zero = jr.svd(jr.Matrix(np.zeros((3, 2))))
    for x in (
        zero.tikhonov(data(3), 0.0),
        zero.pseudo_inverse(data(3)),
        zero.truncated(data(3), 2),
        zero.filter_factors(0),
    ):
        assert not np.any(np.asarray(x))


def check_gradients(f, args, h=1e-6, rtol=1e-6):
    """Reverse mode along a random direction against central differences, and forward mode against reverse."""
    args = tuple(map(jnp.asarray, args))
    steps = tuple(jnp.asarray(data(a.size, complex if jnp.iscomplexobj(a) else float)).reshape(a.shape) for a in args)
    grads = jax.grad(f, tuple(range(len(args))))(*args)
    # JAX's gradient of a real function of complex z is d/dRe - i d/dIm.
    got = sum(float(jnp.sum(g * s).real) for g, s in zip(grads, steps, strict=True))
    want = (
        f(*[a + h * s for a, s in zip(args, steps, strict=True)])
        - f(*[a - h * s for a, s in zip(args, steps, strict=True)])
    ) / (2 * h)
    assert got == pytest.approx(float(want), rel=rtol, abs=1e-8)
    assert float(jax.jvp(f, args, steps)[1]) == pytest.approx(got, rel=1e-10)


@pytest.mark.parametrize("method", ["svd", "cholesky"])
@pytest.mark.parametrize("shape", [(7, 4), (4, 7)], ids=["tall", "wide"])
@pytest.mark.parametrize("kind", [pytest.param(float, marks=pytest.mark.slow), complex])
def test_gradients(method, shape, kind):
    c = jnp.asarray(data(shape[1], kind))

    def f(a, b, lam):
        return jnp.sum(jnp.abs(jr.tikhonov(jr.Matrix(a), b, lam, method=method) - c) ** 2)

    check_gradients(f, (matrix(*shape, kind=kind), data(shape[0], kind), 0.7))


@pytest.mark.parametrize("shape", [(7, 4), (4, 7), (4, 4)], ids=["tall", "wide", "square"])
def test_gradients_at_lam_zero(shape):
    c = jnp.asarray(data(shape[1], complex))
    check_gradients(
        lambda a, b: jnp.sum(jnp.abs(jr.tikhonov(jr.Matrix(a), b, 0.0) - c) ** 2),
        (matrix(*shape, kind=complex), data(shape[0], complex)),
    )


@pytest.mark.parametrize("lam", [0.5, 0.0])
def test_gradients_where_singular_values_coincide(lam):
    q = np.linalg.qr(matrix(7, 4))[0]
    c = jnp.asarray(data(4))

    def f(a, b):
        return jnp.sum((jr.tikhonov(jr.Matrix(a), b, lam) - c) ** 3)

    check_gradients(f, (2 * q, data(7)))
    check_gradients(lambda a, b: jnp.sum((jr.tikhonov(jr.Matrix(a), b, lam)) ** 3), (2 * q.T, data(4)))
    assert np.all(np.isfinite(jax.grad(f)(jnp.zeros((7, 4)), data(7))))


def test_gradients_where_the_rank_is_deficient():
    a, b, c = matrix(6, 5, 3), data(6), jnp.asarray(data(5))
    check_gradients(lambda a, b, lam: jnp.sum((jr.tikhonov(jr.Matrix(a), b, lam) - c) ** 2), (a, b, 0.3))


def test_gradient_of_a_real_unknown():
    c = jnp.asarray(data(4))
    check_gradients(
        lambda a, b, lam: jnp.sum((jr.tikhonov(jr.real_part(jr.Matrix(a)), b, lam) - c) ** 2),
        (matrix(5, 4, kind=complex), data(5, complex), 0.3),
    )


@pytest.mark.parametrize("lam", [0.3, np.float64(0.3), 1, jnp.array(0.3)])
def test_float32_stays(lam):
    a, b = matrix(5, 3).astype("float32"), data(5)
    for method in ("svd", "cholesky"):
        assert jr.tikhonov(jr.Matrix(a), b, lam, method=method).dtype == jnp.float32
    assert jr.svd(jr.Matrix(a)).tikhonov(b.astype("float32"), lam).dtype == jnp.float32


def test_under_jit_and_no_retrace():
    a, b = matrix(6, 4), data(6)
    f = jax.jit(
        lambda a, b: jr.tikhonov(jr.Matrix(a), b, 0.3) + jr.tikhonov(jr.Matrix(a), b, jnp.array(0.3), "cholesky")
    )
    np.testing.assert_allclose(f(a, b), 2 * solution(a, b, 0.3), atol=1e-12)
    before = jr.solvers.direct._tikhonov._cache_size()
    for k in range(3):
        jr.tikhonov(jr.Matrix(matrix(6, 3)), data(6), 0.1 * k)
    assert jr.solvers.direct._tikhonov._cache_size() <= before + 1


def test_errors():
    A, b = jr.Matrix(matrix(4, 3)), data(4)
    with pytest.raises(ValueError, match="svd, cholesky, got 'lu'"):
        jr.tikhonov(A, b, 0.1, method="lu")
    with pytest.raises(ValueError, match=r"shape \(3,\); use jax.vmap"):
        jr.tikhonov(A, b, jnp.ones(3))
    with pytest.raises(ValueError, match="lam must be >= 0, got -1"):
        jr.tikhonov(A, b, -1.0)
    with pytest.raises(ValueError, match=r"b is float64\[5\], but Matrix gives float64\[4\]"):
        jr.tikhonov(A, data(5), 0.1)
    with pytest.raises(ValueError, match="0 <= rank <= 3, got 4"):
        jr.svd(A).truncated(b, 4)
    with pytest.raises(ValueError, match="b has 5 measurements, but the matrix has 4 rows"):
        jr.svd(A).pseudo_inverse(data(5))
