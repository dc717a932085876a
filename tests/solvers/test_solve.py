"""What `solve` records, when it stops, what it refuses."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrecon as jr
from jaxrecon.solvers.loop import _solve

RNG = np.random.default_rng(2)
A = RNG.standard_normal((8, 5))
B = RNG.standard_normal(8)
M = jr.Matrix(A)
LASSO = jr.FISTA(jr.L1(0.3))


def iterates(solver, n, **kwargs):
    return np.asarray(jr.solve(M, B, solver, n, record="x", **kwargs).history)


# ---- histories


def test_histories_equal_direct_computation():
    names = ("objective", "fidelity", "residual", "change", "x")
    r = jr.solve(M, B, LASSO, 15, record=names)
    assert set(r.history) == set(names) and int(r.iterations) == 15 and bool(r.ok)
    xs = np.asarray(r.history["x"])
    before = np.vstack([np.zeros(5), xs[:-1]])
    residual = np.linalg.norm(xs @ A.T - B, axis=1)
    np.testing.assert_allclose(r.history["residual"], residual, rtol=1e-12)
    np.testing.assert_allclose(r.history["fidelity"], residual**2 / 2, rtol=1e-12)
    np.testing.assert_allclose(r.history["objective"], residual**2 / 2 + 0.3 * np.abs(xs).sum(1), rtol=1e-12)
    np.testing.assert_allclose(
        r.history["change"], np.linalg.norm(xs - before, axis=1) / np.linalg.norm(xs, axis=1), rtol=1e-9
    )
    assert np.array_equal(xs[-1], r.x)


def test_one_name_gives_an_array_a_list_a_dict_and_nothing_none():
    assert jr.solve(M, B, LASSO, 4).history is None
    assert jr.solve(M, B, LASSO, 4, record="residual").history.shape == (4,)
    assert list(jr.solve(M, B, LASSO, 4, record=["residual"]).history) == ["residual"]


@pytest.mark.parametrize(
    "solver, penalty",
    [
        (jr.CGNR(0.4), lambda x: 0.2 * np.sum(x**2)),
        (jr.Landweber(), lambda x: 0.0),
        (jr.CGNR(np.arange(5.0)), lambda x: np.sum(np.arange(5) * x**2) / 2),
        (jr.Kaczmarz(0.4), lambda x: 0.2 * np.sum(x**2)),
        (
            jr.ADMM([jr.L1(0.3), jr.L2(0.2), jr.TV(0.1)]),
            lambda x: 0.3 * np.abs(x).sum() + 0.1 * np.sum(x**2) + 0.1 * np.abs(np.diff(x)).sum(),
        ),
        (jr.PDHG([jr.L1(0.3), jr.TV(0.1)]), lambda x: 0.3 * np.abs(x).sum() + 0.1 * np.abs(np.diff(x)).sum()),
        (jr.Alternating(jr.GradientStep(), jr.L1(0.3)), lambda x: 0.3 * np.abs(x).sum()),
    ],
    ids=lambda v: getattr(v, "__class__", v).__name__,
)
def test_the_objective_of_every_solver(solver, penalty):
    h = jr.solve(M, B, solver, 5, record=("objective", "x")).history
    want = [np.sum((A @ x - B) ** 2) / 2 + penalty(x) for x in np.asarray(h["x"])]
    np.testing.assert_allclose(h["objective"], want, rtol=1e-12)


def test_the_objective_is_weighted_and_a_partial_sees_the_given_operator_and_data():
    w = np.linspace(0, 2, 8)
    r = jr.solve(M, B, LASSO, 3, record=("fidelity", "x"), data=jr.LeastSquares(w))
    want = [np.sum(w * (A @ x - B) ** 2) / 2 for x in np.asarray(r.history["x"])]
    np.testing.assert_allclose(r.history["fidelity"], want, rtol=1e-12)

    def plain(A, b, x):
        assert isinstance(A, jr.Matrix)
        return A(x) - b

    seen = jr.solve(M, B, LASSO, 3, record=jr.Partial(plain), data=jr.LeastSquares(w)).history
    np.testing.assert_allclose(seen, np.asarray(r.history["x"]) @ A.T - B, atol=1e-12)


def test_a_partial_carries_arrays_and_may_return_anything():
    truth = jnp.ones(5)
    record = jr.Partial(lambda truth, A, b, x: {"error": jnp.sum((x - truth) ** 2), "positive": jnp.sum(x > 0)}, truth)
    h = jr.solve(M, B, LASSO, 6, record=record, tolerance=1e-30).history
    np.testing.assert_allclose(h["error"], np.sum((iterates(LASSO, 6) - 1) ** 2, 1))
    assert h["positive"].dtype == jnp.int64


def test_histories_are_differentiable_and_finite_at_zero():
    def f(b):
        h = jr.solve(M, b, jr.CGNR(0.1), 4, record=("objective", "fidelity", "residual", "change")).history
        return sum(jnp.sum(v) for v in h.values())

    assert np.all(np.isfinite(jax.grad(f)(jnp.asarray(B))))
    assert float(f(jnp.zeros(8))) == 0 and not np.any(jax.grad(f)(jnp.zeros(8)))
    emptied = jr.solve(M, B, jr.ISTA(jr.L1(1e3)), 2, x0=np.ones(5), record="change").history
    assert emptied.tolist() == [np.inf, 0.0]


# ---- when it stops


@pytest.mark.parametrize(
    "solver", [jr.ISTA(jr.L1(0.3)), jr.CGNR(0.1), jr.ADMM(jr.L1(0.3)), jr.Kaczmarz(0.5)], ids=lambda v: type(v).__name__
)
def test_the_tolerance_stops_where_the_change_says(solver):
    full = jr.solve(M, B, solver, 400, record=("change", "x")).history
    change = np.asarray(full["change"])
    first = int(np.argmax(change <= 1e-5)) + 1
    r = jr.solve(M, B, solver, 400, tolerance=1e-5, record=("change", "x"))
    assert int(r.iterations) == first and 1 < first < 400 and bool(r.ok)
    np.testing.assert_allclose(r.history["change"][:first], change[:first], rtol=1e-6)
    assert np.all(np.isnan(r.history["change"][first:])) and np.all(np.isnan(r.history["x"][first:]))
    assert np.array_equal(r.x, r.history["x"][first - 1])


def test_a_tolerance_not_reached_is_not_ok():
    r = jr.solve(M, B, jr.ISTA(jr.L1(0.3)), 5, tolerance=1e-12)
    assert int(r.iterations) == 5 and not bool(r.ok)
    np.testing.assert_array_equal(r.x, jr.solve(M, B, jr.ISTA(jr.L1(0.3)), 5).x)


def test_ok_is_false_for_nan_and_divergence():
    bad = B.copy()
    bad[3] = np.nan
    for solver in (jr.CGNR(), LASSO, jr.Kaczmarz(0.1), jr.ADMM(jr.L1(0.1))):
        assert not bool(jr.solve(M, bad, solver, 3).ok), solver
        r = jr.solve(M, bad, solver, 300, tolerance=1e-3)
        assert not bool(r.ok) and int(r.iterations) <= 2, solver
    step = 2.5 / np.linalg.norm(A, 2) ** 2
    assert bool(jr.solve(M, B, jr.Landweber(step), 50).ok)
    assert not bool(jr.solve(M, B, jr.Landweber(step), 5000).ok)
    assert not bool(jr.solve(M, B, jr.Landweber(step), 5000, tolerance=1e-6).ok)


@pytest.mark.slow
def test_reverse_mode_through_a_tolerance_says_what_to_do():
    def f(b):
        return jnp.sum(jr.solve(M, b, jr.CGNR(0.1), 50, tolerance=1e-10).x ** 2)

    with pytest.raises(ValueError, match="no reverse-mode gradient; leave tolerance out and give iterations, or use"):
        jax.grad(f)(jnp.asarray(B))
    db = RNG.standard_normal(8)
    want = np.linalg.solve(A.T @ A + 0.1 * np.eye(5), A.T)
    np.testing.assert_allclose(
        jax.jvp(f, (jnp.asarray(B),), (jnp.asarray(db),))[1], 2 * (want @ B) @ (want @ db), rtol=1e-6
    )
    np.testing.assert_allclose(jax.jacfwd(f)(jnp.asarray(B)), 2 * (want @ B) @ want, rtol=1e-6, atol=1e-8)


def test_no_iterations():
    x0 = RNG.standard_normal(5)
    for solver in (LASSO, jr.CGNR(), jr.ADMM(jr.L1(0.1)), jr.PDHG(jr.L1(0.1)), jr.Kaczmarz()):
        r = jr.solve(M, B, solver, 0, x0=x0, record=("objective", "x"))
        assert np.array_equal(r.x, x0) and r.history["x"].shape == (0, 5) and bool(r.ok)
        assert not bool(jr.solve(M, B, solver, 0, tolerance=1e-3, record="x").ok)
        assert not np.any(jr.solve(M, B, solver, 0).x)


def test_the_start_is_where_it_starts():
    x0 = np.linalg.lstsq(A, B)[0]
    for solver in (jr.Landweber(), jr.CGNR(), jr.FISTA(jr.L2(0.0)), jr.POGM(jr.L2(0.0)), jr.ADMM(jr.L2(0.0))):
        np.testing.assert_allclose(jr.solve(M, B, solver, 3, x0=x0).x, x0, atol=1e-12)
    t = 0.01
    np.testing.assert_allclose(jr.solve(M, B, jr.Landweber(t), 1, x0=np.ones(5)).x, 1 - t * A.T @ (A @ np.ones(5) - B))


def test_progress_is_called_after_every_iteration():
    for kwargs in ({}, {"tolerance": 1e-30}):
        seen = []
        jr.solve(M, B, LASSO, 7, progress=lambda k: seen.append(int(k)), **kwargs)
        jax.effects_barrier()
        assert sorted(seen) == list(range(1, 8))


# ---- degenerate problems


EVERY = [
    jr.Landweber(),
    jr.CGNR(),
    jr.CGNR(0.1),
    jr.Kaczmarz(),
    jr.Kaczmarz(0.1),
    jr.Kaczmarz(0.1, "random", key=jax.random.key(0)),
    jr.ISTA(jr.L1(0.1)),
    jr.FISTA(jr.L1(0.1)),
    jr.FISTA(jr.TV(0.1), restart=True),
    jr.POGM(jr.L1(0.1)),
    jr.ADMM(jr.L1(0.1)),
    jr.ADMM(jr.L1(0.1), balance=True),
    jr.PDHG(jr.L1(0.1)),
    jr.PDHG(jr.TV(0.1)),
    jr.CondatVu(jr.L1(0.1)),
    jr.CondatVu(jr.TV(0.1)),
    jr.Alternating(jr.GradientStep(), jr.L1(0.1)),
    jr.Alternating(jr.ProximalStep(0.1), jr.L1(0.1)),
    jr.Alternating(jr.KaczmarzSweep(0.1), jr.L1(0.1)),
]


FEW = (jr.POGM, jr.CondatVu)


@pytest.mark.parametrize(
    "solver",
    [s if isinstance(s, FEW) else pytest.param(s, marks=pytest.mark.slow) for s in EVERY],
    ids=lambda s: type(s).__name__,
)
def test_the_zero_operator(solver):
    """Nothing is measured: the prior decides, and x = 0 minimises every one of these. Gradients are finite."""

    def f(a):
        return jr.solve(jr.Matrix(a), B, solver, 4).x

    assert not np.any(f(jnp.zeros((8, 5))))
    assert np.all(np.isfinite(jax.grad(lambda a: jnp.sum(f(a)))(jnp.zeros((8, 5)))))


@pytest.mark.slow
def test_one_unknown_one_measurement():
    for solver in EVERY[:-2]:
        x = float(jr.solve(jr.Matrix(np.array([[2.0]])), np.array([3.0]), solver, 300).x[0])
        assert x == pytest.approx(1.5, abs=0.05), solver


# ---- what it refuses


def error(kind, *parts, call):
    with pytest.raises(kind) as info:
        call()
    for part in parts:
        assert re.search(part, str(info.value)), (part, str(info.value))


def test_errors_hold_both_values_and_the_fix():
    error(TypeError, "ndarray", r"jr\.Matrix", call=lambda: jr.solve(A, B, LASSO))
    error(TypeError, r"jr\.FISTA\(prior\)", "L1", call=lambda: jr.solve(M, B, jr.L1(0.1)))
    error(ValueError, r"float64\[7\]", r"float64\[8\]", "vmap", call=lambda: jr.solve(M, B[:7], LASSO))
    error(ValueError, r"float64\[3, 8\]", r"float64\[8\]", "vmap", call=lambda: jr.solve(M, np.ones((3, 8)), LASSO))
    error(ValueError, r"x0 has shape \(4,\)", r"\(5,\)", call=lambda: jr.solve(M, B, LASSO, x0=np.ones(4)))
    error(ValueError, "x0 is complex", r"x0\.real", call=lambda: jr.solve(M, B, LASSO, x0=np.ones(5) * 1j))
    for n in (-1, 1.5, True):
        error(ValueError, "iterations", str(n), call=lambda: jr.solve(M, B, LASSO, n))
    for tolerance in (0.0, -1.0, np.nan, jnp.array(0.0)):
        error(ValueError, "tolerance must be > 0", call=lambda: jr.solve(M, B, LASSO, tolerance=tolerance))
    error(ValueError, "objective, fidelity", "got loss", call=lambda: jr.solve(M, B, LASSO, record=("x", "loss")))
    error(TypeError, r"jr\.Partial", call=lambda: jr.solve(M, B, LASSO, record=lambda A, b, x: x))
    error(ValueError, "real measurements", r"b\.real", call=lambda: jr.solve(jr.real_part(M), B * 1j, LASSO))
    error(ValueError, r"\(7,\)", r"\(8,\)", call=lambda: jr.solve(M, B, LASSO, data=jr.LeastSquares(np.ones(7))))
    error(ValueError, "negative", call=lambda: jr.LeastSquares(np.array([1.0, -1.0])))
    S = jr.stack([M, M])
    error(ValueError, r"\(float64\[8\], float64\[8\]\)", call=lambda: jr.solve(S, B, LASSO))
    error(
        ValueError,
        "one array of measurements",
        call=lambda: jr.solve(S, (B, B), LASSO, data=jr.LeastSquares(np.ones(8))),
    )


def test_solvers_check_what_they_are_given():
    error(ValueError, "step_size > 0", "-1", call=lambda: jr.Landweber(-1.0))
    error(ValueError, "step_size > 0", call=lambda: jr.FISTA(jr.L1(0.1), 0.0))
    error(TypeError, "takes a prior such as", "0.1", call=lambda: jr.FISTA(0.1))
    error(TypeError, "takes a prior such as", call=lambda: jr.ADMM([jr.L1(0.1), 0.1]))
    error(ValueError, "at least one prior", call=lambda: jr.ADMM([]))
    error(ValueError, "rho > 0", call=lambda: jr.ADMM(jr.L1(0.1), rho=0.0))
    error(ValueError, "relaxation < 2", "2.0", call=lambda: jr.ADMM(jr.L1(0.1), relaxation=2.0))
    error(ValueError, "both tau and sigma", call=lambda: jr.PDHG(jr.L1(0.1), tau=1.0))
    error(ValueError, "tau > 0", call=lambda: jr.CondatVu(jr.L1(0.1), -1.0, 1.0))
    error(ValueError, "lam must be >= 0", "-1", call=lambda: jr.CGNR(-1.0))
    error(ValueError, r"lam has shape \(4,\)", r"\(5,\)", call=lambda: jr.solve(M, B, jr.CGNR(np.ones(4))))
    error(ValueError, "cyclic, shuffled, random", "zigzag", call=lambda: jr.Kaczmarz(order="zigzag"))
    error(ValueError, "needs key", call=lambda: jr.Kaczmarz(order="random"))
    error(ValueError, "L1", "drains x to 0", "ADMM or jr.FISTA", call=lambda: jr.Kaczmarz(0.1, prior=jr.L1(0.1)))
    error(ValueError, "L1", call=lambda: jr.Kaczmarz(np.ones(5), prior=jr.L1(0.1)))
    jr.Kaczmarz(0.0, prior=jr.L1(0.1)), jr.Kaczmarz(0.1, prior=jr.NonNegative())
    error(
        ValueError,
        "rows of A",
        "Diagonal",
        r"jr\.dense",
        call=lambda: jr.solve(jr.Diagonal(np.ones(5)), np.ones(5), jr.Kaczmarz()),
    )
    error(
        ValueError,
        "not orthogonal",
        "ADMM",
        "PDHG",
        call=lambda: jr.solve(M, B, jr.FISTA(jr.L1(0.1, jr.Gradient((5,))))),
    )


def test_data_are_cast_to_the_operator():
    ints = jr.solve(M, np.arange(8), jr.CGNR(), 5).x
    np.testing.assert_array_equal(ints, jr.solve(M, np.arange(8.0), jr.CGNR(), 5).x)
    both = jr.solve(M, B + 1j * B[::-1], jr.CGNR(0.1), 5)
    assert both.x.dtype == jnp.complex128
    np.testing.assert_allclose(both.x, jr.tikhonov(M, B, 0.1) + 1j * jr.tikhonov(M, B[::-1], 0.1), atol=1e-8)
    assert jr.solve(jr.real_part(jr.Fourier((4, 4))), np.ones((4, 4)), jr.CGNR(), 2).x.dtype == jnp.float64


@pytest.mark.slow
def test_reconstructors_are_solve_and_the_adjoint():
    r = jr.Iterative(LASSO, 12, data=jr.LeastSquares(np.ones(8)))
    np.testing.assert_array_equal(r(M, B), jr.solve(M, B, LASSO, 12, data=jr.LeastSquares(np.ones(8))).x)
    early = jr.Iterative(LASSO, 500, tolerance=1e-3)
    np.testing.assert_array_equal(early(M, B), jr.solve(M, B, LASSO, 500, tolerance=1e-3).x)
    np.testing.assert_allclose(jr.ZeroFilled()(M, B), A.T @ B)
    many = jax.vmap(r, (None, 0))(M, np.stack([B, 2 * B]))
    np.testing.assert_allclose(many[1], r(M, 2 * B), atol=1e-12)
    before = _solve._cache_size()
    jr.Iterative(jr.FISTA(jr.L1(0.7)), 12, data=jr.LeastSquares(2 * np.ones(8)))(M, 3 * B)
    assert _solve._cache_size() == before
    with pytest.raises(TypeError, match="Iterative takes a solver"):
        jr.Iterative(jr.L1(0.1))


@pytest.mark.parametrize(("solver", "want"), [
    (jr.ADMM(jr.L1(0.1), rho=0.01), [0.9, 0, -1.9]), (jr.PDHG(jr.L1(1.2)), [0, 0, -0.8]),
    (jr.Scheduled(jr.FISTA(jr.L1(1.0)), {"prior.lam": jnp.array([3.0, 1.0, 0.1])}), [0.9, 0, -1.9]),
    (jr.FISTA(jr.L1(5.0)), [0, 0, 0])])
def test_an_image_that_stands_while_duals_move_or_values_come_is_no_end(solver, want):
    found = jr.solve(jr.Identity((3,)), jnp.array([1.0, 0.05, -2.0]), solver, 1000, tolerance=1e-9)
    assert found.ok and found.iterations < 1000
    np.testing.assert_allclose(found.x, want, atol=1e-7)


def test_a_multiple_by_a_float64_number_keeps_the_precision():
    F = jr.Fourier((8, 8), mask=jnp.ones((8, 1)).at[3].set(0), dtype="complex64")
    A = F / jnp.float64(3.0)
    assert A.gram.spectrum.dtype == jnp.float32 or A.gram.spectrum.dtype == jnp.complex64
    assert jr.solve(A, A(jnp.ones((8, 8), "complex64")), jr.FISTA(jr.L1(0.1)), 3).x.dtype == jnp.complex64


@pytest.mark.parametrize("solver", [jr.CGNR(1.0), jr.Kaczmarz(1.0)])
def test_what_a_solver_remembers_of_lam_cannot_be_scheduled(solver):
    with pytest.raises(ValueError, match="cannot change on the way"):
        jr.Scheduled(solver, {"lam": jnp.array([2.0, 1.0])})
