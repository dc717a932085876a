"""Unrolled iterations and the learned primal-dual method: what they are, whatever their weights."""

import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxrecon as jr
from jaxrecon.learned.scale import image_scale, least_squares_backprojection
from jaxrecon.learned.unrolled import repeated

KEY = jax.random.key(3)
SHAPE = (7, 6)


class Nothing(nnx.Module):
    """The identity, with a parameter."""

    def __init__(self, rngs):
        self.unused = nnx.Param(jnp.zeros(()))

    def __call__(self, x):
        return x


@functools.cache  # one factory, so that what is compiled with it serves all tests
def convolutions(channels):
    def make(rngs):
        return nnx.Sequential(nnx.Conv(channels, 3, (3, 3), rngs=rngs), nnx.softplus,
                              nnx.Conv(3, channels, (3, 3), rngs=rngs))
    return make


@pytest.fixture(scope="module")
def problem():
    mask = np.random.default_rng(0).random(SHAPE) < 0.6
    A = jr.Fourier(SHAPE, mask=mask)
    keys = jax.random.split(jax.random.key(1))
    x = jax.lax.complex(*(jax.random.normal(k, SHAPE) for k in keys)) + 2 * jnp.exp(0.7j)
    return A, A(x)


@pytest.mark.parametrize("dc", [jr.GradientStep(0.9), jr.ProximalStep(0.3, iterations=4), jr.SampleReplacement(0.2)])
@pytest.mark.parametrize("shared", [True, False])
def test_with_an_identity_network_it_is_the_classical_solver(problem, dc, shared):
    A, b = problem
    r = jr.Unrolled(Nothing, 4, shared=shared, dc=dc, key=KEY)
    want = jr.solve(A, b, jr.Alternating(dc, jr.L1(0.0)), iterations=4).x
    np.testing.assert_allclose(r(A, b), want, rtol=0, atol=1e-13)


def test_kaczmarz_as_data_consistency(rng):
    A, b = jr.Matrix(rng.normal(size=(9, 6))), jnp.asarray(rng.normal(size=9))
    dc = jr.KaczmarzSweep(0.1)
    r = jr.Unrolled(lambda rngs: Vector(), 3, dc=dc, key=KEY)
    want = jr.solve(A, b, jr.Alternating(dc, jr.L1(0.0)), iterations=3).x
    np.testing.assert_allclose(r(A, b), want, rtol=0, atol=1e-13)


class Vector(Nothing):
    def __init__(self):
        super().__init__(None)


def test_one_network_repeated_is_the_shared_one(problem):
    A, b = problem
    shared = jr.Unrolled(convolutions(2), 3, shared=True, key=KEY)
    separate = jr.Unrolled(shared.net, 3, shared=False)
    assert separate.net.copies == 3 and separate.dc.step.shape == (3,)
    np.testing.assert_allclose(shared(A, b), separate(A, b), rtol=0, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("make", [
    lambda **k: jr.Unrolled(convolutions(2), 2, key=KEY, **k),
    pytest.param(lambda **k: jr.Unrolled(convolutions(2), 3, shared=True, dc=jr.ProximalStep(0.5, 3), key=KEY, **k),
                 marks=pytest.mark.slow),
    pytest.param(lambda **k: jr.LearnedPrimalDual(2, features=3, memory=2, image_channels=2, data_channels=2, key=KEY,
                                                  **k), marks=pytest.mark.slow),
])
def test_loop_written_out_and_checkpointed_are_the_same(problem, make):
    A, b = problem

    @jax.jit
    def run(r, A, b):
        return r(A, b), jax.grad(lambda net: jnp.sum(jnp.abs(dataclasses.replace(r, **net)(A, b)) ** 2))(nets(r))

    def nets(r):
        return {f.name: getattr(r, f.name) for f in dataclasses.fields(r)
                if isinstance(getattr(r, f.name), jr.networks.Network)}

    want = jax.tree.leaves(run(make(rolled=True), A, b))
    for options in ({"rolled": False}, {"rolled": True, "checkpoint": True}, {"rolled": False, "checkpoint": True}):
        for got, w in zip(jax.tree.leaves(run(make(**options), A, b)), want, strict=True):
            np.testing.assert_allclose(got, w, rtol=2e-4, atol=2e-5 * float(jnp.max(jnp.abs(w)) + 1e-30))


@pytest.mark.parametrize("make", [
    lambda: jr.Unrolled(convolutions(2), 2, key=KEY),
    lambda: jr.PostProcessed(jr.ZeroFilled(), convolutions(2), key=KEY),
    lambda: jr.Consistent(jr.PostProcessed(jr.ZeroFilled(), convolutions(2), key=KEY)),
    lambda: jr.LearnedInverse(lambda rngs: nnx.Linear(84, 84, rngs=rngs), key=KEY),
    lambda: jr.LearnedPrimalDual(1, features=3, memory=2, image_channels=2, data_channels=2, key=KEY),
])
def test_learned_methods_commute_with_scale_and_phase(problem, make):
    A, b = problem
    factors = jnp.array([1.0, 1e-6, 1e6, -3j, np.exp(2.1j)])
    x, *others = jax.jit(lambda r, A, b: jax.lax.map(lambda c: r(A, c * b), factors))(make(), A, b)
    for factor, got in zip(factors[1:], others, strict=True):
        # The networks compute in float32.
        np.testing.assert_allclose(got / factor, x, rtol=0, atol=1e-5 * float(jnp.max(jnp.abs(x))))


def test_a_conditional_network_takes_an_empty_image(problem):
    A, b, *_ = problem
    net = jr.networks.UNet(channels=2, features=4, levels=1, conditional=True)
    r = jr.Unrolled(net, iterations=2, dc=jr.SampleReplacement(), key=jax.random.key(0))
    for empty in (0 * b, A(jnp.ones(A.domain.shape, A.domain.dtype))):
        eager = r(A, empty)
        assert np.all(np.isfinite(eager))
        np.testing.assert_allclose(jax.jit(lambda r, A, b: r(A, b))(r, A, empty), eager, atol=1e-6)


def test_zero_data_give_a_finite_image_and_gradient(problem):
    A, b = problem
    r = jr.Unrolled(convolutions(2), 2, key=KEY)

    def energy(b):
        return jnp.sum(jnp.abs(r(A, b)) ** 2)

    value, gradient = jax.value_and_grad(energy)(0 * b)
    assert jnp.isfinite(value) and jnp.all(jnp.isfinite(gradient))


def test_vmap_is_the_loop_and_nothing_traces_twice(problem):
    A, b = problem
    r = jr.Unrolled(convolutions(2), 2, key=KEY)
    batch = jnp.stack([b, 2j * b, b[::-1]])

    @jax.jit
    @chex.assert_max_traces(n=1)
    def run(r, A, batch):
        return jax.vmap(lambda b: r(A, b))(batch)

    got = run(r, A, batch)
    want = jnp.stack([r(A, b) for b in batch])
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-6 * float(jnp.max(jnp.abs(want))))
    other = jr.Unrolled(r.net, 2, dc=jr.GradientStep(repeated(0.5, 2)))
    run(jax.tree.map(lambda v: v + 0, other), jr.Fourier(SHAPE, mask=np.ones(SHAPE, bool)), batch)


def test_gradients_reach_networks_steps_and_the_operator(problem):
    A, b = problem
    r = jr.Unrolled(convolutions(2), 2, key=KEY)
    grads = jax.grad(lambda r, A: jnp.sum(jnp.abs(r(A, b)) ** 2), (0, 1))(r, A)
    assert all(float(jnp.max(jnp.abs(g))) > 0 for g in (grads[0].dc.step[0], grads[0].dc.step[1], grads[1].mask))
    assert all(jnp.all(jnp.isfinite(g)) for g in jax.tree.leaves(grads))


def test_prepared_operator_gives_the_same_image(rng):
    A = jr.Matrix(rng.normal(size=(9, 6)))
    b = jnp.asarray(rng.normal(size=9))
    r = jr.Unrolled(lambda rngs: Vector(), 3, key=KEY)
    assert r.prepare(A).known_norm is not None
    np.testing.assert_allclose(r(r.prepare(A), b), r(A, b), rtol=0, atol=1e-12)


def test_initial_reconstructor(problem):
    A, b = problem
    r = jr.Unrolled(Nothing, 2, initial=jr.ZeroFilled(), key=KEY)
    want = jr.solve(A, b, jr.Alternating(jr.GradientStep(), jr.L1(0.0)), iterations=2, x0=A.H(b)).x
    np.testing.assert_allclose(r(A, b), want, rtol=0, atol=1e-13)


def test_a_conditional_network_is_told_the_noise_level(problem):
    A, b = problem

    class Shift(Nothing):
        def __call__(self, x, sigma):
            return x + sigma

    first = least_squares_backprojection(A, b)
    scale = image_scale(first)
    sigma = jr.parameters.noise_level(first / scale)
    r = jr.Unrolled(Shift, 1, shared=True, dc=jr.SampleReplacement(), key=KEY)
    # One step from zero: the measured samples, then the shift of both parts.
    want = A.H(b) + scale * sigma * (1 + 1j)
    np.testing.assert_allclose(r(A, b), want, rtol=0, atol=1e-6)


def test_primal_dual_against_its_formula(rng):
    A = jr.Matrix(rng.normal(size=(8, 6)))
    b = jnp.asarray(rng.normal(size=8))
    m = 2
    r = jr.LearnedPrimalDual(3, memory=m, key=KEY, primal=lambda rngs: nnx.Linear(m + 1, m, rngs=rngs),
                             dual=lambda rngs: nnx.Linear(m + 2, m, rngs=rngs))
    a = np.asarray(A.matrix) / np.linalg.norm(A.matrix, 2)
    g = A.matrix.T @ b
    c = np.sqrt(np.mean((g * (g @ g) / np.sum((A.matrix @ g) ** 2)) ** 2))
    data = b / c / np.linalg.norm(A.matrix, 2)
    x, h = np.zeros((m, 6)), np.zeros((m, 8))
    for k in range(3):
        (dk, db), (pk, pb) = ((np.asarray(n.parameters["kernel"][k], float), np.asarray(n.parameters["bias"][k], float))
                              for n in (r.dual, r.primal))
        h = h + dk.T @ np.concatenate([h, [a @ x[0]], [data]]) + db[:, None]
        x = x + pk.T @ np.concatenate([x, [a.T @ h[0]]]) + pb[:, None]
    np.testing.assert_allclose(r(A, b), c * x[0], rtol=0, atol=3e-5 * np.abs(c * x[0]).max())


def test_post_processing_and_the_learned_inverse_against_their_formulas(problem):
    A, b = problem
    r = jr.PostProcessed(jr.ZeroFilled(), Nothing, key=KEY)
    np.testing.assert_allclose(r(A, b), A.H(b), rtol=0, atol=1e-14)
    net = jr.networks.build(lambda rngs: nnx.Linear(84, 84, use_bias=False, rngs=rngs), KEY)
    kernel = np.asarray(net.parameters["kernel"], float)
    c = complex(image_scale(b))
    flat = np.asarray(b).ravel() / c
    y = (np.concatenate([flat.real, flat.imag]) @ kernel).reshape(*SHAPE, 2)
    np.testing.assert_allclose(jr.LearnedInverse(net)(A, b), c * (y[..., 0] + 1j * y[..., 1]), rtol=0, atol=1e-5)


def test_the_learned_inverse_of_a_real_image_keeps_the_phase_of_its_data(problem):
    A, b = problem
    A = jr.real_part(A)
    net = jr.networks.build(lambda rngs: nnx.Linear(84, 42, use_bias=False, rngs=rngs), KEY)
    size = float(jnp.sqrt(jnp.mean(jnp.abs(b) ** 2)))
    flat = np.asarray(b).ravel()
    want = np.concatenate([flat.real, flat.imag]) @ np.asarray(net.parameters["kernel"], float)
    got = jr.LearnedInverse(net)(A, b)
    assert got.dtype == float
    np.testing.assert_allclose(got, want.reshape(SHAPE), rtol=0, atol=1e-5 * size)


def test_scale_of_an_image():
    x = jnp.array([1 + 1j, 2.0, -0.5j])
    c = image_scale(x)
    assert abs(float(jnp.mean(jnp.abs(x / c) ** 2)) - 1) < 1e-14
    y = x / c
    assert abs(float(jnp.angle(jnp.sum(y * jnp.abs(y))))) < 1e-14
    assert float(image_scale(jnp.zeros(3))) == 1


@pytest.mark.parametrize("dc", [jr.SampleReplacement(0.3), jr.GradientStep(0.4), jr.ProximalStep(0.2, 8)])
def test_consistent_is_its_step_after_the_other(problem, dc):
    A, b = problem
    r = jr.Unrolled(convolutions(2), 2, key=KEY)
    x, a = np.asarray(r(A, b)).ravel(), np.asarray(jr.dense(A))
    y, eye = np.asarray(b).ravel(), np.eye(a.shape[1])
    back = a.conj().T @ (y - a @ x)
    want = {jr.SampleReplacement: lambda: x + back / 1.3, jr.GradientStep: lambda: x + 0.4 * back,
            jr.ProximalStep: lambda: np.linalg.solve(a.conj().T @ a + 0.2 * eye, a.conj().T @ y + 0.2 * x)}[type(dc)]()
    got = jr.Consistent(r, dc)(A, b).ravel()
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-6 * np.max(abs(want)))
    marks = jr.learned.trainable(jr.Consistent(r, dc))
    assert not any(jax.tree.leaves(marks.dc))
    assert jax.tree.leaves(marks.reconstructor) == jax.tree.leaves(jr.learned.trainable(r))


def test_what_trains():
    r = jr.Unrolled(convolutions(2), 2, initial=jr.Iterative(jr.CGNR(0.1), 3), key=KEY)
    names, marks = jr.learned.path_names(r), jr.learned.trainable(r)
    chosen = {n for n, m in zip(jax.tree.leaves(names), jax.tree.leaves(marks), strict=True) if m}
    assert chosen == {"dc.step", *(f"net.parameters.layers.{i}.{k}" for i in (0, 2) for k in ("bias", "kernel"))}


@pytest.mark.parametrize("make, error, words", [
    (lambda: jr.Unrolled(Nothing, 0, key=KEY), ValueError, "iterations >= 1, got 0"),
    (lambda: jr.Unrolled(Nothing, 2), ValueError, "key=jax.random.key"),
    (lambda: jr.Unrolled(3, 2, key=KEY), TypeError, "factory"),
    (lambda: jr.Unrolled(Nothing, 2, dc=0.1, key=KEY), TypeError, "jr.GradientStep"),
    (lambda: jr.Unrolled(jr.Unrolled(Nothing, 2, key=KEY).net, 3), ValueError, "2 weight sets, but 3"),
    (lambda: jr.Unrolled(lambda rngs: nnx.BatchNorm(2, rngs=rngs), 2, key=KEY), ValueError, "normalises over a batch"),
    (lambda: jr.Unrolled(lambda rngs: 3, 2, key=KEY), TypeError, "must return an nnx.Module"),
    (lambda: jr.Consistent(jr.ZeroFilled(), 0.1), TypeError, "jr.GradientStep"),
    (lambda: jr.Consistent(3), TypeError, "takes a reconstructor"),
    (lambda: jr.PostProcessed(3, Nothing, key=KEY), TypeError, "initial must be a reconstructor"),
    (lambda: jr.LearnedPrimalDual(0, key=KEY), ValueError, "iterations >= 1"),
    (lambda: jr.LearnedPrimalDual(2, features=2, key=KEY)(jr.Fourier((4, 4)), jnp.ones((4, 4), complex)),
     ValueError, "image_channels=1"),
    (lambda: jr.PostProcessed(jr.ZeroFilled(), lambda rngs: nnx.Linear(2, 3, rngs=rngs), key=KEY)(
        jr.Fourier((4, 4)), jnp.ones((4, 4), complex)), ValueError, "keep the shape"),
    (lambda: jr.LearnedInverse(lambda rngs: nnx.Linear(32, 31, rngs=rngs), key=KEY)(
        jr.Fourier((4, 4)), jnp.ones((4, 4), complex)), ValueError, "2 x 16 numbers"),
    (lambda: jr.solve(jr.Fourier((4, 4)), jnp.ones((4, 4), complex), jr.ISTA(jr.Denoiser(Nothing, key=KEY)), 2,
                      record="objective"), ValueError, "no objective"),
])
def test_clear_errors(make, error, words):
    with pytest.raises(error, match=words):
        make()
