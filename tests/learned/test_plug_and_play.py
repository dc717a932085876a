"""Plug-and-play: the classical solvers with a denoiser in the place of the prox, and when they converge."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxrecon as jr
from jaxrecon.learned.denoiser import Denoiser
from jaxrecon.learned.nonexpansive import Averaged, convolution_norm, nonexpansive
from jaxrecon.learned.plug_and_play import AtLevel, PlugAndPlay, display_scale, smooth_phase
from jaxrecon.networks.base import build
from jaxrecon.networks.convnet import ConvNet
from jaxrecon.solvers.hqs import HQS
from jaxrecon.solvers.scheduled import Scheduled

SHAPE = (9, 8)
KERNEL = jnp.array([[0.1, 0.2, 0.1], [0.0, 0.3, 0.1], [0.1, 0.0, 0.1]])


class Shrinking(nnx.Module):
    """v - v sigma / 2 + sigma / 10: a conditional network whose output tells its noise level."""

    def __init__(self, rngs):
        self.half = nnx.Param(jnp.full((), 0.5, float))

    def __call__(self, x, sigma):
        return x - self.half[...] * sigma * x + sigma / 10


class Blurring(nnx.Module):
    """A blind network, not linear."""

    def __init__(self, rngs):
        self.gain = nnx.Param(jnp.full((), 0.6, float))

    def __call__(self, x):
        return self.gain[...] * jnp.tanh(x) + 0.2 * jnp.roll(x, 1, axis=0) + 0.01


@pytest.fixture(scope="module")
def blurred():
    rng = np.random.default_rng(1)
    A = jr.Convolution(KERNEL, SHAPE)
    x = jnp.asarray(rng.random(SHAPE))
    return A, A(x) + 0.02 * rng.normal(size=SHAPE), x


def random_net(seed=0, residual=True, gain=1.0, **fields):
    """A ConvNet with all weights away from their initial zeros."""
    net = build(ConvNet(features=4, depth=3, residual=residual, **fields), jax.random.key(seed))
    leaves, structure = jax.tree.flatten(net.parameters)
    keys = jax.random.split(jax.random.key(seed + 1), len(leaves))
    leaves = [gain * 0.3 * jax.random.normal(k, v.shape) for k, v in zip(keys, leaves, strict=True)]
    return dataclasses.replace(net, parameters=jax.tree.unflatten(structure, leaves))


# ---- the solvers that carry it


@pytest.mark.parametrize("A", [jr.Convolution(KERNEL, (4, 5)), jr.Convolution(KERNEL, (4, 5), boundary="zero")])
def test_hqs_is_alternating_with_exact_solves(A, rng):
    b = jnp.asarray(rng.normal(size=A.codomain.shape))
    want = jr.solve(A, b, jr.Alternating(jr.ProximalStep(0.3), jr.L1(0.05)), iterations=5).x
    np.testing.assert_allclose(jr.solve(A, b, HQS(jr.L1(0.05), 0.3), iterations=5).x, want, rtol=0, atol=1e-12)
    np.testing.assert_allclose(jr.solve(A, b, HQS(jr.L1(0.05), 0.3, cg=20), iterations=5).x, want, rtol=0, atol=1e-10)


def test_a_schedule_is_the_loop_with_other_values(rng):
    a, b, lams, steps = rng.normal(size=(5, 4)), rng.normal(size=5), [0.5, 0.2, 0.1], [0.01, 0.02, 0.03]
    solver = Scheduled(jr.ISTA(jr.L1(1.0)), {"prior.lam": lams, "step_size": np.array(steps)})
    got = jr.solve(jr.Matrix(a), b, solver, iterations=5, record="objective")
    x = np.zeros(4)
    for lam, t in zip([*lams, 0.1, 0.1], [*steps, 0.03, 0.03], strict=True):
        v = x - t * a.T @ (a @ x - b)
        x = np.sign(v) * np.maximum(np.abs(v) - t * lam, 0)
    np.testing.assert_allclose(got.x, x, rtol=0, atol=1e-14)
    np.testing.assert_allclose(got.history[-1], np.sum((a @ x - b) ** 2) / 2 + 0.1 * np.abs(x).sum(), rtol=1e-12)


def test_a_schedule_makes_setup_once_where_it_can(rng):
    A, b = jr.Matrix(rng.normal(size=(5, 4))), jnp.asarray(rng.normal(size=5))
    problem = jr.LeastSquares().problem(A, b)
    assert not Scheduled(jr.ADMM(jr.L1(1.0)), {"prior.0.lam": jnp.ones(3)}).setup(problem).stacked
    assert Scheduled(jr.ADMM(jr.L1(1.0)), {"rho": jnp.ones(3)}).setup(problem).stacked
    rhos = jnp.array([1.0, 2.0, 0.5])
    stacked = jr.ADMM(jr.L1(jnp.full(3, 0.1)), rhos, relaxation=jnp.ones(3))
    want = jr.unroll(A, b, stacked, 3)
    got = jr.solve(A, b, Scheduled(jr.ADMM(jr.L1(0.1)), {"rho": rhos}), iterations=3).x
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-13)


@pytest.mark.parametrize(("schedule", "words"), [
    ({"prior.lamb": [1.0]}, "prior.lam,.*got prior.lamb"), ({}, "got none"), ({"prior.lam": 1.0}, "leading axis"),
    ({"prior.lam": [1.0], "step_size": [1.0, 2.0]}, "one length")])
def test_a_schedule_that_fits_nothing(schedule, words):
    with pytest.raises(ValueError, match=words):
        Scheduled(jr.ISTA(jr.L1(1.0)), schedule)


# ---- plug-and-play


@pytest.mark.parametrize(("method", "prior", "solver"), [
    ("fista", jr.TV(0.01), jr.FISTA(jr.TV(0.01))), ("ista", jr.L1(0.02), jr.ISTA(jr.L1(0.02))),
    ("admm", jr.TV(0.01), jr.ADMM(jr.TV(0.01))), ("hqs", jr.L1(0.02), HQS(jr.L1(0.02)))])
def test_with_a_classical_prior_it_is_the_classical_solver(blurred, method, prior, solver):
    A, b, _ = blurred
    want = jr.solve(A, b, solver, iterations=12).x
    np.testing.assert_array_equal(PlugAndPlay(prior, method, iterations=12)(A, b), want)


def test_hqs_by_hand(blurred):
    """The published schedule, in units of the range of the first image, for A with |A| = 2."""
    A, b, _ = blurred
    A, b, P, sigma = 2.0 * A, 2.0 * b, 6, 0.05
    got = PlugAndPlay(Denoiser(Shrinking, key=jax.random.key(0)), iterations=P, sigma=sigma)(A, b)
    scale = float(display_scale(jr.solve(A, b, jr.CGNR(), 5).x))
    transfer = np.fft.fft2(np.asarray(A(jnp.zeros(SHAPE).at[0, 0].set(1.0))))
    level = sigma / scale / np.abs(transfer).max()
    x, data = np.asarray(jr.solve(A, b, jr.CGNR(), 5).x) / scale, np.fft.fft2(np.asarray(b) / scale)
    for s in np.geomspace(49 / 255, level, P):
        rho = 0.23 * (sigma / scale) ** 2 / s**2
        z = np.fft.ifft2((np.conj(transfer) * data + rho * np.fft.fft2(x)) / (np.abs(transfer) ** 2 + rho)).real
        x = z - z * s / 2 + s / 10
    np.testing.assert_allclose(got, scale * x, rtol=0, atol=1e-12)


@pytest.mark.parametrize("method", ["ista", "fista", "admm"])
def test_every_method_follows_the_schedule(blurred, method):
    """One level for all iterations is the plain solver, and a falling one is not."""
    A, b, _ = blurred
    denoiser = Denoiser(Shrinking, sigma=0.05, key=jax.random.key(0))
    r = PlugAndPlay(denoiser, method, iterations=4, rho=0.2, initial=lambda A, b: jnp.full(SHAPE, 2.0))
    solver = {"ista": jr.ISTA(denoiser), "fista": jr.FISTA(denoiser), "admm": jr.ADMM(denoiser, rho=0.2)}[method]
    want = 2 * jr.solve(A, b / 2, solver, iterations=4, x0=jnp.ones(SHAPE)).x
    np.testing.assert_allclose(r(A, b), want, rtol=0, atol=1e-12)
    falling = dataclasses.replace(r, denoiser=Denoiser(denoiser.net), sigma=0.01)
    assert float(jnp.max(jnp.abs(falling(A, b) - want))) > 1e-3


def test_a_denoiser_after_kaczmarz_sweeps(rng):
    a = rng.normal(size=(12, 6))
    b = jnp.asarray(a @ rng.random(6))
    A, denoiser = jr.SystemMatrix(a, (2, 3)), Denoiser(Blurring, key=jax.random.key(0))
    got = PlugAndPlay(denoiser, dc=jr.KaczmarzSweep(), iterations=3, initial=lambda A, b: jnp.ones((2, 3)))(A, b)
    x = np.ones(6)
    for _ in range(3):
        for row, value in zip(a, np.asarray(b), strict=True):
            x = x + row * (value - row @ x) / (row @ row)
        x = np.asarray(denoiser.prox(jnp.asarray(x.reshape(2, 3)))).ravel()
    np.testing.assert_allclose(got, x.reshape(2, 3), rtol=0, atol=1e-12)


@pytest.mark.parametrize("dc", [jr.ProximalStep(0.5, 5), jr.SampleReplacement()])
def test_other_data_consistency(dc):
    A = jr.Fourier(SHAPE, mask=np.random.default_rng(0).random(SHAPE) < 0.6)
    b = A(jnp.full(SHAPE, 1.0 + 0j).at[2:5, 3].set(0.3j))
    denoiser = Denoiser(Blurring, sigma=0.1, key=jax.random.key(0))
    scale = display_scale(A.H(b))
    want = jr.solve(A, b / scale, jr.Alternating(dc, denoiser), iterations=3, x0=A.H(b) / scale).x
    got = PlugAndPlay(denoiser, dc=dc, iterations=3, initial=jr.ZeroFilled())(A, b)
    np.testing.assert_allclose(got, scale * want, rtol=0, atol=1e-12)


def test_levels_of_a_network_trained_at_one():
    net, v = Denoiser(Blurring, key=jax.random.key(0)), jnp.linspace(-1, 1, 12).reshape(4, 3)
    np.testing.assert_allclose(AtLevel(net, 1.0).prox(v), net.prox(v), rtol=0, atol=1e-15)
    np.testing.assert_allclose(AtLevel(net, 2.0).prox(v), 2 * net.prox(v / 2), rtol=0, atol=1e-15)
    np.testing.assert_allclose(AtLevel(net, 0.5).prox(v), (v + net.prox(v)) / 2, rtol=0, atol=1e-15)


def test_commutes_with_scale_and_phase():
    A = jr.Fourier(SHAPE, mask=np.random.default_rng(0).random(SHAPE) < 0.6, dtype="complex64")
    b = A(jax.random.uniform(jax.random.key(1), SHAPE, "float32") + 0.2j)
    r = jax.jit(PlugAndPlay(Denoiser(random_net(gain=0.5)), iterations=5, trained_at=0.1).__call__)
    want = r(A, b)
    assert want.dtype == b.dtype
    for c in (1e-6, 1e6, jnp.exp(2j).astype(b.dtype)):
        np.testing.assert_allclose(r(A, c * b) / c, want, rtol=0, atol=2e-4)
    assert bool(jnp.all(jnp.isfinite(r(A, 0 * b))))


def test_one_program_for_all_values_vmap_and_gradients(blurred):
    A, b, _ = blurred
    traces = []

    class Counted(Shrinking):
        def __call__(self, x, sigma):
            traces.append(1)
            return super().__call__(x, sigma)

    def image(sigma, b, gain=0.5, method="hqs"):
        net = Denoiser(dataclasses.replace(network, parameters={"half": jnp.asarray(gain, float)}))
        return PlugAndPlay(net, method, iterations=3, sigma=sigma)(A, b)

    network = build(Counted, jax.random.key(0))
    first = image(0.02, b)
    count = len(traces)
    second = image(0.05, 0.9 * b, 0.4)
    assert len(traces) == count
    sigmas, batch = jnp.array([0.02, 0.05]), jnp.stack([b, 0.9 * b])
    got = jax.vmap(image)(sigmas, batch, jnp.array([0.5, 0.4]))
    np.testing.assert_allclose(got, jnp.stack([first, second]), rtol=0, atol=1e-12)

    jacobian = jax.grad(lambda s, b: jnp.sum(image(s, b) ** 2), (0, 1))(0.03, b)
    direction = jax.random.normal(jax.random.key(5), b.shape)
    h = 1e-4
    slope = sum(s * jnp.sum(image(0.03, b + s * h * direction) ** 2) for s in (1, -1)) / (2 * h)
    np.testing.assert_allclose(jnp.sum(jacobian[1] * direction), slope, rtol=1e-4)
    slope = sum(s * jnp.sum(image(0.03 * (1 + s * h), b) ** 2) for s in (1, -1)) / (2 * h * 0.03)
    np.testing.assert_allclose(jacobian[0], slope, rtol=1e-4)


def test_real_networks_see_complex_images_without_their_smooth_phase():
    phase = jnp.exp(2j * jnp.pi * (jnp.arange(8) / 8 - jnp.arange(9)[:, None] / 9) + 0.5j)
    np.testing.assert_allclose(smooth_phase(3 * phase), phase, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(smooth_phase(0 * phase), jnp.ones(SHAPE))
    A = jr.Identity(jax.ShapeDtypeStruct(SHAPE, "complex128"))
    denoiser = Denoiser(random_net())
    got = PlugAndPlay(denoiser, "ista", iterations=1, initial=lambda A, b: 2 * phase)(A, phase)
    plain = denoiser.prox(jnp.full(SHAPE, 0.5)) + 1j * denoiser.prox(jnp.zeros(SHAPE))
    np.testing.assert_allclose(got, 2 * phase * plain, rtol=0, atol=1e-5)


def test_any_prior_starts_from_the_initial_image_too(blurred):
    A, b, x = blurred
    got = PlugAndPlay(jr.TV(1e-3), "ista", iterations=1, initial=lambda A, b: x)(A, b)
    np.testing.assert_array_equal(got, jr.solve(A, b, jr.ISTA(jr.TV(1e-3)), 1, x0=x).x)


@pytest.mark.parametrize(("make", "error", "words"), [
    (lambda: PlugAndPlay(jr.L1(1.0), "pdhg"), ValueError, "hqs, ista, fista, admm, got 'pdhg'"),
    (lambda: PlugAndPlay(0.1), TypeError, "takes a prior"),
    (lambda: PlugAndPlay(jr.L1(1.0), iterations=0), ValueError, "iterations >= 1"),
    (lambda: PlugAndPlay(jr.L1(1.0), sigma=-1.0), ValueError, "sigma > 0"),
    (lambda: PlugAndPlay(jr.L1(1.0), dc=jr.L1(1.0)), TypeError, "data-consistency step"),
    (lambda: PlugAndPlay(jr.L1(1.0), initial=3), TypeError, "reconstructor"),
    (lambda: PlugAndPlay(Denoiser(Shrinking, key=jax.random.key(0)), trained_at=0.1), ValueError, "blind"),
    (lambda: nonexpansive(build(Blurring, jax.random.key(0))), ValueError, "ConvNet or DnCNN"),
    (lambda: Averaged(jr.L1(1.0), 1.0), ValueError, "0 < share < 1"),
])
def test_errors(make, error, words):
    with pytest.raises(error, match=words):
        make()


# ---- convergence


@pytest.mark.parametrize(("padding", "channels"), [("zero", (3, 2)), ("circular", (2, 5))])
def test_norm_of_a_convolution(padding, channels, rng):
    kernel = jnp.asarray(rng.normal(size=(3, 3, *channels)))
    layer = nnx.Conv(*channels, (3, 3), use_bias=False, rngs=nnx.Rngs(0),
                     padding={"zero": "SAME", "circular": "CIRCULAR"}[padding])
    layer.kernel = nnx.Param(kernel)
    graphdef, state = nnx.split(layer)
    shape = (24, 24, channels[0])
    A = jr.linear(lambda x: nnx.merge(graphdef, state)(x), jax.ShapeDtypeStruct(shape, kernel.dtype))
    true = float(jr.operator_norm(A, 200))
    assert true * (1 - 1e-9) <= float(convolution_norm(kernel)) <= 1.06 * true


@pytest.mark.slow
def test_nonexpansive_keeps_the_function_up_to_a_factor():
    net = random_net(residual=False, gain=3.0)
    small = nonexpansive(net, 0.5)
    x = jax.random.normal(jax.random.key(0), (3, 8, 8, 1))
    apply = jax.jit(jax.vmap(lambda net, x: net(x), (None, 0)))
    y, z = apply(net, x), apply(small, x)
    np.testing.assert_allclose(z * (y[0, 0, 0, 0] / z[0, 0, 0, 0]), y, rtol=0, atol=1e-4 * float(jnp.max(jnp.abs(y))))
    norms = [float(convolution_norm(layer["kernel"])) for layer in small.parameters["layers"].values()]
    np.testing.assert_allclose(norms, [1, 1, 0.5], rtol=1e-5)
    quiet = jax.tree.map(lambda v: 0.01 * v, net)
    jax.tree.map(np.testing.assert_array_equal, nonexpansive(quiet).parameters, quiet.parameters)
    both = nonexpansive(build(net, copies=2))
    np.testing.assert_allclose(both.parameters["layers"][2]["kernel"][1],
                               nonexpansive(net).parameters["layers"][2]["kernel"], rtol=1e-6)


@pytest.mark.parametrize("make", [jr.ISTA, lambda d: HQS(d, 0.3)])
def test_an_averaged_denoiser_converges_and_an_expansive_one_does_not(blurred, make):
    A, b, x = blurred
    net = random_net(residual=False, gain=3.0)
    net = jax.tree.map(lambda v: v.astype("float64"), net)
    solver = make(Averaged(Denoiser(nonexpansive(net))))
    run = jr.solve(A, b, solver, iterations=250, record="x")
    moves = jnp.linalg.norm(jnp.diff(run.history, axis=0).reshape(249, -1), axis=1)
    assert bool(run.ok) and bool(jnp.all(moves[1:] <= moves[:-1] * (1 + 1e-9) + 1e-15)) and moves[-1] < 1e-6
    other = jr.solve(A, b, solver, iterations=250, x0=5 - 10 * x).x
    np.testing.assert_allclose(other, run.x, rtol=0, atol=1e-5)
    assert not bool(jr.solve(A, b, make(Denoiser(net)), iterations=1500).ok)


def test_plug_and_play_with_an_averaged_denoiser(blurred):
    """Half of x - D(x) of twice the network is x - D(x)."""
    A, b, _ = blurred

    class Twice(Shrinking):
        def __call__(self, x, sigma):
            return 2 * super().__call__(x, sigma) - x

    key = jax.random.key(0)
    want = PlugAndPlay(Denoiser(Shrinking, key=key), iterations=3, sigma=0.02)(A, b)
    got = PlugAndPlay(Averaged(Denoiser(Twice, key=key)), iterations=3, sigma=0.02)(A, b)
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-12)
