"""Numbers computed by others, reproduced through the public API.

Small system: numpy/scipy, the MPI group's Python Kaczmarz example, and the update equations of
RegularizedLeastSquares.jl 0.16. Whole problems: SCICO 0.0.7 in float64, confirmed by an independent numpy solver.
"""

import jax.numpy as jnp
import numpy as np
import pytest

import jaxrecon as jr

I, J = np.meshgrid(np.arange(1, 5), np.arange(1, 4), indexing="ij")
A = jr.Matrix(1 / (I + J - 1) + (I == J))
B = np.array([2.01, -1.4366666666666665, 3.463333333333333, 0.31])
LAM, STEP = 0.1, 0.16035115640712266

LEAST_SQUARES = [1.005246084596357, -2.024819132283375, 3.025514432432274]
TIKHONOV = [0.964687677934506, -1.808419497475375, 2.776941330738063]
NON_NEGATIVE = [0.36530368009591, 0, 2.336042695864439]
LASSO = [0.957462561369884, -1.903649531992295, 2.938976954390691]
KACZMARZ = {
    1: [0.82468887061886, -0.820424671491829, 2.317433099706157],
    2: [0.780645308598562, -1.369971297868252, 2.830047400364929],
    3: [0.813618764013238, -1.639489402368219, 2.879334876436877],
    10: [0.965362406357831, -1.809412670052577, 2.775458718852368],
}
CG = {
    1: [1.034949600782556, 0.003944235351307, 1.031499980153761],
    2: [0.932234535410298, -1.772991513431224, 2.808374975066001],
    3: TIKHONOV,
}
FISTA = {
    1: [0.710934668726135, 0, 0.708511584584872],
    2: [0.777461422188365, -0.281068469244102, 1.089944898734501],
    10: [0.967885763098855, -2.006822962979754, 3.058616168844076],
    50: [0.957349871466567, -1.903066417267415, 2.938436166661023],
}


def close(x, wanted):
    np.testing.assert_allclose(x, wanted, rtol=0, atol=1e-9)


def iterates(solver, counts):
    xs = jr.solve(A, B, solver, max(counts), record="x").history
    return [xs[k - 1] for k in counts]


def test_the_largest_eigenvalue_and_the_step():
    close(jr.operator_norm(A) ** 2, 5.924497342495011)
    close(0.95 / jr.operator_norm(A) ** 2, STEP)


@pytest.mark.parametrize(
    "solver, iterations",
    [
        (jr.CGNR(), 10),
        (jr.Landweber(), 4000),
        (jr.FISTA(jr.L2(0.0), restart=True), 500),
        (jr.ADMM(jr.L2(0.0)), 1500),
        (jr.PDHG(jr.L2(0.0)), 3000),
        (jr.CondatVu(jr.L2(0.0)), 4000),
    ],
    ids=lambda v: type(v).__name__,
)
def test_least_squares(solver, iterations):
    close(jr.solve(A, B, solver, iterations).x, LEAST_SQUARES)


def test_least_squares_and_tikhonov_directly():
    close(jr.tikhonov(A, B, 0.0), LEAST_SQUARES)
    close(jr.svd(A).pseudo_inverse(B), LEAST_SQUARES)
    for method in ("svd", "cholesky"):
        close(jr.tikhonov(A, B, LAM, method=method), TIKHONOV)
    close(jr.svd(A).tikhonov(B, LAM), TIKHONOV)


@pytest.mark.parametrize(
    "solver, iterations",
    [
        (jr.CGNR(LAM), 10),
        (jr.Kaczmarz(LAM), 200),
        (jr.ISTA(jr.L2(LAM)), 1500),
        (jr.FISTA(jr.L2(LAM), restart=True), 400),
        (jr.POGM(jr.L2(LAM)), 500),
        (jr.ADMM(jr.L2(LAM)), 400),
        (jr.PDHG(jr.L2(LAM)), 1500),
        (jr.CondatVu(jr.L2(LAM)), 1500),
        (jr.Kaczmarz(np.full(3, LAM)), 200),
    ],
    ids=lambda v: type(v).__name__,
)
def test_tikhonov(solver, iterations):
    close(jr.solve(A, B, solver, iterations).x, TIKHONOV)


@pytest.mark.parametrize(
    "solver, iterations",
    [
        (jr.ADMM([jr.L2(LAM), jr.NonNegative()]), 600),
        (jr.PDHG([jr.NonNegative(), jr.L2(LAM)]), 1500),
        (jr.CondatVu([jr.NonNegative(), jr.L2(LAM)]), 2000),
        (jr.Kaczmarz(LAM, prior=jr.NonNegative()), 600),
    ],
    ids=lambda v: type(v).__name__,
)
def test_non_negative_tikhonov(solver, iterations):
    if isinstance(solver, jr.Kaczmarz):
        x = jr.solve(A, B, solver, iterations).x
        # A projection after each sweep is near the minimiser of the constrained problem, but is not it.
        assert np.all(np.asarray(x) >= 0) and np.linalg.norm(x - np.array(NON_NEGATIVE)) < 0.5
    else:
        close(jr.solve(A, B, solver, iterations).x, NON_NEGATIVE)


@pytest.mark.parametrize(
    "solver, iterations",
    [
        (jr.ISTA(jr.L1(LAM)), 3000),
        (jr.FISTA(jr.L1(LAM), restart=True), 500),
        (jr.POGM(jr.L1(LAM)), 500),
        (jr.ADMM(jr.L1(LAM)), 1500),
        (jr.ADMM(jr.L1(LAM), balance=True), 1500),
        (jr.PDHG(jr.L1(LAM)), 3000),
        (jr.CondatVu(jr.L1(LAM)), 4000),
        (jr.Alternating(jr.GradientStep(), jr.L1(LAM)), 3000),
    ],
    ids=lambda v: type(v).__name__,
)
def test_lasso(solver, iterations):
    close(jr.solve(A, B, solver, iterations).x, LASSO)


@pytest.mark.parametrize(
    "solver, wanted",
    [
        (jr.Kaczmarz(LAM), KACZMARZ),
        (jr.Kaczmarz(LAM, block=1), KACZMARZ),
        (jr.Kaczmarz(LAM, block=3), KACZMARZ),
        (jr.CGNR(LAM), CG),
        (jr.FISTA(jr.L1(LAM), step_size=STEP), FISTA),
    ],
    ids=["Kaczmarz", "Kaczmarz-1", "Kaczmarz-3", "CGNR", "FISTA"],
)
def test_iterates(solver, wanted):
    for x, x_wanted in zip(iterates(solver, list(wanted)), wanted.values(), strict=True):
        close(x, x_wanted)


def test_tv_prox_of_a_step():
    close(jr.TV(0.2).prox(jnp.array([0.0, 0.0, 1.0, 1.0])), [0.1, 0.1, 0.9, 0.9])


# ---- whole problems: 1e-4 relative in the objective


def discs(n):
    t = (np.arange(n) + 0.5) / n * 2 - 1
    y, x = np.meshgrid(t, t, indexing="ij")
    return (
        1.0 * (x**2 + y**2 < 0.64)
        - 0.5 * ((x - 0.2) ** 2 + (y + 0.1) ** 2 < 0.09)
        + 0.3 * ((x + 0.3) ** 2 + (y - 0.3) ** 2 < 0.04)
    )


def psnr(x, truth):
    return 10 * np.log10((truth.max() - truth.min()) ** 2 / np.mean((np.asarray(x) - truth) ** 2))


def check_image(operator, b, solver, iterations, objective, quality, truth):
    r = jr.solve(operator, b, solver, iterations, record="objective")
    assert float(r.history[-1]) == pytest.approx(objective, rel=1e-4)
    assert psnr(r.x, truth) == pytest.approx(quality, abs=0.01)


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    "solver, iterations",
    [
        (jr.FISTA(jr.TV(0.1, inner=20)), 60),
        pytest.param(jr.PDHG(jr.TV(0.1), tau=0.2, sigma=0.5), 800, marks=SLOW),
        pytest.param(jr.PDHG(jr.TV(0.1)), 1200, marks=SLOW),
        pytest.param(jr.CondatVu(jr.TV(0.1), tau=0.2, sigma=0.55), 1500, marks=SLOW),
        pytest.param(jr.ADMM(jr.TV(0.1), rho=0.8, relaxation=1.8), 400, marks=SLOW),
    ],
    ids=lambda v: type(v).__name__,
)
def test_tv_denoising(solver, iterations):
    truth = discs(128)
    y = truth + 0.1 * np.random.RandomState(0).randn(128, 128)
    assert psnr(y, truth) == pytest.approx(22.373, abs=1e-3)
    check_image(jr.Identity((128, 128)), y, solver, iterations, 123.2831, 35.791, truth)


@pytest.mark.slow
def test_tv_denoising_by_the_prox_itself():
    truth = discs(128)
    y = truth + 0.1 * np.random.RandomState(0).randn(128, 128)
    x = jr.TV(0.1).prox(jnp.asarray(y))
    assert float(jnp.sum((x - y) ** 2) / 2 + jr.TV(0.1)(x)) == pytest.approx(123.2831, rel=1e-5)
    assert psnr(x, truth) == pytest.approx(35.791, abs=1e-3)


DECONVOLUTION = jr.TV(5e-3, boundary="circular")


@pytest.mark.parametrize(
    "solver, iterations",
    [
        (jr.ADMM(DECONVOLUTION, rho=0.1, relaxation=1.8), 200),
        pytest.param(jr.FISTA(DECONVOLUTION), 300, marks=SLOW),
        pytest.param(jr.PDHG(DECONVOLUTION), 3000, marks=SLOW),
        pytest.param(jr.CondatVu(DECONVOLUTION), 800, marks=SLOW),
    ],
    ids=lambda v: type(v).__name__,
)
def test_tv_deconvolution(solver, iterations):
    truth = discs(128)
    blur = jr.Convolution(np.full((5, 5), 1 / 25), (128, 128), boundary="circular", origin="corner")
    y = np.asarray(blur(truth)) + 0.02 * np.random.RandomState(1).randn(128, 128)
    assert psnr(y, truth) == pytest.approx(17.970, abs=1e-3)
    check_image(blur, y, solver, iterations, 5.354524, 31.734, truth)


def test_sparse_coding():
    np.random.seed(12345)  # noqa: NPY002
    D = np.random.randn(512, 2048).astype(np.float32)  # noqa: NPY002
    x = np.zeros(2048, np.float32)
    index = np.random.permutation(list(range(2047)))[:32]  # noqa: NPY002
    x[index] = np.random.randn(32)  # noqa: NPY002
    y = D @ x + 0.5 * np.random.randn(512)  # noqa: NPY002
    dictionary, y = jr.Matrix(D.astype(np.float64)), y.astype(np.float64)
    L0 = 4610.518
    np.testing.assert_allclose(jr.operator_norm(dictionary, 300) ** 2, L0, rtol=1e-4)
    r = jr.solve(dictionary, y, jr.FISTA(jr.L1(29.8), step_size=1 / L0), 100, x0=dictionary.H(y), record="objective")
    assert float(r.history[-1]) == pytest.approx(819.457, rel=1e-4)


@pytest.mark.parametrize("prior", [jr.TV(0.3), jr.Constrained(jr.TV(0.3), jr.NonNegative()), jr.FusedLasso(0.1, 0.3)],
                         ids=["tv", "constrained", "fused"])
def test_pogm_carries_the_dual_of_an_iterative_prior(prior, rng):
    """Its prox has another weight in each iteration, and the dual is proportional to it."""
    a, b = rng.standard_normal((45, 36)) / 6, rng.standard_normal(45)
    A = jr.linear(lambda p, x: p @ x.reshape(-1), (6, 6), params=jnp.asarray(a))
    found = jr.solve(A, b, jr.POGM(prior), 1000).x
    np.testing.assert_allclose(found, jr.solve(A, b, jr.FISTA(prior), 1000).x, atol=1e-9)
