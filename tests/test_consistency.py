"""Data-consistency steps, and the formula x <- enhance(DC(x)) itself."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrecon as jr

RNG = np.random.default_rng(5)
A = RNG.standard_normal((7, 5))
B = RNG.standard_normal(7)
C = RNG.standard_normal((7, 5)) + 1j * RNG.standard_normal((7, 5))
D = RNG.standard_normal(7) + 1j * RNG.standard_normal(7)
X0 = RNG.standard_normal(5)
NOTHING = jr.L1(0.0)


def slow(*case):
    return pytest.param(*case, marks=pytest.mark.slow)


def once(a, b, dc, x0=None, n=1):
    A = a if isinstance(a, jr.LinearOperator) else jr.Matrix(a)
    return jr.solve(A, b, jr.Alternating(dc, NOTHING), n, x0=x0).x


def agree(x, wanted, tolerance=1e-11):
    np.testing.assert_allclose(x, wanted, rtol=0, atol=tolerance * max(1, np.abs(wanted).max()))


def soft(v, t):
    return v * np.maximum(1 - t / np.maximum(np.abs(v), 1e-300), 0)


# ---- each step


@pytest.mark.parametrize("a, b", [slow(A, B), (C, D)], ids=["real", "complex"])
def test_the_steps_by_hand(a, b):
    gram, rhs = a.conj().T @ a, a.conj().T @ b
    t = 0.7 / np.linalg.norm(a, 2) ** 2
    agree(once(a, b, jr.GradientStep(0.7), X0), X0 - t * (gram @ X0 - rhs), 1e-9)
    want = np.linalg.solve(gram + 0.4 * np.eye(5), rhs + 0.4 * X0)
    agree(once(a, b, jr.ProximalStep(0.4), X0), want)
    agree(once(a, b, jr.ProximalStep(0.4, iterations=12), X0), want)
    # One CG step is steepest descent from x.
    r = rhs - gram @ X0
    agree(
        once(a, b, jr.ProximalStep(0.4, iterations=1), X0),
        X0 + np.vdot(r, r).real / np.vdot(r, gram @ r + 0.4 * r).real * r,
    )


@pytest.mark.parametrize("a, b", [(A, B), (C, D)], ids=["real", "complex"])
@pytest.mark.parametrize("lam", [0.0, 0.6, "vector"])
def test_kaczmarz_sweep_restarts_its_dual(a, b, lam):
    lam = np.linspace(0.3, 2, 5) if lam == "vector" else lam
    scale = np.sqrt(lam) if np.ndim(lam) else np.ones(5)
    weight = 1.0 if np.ndim(lam) else lam
    x = X0 * scale
    for _ in range(2):
        for row, y in zip(a / scale, b, strict=True):
            x = x + (y - row @ x) / (np.vdot(row, row).real + weight) * row.conj()
    agree(once(a, b, jr.KaczmarzSweep(lam, block=3), X0, n=2), x / scale)


def test_kaczmarz_sweep_fixed_point():
    """Many sweeps from one x (the solver) reach the minimiser that one DC sweep aims at."""
    shifted = jr.solve(jr.Matrix(A), B - A @ X0, jr.Kaczmarz(0.6), 3000).x + X0
    agree(shifted, np.linalg.solve(A.T @ A + 0.6 * np.eye(5), A.T @ B + 0.6 * X0), 1e-9)
    first = jr.solve(jr.Matrix(A), B - A @ X0, jr.Kaczmarz(0.6), 1).x + X0
    agree(once(A, B, jr.KaczmarzSweep(0.6), X0), first)


def test_kaczmarz_sweep_orders():
    key = jax.random.key(2)
    order = np.asarray(jax.random.permutation(key, 7))
    agree(once(A, B, jr.KaczmarzSweep(0.6, "shuffled", key), X0), once(A[order], B[order], jr.KaczmarzSweep(0.6), X0))
    assert np.all(np.isfinite(once(A, B, jr.KaczmarzSweep(0.6, "random", key), X0)))
    # Other rows in each iteration: the first draw alone leaves some out for ever.
    q = np.linalg.qr(RNG.standard_normal((20, 20)))[0]
    x = RNG.standard_normal(20)
    step = jr.Alternating(jr.KaczmarzSweep(order="random", key=key), jr.L2(0.0))
    np.testing.assert_allclose(jr.solve(jr.Matrix(q), q @ x, step, 60).x, x, atol=1e-9)
    np.testing.assert_allclose(jr.unroll(jr.Matrix(q), jnp.asarray(q @ x), step, 60, shared=True), x, atol=1e-9)


AXES = (-2, -1)


def fft(x):
    return np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(x, AXES), norm="ortho"), AXES)


def ifft(y):
    return np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(y, AXES), norm="ortho"), AXES)


def image(*shape):
    return RNG.standard_normal(shape) + 1j * RNG.standard_normal(shape)


@pytest.mark.parametrize("shape", [(6, 5), (7, 1)], ids=["pixels", "lines"])
def test_sample_replacement_in_k_space(shape):
    mask = RNG.random(shape) < 0.5
    full = (shape[0], 5)
    x, b = image(*full), image(*full) * mask
    F = jr.Fourier(full, mask=mask)
    agree(once(F, b, jr.SampleReplacement(), x), ifft(np.where(mask, b, fft(x))))
    noisy = np.where(mask, (b + 0.3 * fft(x)) / 1.3, fft(x))
    agree(once(F, b, jr.SampleReplacement(noise=0.3), x), ifft(noisy))
    maps = image(3, *full)
    coils = maps * x
    b = image(3, *full) * mask
    new = ifft(np.where(mask, b, fft(coils)))
    want = np.sum(maps.conj() * new, 0) / np.sum(np.abs(maps) ** 2, 0)
    for operator in (jr.sense(maps, mask), jr.Fourier(full, mask=mask) @ jr.CoilMaps(maps)):
        agree(once(operator, b, jr.SampleReplacement(), x), want)


def test_sample_replacement_where_no_coil_sees_anything():
    maps = image(2, 4, 4)
    maps[:, 1] = 0
    x = once(jr.sense(maps, np.ones((4, 1))), image(2, 4, 4), jr.SampleReplacement(), image(4, 4))
    assert np.all(np.isfinite(x))


# ---- the formula


@pytest.mark.parametrize("a, b", [slow(A, B), (C, D)], ids=["real", "complex"])
def test_alternating_is_ista(a, b):
    for step in (1.0, 0.5):
        t = None if step == 1.0 else step / np.linalg.norm(a, 2) ** 2
        one = jr.solve(jr.Matrix(a), b, jr.Alternating(jr.GradientStep(step), jr.L1(0.3)), 40, record="x").history
        other = jr.solve(jr.Matrix(a), b, jr.ISTA(jr.L1(0.3), t), 40, record="x").history
        agree(one, np.asarray(other), 1e-14 if t is None else 1e-9)


def test_alternating_is_ista_with_a_warm_inner_iteration():
    one = jr.solve(jr.Matrix(A), B, jr.Alternating(jr.GradientStep(), jr.TV(0.3)), 30).x
    agree(one, np.asarray(jr.solve(jr.Matrix(A), B, jr.ISTA(jr.TV(0.3)), 30).x), 1e-14)


@pytest.mark.parametrize("a, b", [(A, B), (C, D)], ids=["real", "complex"])
def test_alternating_is_half_quadratic_splitting(a, b):
    """min 1/2|A z - b|^2 + beta/2 |z - x|^2 + lam |x|_1, over z and x in turn (Geman and Yang 1995)."""
    beta, lam = 0.8, 0.3
    x = np.zeros(5, a.dtype)
    for _ in range(25):
        z = np.linalg.solve(a.conj().T @ a + beta * np.eye(5), a.conj().T @ b + beta * x)
        x = soft(z, lam / beta)
    for iterations in (None, 20):
        solver = jr.Alternating(jr.ProximalStep(beta, iterations), jr.L1(lam))
        agree(jr.solve(jr.Matrix(a), b, solver, 25).x, x, 1e-10)


@pytest.mark.parametrize(
    "dc", [jr.GradientStep(0.8), jr.ProximalStep(0.5), jr.KaczmarzSweep(0.5)], ids=lambda v: type(v).__name__
)
def test_a_user_made_prior_in_the_formula(dc):
    @jr.value
    class Halve(jr.Prior):
        factor: object

        def prox(self, v, t=1.0):
            return self.factor * v

    x = jr.solve(jr.Matrix(A), B, jr.Alternating(dc, Halve(0.5)), 3).x
    y = jnp.zeros(5)
    for _ in range(3):
        y = 0.5 * once(A, B, dc, y)
    agree(x, np.asarray(y), 1e-13)
    assert np.all(
        np.isfinite(jax.grad(lambda c: jnp.sum(jr.solve(jr.Matrix(A), B, jr.Alternating(dc, Halve(c)), 3).x))(0.5))
    )


# ---- gradients


def complex_step(shape, like):
    s = RNG.standard_normal(shape)
    return s + 1j * RNG.standard_normal(shape) if np.iscomplexobj(like) else s


@pytest.mark.parametrize("a, b", [pytest.param(A, B, marks=pytest.mark.slow), (C, D)], ids=["real", "complex"])
@pytest.mark.parametrize(
    "make",
    [
        jr.GradientStep,
        jr.ProximalStep,
        lambda lam: jr.ProximalStep(lam, iterations=3),
        jr.KaczmarzSweep,
    ],
    ids=["GradientStep", "ProximalStep", "ProximalStep-3", "KaczmarzSweep"],
)
def test_gradients_equal_central_differences(a, b, make):
    c = jnp.asarray(X0)

    def f(a, b, lam):
        x = jr.solve(jr.Matrix(a), b, jr.Alternating(make(lam), jr.L2(0.3)), 3, x0=jnp.asarray(X0)).x
        return jnp.sum(jnp.abs(x - c) ** 2)

    args = (jnp.asarray(a), jnp.asarray(b), jnp.asarray(0.8))
    steps = (complex_step(a.shape, a), complex_step(b.shape, b), 0.3)
    got = sum(jnp.sum(g * s).real for g, s in zip(jax.grad(f, (0, 1, 2))(*args), steps, strict=True))
    h = 1e-5
    want = [f(*[v + sign * h * s for v, s in zip(args, steps, strict=True)]) for sign in (1, -1)]
    np.testing.assert_allclose(got, (want[0] - want[1]) / (2 * h), rtol=1e-6)


@pytest.mark.slow
def test_implicit_gradient_is_the_unrolled_one():
    def f(iterations):
        def loss(a, b, lam):
            solver = jr.Alternating(jr.ProximalStep(lam, iterations), jr.L1(0.1))
            return jnp.sum(jnp.abs(jr.solve(jr.Matrix(a), b, solver, 4).x) ** 3)

        return jax.grad(loss, (0, 1, 2))(jnp.asarray(C), jnp.asarray(D), 0.8)

    for one, other in zip(f(None), f(30), strict=True):
        agree(one, np.asarray(other), 1e-9)


@pytest.mark.slow
def test_gradients_through_sample_replacement_reach_maps_and_data():
    mask = RNG.random((6, 5)) < 0.5
    maps, b, x0 = image(2, 6, 5), image(2, 6, 5), image(6, 5)

    def f(maps, b):
        x = jr.solve(jr.sense(maps, mask), b, jr.Alternating(jr.SampleReplacement(), jr.L2(0.2)), 2, x0=x0).x
        return jnp.sum(jnp.abs(x) ** 2)

    args, steps = (jnp.asarray(maps), jnp.asarray(b)), (image(2, 6, 5), image(2, 6, 5))
    got = sum(jnp.sum(g * s).real for g, s in zip(jax.grad(f, (0, 1))(*args), steps, strict=True))
    h = 1e-5
    want = [f(*[v + sign * h * s for v, s in zip(args, steps, strict=True)]) for sign in (1, -1)]
    np.testing.assert_allclose(got, (want[0] - want[1]) / (2 * h), rtol=1e-6)


# ---- dtypes and errors


@pytest.mark.parametrize(
    "dc",
    [
        jr.GradientStep(np.float64(0.8)),
        slow(jr.ProximalStep(jnp.array(0.5))),
        slow(jr.KaczmarzSweep(1)),
        jr.KaczmarzSweep(np.linspace(1, 2, 5)),
    ],
    ids=lambda v: type(v).__name__,
)
def test_float32_stays(dc):
    assert once(A.astype("float32"), B, dc).dtype == jnp.float32


@pytest.mark.slow
def test_float32_stays_through_sample_replacement():
    maps = image(2, 4, 4).astype("complex64")
    for operator, b in (
        (jr.sense(maps, np.ones((4, 1))), image(2, 4, 4)),
        (jr.Fourier((4, 4), mask=np.eye(4), dtype="complex64"), image(4, 4)),
        (jr.Identity((4, 4), "float32"), RNG.standard_normal((4, 4))),
    ):
        x = once(operator, b, jr.SampleReplacement(np.float64(0.1)))
        assert x.dtype == operator.domain.dtype


def test_errors():
    for make, message in [
        (lambda: jr.GradientStep(0.0), "step > 0"),
        (lambda: jr.ProximalStep(0.0), "lam > 0, got 0.0"),
        (lambda: jr.ProximalStep(1.0, iterations=0), "iterations >= 1"),
        (lambda: jr.SampleReplacement(-1.0), "noise >= 0"),
        (lambda: jr.KaczmarzSweep(-1.0), "negative"),
        (lambda: jr.KaczmarzSweep(0.1, "zigzag"), "cyclic, shuffled, random"),
        (lambda: jr.KaczmarzSweep(0.1, "shuffled"), "needs key"),
        (lambda: jr.KaczmarzSweep(0.1, block=0), "block"),
        (lambda: jr.KaczmarzSweep(np.array([1.0, 0.0])), "positive everywhere"),
        (lambda: once(A, B, jr.KaczmarzSweep(np.ones(4))), r"lam has shape \(4,\), but there are 5 unknowns"),
        (lambda: once(A, B, jr.SampleReplacement()), "samples a unitary transform .* got Matrix"),
        (
            lambda: once(jr.Gradient((5,)), np.ones((1, 5)), jr.KaczmarzSweep()),
            "needs the rows of A, and Gradient has none",
        ),
    ]:
        with pytest.raises(ValueError, match=message):
            make()
    with pytest.raises(TypeError, match="data-consistency step"):
        jr.Alternating(jr.L1(0.1), jr.L1(0.1))
    with pytest.raises(TypeError, match="takes a prior such as"):
        jr.Alternating(jr.GradientStep(), 0.1)


@pytest.mark.slow
def test_ranges_are_checked_on_what_is_known_under_jit():
    f = jax.jit(lambda b: jr.solve(jr.Matrix(A), b, jr.Alternating(jr.ProximalStep(0.5), jr.L1(0.1)), 2).x)
    agree(f(B), np.asarray(jr.solve(jr.Matrix(A), B, jr.Alternating(jr.ProximalStep(0.5), jr.L1(0.1)), 2).x), 1e-13)
    for make in (
        lambda: jr.GradientStep(jnp.array(0.5)),
        lambda: jr.KaczmarzSweep(np.linspace(1, 2, 5)),
        lambda: jr.SampleReplacement(0.1),
        lambda: jr.ProximalStep(jnp.array(0.1)),
    ):
        jax.jit(lambda x: (make(), x)[1])(1.0)
