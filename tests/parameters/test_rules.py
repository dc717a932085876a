"""Each rule's lam against its own definition, minimised by brute force in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import brentq, minimize_scalar

import jaxrecon as jr
from jaxrecon.simulate.ill_posed import PROBLEMS, ill_posed


@pytest.fixture(scope="module", params=[*PROBLEMS, "complex", "real unknown"])
def problem(request):
    """(A, b, a, sigma): dense problems, a as NumPy sees the real or complex matrix of the same real problem."""
    rng = np.random.default_rng(4)
    if request.param in PROBLEMS:
        A, x = ill_posed(request.param, 24)
        y = np.asarray(A(x))
        sigma = 1e-2 * np.linalg.norm(y) / y.size**0.5
        b = y + sigma * rng.standard_normal(y.shape)
        return A, jnp.asarray(b), np.asarray(A.a), sigma
    a = (rng.standard_normal((30, 12)) + 1j * rng.standard_normal((30, 12))) * 0.6 ** np.arange(12)
    x = rng.standard_normal(12) * (1 if request.param == "real unknown" else 1 + 0.5j)
    b = a @ x + 0.3 * (rng.standard_normal(30) + 1j * rng.standard_normal(30))
    A = jr.Matrix(jnp.asarray(a))
    if request.param == "complex":
        return A, jnp.asarray(b), a, 0.3
    return jr.real_part(A), jnp.asarray(b), np.concatenate([a.real, a.imag]), 0.3


class Brute:
    """Tikhonov by NumPy, for the matrix and the data as they are."""

    def __init__(self, a, b):
        b = np.asarray(b)
        self.b = np.concatenate([b.real, b.imag]) if b.size * 2 == len(a) else b
        self.a = a
        self.u, self.s, self.vh = np.linalg.svd(a, full_matrices=False)
        self.s = np.where(self.s > np.finfo(float).eps * max(a.shape) * self.s[0], self.s, 0)
        self.parts = 2 if np.iscomplexobj(a) else 1
        self.count = self.parts * len(self.b)

    def factors(self, lam):
        lam = float(lam)
        return self.s**2 / (self.s**2 + lam)

    def x(self, lam):
        f = self.factors(lam)
        return self.vh.conj().T @ (np.divide(f, self.s, out=0 * f, where=self.s > 0) * (self.u.conj().T @ self.b))

    def misfit(self, lam):
        inside = (1 - self.factors(lam)) * (self.u.conj().T @ self.b)
        outside = self.b - self.u @ (self.u.conj().T @ self.b)
        return np.sum(np.abs(inside) ** 2) + np.sum(np.abs(outside) ** 2)

    def freedom(self, lam):
        return self.parts * np.sum(self.factors(lam))

    def gcv(self, lam, robust=1.0):
        share = self.parts * np.sum(self.factors(lam) ** 2) / self.count
        return self.count * self.misfit(lam) / (self.count - self.freedom(lam)) ** 2 * (robust + (1 - robust) * share)

    def sure(self, lam, sigma):
        return (self.misfit(lam) + 2 * sigma**2 * self.freedom(lam)) / self.count - sigma**2


    def determined(self, lams):
        """Where factors do not hang on rounding: singular values are known to eps s_0, and no better."""
        return np.asarray(lams) > (1e-7 * self.s[0]) ** 2


def lowest(f, lams):
    """argmin over the grid, refined between its neighbours."""
    k = int(np.argmin([f(lam) for lam in lams]))
    bounds = np.log([lams[max(k - 1, 0)], lams[min(k + 1, len(lams) - 1)]])
    found = minimize_scalar(lambda t: f(np.exp(t)), bounds=bounds, method="bounded", options={"xatol": 1e-12})
    return np.exp(found.x)


@pytest.mark.parametrize("robust", [1.0, 0.1])
def test_gcv(problem, robust):
    A, b, a, _ = problem
    brute, found = Brute(a, b), jr.gcv(A, b, robust=robust)
    known = brute.determined(found.lams)
    np.testing.assert_allclose(found.scores[known][::7], [brute.gcv(v, robust) for v in found.lams[known][::7]],
                               rtol=1e-6)
    lam = lowest(lambda v: brute.gcv(v, robust), np.asarray(found.lams))
    # The minimum is flat: a lam known to 1e-6 needs scores known to 1e-12; they are compared where that is beyond them.
    assert abs(float(found.lam) / lam - 1) < 1e-6 or brute.gcv(float(found.lam), robust) <= brute.gcv(lam, robust)
    np.testing.assert_allclose(found.x, brute.x(float(found.lam)), atol=1e-7 * np.abs(found.x).max())
    assert bool(found.ok)


def test_sure(problem):
    A, b, a, sigma = problem
    brute, found = Brute(a, b), jr.sure(A, b, sigma=sigma)
    known = brute.determined(found.lams)
    np.testing.assert_allclose(found.scores[known][::7], [brute.sure(v, sigma) for v in found.lams[known][::7]],
                               rtol=1e-6, atol=1e-9 * sigma**2)
    lam = lowest(lambda v: brute.sure(v, sigma), np.asarray(found.lams))
    assert abs(float(found.lam) / lam - 1) < 1e-6 or brute.sure(float(found.lam), sigma) <= brute.sure(lam, sigma)


def test_discrepancy(problem):
    A, b, a, sigma = problem
    brute, found = Brute(a, b), jr.discrepancy(A, b, sigma=sigma, factor=1.1)
    target = (1.1 * sigma) ** 2 * brute.count

    def excess(t):
        return np.log(brute.misfit(np.exp(t)) / target)

    low, high = np.log(np.asarray(found.lams)[:2])
    if excess(low) > 0:
        assert not bool(found.ok)
        return
    assert bool(found.ok)
    np.testing.assert_allclose(float(found.lam), np.exp(brentq(excess, low, high, xtol=1e-14)), rtol=1e-6)


def test_lcurve_of_tikhonov(problem):
    """Residual and penalty; curvature against finite differences of the logarithms; lam at its maximum."""
    A, b, a, _ = problem
    brute, curve = Brute(a, b), jr.lcurve(A, b)
    known = brute.determined(curve.lams)
    lams = curve.lams[known][::9]
    np.testing.assert_allclose(curve.residual[known][::9] ** 2, [brute.misfit(v) for v in lams], rtol=1e-7)
    np.testing.assert_allclose(curve.penalty[known][::9], [np.sum(np.abs(brute.x(v)) ** 2) / 2 for v in lams],
                               rtol=1e-7)

    def curvature(t, h=1e-3):
        at = np.exp(t + h * np.arange(-2, 3))
        rho, eta = (np.log([g(v) for v in at]) / 2
                    for g in (brute.misfit, lambda v: np.sum(np.abs(brute.x(v)) ** 2)))
        d1, d2 = np.array([1, -8, 0, 8, -1]) / 12 / h, np.array([-1, 16, -30, 16, -1]) / 12 / h**2
        r1, r2, e1, e2 = d1 @ rho, d2 @ rho, d1 @ eta, d2 @ eta
        return (r1 * e2 - r2 * e1) / (r1**2 + e1**2) ** 1.5

    k = int(curve.corner)
    near = np.arange(k - 2, k + 3)
    near = near[np.isfinite(curve.curvature[near])]  # no corner is looked for where the curve is flat
    np.testing.assert_allclose(curve.curvature[near], [curvature(t) for t in np.log(np.asarray(curve.lams[near]))],
                               rtol=1e-4)
    assert int(curve.corner) == int(np.nanargmax(curve.curvature))
    t = np.log(float(curve.lam))
    assert curvature(t) >= max(curvature(t - 0.01), curvature(t + 0.01)) * (1 - 1e-6)
    assert curvature(t) >= float(curve.curvature[k]) * (1 - 1e-6)


@pytest.mark.parametrize("gain", [1.0, 1e-4, 1e4])
@pytest.mark.parametrize("unit", [1.0, 1e-10, 1e-20, 1e18])
def test_the_corner_does_not_depend_on_units(gain, unit):
    """In single precision squares of small numbers vanish, and derivatives of large ones overflow."""
    A, x = ill_posed("shaw", 24)
    b = np.asarray(A(x)) + 0.1 * np.random.default_rng(0).standard_normal(24)
    lams = jnp.geomspace(1e-5, 10, 25)
    want = jr.lcurve(A, jnp.asarray(b), lams)
    found = jr.lcurve(jr.Matrix((gain * A.a).astype("float32")), jnp.asarray(unit * b, "float32"), gain**2 * lams)
    assert found.lam.dtype == jnp.float32 and bool(want.ok) and bool(found.ok)
    np.testing.assert_allclose(found.lam / gain**2, want.lam, rtol=1e-3)
    np.testing.assert_allclose(found.residual / unit, want.residual, rtol=1e-3)
    np.testing.assert_allclose(found.x[found.corner] * (gain / unit), want.x[want.corner], rtol=0, atol=1e-3)


def test_any_order_of_lams():
    A, x = ill_posed("deriv2", 16)
    b = A(x) + 1e-4 * jax.random.normal(jax.random.key(0), (16,))
    lams = jnp.geomspace(1e-9, 1e-1, 25)
    mixed = jax.random.permutation(jax.random.key(1), lams)
    for rule in (jr.gcv, jr.lcurve):
        one, other = rule(A, b, lams), rule(A, b, mixed)
        np.testing.assert_allclose(one.lam, other.lam, rtol=1e-12)
    np.testing.assert_allclose(other.residual, one.residual[jnp.searchsorted(lams, mixed)], rtol=1e-12)
    assert other.lams[other.corner] == one.lams[one.corner]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["complex", "real"])
def test_solvers_agree_with_the_svd(kind):
    """CG to convergence instead of the SVD; the trace by as many signs as make it exact to a per cent."""
    rng = np.random.default_rng(1)
    a = rng.standard_normal((40, 8)) + (1j * rng.standard_normal((40, 8)) if kind == "complex" else 0)
    A = jr.Matrix(jnp.asarray(a))
    b = jnp.asarray(a @ np.ones(8) + rng.standard_normal(40))
    lams = jnp.geomspace(1e-1, 1e3, 9)
    make = {"solver": lambda lam: jr.CGNR(lam), "iterations": 20}
    exact, run = jr.lcurve(A, b, lams), jr.lcurve(A, b, lams, **make)
    for name in ("residual", "penalty", "x"):
        np.testing.assert_allclose(getattr(run, name), getattr(exact, name), rtol=1e-8, atol=1e-10)
    for rule, options in ((jr.gcv, {}), (jr.sure, {"sigma": 1.0})):
        one = rule(A, b, lams, refine=0, **options)
        many = rule(A, b, lams, refine=0, probes=400, key=jax.random.key(2), **make, **options)
        np.testing.assert_allclose(many.scores, one.scores, rtol=0.03, atol=0.03)
    root = jr.discrepancy(A, b, lams, sigma=1.1, **make)
    np.testing.assert_allclose(root.lam, jr.discrepancy(A, b, lams, sigma=1.1).lam, rtol=1e-7)
    pieces = jr.lcurve(A, b, lams, chunk=4, **make)
    np.testing.assert_allclose(pieces.residual, run.residual, rtol=1e-10)
    followed = jr.lcurve(A, b, lams, continuation=True, **make)
    np.testing.assert_allclose(followed.x, run.x, atol=1e-8)


def test_penalty_is_that_of_the_prior_and_only_of_what_depends_on_lam():
    A, b = jr.Identity((5, 4)), jnp.arange(20.0).reshape(5, 4) ** 1.5
    lams = jnp.geomspace(1e-2, 1.0, 5)
    curve = jr.lcurve(A, b, lams, lambda lam: jr.ADMM([jr.TV(2 * lam), jr.NonNegative()]), iterations=50)
    np.testing.assert_allclose(curve.penalty, [2 * jr.TV(1.0)(x) for x in curve.x], rtol=1e-10)


@pytest.mark.slow
def test_a_corner_by_triangles_and_none():
    """Two straight lines that meet; and one line."""
    from jaxrecon.parameters.corner import triangle

    rho = jnp.concatenate([jnp.linspace(0, 0.5, 8), jnp.linspace(1, 8, 8)])
    eta = jnp.concatenate([jnp.linspace(9, 1, 8), jnp.linspace(0.9, 0.2, 8)])
    usable = jnp.ones(16, bool)
    best, found = triangle(rho, eta, usable)
    assert int(best) == 7 and bool(found)
    _, found = triangle(rho, -rho, usable)
    assert not bool(found)
    # A square A without noise: the curve bends one way only.
    A = jr.Matrix(jnp.diag(0.5 ** jnp.arange(6.0)))
    b = A(jnp.ones(6))
    assert not bool(jr.lcurve(A, b, jnp.geomspace(1e-3, 1e-1, 9), rule="triangle").ok)
    assert not bool(jr.lcurve(A, 0 * b).ok) and not bool(jr.gcv(A, b).ok)


def test_early_stopping():
    """The first iteration whose residual is small enough, for three methods; ok=False where none is."""
    A, x = ill_posed("phillips", 24)
    sigma = 0.05
    b = A(x) + sigma * jax.random.normal(jax.random.key(4), (24,))
    for solver in (jr.Landweber(), jr.CGNR(), jr.Kaczmarz()):
        history = jr.solve(A, b, solver, 200, record=("residual", "x")).history
        first = int(np.flatnonzero(history["residual"] <= 1.1 * sigma * 24**0.5)[0])
        found = jr.discrepancy(A, b, solver=solver, sigma=sigma, factor=1.1, iterations=200)
        assert bool(found.ok) and int(found.iterations) == first + 1
        np.testing.assert_allclose(found.x, history["x"][first], rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(found.residual, history["residual"][first], rtol=1e-9)
    few = jr.discrepancy(A, b, solver=jr.Landweber(), sigma=1e-9, iterations=5)
    assert not bool(few.ok) and int(few.iterations) == 5
    full = jr.discrepancy(A, b, solver=jr.CGNR(), sigma=100.0)
    assert bool(full.ok) and int(full.iterations) == 0


@pytest.mark.slow
def test_masked_samples_are_no_measurements():
    """The same numbers with the missing rows as zeros as without them."""
    rng = np.random.default_rng(5)
    mask = rng.random((8, 8)) < 0.5
    A = jr.Fourier((8, 8), mask=mask)
    b = A(jnp.asarray(rng.standard_normal((8, 8)))) + mask * jnp.asarray(
        rng.standard_normal((8, 8)) + 1j * rng.standard_normal((8, 8)))
    small = jr.Matrix(jr.dense(A)[mask.ravel()])
    lams = jnp.geomspace(1e-2, 1e2, 7)
    make = {"solver": lambda lam: jr.CGNR(lam), "iterations": 2, "refine": 0}
    many = jr.sure(A, b, lams, sigma=1.0, **make)
    few = jr.sure(small, b[mask], lams, sigma=1.0, refine=0)
    np.testing.assert_allclose(many.scores, few.scores, rtol=1e-9)  # tr H is exact for A^H A a projection
    dense = jr.sure(A, b + (1 - mask), lams, sigma=1.0, refine=0)
    np.testing.assert_allclose(dense.scores, few.scores, rtol=1e-9)
    np.testing.assert_allclose(jr.gcv(A, b, lams, **make).scores, jr.gcv(small, b[mask], lams, refine=0).scores,
                               rtol=1e-9)
    one = jr.discrepancy(A, b, lams, lambda lam: jr.CGNR(lam), sigma=0.9, iterations=2)
    np.testing.assert_allclose(one.lam, jr.discrepancy(small, b[mask], lams, sigma=0.9).lam, rtol=1e-8)


@pytest.mark.slow
def test_weights_whiten():
    """Weights 1 / sigma_i^2 and sigma = 1, as b and A divided by sigma_i."""
    rng = np.random.default_rng(6)
    a, scale = rng.standard_normal((12, 5)), np.geomspace(0.1, 3, 12)
    b = a @ np.ones(5) + scale * rng.standard_normal(12)
    lams = jnp.geomspace(1e-3, 1e3, 9)
    make = {"solver": lambda lam: jr.CGNR(lam), "iterations": 20, "probes": 3}
    data = jr.LeastSquares(jnp.asarray(1 / scale**2))
    weighted = jr.sure(jr.Matrix(jnp.asarray(a)), jnp.asarray(b), lams, data=data, **make)
    white = jr.sure(jr.Matrix(jnp.asarray(a / scale[:, None])), jnp.asarray(b / scale), lams, sigma=1.0, **make)
    np.testing.assert_allclose(weighted.scores, white.scores, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(weighted.lam, white.lam, rtol=1e-9)
    own = jr.sure(jr.Matrix(jnp.asarray(a)), jnp.asarray(b), lams, lambda lam: jr.Iterative(jr.CGNR(lam), 20, data),
                  probes=3)
    np.testing.assert_allclose(own.scores, white.scores, rtol=1e-9, atol=1e-12)


@pytest.mark.slow
def test_several_parameters_at_once():
    """SURE of the elastic net of a denoising problem, against its closed form."""
    rng = np.random.default_rng(7)
    sigma = 0.5
    y = (np.arange(400) % 2) * rng.standard_normal(400) + sigma * rng.standard_normal(400)

    def risk(l1, l2):
        l1, l2 = float(l1), float(l2)
        u = np.sign(y) * np.maximum(np.abs(y) - l1, 0) / (1 + l2)
        return np.mean((u - y) ** 2) + 2 * sigma**2 * np.mean(np.abs(y) > l1) / (1 + l2) - sigma**2

    grid = np.geomspace(0.05, 1, 4)
    l1, l2 = (jnp.asarray(v.ravel()) for v in np.meshgrid(grid, grid))
    found = jr.sure(jr.Identity((400,)), jnp.asarray(y), {"l1": l1, "l2": l2},
                    lambda lam: jr.ISTA(jr.ElasticNet(lam["l1"], lam["l2"]), step_size=1.0), sigma=sigma, iterations=1,
                    refine=8)
    np.testing.assert_allclose(found.scores, [risk(*v) for v in zip(l1, l2, strict=True)], rtol=1e-9, atol=1e-12)
    fine = min(risk(p, q) for p in np.geomspace(0.03, 2, 90) for q in np.geomspace(0.01, 2, 90))
    assert risk(float(found.lam["l1"]), float(found.lam["l2"])) <= fine + 1e-5 and bool(found.ok)
