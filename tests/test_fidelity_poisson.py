"""The Poisson likelihood against plain formulas, SciPy's minimisers and brute force."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize, special

import jaxrecon as jr
from jaxrecon.fidelity import LeastSquares, PoissonLikelihood
from jaxrecon.fidelity.counting import Emission, Transmission, wright_omega

KINDS = {
    "transmission": PoissonLikelihood("transmission", blank=1000.0),
    "transmission with background": PoissonLikelihood("transmission", blank=1000.0, background=20.0),
    "emission": PoissonLikelihood("emission"),
    "emission with background": PoissonLikelihood("emission", background=5.0),
}
CONVEX = [k for k in KINDS if k != "transmission with background"]


def plain(data, y, z):
    """sum ybar - y log ybar + y log y - y, with the parabola at 0, in NumPy."""
    r = 0.0 if data.background is None else data.background
    if data.kind == "transmission":
        I0 = data.blank
        mean, slope = I0 * np.exp(-np.maximum(z, 0)) + r, -I0 * (1 - y / (I0 + r))
        curve = np.maximum(I0 * (1 - y * r / (I0 + r) ** 2), 0)
    else:
        mean, slope, curve = np.maximum(z, 0) + r, 1 - y / r if r else 0, y / r**2 if r else 0
    down = np.minimum(z, 0)
    return np.sum(special.kl_div(y, mean) + slope * down + curve * down**2 / 2)


@pytest.fixture(scope="module")
def system():
    rng = np.random.default_rng(1)
    a = rng.uniform(0, 1, (20, 6)) * (rng.uniform(size=(20, 6)) < 0.6)
    return a, np.array([0.9, 0.0, 0.2, 0.2, 0.6, 0.1])


def measured(system, name):
    """Counts with noise, some of them 0, and the operator."""
    (a, x), data, rng = system, KINDS[name], np.random.default_rng(2)
    r = 0.0 if data.background is None else data.background
    if data.kind == "transmission":
        y = rng.poisson(1000 * np.exp(-a @ x) + r).astype(float)
        y[3] = 0
        return a, y
    a = 20 * a
    y = rng.poisson(a @ x + r).astype(float)
    y[3] = 0
    return a, y


@pytest.mark.parametrize("name", KINDS)
def test_value_and_gradient(system, name):
    data, (a, y) = KINDS[name], measured(system, name)
    problem = data.problem(jr.Matrix(a), jnp.asarray(y))
    points = np.random.default_rng(3).uniform(0.1, 1, (3, 6))
    if name != "emission":
        points[1:] -= 0.8  # some projections below 0
        assert ((a @ points[1]) < 0).any()
    both = jax.jit(jax.vmap(lambda x: (problem(x), problem.gradient(x), jax.grad(problem)(x))))
    values, gradients, wanted = both(points)
    np.testing.assert_allclose(gradients, wanted, rtol=1e-12, atol=1e-9)
    for x, value, gradient in zip(points, values, gradients, strict=True):
        np.testing.assert_allclose(value, plain(data, y, a @ x), rtol=1e-12)
        wanted = optimize.approx_fprime(x, lambda x: plain(data, y, a @ x), 1e-7)
        np.testing.assert_allclose(gradient, wanted, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("name", KINDS)
def test_curvature_bounds_the_second_derivative_and_is_reached(name):
    data, y = KINDS[name], np.array([0.0, 1.0, 30.0, 900.0, 5000.0])
    problem = data.problem(jr.Identity(5), jnp.asarray(y))
    z = np.concatenate([-np.geomspace(1e-3, 100, 50), np.linspace(1e-4, 20, 4000)])
    second = jax.vmap(lambda z: jax.jvp(lambda v: problem.model.slope(y, v), (jnp.full(5, z),), (jnp.ones(5),))[1])
    if name == "emission":
        with pytest.raises(ValueError, match=r"without background.*jr\.PDHG or jr\.RichardsonLucy"):
            problem.curvature()
        return
    largest = jnp.max(second(z), axis=0)
    np.testing.assert_allclose(np.maximum(largest, 0), problem.model.bound(y), rtol=1e-3, atol=1e-9)
    np.testing.assert_allclose(problem.curvature(), jnp.max(problem.model.bound(y)), rtol=1e-3)


@pytest.mark.parametrize("model", [
    Transmission(jnp.array([50.0]), jnp.zeros(1)), Emission(jnp.zeros(1)), Emission(jnp.array([3.0])),
], ids=["transmission", "emission", "emission with background"])
def test_prox_minimises(model):
    grid = np.meshgrid([0.0, 0.3, 7.0, 60.0], [-30.0, -1.0, 0.0, 0.5, 4.0, 80.0], [1e-3, 0.1, 5.0])
    y, v, t = (g.ravel() for g in grid)
    z, value = np.asarray(model.prox(y, v, t)), jax.jit(model.value)
    for yi, vi, ti, zi in zip(y, v, t, z, strict=True):
        near = zi + (1 + abs(zi)) * np.array([0, -1, -0.1, -1e-3, -1e-5, 1e-5, 1e-3, 0.1, 1])
        energy = ti * np.asarray(value(yi, near)) + (near - vi) ** 2 / 2
        assert energy[0] <= energy[1:].min() + 1e-9 * (1 + abs(energy[0]))


def test_wright_omega():
    s = np.concatenate([np.linspace(-60, 60, 1001), [-1e6, 1e12, 1e300]])
    np.testing.assert_allclose(wright_omega(s), special.wrightomega(s), rtol=1e-13)
    np.testing.assert_allclose(jax.grad(wright_omega)(2.0), 1 / (1 + 1 / special.wrightomega(2.0)))
    assert np.isfinite(wright_omega(np.array([-1e30, 1e30], "float32"))).all()


LAMS = {"transmission": (30.0, 20.0), "emission": (2.0, 1.0)}


def reference(data, a, y, prior, start):
    """SciPy's minimiser in float64 for x >= 0: by L-BFGS-B, or SLSQP for TV with one bound |x_i+1 - x_i| <= t_i."""
    if prior != "tv":
        lam = LAMS[data.kind][0] if prior == "l2" else 0.0
        fit = optimize.minimize(lambda x: plain(data, y, a @ x) + lam / 2 * x @ x, start, method="L-BFGS-B",
                                bounds=[(1e-12, None)] * 6, jac=None,
                                options={"ftol": 1e-16, "gtol": 1e-10, "maxfun": 100000, "maxiter": 5000})
        return fit.x, fit.fun
    lam, D = LAMS[data.kind][1], np.diff(np.eye(6), axis=0)
    rows = np.block([[D, np.eye(5)], [-D, np.eye(5)]])
    fit = optimize.minimize(lambda v: plain(data, y, a @ v[:6]) + lam * v[6:].sum(), np.r_[start, np.ones(5)],
                            method="SLSQP", bounds=[(1e-12, None)] * 6 + [(0, None)] * 5,
                            constraints={"type": "ineq", "fun": lambda v: rows @ v, "jac": lambda v: rows},
                            options={"ftol": 1e-15, "maxiter": 2000})
    return fit.x[:6], fit.fun


def solvers(data, prior, name):
    lam = LAMS[data.kind]
    priors = {"none": [jr.NonNegative()], "l2": [jr.NonNegative(), jr.L2(lam[0])],
              "tv": [jr.NonNegative(), jr.TV(lam[1])]}[prior]
    found = {}
    if name != "transmission with background":
        found["PDHG"] = jr.PDHG(priors)
    if name != "emission":
        found["CondatVu"] = jr.CondatVu(priors)
        if prior == "none":
            found |= {"ISTA": jr.ISTA(priors[0]), "FISTA": jr.FISTA(priors[0], restart=True),
                      "POGM": jr.POGM(priors[0]), "Alternating": jr.Alternating(jr.GradientStep(), priors[0])}
    return found


FAST = [("transmission with background", "l2"), ("emission", "l2"), ("emission with background", "tv")]


@pytest.mark.parametrize("name, prior", [
    pytest.param(name, prior, marks=[] if (name, prior) in FAST else pytest.mark.slow)
    for name in KINDS for prior in ("none", "l2", "tv")
])
def test_minimiser(system, name, prior):
    data, (a, y) = KINDS[name], measured(system, name)
    wanted, least = reference(data, a, y, prior, np.full(6, 0.5))
    for method, solver in solvers(data, prior, name).items():
        s = jr.solve(jr.Matrix(a), y, solver, 4000, data=data, record=("objective", "residual"))
        np.testing.assert_allclose(s.history["objective"][-1], least, rtol=1e-8, err_msg=method)
        np.testing.assert_allclose(s.x, wanted, atol=2e-5, err_msg=method)
        z = a @ np.asarray(s.x)
        mean = (1000 * np.exp(-z) if data.kind == "transmission" else z) + (data.background or 0)
        np.testing.assert_allclose(s.history["residual"][-1], np.linalg.norm(mean - y), rtol=1e-9)


def test_the_likelihood_is_of_counts_and_scales_with_them(system):
    a, y = measured(system, "transmission")
    one = KINDS["transmission"].problem(jr.Matrix(a), jnp.asarray(y))
    ten = PoissonLikelihood("transmission", blank=np.full(20, 1e4)).problem(jr.Matrix(a), jnp.asarray(10 * y))
    x = jnp.full(6, 0.3)
    np.testing.assert_allclose(ten(x), 10 * one(x), rtol=1e-12)
    np.testing.assert_allclose(ten.gradient(x), 10 * one.gradient(x), rtol=1e-12)


@pytest.mark.slow
def test_detectors_without_blank_are_left_out(system):
    a, y = measured(system, "transmission")
    blank = np.full(20, 1000.0)
    blank[[2, 5]] = 0
    rest = np.delete(np.arange(20), [2, 5])
    x = jnp.full(6, 0.3)
    for background in (None, 7.0):
        whole, part = (PoissonLikelihood("transmission", blank[i], background).problem(jr.Matrix(a[i]), jnp.asarray(v))
                       for i, v in ((slice(None), y), (rest, y[rest])))
        np.testing.assert_allclose(whole(x), part(x), rtol=1e-12)
        np.testing.assert_allclose(whole.gradient(x), part.gradient(x), rtol=1e-12)
    v = jnp.linspace(-1, 1, 20)
    whole = PoissonLikelihood("transmission", blank).problem(jr.Matrix(a), jnp.asarray(y))
    # The conjugate of f = 0 is the indicator of 0.
    np.testing.assert_allclose(whole.dual_prox(v, jnp.asarray(0.5))[np.array([2, 5])], 0, atol=1e-15)


@pytest.mark.parametrize("name", KINDS)
def test_finite_for_extreme_values(name):
    data, dtype = KINDS[name], "float32"
    z = jnp.asarray([-1e9, -1.0, 0.0, 1e-30, 1.0, 90.0, 800.0, 1e9], dtype)
    y = jnp.asarray([0.0, 1e-30, 1.0, 1e6], dtype)[:, None]
    r = jnp.asarray(data.background or 0.0, dtype)
    model = Transmission(jnp.asarray(1000.0, dtype), r) if data.kind == "transmission" else Emission(r)
    for f in jax.jit(lambda m, y, z: (m.value(y, z), m.slope(y, z), m.mean(z)))(model, y, z):
        assert f.dtype == dtype
        assert not jnp.isnan(f).any()
        assert name == "emission" or jnp.isfinite(f).all()
    if name in CONVEX:
        t = jnp.asarray([1e-6, 1.0, 1e4], dtype)[:, None, None]
        assert jnp.isfinite(jax.jit(lambda m, y, z, t: m.prox(y, z, t))(model, y, z, t)).all()


def test_a_count_of_zero_behind_a_strong_absorber_has_a_gradient():
    problem = PoissonLikelihood("transmission", blank=100.0).problem(jr.Matrix(jnp.eye(2)), jnp.array([0.0, 50.0]))
    x = jnp.array([1000.0, 0.7])
    np.testing.assert_allclose(jax.grad(problem)(x), problem.gradient(x), rtol=1e-12)


def test_values_stay_accurate_in_single_precision():
    y = np.full(3, 1e6, "float32")
    z = np.array([0.999, 1.0, 1.001])
    model = Transmission(jnp.float32(1e6 * np.e), jnp.float32(0))
    wanted = special.kl_div(1e6, 1e6 * np.exp(1) * np.exp(-z))
    np.testing.assert_allclose(model.value(y, z.astype("float32")), wanted, rtol=2e-3, atol=1e-3)


@pytest.mark.slow
def test_transformations(system):
    a, y = measured(system, "transmission")
    A, lams = jr.Matrix(a), jnp.array([5.0, 50.0])
    traces = []

    def run(lam, y, blank):
        traces.append(1)
        solver = jr.FISTA(jr.L2(lam))
        return jr.solve(A, y, solver, 50, data=PoissonLikelihood("transmission", blank)).x

    fast = jax.jit(run)
    one = fast(5.0, y, 1000.0)
    np.testing.assert_allclose(fast(50.0, y + 1, 1001.0) * 0 + one, one)
    assert len(traces) == 1
    many = jax.vmap(run, (0, None, None))(lams, y, 1000.0)
    np.testing.assert_allclose(many[0], one, rtol=1e-10)
    np.testing.assert_allclose(many[1], fast(50.0, y, 1000.0), rtol=1e-10)

    def loss(v):
        return jnp.sum(fast(v[0], y, v[1]) ** 2)

    v = jnp.array([5.0, 1000.0])
    steps = np.diag([1e-3, 1e-2])
    wanted = [(loss(v + e) - loss(v - e)) / (2 * e.sum()) for e in steps]
    np.testing.assert_allclose(jax.grad(loss)(v), wanted, rtol=1e-5)


def test_pdhg_differentiates(system):
    a, y = measured(system, "emission")

    def loss(lam):
        return jnp.sum(jr.solve(jr.Matrix(a), y, jr.PDHG([jr.NonNegative(), jr.L2(lam)]), 40,
                                data=PoissonLikelihood("emission")).x ** 2)

    np.testing.assert_allclose(jax.grad(loss)(2.0), (loss(2.001) - loss(1.999)) / 2e-3, rtol=1e-5)


def test_single_precision_stays_single(system):
    a, y = measured(system, "transmission")
    A = jr.Matrix(a.astype("float32"))
    for solver in (jr.FISTA(jr.NonNegative()), jr.PDHG(jr.NonNegative())):
        assert jr.solve(A, y, solver, 2, data=KINDS["transmission"]).x.dtype == "float32"


@pytest.mark.parametrize("solver", [
    jr.CGNR(), jr.Landweber(), jr.Kaczmarz(), jr.ADMM(jr.L1(1.0)), jr.Alternating(jr.ProximalStep(1.0), jr.L1(1.0)),
    jr.Alternating(jr.KaczmarzSweep(), jr.L1(1.0)), jr.Alternating(jr.SampleReplacement(), jr.L1(1.0)),
], ids=lambda s: type(getattr(s, "dc", s)).__name__)
def test_solvers_of_least_squares_refuse(system, solver):
    a, y = measured(system, "emission")
    with pytest.raises(ValueError, match=r"least-squares problems only, got data of a PoissonProblem; use jr\.FISTA"):
        jr.solve(jr.Matrix(a), y, solver, 1, data=KINDS["emission"])


def test_refuses_what_it_cannot_do(system):
    a, y = measured(system, "transmission")
    A, fista, pdhg = jr.Matrix(a), jr.FISTA(jr.NonNegative()), jr.PDHG(jr.NonNegative())

    def refuses(message, call, error=ValueError):
        with pytest.raises(error, match=message):
            call()

    refuses("transmission, emission, got 'radiation'", lambda: PoissonLikelihood("radiation"))
    refuses("needs blank", lambda: PoissonLikelihood("transmission"))
    refuses(r"jr\.Diagonal\(e\) @ A", lambda: PoissonLikelihood("emission", blank=1.0))
    refuses("blank must be real, got complex128", lambda: PoissonLikelihood("transmission", blank=5 + 1j))
    refuses("background must not be negative, its least is -2", lambda: PoissonLikelihood("emission", background=-2.0))
    refuses("blank must not be negative", lambda: PoissonLikelihood("transmission", blank=np.array([1.0, np.nan])))
    for run in (jr.solve, lambda *args, **kwargs: jr.unroll(*args, **kwargs)):
        refuses("counts must not be negative", lambda run=run: run(A, y - 2000, pdhg, 1, data=KINDS["transmission"]))
    refuses(r"one real array of counts, got complex128\[20\]",
            lambda: jr.solve(A, y + 0j, fista, 1, data=KINDS["emission"]))
    refuses(r"blank of shape \(19,\) does not broadcast",
            lambda: jr.solve(A, y, fista, 1, data=PoissonLikelihood("transmission", np.ones(19))))
    refuses("not convex", lambda: jr.solve(A, y, pdhg, 1, data=KINDS["transmission with background"]))
    refuses("without background", lambda: jr.solve(A, y, fista, 1, data=KINDS["emission"]))
    refuses("data must be a data term", lambda: jr.solve(A, y, fista, 1, data="poisson"), TypeError)
    # Counts without background anywhere have no step: nothing finite is passed off as a solution.
    partly = PoissonLikelihood("emission", background=np.r_[np.zeros(10), np.ones(10)])
    assert not jr.solve(A, y, fista, 3, data=partly).ok
    assert PoissonLikelihood("emission", background=0.0).background is None
    assert isinstance(fista.default_data, LeastSquares)
