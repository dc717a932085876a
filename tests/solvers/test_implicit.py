"""Implicit derivatives of converged solves: against those of the iterations, and central differences."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrecon as jr
from jaxrecon.priors import Prior
from jaxrecon.solvers.implicit import linear_solve
from jaxrecon.solvers.krylov import gmres
from jaxrecon.solvers.loop import _solve
from jaxrecon.solvers.stopped import Stopped
from jaxrecon.value import value

KEY = jax.random.key(4)


@pytest.fixture
def draw(rng):
    def one(*shape, kind=float):
        x = rng.standard_normal(shape)
        return jnp.asarray(x + 1j * rng.standard_normal(shape) if kind is complex else x)

    return one


def differences():
    return jr.Matrix(np.diff(np.eye(5), axis=0))


@value
class Shrink(Prior):
    """A blind denoiser that is no prox of anything: tanh(w v), with |w| < 1."""

    w: jax.Array

    def prox(self, v, t=1.0):
        return jnp.tanh(self.w @ v.real) + (1j * jnp.tanh(self.w @ v.imag) if jnp.iscomplexobj(v) else 0)


# name -> (solver of lam and a step, iterations that converge)
CASES = {
    "Landweber": (lambda lam, t: jr.Landweber(t), 800),
    "CGNR": (lambda lam, t: jr.CGNR(lam), 20),
    "CGNR vector": (lambda lam, t: jr.CGNR(lam * jnp.arange(1.0, 6)), 20),
    "Kaczmarz": (lambda lam, t: jr.Kaczmarz(lam, block=3), 1500),
    "Kaczmarz vector": (lambda lam, t: jr.Kaczmarz(lam * jnp.arange(1.0, 6)), 1500),
    "Kaczmarz random": (lambda lam, t: jr.Kaczmarz(lam, "random", key=KEY), 3000),
    "ISTA": (lambda lam, t: jr.ISTA(jr.L1(lam), t), 800),
    "ISTA found step": (lambda lam, t: jr.ISTA(jr.L1(lam)), 800),
    "FISTA": (lambda lam, t: jr.FISTA(jr.L1(lam), t), 3000),
    "FISTA TV": (lambda lam, t: jr.FISTA(jr.TV(lam), t, restart=True), 400),
    "FISTA fused": (lambda lam, t: jr.FISTA(jr.FusedLasso(lam / 3, lam), t, restart=True), 400),
    "POGM": (lambda lam, t: jr.POGM(jr.L1(lam), t), 500),
    "POGM TV": (lambda lam, t: jr.POGM(jr.TV(lam, inner=50), t), 1000),
    "POGM operator": (lambda lam, t: jr.POGM(jr.L2(lam, differences()), t), 500),
    "ADMM": (lambda lam, t: jr.ADMM([jr.L1(lam), jr.L2(lam)], 0.4), 600),
    "ADMM TV": (lambda lam, t: jr.ADMM(jr.TV(lam), 0.4, relaxation=1.6), 1000),
    "ADMM balance": (lambda lam, t: jr.ADMM(jr.L1(lam, differences()), 0.1, balance=True, relaxation=1.5), 1000),
    "PDHG": (lambda lam, t: jr.PDHG([jr.L1(lam, differences()), jr.L1(lam)], 0.1, 0.05), 6000),
    "PDHG found steps": (lambda lam, t: jr.PDHG(jr.TV(lam)), 3000),
    "CondatVu": (lambda lam, t: jr.CondatVu(jr.TV(lam), t, t / 2), 3000),
    "HQS": (lambda lam, t: jr.HQS(jr.L1(lam / 50), 30 * t), 600),
    "gradient": (lambda lam, t: jr.Alternating(jr.GradientStep(0.8), jr.TV(lam)), 600),
    "proximal": (lambda lam, t: jr.Alternating(jr.ProximalStep(2 * lam), jr.L1(lam)), 600),
    "sweep": (lambda lam, t: jr.Alternating(jr.KaczmarzSweep(lam), jr.L1(0.1 * lam)), 600),
    "denoiser": (lambda lam, t: jr.Alternating(jr.ProximalStep(30 * lam), Shrink(0.6 * rotation(lam))), 400),
    "denoiser ADMM": (lambda lam, t: jr.ADMM(Shrink(0.6 * rotation(lam)), 9.0), 600),
    "scheduled": (lambda lam, t: jr.Scheduled(jr.ISTA(jr.L1(1), t), {"prior.lam": lam * jnp.array([4, 2, 1.0])}), 800),
    "SIRT": (lambda lam, t: jr.SIRT(), 2000),
    "SART": (lambda lam, t: jr.SART(2), 4000),
}
CORE = ("ADMM real",)


def rotation(angle):
    c, s = jnp.cos(angle), jnp.sin(angle)
    return jnp.eye(5).at[:2, :2].set(jnp.array([[c, -s], [s, c]]))


def x_of(name, a, b, lam, t, differentiate="implicit", **more):
    solver, iterations = CASES[name]
    return jr.solve(jr.Matrix(a), b, solver(lam, t), iterations, differentiate=differentiate, **more)


def along(grads, direction):
    # JAX's gradient of a real function of a complex z is d/dRe - i d/dIm.
    return sum(float(jnp.sum(g * d).real) for g, d in zip(grads, direction, strict=True))


def check_derivatives(f, args, direction, unrolled, h=2e-6, rtol=1e-6):
    """f(*args) -> scalar: reverse = forward = central differences along `direction`, and the gradients `unrolled`."""
    numbers = tuple(range(len(args)))
    grads = jax.jit(jax.grad(f, numbers))(*args)
    if unrolled is not None:
        for got, want in zip(grads, jax.jit(jax.grad(unrolled, numbers))(*args), strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5 * float(jnp.max(jnp.abs(want))) + 1e-10)
    forward = jax.jit(lambda args, direction: jax.jvp(f, args, direction)[1])(args, direction)
    assert float(forward) == pytest.approx(along(grads, direction), rel=1e-8, abs=1e-11)
    f = jax.jit(f)
    plus, minus = (f(*(v + s * h * d for v, d in zip(args, direction, strict=True))) for s in (1, -1))
    assert float(forward) == pytest.approx(float(plus - minus) / (2 * h), rel=rtol, abs=1e-8)


NAMES = [f"{name} {kind}" for name in CASES for kind in ("real", "complex")]


@pytest.mark.parametrize("name", [n if n in CORE else pytest.param(n, marks=pytest.mark.slow) for n in NAMES])
def test_gradients_equal_those_of_the_iterations_and_central_differences(name, draw):
    """With respect to matrix, data and lam."""
    name, kind = name.rsplit(" ", 1)
    kind = complex if kind == "complex" else float
    a, b, c = draw(8, 5, kind=kind), draw(8, kind=kind), draw(5, kind=kind)
    if name == "SART":  # consistent: it ends in a cycle otherwise
        a, b = a + 2, None
    t = 0.8 / jnp.linalg.norm(a, 2) ** 2

    def loss(a, b, lam, mode="implicit"):
        s = x_of(name, a, a @ c if b is None else b, lam, t, mode)
        return jnp.sum(jnp.abs(s.x - c[::-1]) ** 2)

    lam = jnp.asarray(0.3)
    if name != "SART":
        s = x_of(name, a, b, lam, t)
        assert s.ok, s.fixed_point_residual
        np.testing.assert_allclose(s.x, x_of(name, a, b, lam, t, "unrolled").x, rtol=0, atol=1e-14)
        args, direction = (a, b, lam), (draw(8, 5, kind=kind), draw(8, kind=kind), jnp.asarray(1.0))
        check_derivatives(loss, args, direction, functools.partial(loss, mode="unrolled"))
    else:
        check_derivatives(lambda c: jnp.sum(jnp.abs(x_of(name, a, a @ c, lam, t).x) ** 2), (c,),
                          (draw(5, kind=kind),),
                          lambda c: jnp.sum(jnp.abs(x_of(name, a, a @ c, lam, t, "unrolled").x) ** 2))


STEPS = {
    "proximal": lambda w, t: jr.Alternating(jr.ProximalStep(t), Shrink(w)),
    "gradient": lambda w, t: jr.Alternating(jr.GradientStep(t / 9), Shrink(w)),
    "HQS": lambda w, t: jr.HQS(Shrink(w), t),
    "ISTA": lambda w, t: jr.ISTA(Shrink(w), t / 300),
    "ADMM balance": lambda w, t: jr.ADMM(Shrink(w), t, balance=True),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", [n if n == "proximal" else pytest.param(n, marks=pytest.mark.slow) for n in STEPS])
def test_deep_equilibrium_gradients_reach_weights_and_steps(name, draw):
    """The fixed point of a denoiser that is no prox depends on the step, too."""
    a, b, w = draw(8, 5, kind=complex), draw(8, kind=complex), draw(5, 5)
    w = 0.7 * w / jnp.linalg.norm(w, 2)

    def loss(w, t, b, mode="implicit"):
        x = jr.solve(jr.Matrix(a), b, STEPS[name](w, t), 800, differentiate=mode).x
        return jnp.sum(jnp.abs(x - 1) ** 2)

    args, direction = (w, jnp.asarray(9.0), b), (draw(5, 5), jnp.asarray(1.0), draw(8, kind=complex))
    check_derivatives(loss, args, direction, functools.partial(loss, mode="unrolled"))


@pytest.mark.slow
def test_deep_equilibrium_of_a_network(draw):
    network = jr.networks.build(jr.networks.ConvNet(features=3, depth=2, residual=False), jax.random.key(1))
    network = jr.learned.nonexpansive(dataclasses.replace(
        network, parameters=jax.tree.map(lambda v: 3 * v.astype(float), network.parameters)), 0.8)
    weights, structure = jax.tree.flatten(network)
    A = jr.Convolution(jnp.ones((3, 3)) / 9, (6, 5))
    b = draw(6, 5)

    def loss(t, *weights, mode="implicit"):
        denoiser = jr.Denoiser(jax.tree.unflatten(structure, weights))
        s = jr.solve(A, b, jr.Alternating(jr.ProximalStep(t), denoiser), 300, differentiate=mode)
        return jnp.sum(s.x**2 - s.x * b)

    args = (jnp.asarray(0.5), *weights)
    direction = (jnp.asarray(1.0), *(draw(*w.shape) for w in weights))
    check_derivatives(loss, args, direction, functools.partial(loss, mode="unrolled"), h=1e-7, rtol=1e-5)
    assert all(np.any(g != 0) for g in jax.grad(loss, range(1, len(args)))(*args)[:1])


MRI = {
    "CGNR": (jr.CGNR, 60),
    "FISTA": (lambda lam: jr.FISTA(jr.L1(lam), restart=True), 800),
    "ADMM": (lambda lam: jr.ADMM([jr.L1(lam), jr.L2(lam)], rho=0.3), 300),
    "PDHG": (lambda lam: jr.PDHG([jr.L1(lam, transform=jr.Gradient((4, 3))), jr.L2(lam)]), 4000),
}


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) for n in MRI])
def test_gradients_reach_maps_and_mask_values(name, draw, rng):
    make, iterations = MRI[name]
    maps, b = draw(2, 4, 3, kind=complex), draw(2, 4, 3, kind=complex)
    mask, d_mask = jnp.asarray(rng.random((4, 1))).at[2].set(0), jnp.array([1.0, -2.0, 0.0, 1.0])[:, None]

    def loss(maps, mask, b, lam, mode="implicit"):
        x = jr.solve(jr.sense(maps, mask), b, make(lam), iterations, differentiate=mode).x
        return jnp.sum(jnp.abs(x) ** 2)

    args = maps, mask, b, jnp.asarray(0.2)
    direction = draw(2, 4, 3, kind=complex), d_mask, draw(2, 4, 3, kind=complex), jnp.asarray(1.0)
    check_derivatives(loss, args, direction, functools.partial(loss, mode="unrolled"))


@pytest.mark.slow
@pytest.mark.parametrize("solver", [jr.FISTA(jr.NonNegative(), restart=True), jr.PDHG(jr.NonNegative()),
                                    jr.CondatVu(jr.TV(0.3)), jr.RichardsonLucy()], ids=lambda s: type(s).__name__)
def test_gradients_of_poisson_likelihoods(solver, rng):
    a, x = rng.uniform(0.5, 1, (9, 4)) * (rng.uniform(size=(9, 4)) < 0.6), np.array([4.0, 0.0, 9.0, 5.0])
    counts = jnp.asarray(rng.poisson(a @ x + 2).astype(float))

    def loss(a, counts, background):
        data = jr.PoissonLikelihood("emission", background=background)
        return jnp.sum(jr.solve(jr.Matrix(a), counts, solver, 20000, data=data, differentiate="implicit").x ** 2)

    args = jnp.asarray(a), counts, jnp.asarray(2.0)
    direction = jnp.asarray(rng.standard_normal(a.shape)), jnp.asarray(rng.standard_normal(9)), jnp.asarray(1.0)
    check_derivatives(loss, args, direction, None, rtol=1e-5)


@pytest.mark.slow
def test_second_derivatives(draw):
    a, b = draw(8, 5, kind=complex), draw(8, kind=complex)

    def loss(lam):
        return jnp.sum(jnp.abs(x_of("ISTA", a, b, lam, 0.8 / jnp.linalg.norm(a, 2) ** 2).x) ** 2)

    slope = jax.jit(jax.grad(loss))
    want = (slope(0.3 + 1e-5) - slope(0.3 - 1e-5)) / 2e-5
    for second in (jax.jacfwd(slope), jax.grad(slope)):
        assert float(second(0.3)) == pytest.approx(float(want), rel=1e-6)


# ---- vmap, jit, memory


BATCHED = ("ISTA", "ADMM balance", "PDHG", "Kaczmarz random", "POGM TV", "CGNR", "denoiser")


@pytest.mark.slow
@pytest.mark.parametrize("name", [n if n == "ISTA" else pytest.param(n, marks=pytest.mark.slow) for n in BATCHED])
def test_vmap_equals_the_loop(name, draw):
    a, b, lam = draw(3, 8, 5, kind=complex), draw(3, 8, kind=complex), jnp.array([0.05, 0.3, 1.0])

    def both(a, b, lam):
        def f(a, b, lam):
            s = x_of(name, a, b, lam, 0.01)
            return jnp.sum(jnp.abs(s.x - 1) ** 2), s

        (_, s), grads = jax.value_and_grad(f, (0, 1, 2), has_aux=True)(a, b, lam)
        return grads, s.x, s.ok, jax.jvp(lambda lam: f(a, b, lam)[0], (lam,), (1.0,))[1]

    together = jax.jit(jax.vmap(both))(a, b, lam)
    alone = [jax.jit(both)(*args) for args in zip(a, b, lam, strict=True)]
    for k in range(3):
        for got, want in zip(jax.tree.leaves(together), jax.tree.leaves(alone[k]), strict=True):
            np.testing.assert_allclose(got[k], want, rtol=1e-7, atol=1e-9)


@pytest.mark.slow
def test_jacobians_are_those_of_the_iterations(draw):
    a, b, t = draw(8, 5), draw(8), 0.03
    forward = jax.jacfwd(lambda b: x_of("ISTA", a, b, 0.3, t).x)(b)
    np.testing.assert_allclose(forward, jax.jacrev(lambda b: x_of("ISTA", a, b, 0.3, t).x)(b), atol=1e-9)
    np.testing.assert_allclose(forward, jax.jacrev(lambda b: x_of("ISTA", a, b, 0.3, t, "unrolled").x)(b), atol=1e-9)


MEMORY = ("FISTA", "ADMM", "PDHG", "CondatVu", "CGNR", "Kaczmarz", "HQS", "Landweber", "POGM TV", "denoiser")


@pytest.mark.parametrize("name", [n if n == "FISTA" else pytest.param(n, marks=pytest.mark.slow) for n in MEMORY])
def test_memory_does_not_grow_with_the_iterations(name):
    def temporary(iterations, mode):
        def loss(a, b, lam):
            solver = CASES[name][0](lam, 0.01)
            return jnp.sum(jr.solve(jr.Matrix(a), b, solver, iterations, differentiate=mode).x ** 2)

        compiled = jax.jit(jax.grad(loss, (0, 1, 2))).lower(jnp.ones((8, 5)), jnp.ones(8), 0.1).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    assert temporary(1000, "implicit") <= 1.2 * temporary(10, "implicit")
    assert temporary(1000, "unrolled") > 5 * temporary(10, "unrolled")


def test_new_values_do_not_trace_again(draw):
    traces = []

    @jax.jit
    def slope(a, b, lam, t, x0):
        traces.append(1)
        return jax.grad(lambda lam: jnp.sum(x_of("FISTA TV", a, b, lam, t, x0=x0).x))(lam)

    x_of("FISTA TV", draw(8, 5), draw(8), 0.5, 0.01)
    before = _solve._cache_size()
    for k in range(3):
        slope(draw(8, 5), draw(8), 0.1 + k, 0.01 * (k + 1), draw(5))
        x_of("FISTA TV", draw(8, 5), draw(8), 0.1 + k, 0.01 * (k + 1))
    assert len(traces) == 1
    assert _solve._cache_size() == before


# ---- what else solve takes


@pytest.mark.slow
def test_start_record_and_progress(draw):
    a, b, x0 = draw(8, 5), draw(8), draw(5)
    seen = []

    def f(b, x0, differentiate="implicit"):
        s = jr.solve(jr.Matrix(a), b, jr.ISTA(jr.L1(0.3)), 300, x0=x0, record=("objective", "x"),
                     progress=seen.append if differentiate == "implicit" else None, differentiate=differentiate)
        return jnp.sum(s.x**2), s

    (_, s), (d_b, d_x0) = jax.value_and_grad(f, (0, 1), has_aux=True)(b, x0)
    jax.effects_barrier()
    assert [int(k) for k in seen] == list(range(1, 301))
    assert not np.any(d_x0)
    assert np.any(d_b)
    want = f(b, x0, "unrolled")[1]
    np.testing.assert_array_equal(s.history["objective"], want.history["objective"])
    np.testing.assert_array_equal(s.history["x"][-1], s.x)
    assert want.fixed_point_residual is None
    # The history is that of a loop that is not differentiated.
    assert not np.any(jax.grad(lambda b: f(b, x0)[1].history["objective"][-1])(b))


@pytest.mark.slow
def test_tolerance_goes_with_reverse_mode(draw):
    a, b = draw(8, 5), draw(8)

    def f(b, iterations=2000, **how):
        s = jr.solve(jr.Matrix(a), b, jr.ISTA(jr.L1(0.3)), iterations, **how)
        return jnp.sum(s.x**2), s

    grad, s = jax.grad(f, has_aux=True)(b, tolerance=1e-12, differentiate="implicit")
    assert s.ok
    assert int(s.iterations) < 2000
    np.testing.assert_allclose(grad, jax.grad(f, has_aux=True)(b)[0], rtol=1e-8)
    assert not f(b, tolerance=1e-12, differentiate="implicit", iterations=200)[1].ok  # converged enough, but as told
    with pytest.raises(ValueError, match=r"jax\.jacfwd or differentiate='implicit'"):
        jax.grad(f, has_aux=True)(b, tolerance=1e-12)


def test_iterative_passes_it_on(draw):
    a, b = jr.Matrix(draw(8, 5)), draw(8)

    def slope(mode, tolerance=None):
        def loss(lam):
            r = jr.Iterative(jr.FISTA(jr.L1(lam), restart=True), 400, tolerance=tolerance, differentiate=mode)
            return jnp.sum(r(a, b) ** 2)

        return float(jax.grad(loss)(0.3))

    assert slope("implicit", 1e-13) == pytest.approx(slope("unrolled"), rel=1e-8)


@pytest.mark.parametrize("dtype", ["float32", pytest.param("complex64", marks=pytest.mark.slow)])
def test_single_precision_stays(draw, dtype):
    a, b = (draw(8, 5, kind=complex), draw(8, kind=complex)) if dtype == "complex64" else (draw(8, 5), draw(8))

    def f(a, b, lam):
        s = jr.solve(jr.Matrix(a), b, jr.ADMM(jr.TV(lam)), 300, differentiate="implicit")
        return jnp.sum(jnp.abs(s.x) ** 2), s

    (_, s), grads = jax.value_and_grad(f, (0, 1, 2), has_aux=True)(a.astype(dtype), b.astype(dtype), jnp.float32(0.3))
    assert s.ok
    assert s.x.dtype == dtype
    assert s.fixed_point_residual.dtype == jnp.float32
    for got, want in zip(grads, jax.grad(f, (0, 1, 2), has_aux=True)(a, b, 0.3)[0], strict=True):
        np.testing.assert_allclose(got, want, atol=2e-4 * float(jnp.max(jnp.abs(want))))


# ---- what is not to be trusted


def test_ok_is_false_before_convergence(draw):
    a, b = draw(8, 5), draw(8)
    residuals = []
    for n, ok in ((1, False), (800, True)):
        s = jr.solve(jr.Matrix(a), b, jr.ISTA(jr.L1(0.3)), n, differentiate="implicit")
        assert bool(s.ok) == ok
        assert jr.solve(jr.Matrix(a), b, jr.ISTA(jr.L1(0.3)), n).ok  # which asks for finite numbers only
        residuals.append(float(s.fixed_point_residual))
    assert residuals == sorted(residuals, reverse=True)
    # |T(x) - x| / |x| itself.
    x = jr.solve(jr.Matrix(a), b, jr.ISTA(jr.L1(0.3), 0.01), 5).x
    moved = jr.solve(jr.Matrix(a), b, jr.ISTA(jr.L1(0.3), 0.01), 1, x0=x).x - x
    s = jr.solve(jr.Matrix(a), b, jr.ISTA(jr.L1(0.3), 0.01), 5, differentiate="implicit")
    assert float(s.fixed_point_residual) == pytest.approx(float(jnp.linalg.norm(moved) / jnp.linalg.norm(x)), rel=1e-10)


@pytest.mark.slow
def test_ok_is_false_where_nothing_converges(draw):
    a, b = draw(8, 5), draw(8)
    # A cycle of projections is no fixed point: no x solves A x = b.
    assert not jr.solve(jr.Matrix(a), b, jr.Kaczmarz(), 2000, differentiate="implicit").ok
    assert jr.solve(jr.Matrix(a), a @ draw(5), jr.Kaczmarz(), 2000, differentiate="implicit").ok
    # A divergent iteration.
    assert not jr.solve(jr.Matrix(a), b, jr.Landweber(1.0), 2000, differentiate="implicit").ok


def test_gradient_is_nan_where_x_is_not_unique(draw):
    a, b = draw(3, 5), draw(3)

    def slope(solver):
        return jax.grad(lambda b: jnp.sum(
            jr.solve(jr.Matrix(a), b, solver, 3000, differentiate="implicit").x))(b)

    assert np.all(np.isnan(slope(jr.Landweber())))
    assert np.all(np.isfinite(slope(jr.CGNR(0.1))))


@pytest.mark.parametrize("name", ["ISTA", *(pytest.param(n, marks=pytest.mark.slow) for n in MEMORY)])
def test_zero_data_gives_zero_with_finite_gradients(name, draw):
    a = draw(8, 5)

    def f(a, b, lam):
        s = x_of(name, a, b, lam, 0.01)
        return jnp.sum(s.x) ** 2 + jnp.sum(s.x), s

    grads, s = jax.jit(jax.grad(f, (0, 1, 2), has_aux=True))(a, jnp.zeros(8), 0.3)
    assert s.ok
    assert s.fixed_point_residual == 0
    assert all(np.all(np.isfinite(g)) for g in grads)


@pytest.mark.slow
def test_start_of_kaczmarz_is_part_of_its_solution(draw):
    a, b, x0 = draw(8, 5), draw(8), draw(5)

    def slope(mode):
        return jax.grad(lambda lam: jnp.sum(
            jr.solve(jr.Matrix(a), b, jr.Kaczmarz(lam), 800, x0=x0, differentiate=mode).x ** 2))(0.3)

    assert float(slope("implicit")) == pytest.approx(float(slope("unrolled")), rel=1e-8)


def test_solvers_without_a_fixed_point_raise():
    A, b = jr.Matrix(np.eye(2)), np.ones(2)
    with pytest.raises(ValueError, match=r"Stopped has no fixed point that is known.*use differentiate='unrolled'"):
        jr.solve(A, b, Stopped(jr.Landweber(), 0.1), 3, differentiate="implicit")
    with pytest.raises(ValueError, match=r"Kaczmarz\(prior=\.\.\.\) has no fixed point.*jr\.Alternating"):
        jr.solve(A, b, jr.Kaczmarz(prior=jr.NonNegative()), 3, differentiate="implicit")
    with pytest.raises(ValueError, match="differentiate is one of 'unrolled', 'implicit', got 'magic'"):
        jr.solve(A, b, jr.CGNR(), 3, differentiate="magic")


# ---- the linear solve


@pytest.mark.parametrize("n", [1, 6, pytest.param(150, marks=pytest.mark.slow)])
def test_gmres_equals_numpy(n, draw):
    m, b = draw(n, n) / n**0.5 + 2 * jnp.eye(n), draw(n)
    x = jax.jit(lambda m, b: gmres(lambda v: m @ v, b, 1e-12, 1e-4))(m, b)
    np.testing.assert_allclose(x, np.linalg.solve(m, b), rtol=1e-9, atol=1e-10)
    assert not np.any(gmres(lambda v: m @ v, 0 * b, 1e-12, 1e-4))


def test_linear_solve_of_singular_systems(draw):
    """A solution where there is one, NaN where there is none: 1 - J for an averaged J, not symmetric."""
    q = draw(6, 6)
    m = q @ jnp.diag(jnp.array([0, 0, 0.1, 0.5, 1, 1.5])) @ jnp.linalg.inv(q)
    b = m @ draw(6)
    solve = jax.jit(lambda b: linear_solve(lambda v: m @ v, b, False))
    np.testing.assert_allclose(m @ solve(b), b, atol=1e-9)
    assert np.all(np.isnan(solve(b + q[:, 0])))
    together = jax.vmap(solve)(jnp.stack([b, b + q[:, 0], 0 * b]))
    assert np.all(np.isnan(together), axis=1).tolist() == [False, True, False]


def test_linear_solve_is_linear_over_the_reals_only(draw):
    """v + conj(v) c, with a transpose to match, through a tree of a real and a complex array."""
    c, m = 0.3 * draw(4, kind=complex), draw(3, 3) / 9

    def apply(tree):
        v, u = tree
        return v + c * jnp.conj(v) + jnp.sum(u), u + m @ u + jnp.sum(v).imag / 9

    rhs = draw(4, kind=complex), draw(3)
    f = jax.jit(functools.partial(linear_solve, apply, symmetric=False))
    for got, want in zip(jax.tree.leaves(apply(f(rhs))), jax.tree.leaves(rhs), strict=True):
        np.testing.assert_allclose(got, want, atol=1e-9)
    direction, weight = (draw(4, kind=complex), draw(3)), (draw(4, kind=complex), draw(3))
    out, pull = jax.vjp(f, rhs)
    push = jax.jvp(f, (rhs,), (direction,))[1]
    np.testing.assert_allclose(along(weight, push), along(pull(weight)[0], direction), rtol=1e-8)
    assert out[1].dtype == float
