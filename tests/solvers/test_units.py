"""scale="system": one lam whatever the units of A and b."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrecon as jr
from jaxrecon.operator.inverse import solve_positive
from jaxrecon.solvers.stopped import Stopped

SHAPE = (8, 8)
SOLVERS = {
    "Landweber": jr.Landweber(), "Landweber, step": jr.Landweber(0.7), "CGNR": jr.CGNR(0.1),
    "ISTA": jr.ISTA(jr.L1(0.05)), "FISTA": jr.FISTA(jr.TV(0.05)), "FISTA, step": jr.FISTA(jr.L1(0.05), 0.9),
    "POGM": jr.POGM(jr.ElasticNet(0.05, 0.1)), "ADMM": jr.ADMM([jr.TV(0.05), jr.L1(0.02)]),
    "ADMM, balanced": jr.ADMM(jr.TV(0.05), rho=0.3, balance=True), "PDHG": jr.PDHG(jr.TV(0.05)),
    "CondatVu": jr.CondatVu([jr.TV(0.05), jr.L1(0.02)]), "HQS": jr.HQS(jr.L1(0.05), 0.2),
    "Alternating": jr.Alternating(jr.ProximalStep(0.3), jr.L1(0.05)),
    "L2 through an operator": jr.FISTA(jr.L2(0.3, jr.Gradient(SHAPE))),
    "replacement": jr.Alternating(jr.SampleReplacement(0.1), jr.L1(0.05)),
    "Box": jr.FISTA(jr.L1(0.05)), "Stopped": jr.CGNR(0.05),
}
FAST = ("Landweber", "CGNR", "FISTA", "ADMM", "PDHG", "Box", "Stopped")
DENSE = {"Kaczmarz": jr.Kaczmarz(0.1), "ADMM": jr.ADMM(jr.L1(0.05)), "SIRT": jr.SIRT(), "CGNR": jr.CGNR(0.1)}


def fourier(gain):
    mask = (jnp.arange(8) % 3 != 1)[:, None]
    return gain * jr.Fourier(SHAPE, mask=mask, dtype="complex64")


def run(A, b, solver, **options):
    return jr.solve(A, b, solver, 25, scale="system", **options)


@pytest.mark.parametrize("name", [n if n in FAST else pytest.param(n, marks=pytest.mark.slow) for n in SOLVERS])
def test_the_same_picture_from_any_units(name, rng):
    x = jnp.asarray(rng.standard_normal(SHAPE), "float32")
    b = fourier(jnp.float32(1))(x)
    solver = SOLVERS[name]

    def with_units(unit, level):
        if name == "Box":
            return jr.CondatVu([jr.L1(0.05), jr.Box(-0.5 * unit, 0.5 * unit)])
        return Stopped(solver, level * 1.0) if name == "Stopped" else solver

    one = run(fourier(jnp.float32(1)), b, with_units(1.0, 1.0), record=("objective", "residual", "change"))
    assert bool(jnp.any(one.x != 0)) and one.x.dtype == "complex64"
    for of_a, of_b in ((1e6, 1.0), (1e-6, 1.0), (1.0, 1e6), (1.0, 1e-6), (1e6, 1e6), (1e-6, 1e-6)):
        unit = of_b / of_a
        other = run(fourier(jnp.float32(of_a)), jnp.float32(of_b) * b, with_units(unit, of_b),
                    record=("objective", "residual", "change"))
        np.testing.assert_allclose(other.x / unit, one.x, atol=1e-4 * np.abs(one.x).max(), err_msg=f"{of_a}, {of_b}")
        np.testing.assert_allclose(other.history["residual"] / of_b, one.history["residual"], rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(other.history["objective"][-1] / of_b**2, one.history["objective"][-1], rtol=1e-3,
                                   atol=1e-10)


@pytest.mark.parametrize("name", DENSE)
@pytest.mark.parametrize("kind", ["float32", "complex64"])
def test_matrices_stay_matrices(name, kind, rng):
    a = rng.standard_normal((20, 8)) + (1j * rng.standard_normal((20, 8)) if kind == "complex64" else 0)
    a = np.abs(a) if name == "SIRT" else a
    A, b = jr.Matrix(jnp.asarray(a, kind)), jnp.asarray(a @ np.ones(8) + 0.1 * rng.standard_normal(20), kind)
    if name == "SIRT" and kind == "complex64":
        pytest.skip("SIRT is for real matrices")
    one = run(A, b, DENSE[name]).x
    for gain in (1e-6, 1e6):
        np.testing.assert_allclose(gain * run(gain * A, b, DENSE[name]).x, one, rtol=2e-3, atol=1e-4)
        np.testing.assert_allclose(run(A, gain * b, DENSE[name]).x / gain, one, rtol=2e-3, atol=1e-4)


@pytest.mark.slow
def test_what_lam_means(rng):
    """Quadratic times |A|^2, norms times |A^H b|_inf, in float64; lam = 1 leaves nothing of a sparse image."""
    A = jr.Matrix(jnp.asarray(rng.standard_normal((12, 8))))
    b = jnp.asarray(rng.standard_normal(12))
    norm, largest = jr.operator_norm(A), jnp.max(jnp.abs(A.H(b)))
    np.testing.assert_allclose(jr.solve(A, b, jr.CGNR(0.1), 30, scale="system").x,
                               jr.tikhonov(A, b, 0.1 * norm**2), rtol=1e-9)
    plain = jr.solve(A, b, jr.FISTA(jr.ElasticNet(0.2 * largest, 0.1 * norm**2)), 300).x
    np.testing.assert_allclose(jr.solve(A, b, jr.FISTA(jr.ElasticNet(0.2, 0.1)), 300, scale="system").x, plain,
                               rtol=1e-9, atol=1e-12)
    assert not np.any(jr.solve(A, b, jr.FISTA(jr.L1(1.0)), 50, scale="system").x)
    assert np.any(jr.solve(A, b, jr.FISTA(jr.L1(0.98)), 50, scale="system").x)
    weights = jnp.asarray(rng.random(12))
    whole = jr.Matrix(jnp.sqrt(weights)[:, None] * A.a)
    np.testing.assert_allclose(
        jr.solve(A, b, jr.CGNR(0.1), 30, scale="system", data=jr.LeastSquares(weights)).x,
        jr.solve(whole, jnp.sqrt(weights) * b, jr.CGNR(0.1), 30, scale="system").x, rtol=1e-9)


def test_bounds_of_a_schedule_are_in_the_units_of_the_image(rng):
    A, b = jr.Matrix(jnp.asarray(rng.standard_normal((12, 8)))), jnp.asarray(rng.standard_normal(12))
    plain = jr.FISTA(jr.Box(-0.1, 0.1))
    schedule = {"prior.lo": jnp.full(3, -0.1), "prior.hi": jnp.array([0.3, 0.2, 0.1])}
    found = jr.solve(A, b, jr.Scheduled(plain, schedule), 400, scale="system").x
    np.testing.assert_allclose(found, jr.solve(A, b, plain, 400).x, atol=1e-9)
    assert np.max(np.abs(found)) == pytest.approx(0.1)
    stopped = jr.Scheduled(jr.Stopped(jr.Landweber(), 0.0), {"residual": jnp.full(3, 2.0)})
    level = jr.solve(A, b, stopped, 400, scale="system", record="residual").history
    alone = jr.solve(A, b, jr.Stopped(jr.Landweber(), 2.0), 400, record="residual").history
    np.testing.assert_allclose(level, alone, rtol=1e-9)


@pytest.mark.slow
def test_start_records_and_gradients(rng):
    A, b = jr.Matrix(jnp.asarray(rng.standard_normal((6, 4)))), jnp.asarray(rng.standard_normal(6))
    x0 = jnp.ones(4)
    stay = jr.solve(A, b, jr.Landweber(1e-30), 1, x0=x0, scale="system")
    np.testing.assert_allclose(stay.x, x0, rtol=1e-12)
    seen = jr.solve(A, b, jr.CGNR(0.1), 3, scale="system", record=jr.Partial(lambda A, b, x: A(x) - b)).history
    np.testing.assert_allclose(seen[-1], A(jr.solve(A, b, jr.CGNR(0.1), 3, scale="system").x) - b, rtol=1e-10)
    recorded = jr.solve(A, b, jr.CGNR(0.1), 3, scale="system", record="x").history
    np.testing.assert_allclose(recorded[-1], jr.solve(A, b, jr.CGNR(0.1), 3, scale="system").x, rtol=1e-12)
    nothing = jr.solve(A, 0 * b, jr.FISTA(jr.L1(0.1)), 3, scale="system")
    assert bool(nothing.ok) and not np.any(nothing.x)

    def loss(lam):
        return jnp.sum(jr.Iterative(jr.CGNR(lam), 8, scale="system")(A, b) ** 2)

    step = 1e-5
    np.testing.assert_allclose(jax.grad(loss)(0.1), (loss(0.1 + step) - loss(0.1 - step)) / (2 * step), rtol=1e-6)


@pytest.mark.parametrize(("call", "error", "words"), [
    (lambda A, b: jr.solve(A, b, jr.CGNR(), scale="auto"), ValueError, "None or 'system'"),
    (lambda A, b: jr.solve(A, b, jr.RichardsonLucy(), scale="system"), ValueError, "least-squares problems only"),
])
def test_refused(call, error, words):
    with pytest.raises(error, match=words):
        call(jr.Matrix(jnp.ones((3, 2))), jnp.ones(3))


@pytest.mark.parametrize("s", [1e-6, 1e6])
@pytest.mark.parametrize("method", ["CGNR", "ADMM", "ProximalStep", "HQS"])
def test_conjugate_gradients_bear_any_unit_of_the_operator(method, s):
    """Squares of |A|^2 |b| leave single precision long before the image does; no scale="system" here."""
    rng = np.random.default_rng(0)
    a, x = rng.standard_normal((60, 40)).astype("float32"), jnp.asarray(np.repeat([0, 1, 0.3, 2], 10), "float32")

    def fit(unit):
        A = jr.linear(_product, jax.ShapeDtypeStruct((40,), jnp.float32), jnp.asarray(a * np.float32(unit)))
        lam = float(unit) ** 2
        solver = {"CGNR": jr.CGNR(), "ADMM": jr.ADMM(jr.TV(0.1 * lam), rho=10 * lam),
                  "ProximalStep": jr.Alternating(jr.ProximalStep(10 * lam), jr.TV(0.1 * lam)),
                  "HQS": jr.HQS(jr.TV(0.1 * lam), 10 * lam)}[method]
        return jr.solve(A, A(x), solver, 50)

    got, want = fit(s), fit(1.0)
    assert got.ok
    np.testing.assert_allclose(got.x, want.x, atol=1e-4)


def _product(a, v):
    return a @ v


def test_overflow_and_nan_in_conjugate_gradients_are_not_ok():
    a = jnp.full((3, 2), 1e25, "float32").at[0, 0].set(0)
    assert not jr.solve(jr.Matrix(a), jnp.ones(3, "float32"), jr.CGNR(), 5).ok
    assert np.all(np.isnan(solve_positive(jr.Matrix(jnp.eye(2)), jnp.array([jnp.nan, 1.0]))))
