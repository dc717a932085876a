"""vmap, grad, jit and unroll through every solver."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrecon as jr
from jaxrecon.solvers.loop import _solve

RNG = np.random.default_rng(11)
KEY = jax.random.key(4)


def draw(*shape, kind=float):
    x = RNG.standard_normal(shape)
    return jnp.asarray(x + 1j * RNG.standard_normal(shape) if kind is complex else x)


def l1_differences(lam):
    return jr.L1(lam, transform=jr.Matrix(np.diff(np.eye(5), axis=0)))


# name -> (solver of lam, solver of lam and a step, or None, iterations)
SOLVERS = {
    "Landweber": (lambda lam: jr.Landweber(), lambda lam, t: jr.Landweber(t), 12),
    "CGNR before": (jr.CGNR, None, 3),
    "CGNR past": (jr.CGNR, None, 40),
    "Kaczmarz": (functools.partial(jr.Kaczmarz, block=3), None, 4),
    "Kaczmarz vector": (lambda lam: jr.Kaczmarz(lam * jnp.arange(1.0, 6)), None, 3),
    "Kaczmarz shuffled": (functools.partial(jr.Kaczmarz, order="shuffled", key=KEY, prior=jr.NonNegative()), None, 3),
    "Kaczmarz random": (functools.partial(jr.Kaczmarz, order="random", key=KEY), None, 3),
    "ISTA": (lambda lam: jr.ISTA(jr.L1(lam)), lambda lam, t: jr.ISTA(jr.L1(lam), t), 12),
    "ISTA TV": (lambda lam: jr.ISTA(jr.TV(lam)), lambda lam, t: jr.ISTA(jr.TV(lam), t), 5),
    "FISTA": (lambda lam: jr.FISTA(jr.L1(lam)), lambda lam, t: jr.FISTA(jr.L1(lam), t), 12),
    "FISTA restart": (
        lambda lam: jr.FISTA(jr.L1(lam), restart=True),
        lambda lam, t: jr.FISTA(jr.L1(lam), t, restart=True),
        40,
    ),
    "POGM": (lambda lam: jr.POGM(jr.L1(lam)), lambda lam, t: jr.POGM(jr.L1(lam), t), 12),
    "ADMM": (lambda lam: jr.ADMM(jr.L1(lam)), lambda lam, t: jr.ADMM([jr.L1(lam), jr.L2(lam)], 3 * t), 8),
    "ADMM balance": (
        lambda lam: jr.ADMM(l1_differences(lam), 0.01, balance=True),
        lambda lam, t: jr.ADMM(l1_differences(lam), t, balance=True, relaxation=1.5),
        8,
    ),
    "PDHG": (lambda lam: jr.PDHG(l1_differences(lam)), lambda lam, t: jr.PDHG(l1_differences(lam), t, t / 2), 12),
    "CondatVu": (lambda lam: jr.CondatVu(jr.TV(lam)), lambda lam, t: jr.CondatVu(jr.TV(lam), t, t / 2), 12),
    "Alternating": (
        lambda lam: jr.Alternating(jr.ProximalStep(2 * lam), jr.L1(lam)),
        lambda lam, t: jr.Alternating(jr.GradientStep(t), jr.L1(lam)),
        6,
    ),
}
CORE = ("CGNR before", "Kaczmarz", "FISTA", "ADMM")


def each(names, fast=CORE):
    """One test a name; those that are not in `fast` only in the long run, since every one compiles."""
    return pytest.mark.parametrize("name", [n if n in fast else pytest.param(n, marks=pytest.mark.slow) for n in names])


names = each(SOLVERS)


def x_of(name, a, b, lam, x0=None, step=None):
    plain, stepped, n = SOLVERS[name]
    return jr.solve(jr.Matrix(a), b, plain(lam) if step is None else stepped(lam, step), n, x0=x0).x


# ---- gradients


def check_gradients(f, args, h=2e-6):
    """Reverse mode against central differences along one random direction for each argument, and forward mode."""
    f = jax.jit(f)
    grads = jax.jit(jax.grad(f, tuple(range(len(args)))))(*args)
    for k, (v, g) in enumerate(zip(args, grads, strict=True)):
        s = draw(*v.shape, kind=complex if jnp.iscomplexobj(v) else float)
        s = s / jnp.linalg.norm(s.ravel())
        # JAX's gradient of a real function of a complex z is d/dRe - i d/dIm.
        got = float(jnp.sum(g * s).real)
        plus, minus = (f(*args[:k], v + sign * h * s, *args[k + 1 :]) for sign in (1, -1))
        assert got == pytest.approx(float(plus - minus) / (2 * h), rel=1e-6, abs=1e-8), f"argument {k}"


@names
def test_gradients_equal_central_differences(name):
    """With respect to matrix, data, lam and start, the found step size included; then with respect to a given step."""
    a, b, x0, c = draw(8, 5, kind=complex), draw(8, kind=complex), draw(5, kind=complex), draw(5)
    lam = jnp.asarray(0.3)
    check_gradients(lambda *args: jnp.sum(jnp.abs(x_of(name, *args) - c) ** 2), (a, b, lam, x0))
    if SOLVERS[name][1] is not None:
        t = 0.8 / jnp.linalg.norm(a, 2) ** 2
        t = jnp.asarray(0.1) if name in ("PDHG", "ADMM", "ADMM balance") else t
        t = jnp.asarray(0.7) if name == "Alternating" else t
        check_gradients(lambda lam, t: jnp.sum(jnp.abs(x_of(name, a, b, lam, None, t) - c) ** 2), (lam, t))


MRI = {
    "CGNR": (jr.CGNR, 4),
    "FISTA": (lambda lam: jr.FISTA(jr.L1(lam)), 6),
    "ADMM": (lambda lam: jr.ADMM(jr.TV(lam), rho=0.3), 3),
    "PDHG": (lambda lam: jr.PDHG(jr.TV(lam)), 8),
    "CondatVu": (lambda lam: jr.CondatVu(jr.TV(lam)), 8),
}


@pytest.mark.parametrize("mask_shape", [(8, 1), pytest.param((8, 7), marks=pytest.mark.slow)], ids=["lines", "pixels"])
@each(MRI, fast=("CGNR", "ADMM"))
def test_gradients_reach_maps_and_mask_values(name, mask_shape):
    solver, iterations = MRI[name]
    maps, b = draw(2, 8, 7, kind=complex), draw(2, 8, 7, kind=complex)
    mask = jnp.asarray(RNG.random(mask_shape)).at[2].set(0)

    def f(maps, mask, b, lam):
        return jnp.sum(jnp.abs(jr.solve(jr.sense(maps, mask), b, solver(lam), iterations).x) ** 2)

    check_gradients(f, (maps, mask, b, jnp.asarray(0.2)))


@pytest.mark.parametrize(
    "solver",
    [jr.CGNR(0.1), jr.FISTA(jr.L1(0.1)), jr.ADMM(jr.L1(0.1)), jr.ADMM(jr.L1(0.1), balance=True)],
    ids=["CGNR", "FISTA", "ADMM", "ADMM balance"],
)
def test_gradients_reach_weights_also_where_they_are_zero(solver):
    a, b = draw(8, 5), draw(8)
    w = jnp.array([1.0, 0.0, 2.0, 0.5, 1.0, 1.0, 0.0, 1.0])

    def f(w):
        # Central differences need weights on both sides of zero, so the check of the constructor stays outside.
        data = jax.tree.unflatten(jax.tree.structure(jr.LeastSquares(1.0)), [w])
        return jnp.sum(jr.solve(jr.Matrix(a), b, solver, 4, data=data).x ** 2)

    g, h = jax.grad(f)(w), 1e-5
    want = [(f(w.at[k].add(h)) - f(w.at[k].add(-h))) / (2 * h) for k in (0, 1, 6)]
    np.testing.assert_allclose(g[jnp.array([0, 1, 6])], want, rtol=1e-6, atol=1e-9)


@names
def test_zero_data_gives_zero_with_finite_gradients(name):
    a, lam = draw(8, 5), jnp.asarray(0.3)
    f = functools.partial(x_of, name)
    assert not np.any(f(a, jnp.zeros(8), lam))
    for g in jax.jit(jax.grad(lambda a, b, lam: jnp.sum(f(a, b, lam)) ** 2 + jnp.sum(f(a, b, lam)), (0, 1, 2)))(
        a, jnp.zeros(8), lam
    ):
        assert np.all(np.isfinite(g))


# ---- vmap


@names
def test_vmap_equals_the_loop(name):
    a, b, x0, lam = draw(3, 8, 5), draw(3, 8), draw(3, 5), jnp.array([0.05, 0.3, 1.0])
    f = functools.partial(x_of, name)
    together = jax.jit(jax.vmap(f))(a, b, lam, x0)
    np.testing.assert_allclose(together, [f(*args) for args in zip(a, b, lam, x0, strict=True)], atol=1e-11)
    sweep = jax.jit(jax.vmap(f, (None, None, 0)))(a[0], b[0], lam)
    np.testing.assert_allclose(sweep, [f(a[0], b[0], v) for v in lam], atol=1e-11)


@each(MRI, fast=("CGNR", "FISTA"))
def test_vmap_over_masks_and_maps_equals_the_loop(name):
    solver = MRI[name][0](0.1)
    maps, masks = draw(3, 2, 8, 8, kind=complex), jnp.asarray(RNG.random((3, 8, 1)) < 0.6)
    b = draw(2, 8, 8, kind=complex)

    def f(maps, mask):
        return jr.solve(jr.sense(maps, mask), mask * b, solver, 5).x

    want = [f(maps[0], mask) for mask in masks]
    np.testing.assert_allclose(jax.vmap(f, (None, 0))(maps[0], masks), want, atol=1e-10)
    np.testing.assert_allclose(jax.vmap(f)(maps, masks), [f(*v) for v in zip(maps, masks, strict=True)], atol=1e-10)
    # The values themselves carry the batch.
    stacked = jax.vmap(jr.sense)(maps, masks)
    np.testing.assert_allclose(
        jax.vmap(lambda A: jr.solve(A, b, solver, 5).x)(stacked)[1],
        jr.solve(jr.sense(maps[1], masks[1]), b, solver, 5).x,
        atol=1e-10,
    )


def test_vmap_over_solvers_and_keys():
    a, b = jr.Matrix(draw(8, 5)), draw(8)
    solvers = jax.vmap(lambda lam: jr.FISTA(jr.L1(lam)))(jnp.array([0.1, 0.5]))
    x = jax.vmap(lambda s: jr.solve(a, b, s, 20).x)(solvers)
    np.testing.assert_allclose(x[1], jr.solve(a, b, jr.FISTA(jr.L1(0.5)), 20).x, atol=1e-12)
    keys = jax.random.split(KEY, 3)
    x = jax.vmap(lambda key: jr.solve(a, b, jr.Kaczmarz(0.2, "random", key=key), 2).x)(keys)
    np.testing.assert_allclose(x[2], jr.solve(a, b, jr.Kaczmarz(0.2, "random", key=keys[2]), 2).x, atol=1e-12)


def test_vmap_with_a_tolerance_stops_each_on_its_own():
    a, b = jr.Matrix(draw(8, 5)), draw(8)
    lams = jnp.array([0.01, 1.0, 100.0])

    def f(lam):
        return jr.solve(a, b, jr.ISTA(jr.L2(lam)), 3000, tolerance=1e-6, record="change")

    together, alone = jax.vmap(f)(lams), [f(lam) for lam in lams]
    assert len(set(together.iterations.tolist())) == 3
    for k, r in enumerate(alone):
        for one, other in zip(jax.tree.leaves(r), jax.tree.leaves(together), strict=True):
            np.testing.assert_allclose(other[k], one, rtol=1e-8)


# ---- jit


@each(
    ["Landweber", "CGNR before", "Kaczmarz random", "FISTA restart", "ADMM", "CondatVu"], fast=("CGNR before", "ADMM")
)
def test_jit_equals_eager(name):
    a, b, lam = draw(8, 5), draw(8), 0.3
    inside = jax.jit(functools.partial(x_of, name))(a, b, lam)
    np.testing.assert_allclose(x_of(name, a, b, lam), inside, atol=1e-13)
    with jax.disable_jit():
        np.testing.assert_allclose(x_of(name, a, b, lam), inside, atol=1e-12)


def test_values_may_be_made_inside_jit():
    """Range checks must not stumble over numbers that are known while other things are traced."""
    a, b = np.asarray(draw(8, 5)), draw(8)

    @jax.jit
    def f(b):
        xs = [jr.solve(jr.Matrix(a), b, plain(0.3), 1).x for plain, _, _ in SOLVERS.values()]
        x = jr.solve(
            jr.Matrix(a), b, jr.CGNR(jnp.array(0.1)), 5, tolerance=jnp.array(1e-3), data=jr.LeastSquares(np.ones(8))
        )
        return sum(xs) + x.x

    assert np.all(np.isfinite(f(b)))


@names
def test_new_values_do_not_trace_again(name):
    x_of(name, draw(8, 5), draw(8), 0.5, draw(5))
    before = _solve._cache_size()
    for k in range(3):
        x_of(name, draw(8, 5), draw(8), 0.1 + k, draw(5))
    assert _solve._cache_size() == before


def test_new_masks_maps_tolerances_and_recorded_values_do_not_trace_again():
    record = jax.tree_util.Partial(lambda truth, A, b, x: jnp.sum(jnp.abs(x - truth)))
    before = _solve._cache_size()
    for k in range(3):
        A = jr.sense(draw(2, 8, 7, kind=complex), RNG.random((8, 1)) < 0.5)
        r = jr.solve(
            A,
            draw(2, 8, 7, kind=complex),
            jr.FISTA(jr.TV(0.1 * (k + 1))),
            3,
            tolerance=0.1 / (k + 1),
            record=jr.Partial(record.func, draw(8, 7)),
        )
        assert r.history.shape == (3,)
    assert _solve._cache_size() == before + 1


# ---- dtypes


@each([n for n in SOLVERS if n != "CGNR past"], fast=("FISTA", "Kaczmarz"))
def test_float32_stays_float32(name):
    a, b = draw(8, 5).astype("float32"), draw(8)
    plain, stepped, _ = SOLVERS[name]
    wanted = x_of(name, a.astype(float), b, 1)
    for lam in (1.0, np.float64(1), jnp.array(1.0), 1):
        r = jr.solve(jr.Matrix(a), b, plain(lam), SOLVERS[name][2], record=("objective", "residual", "change", "x"))
        assert r.x.dtype == jnp.float32
        assert {v.dtype for v in r.history.values()} == {jnp.dtype("float32")}
        if name != "Kaczmarz random":  # draws other rows at another precision
            np.testing.assert_allclose(r.x, wanted, atol=2e-5)
    if stepped is not None:
        r = jr.solve(jr.Matrix(a), b, stepped(np.float64(1), np.float64(0.01)), 2, x0=draw(5), tolerance=1e-3)
        assert r.x.dtype == jnp.float32


@pytest.mark.slow
def test_complex64_stays():
    A = jr.sense(draw(2, 8, 8, kind=complex).astype("complex64"), np.ones((8, 1)))
    b = draw(2, 8, 8, kind=complex)
    for solver in (
        jr.CGNR(0.1),
        jr.FISTA(jr.L1(0.1, jr.Wavelet((8, 8), "haar", 1))),
        jr.POGM(jr.TV(0.1)),
        jr.ADMM([jr.TV(0.1), jr.L1(np.float64(0.1))], balance=True),
        jr.PDHG(jr.FusedLasso(0.1, 0.1)),
    ):
        assert jr.solve(A, b, solver, 2, data=jr.LeastSquares(np.ones(1))).x.dtype == jnp.complex64


# ---- unroll


def stack(solvers):
    return jax.tree.map(lambda *v: jnp.stack([jnp.asarray(u) for u in v]), *solvers)


@each([n for n in SOLVERS if n not in ("CGNR past", "ISTA TV")])
def test_unrolling_one_solver_is_solve_to_the_last_bit(name):
    a, b, x0 = jr.Matrix(draw(8, 5)), draw(8), draw(5)
    plain, _, n = SOLVERS[name]
    solver = plain(0.3)
    got = jr.unroll(a, b, stack([solver] * n), n, x0=x0)
    want = jr.solve(a, b, solver, n, x0=x0).x
    # The same operations in the same order; where XLA fuses the two loops differently, the last bit may differ.
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-14)
    if name in ("Landweber", "FISTA", "ISTA", "CGNR before", "Kaczmarz"):
        assert np.array_equal(got, want)


@pytest.mark.parametrize(
    "make",
    [
        lambda lam, t: jr.ISTA(jr.L1(lam), t),
        lambda lam, t: jr.Alternating(jr.GradientStep(t), jr.L1(lam)),
        lambda lam, t: jr.Alternating(jr.ProximalStep(100 * t), jr.L1(lam)),
        lambda lam, t: jr.Alternating(jr.KaczmarzSweep(t), jr.L1(lam)),
    ],
    ids=["ISTA", "gradient", "proximal", "Kaczmarz"],
)
def test_separate_leaves_are_separate_steps(make):
    a, b = jr.Matrix(draw(8, 5)), draw(8)
    lams, ts = jnp.array([0.1, 0.5, 0.2, 0.9]), jnp.array([0.02, 0.01, 0.03, 0.015])
    solvers = [make(lam, t) for lam, t in zip(lams, ts, strict=True)]
    x = jnp.zeros(5)
    for s in solvers:
        x = jr.solve(a, b, s, 1, x0=x).x
    np.testing.assert_allclose(jr.unroll(a, b, stack(solvers), 4), x, atol=1e-13)
    np.testing.assert_allclose(jr.unroll(a, b, jax.vmap(make)(lams, ts), 4), x, atol=1e-13)
    assert not np.allclose(x, jr.solve(a, b, solvers[0], 4).x, atol=1e-4)


def test_admm_with_a_rho_for_each_iteration():
    """Scaled duals change with rho (Boyd et al. 2011, section 3.4.1), so that the limit stays the lasso."""
    a, b = draw(8, 5), draw(8)
    A = np.asarray(a)
    rhos = np.geomspace(0.5, 8, 60)
    z = y = np.zeros(5)
    for rho in rhos:
        x = np.linalg.solve(A.T @ A + rho * np.eye(5), A.T @ b + rho * z - y)
        v = x + y / rho
        z = v - np.clip(v, -0.3 / rho, 0.3 / rho)
        y = y + rho * (x - z)
    for prior in (jr.L1(0.3), [jr.L1(0.3)]):
        got = jr.unroll(jr.Matrix(a), b, stack([jr.ADMM(prior, rho) for rho in rhos]), 60)
        np.testing.assert_allclose(got, z, atol=1e-11)
    np.testing.assert_allclose(z, jr.solve(jr.Matrix(a), b, jr.FISTA(jr.L1(0.3), restart=True), 500).x, atol=1e-6)


def test_unroll_with_checkpoint_and_gradients_to_each_step():
    a, b = jr.Matrix(draw(8, 5, kind=complex)), draw(8, kind=complex)

    def f(lams, ts, checkpoint):
        solvers = jax.vmap(lambda lam, t: jr.FISTA(jr.L1(lam), t))(lams, ts)
        return jnp.sum(jnp.abs(jr.unroll(a, b, solvers, 4, checkpoint=checkpoint)) ** 2)

    args = jnp.array([0.1, 0.5, 0.2, 0.9]), jnp.array([0.02, 0.01, 0.03, 0.015])
    assert f(*args, True) == f(*args, False)
    grads = [jax.grad(f, (0, 1))(*args, checkpoint) for checkpoint in (True, False)]
    np.testing.assert_allclose(grads[0], grads[1], rtol=1e-12)
    check_gradients(lambda lams, ts: f(lams, ts, False), args)
    assert np.count_nonzero(grads[0][1]) == 4


def test_unroll_takes_start_weights_and_solvers_without_leaves():
    a, b, x0 = jr.Matrix(draw(8, 5)), draw(8), draw(5)
    data = jr.LeastSquares(np.linspace(0, 1, 8))
    assert np.array_equal(
        jr.unroll(a, b, jr.Landweber(), 3, x0=x0, data=data), jr.solve(a, b, jr.Landweber(), 3, x0=x0, data=data).x
    )


@pytest.mark.slow
def test_unroll_float32_and_errors():
    a, b = jr.Matrix(draw(8, 5).astype("float32")), draw(8)
    assert jr.unroll(a, b, stack([jr.FISTA(jr.L1(0.1)), jr.FISTA(jr.L1(0.2))]), 2).dtype == jnp.float32
    with pytest.raises(ValueError, match=r"leading axis of length iterations=3 .* got float64\[\]"):
        jr.unroll(a, b, jr.FISTA(jr.L1(jnp.array(0.1))), 3)
    with pytest.raises(ValueError, match="iterations >= 1, got 0"):
        jr.unroll(a, b, jr.Landweber(), 0)
    with pytest.raises(TypeError, match="A must be an operator"):
        jr.unroll(np.ones((2, 2)), b, jr.Landweber(), 1)
    with pytest.raises(ValueError, match=r"iterations=3 .* got float64\[2\]"):
        jr.unroll(a, b, jr.Landweber(jnp.ones(2)), 3)


@pytest.mark.parametrize("make", [jr.CGNR, jr.Kaczmarz, lambda lam: jr.Stopped(jr.CGNR(lam), 0.0 * lam)],
                         ids=["CGNR", "Kaczmarz", "Stopped"])
def test_what_a_solver_remembers_cannot_differ_between_steps(make):
    """The residual of CG and the dual of Kaczmarz belong to one lam: another would lead to neither's minimiser."""
    a, b = jr.Matrix(draw(8, 5)), draw(8)
    lams = jnp.array([0.1, 0.5, 0.2])
    with pytest.raises(ValueError, match=r"lam of (CGNR|Kaczmarz|Stopped) cannot change on the way"):
        jr.unroll(a, b, jax.vmap(make)(lams), 3)
    with pytest.raises(ValueError, match=r"or say shared=True, with one (solver.)?lam for all steps"):
        jax.grad(lambda lams: jnp.sum(jr.unroll(a, b, jax.vmap(make)(lams), 3)))(jnp.full(3, 0.1))
    shared = jax.grad(lambda lam: jnp.sum(jr.unroll(a, b, make(lam), 3, shared=True)))(0.1)
    assert np.isfinite(shared) and shared != 0
