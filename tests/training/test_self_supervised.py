"""Losses without ground truth: what they estimate, what they count, and fit with them."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxrecon as jr
from jaxrecon.training import SSDU, SURE, Consistency, Equivariant, Examples, SelfSupervised, Simulated, fit
from jaxrecon.training.measured import measured_samples, real_values
from jaxrecon.training.self_supervised import flip, rotate, shift, signs

KEY = jax.random.key(5)
RNG = np.random.default_rng(3)
SHAPE = (6, 6)
MASK = (np.random.default_rng(1).random(SHAPE) < 0.7).astype(float)


@jr.value
class Linear:
    """x = M b."""

    trains = ("m",)
    m: object

    def __call__(self, A, b):
        return self.m @ b


@jr.value
class Shrunk:
    """The soft-threshold of b: not linear, and of one derivative almost everywhere."""

    t: object

    def __call__(self, A, b):
        return jr.L1(1.0).prox(b, self.t)


@jr.value
class Zeroed:
    """x = c A^H b."""

    trains = ("c",)
    c: object

    def __call__(self, A, b):
        return self.c * A.H(b)


WINDOW = np.random.default_rng(4).random(SHAPE)


@jr.value
class Windowed:
    """x = w A^H b / (1 + lam): a product with a window predicts samples from others."""

    trains = ("lam",)
    lam: object

    def __call__(self, A, b):
        return WINDOW * A.H(b) / (1 + self.lam)


def drawn(key, x, sigma):
    return jr.simulate.add_noise(key, x, sigma=sigma)


def numbers(shape, kind, rng=RNG):
    return rng.normal(size=shape) + (1j * rng.normal(size=shape) if kind is complex else 0)


# ---- SURE


@pytest.mark.slow
@pytest.mark.parametrize("kind", [float, complex])
def test_sure_of_a_linear_estimator_is_its_risk_in_the_mean(kind):
    n, k, sigma = 7, 5, 0.6
    A, m, x = jr.Matrix(numbers((n, k), kind)), 0.2 * numbers((k, n), kind), numbers(k, kind)
    y = A(x)

    def both(key):
        noise, probe = jax.random.split(key)
        b = drawn(noise, y, sigma)
        return SURE(sigma)(Linear(m), A, b, probe)

    values = 2 if kind is complex else 1
    M = np.asarray(A.a) @ m
    risk = (np.sum(abs(M @ y - y) ** 2) + values * sigma**2 * np.sum(abs(M) ** 2)) / (values * n)
    got = np.asarray(jax.jit(jax.vmap(both))(jax.random.split(KEY, 40_000)))
    error = got.std() / np.sqrt(got.size)
    assert abs(got.mean() - risk) < 4 * error and error < 0.01 * risk


@pytest.mark.parametrize("kind", [float, complex])
def test_sure_of_the_soft_threshold_is_its_risk_in_the_mean(kind):
    sigma, x = 0.5, numbers(6, kind)
    A = jr.Identity(jax.ShapeDtypeStruct(x.shape, x.dtype))
    values = 2 if kind is complex else 1

    def both(key):
        noise, probe = jax.random.split(key)
        b = drawn(noise, jnp.asarray(x), sigma)
        error = jnp.sum(jnp.abs(Shrunk(0.7)(A, b) - x) ** 2) / (values * x.size)
        return SURE(sigma)(Shrunk(0.7), A, b, probe), error

    got, want = map(np.asarray, jax.jit(jax.vmap(both))(jax.random.split(KEY, 40_000)))
    error = (got - want).std() / np.sqrt(got.size)
    assert abs(np.mean(got - want)) < 4 * error and error < 0.01 * want.mean()


@jr.value
class Thresholded:
    """x = max(b - t, 0)"""

    t: object

    def __call__(self, A, b):
        return jax.nn.relu(b - self.t)


def test_the_gradient_of_sure_is_that_of_the_error_where_there_are_kinks():
    """Moving t moves the kink: the exact derivative does not see that, differences do."""
    n, sigma = 400_000, 0.5
    x = jax.random.uniform(jax.random.key(1), (n,))
    b, A = x + sigma * jax.random.normal(jax.random.key(2), (n,)), jr.Identity((n,))

    def slope(f):
        return float(jax.grad(f)(jnp.asarray(0.2)))

    want = slope(lambda t: jnp.mean((Thresholded(t)(A, b) - x) ** 2))
    got, exact = (slope(lambda t, s=step: SURE(sigma, step=s)(Thresholded(t), A, b, KEY)) for step in (0.1, None))
    np.testing.assert_allclose(got, want, atol=0.01)
    assert abs(exact - want) > 0.2


@pytest.mark.parametrize("kind", [float, complex])
def test_the_step_is_none_of_a_linear_reconstructor(kind):
    A, b, p = jr.Matrix(numbers((5, 4), kind)), numbers(5, kind), numbers(5, kind)
    r = Linear(numbers((4, 5), kind))
    exact = SURE(0.3, p, step=None)(r, A, b)
    for step in (0.01, 1.0):
        np.testing.assert_allclose(SURE(0.3, p, step=step)(r, A, b), exact, rtol=1e-10)


@pytest.mark.parametrize("kind", [float, complex])
def test_over_all_unit_vectors_the_divergence_is_exact(kind):
    n, sigma = 5, 0.3
    A, m, b = jr.Matrix(numbers((n, 4), kind)), numbers((4, n), kind), numbers(n, kind)
    M = np.asarray(A.a) @ m
    units = np.concatenate([np.eye(n), 1j * np.eye(n)]) if kind is complex else np.eye(n)
    count = len(units)
    got = jax.vmap(lambda p: SURE(sigma, p)(Linear(m), A, b))(units)
    rest = np.sum(abs(M @ b - b) ** 2) / count - sigma**2
    trace = np.sum(count * (got - rest)) / (2 * sigma**2)
    np.testing.assert_allclose(trace, (2 if kind is complex else 1) * np.trace(M).real, rtol=1e-10)


def test_noise_of_another_level_in_each_sample():
    n, c = 6, 0.8
    b, sigma = numbers(n, float), np.linspace(0.1, 0.5, n)
    got = SURE(sigma)(Zeroed(c), jr.Identity((n,)), b, KEY)
    np.testing.assert_allclose(got, np.mean((c * b - b) ** 2 + (2 * c - 1) * sigma**2), rtol=1e-12)


def operators():
    F = jr.Fourier(SHAPE, mask=MASK)
    maps = jr.CoilMaps(numbers((3, *SHAPE), complex))
    yield "Fourier", F, MASK.sum()
    yield "known norm", jr.operator.KnownNorm(F, jnp.ones(())), MASK.sum()
    yield "real part", jr.real_part(F), MASK.sum()
    yield "batched", jr.batched(F, 2), 2 * MASK.sum()
    yield "product", 2.0 * (F @ maps), 3 * MASK.sum()
    yield "weighted", jr.Diagonal(jnp.full(SHAPE, 2.0)) @ F, MASK.sum()
    yield "sense", jr.sense(maps.maps, MASK), 3 * MASK.sum()
    yield "lines", jr.sense(maps.maps, MASK[:, :1]), 3 * 6 * MASK[:, 0].sum()
    yield "no mask", jr.Fourier(SHAPE), 36
    yield "inpainting", jr.Diagonal(jnp.asarray(MASK)), MASK.sum() / 2
    yield "X-ray", jr.XRay(jr.ParallelBeam(jnp.array([0.1, 0.9]), 5), SHAPE), 5
    yield "identity", jr.Identity(SHAPE), 18


@pytest.mark.parametrize("A, complex_samples", [pytest.param(A, n, id=name) for name, A, n in operators()])
def test_only_measured_samples_count(A, complex_samples):
    s = A.codomain
    b = jnp.asarray(numbers(s.shape, complex if jnp.issubdtype(s.dtype, complex) else float))
    measured = measured_samples(A, b)
    assert measured.shape == b.shape and real_values(measured, b) == 2 * complex_samples
    c, sigma, p = 0.01, 0.3, signs(KEY, b)
    there_and_back = jax.jit(lambda A, b: A(c * A.H(b)))
    y = np.asarray(there_and_back(A, b))
    terms = np.where(measured, abs(y - b) ** 2, 0).sum()
    got = jax.jit(lambda loss, A, b: loss(Zeroed(c), A, b, KEY))
    np.testing.assert_allclose(got(Consistency(), A, b), terms / (2 * complex_samples), rtol=1e-10)
    # Everything is linear over the reals, so that the derivative is the map itself.
    p = np.where(measured, p, 0)
    div = np.sum((np.conj(p) * np.asarray(there_and_back(A, p))).real)
    want = (terms + 2 * sigma**2 * div) / (2 * complex_samples) - sigma**2
    np.testing.assert_allclose(got(SURE(sigma), A, b), want, rtol=1e-10)


def test_the_count_of_a_masked_transform_in_closed_form():
    b, c, sigma = jnp.asarray(numbers(SHAPE, complex)), 0.7, 0.2
    m = 2 * MASK.sum()
    want = (1 - c) ** 2 * np.sum(abs(MASK * b) ** 2) / m + sigma**2 * (2 * c - 1)
    np.testing.assert_allclose(SURE(sigma)(Zeroed(c), jr.Fourier(SHAPE, mask=MASK), b, KEY), want, rtol=1e-10)
    # A mask of one's own, where the operator has none.
    masked = jr.Identity(jax.ShapeDtypeStruct(SHAPE, complex))
    np.testing.assert_allclose(SURE(sigma, mask=MASK)(Zeroed(c), masked, b, KEY), want, rtol=1e-10)
    np.testing.assert_allclose(Consistency(MASK)(Zeroed(c), masked, b), want - sigma**2 * (2 * c - 1), rtol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("loss", [SSDU(distance="l2", spread=jnp.inf), Equivariant(SSDU(calibration=2)),
                                  Equivariant(SURE(0.2), 0.5)], ids=["SSDU", "of SSDU", "of SURE"])
def test_under_jit_vmap_and_grad(loss):
    masks = np.stack([MASK, MASK.T])
    b = numbers((2, *SHAPE), complex)
    keys = jax.random.split(KEY, 2)

    def one(c, mask, b, key):
        return loss(Windowed(c), jr.Fourier(SHAPE, mask=mask), b, key)

    eager = [one(0.5, m, v, k) for m, v, k in zip(masks, b, keys, strict=True)]
    mapped = jax.jit(jax.vmap(one, (None, 0, 0, 0)))(0.5, masks, b, keys)
    np.testing.assert_allclose(mapped, eager, rtol=1e-10)
    h, slope = 1e-5, jax.jit(jax.grad(one))
    lower, upper = (jax.jit(one)(0.5 + d, masks[0], b[0], keys[0]) for d in (-h, h))
    slope, want = slope(0.5, masks[0], b[0], keys[0]), (upper - lower) / (2 * h)
    assert abs(slope) > 1e-3
    np.testing.assert_allclose(slope, want, rtol=1e-6)


# ---- SSDU


@pytest.mark.parametrize("of", ["Fourier", "sense", "product", "lines", "frames", "all", "known norm"])
def test_two_parts_make_the_mask(of):
    n = (16, 12)
    mask = (np.random.default_rng(2).random(n) < 0.5).astype(float)
    mask[6:10, 4:8] = 1
    maps = jnp.asarray(numbers((2, *n), complex))
    A = {"Fourier": jr.Fourier(n, mask=mask), "sense": jr.sense(maps, mask),
         "product": 2.0 * (jr.Fourier(n, mask=mask) @ jr.CoilMaps(maps)), "lines": jr.sense(maps, mask[:, 4:5]),
         "frames": jr.Fourier((3, *n), mask=mask), "all": jr.Fourier(n),
         "known norm": jr.operator.KnownNorm(jr.Fourier(n, mask=mask), jnp.ones(()))}[of]
    x = jnp.asarray(numbers(A.domain.shape, complex))
    b = A(x)
    (first, b1), (second, b2) = SSDU().split(A, b, KEY)
    np.testing.assert_allclose(first(x) + second(x), b, rtol=1e-12)
    np.testing.assert_allclose(b1 + b2, b, rtol=1e-12)
    np.testing.assert_allclose(first(x), b1, rtol=1e-12)
    one, two = np.asarray(b1) != 0, np.asarray(b2) != 0
    assert not np.any(one & two)
    assert not np.any(two[..., 6:10, 4:8])  # calibration
    # Coils and frames alike; 40 % of all.
    assert np.all(two == two.reshape(-1, *n)[0]) and round(0.4 * np.sum(np.asarray(b) != 0) / (two.size / 192)) == (
        two.reshape(-1, *n)[0].sum())
    other = SSDU().split(A, b, jax.random.key(6))[1][1]
    assert np.any((np.asarray(other) != 0) != two)


@pytest.mark.parametrize("frames", [(), (3,)])
def test_whole_lines_are_split(frames):
    mask = np.zeros((16, 1))
    mask[[0, 2, 3, 6, 7, 8, 9, 12, 13, 15]] = 1
    A = jr.Fourier((*frames, 16, 12), mask=mask, axes=(-2, -1))
    b = A(jnp.asarray(numbers(A.domain.shape, complex)))
    (first, b1), (second, b2) = SSDU(0.3, lines=True, spread=jnp.inf).split(A, b, KEY)
    np.testing.assert_array_equal(b1 + b2, b)
    np.testing.assert_array_equal(first.mask + second.mask, np.broadcast_to(mask, first.mask.shape))
    lines = np.any(np.asarray(b2) != 0, axis=(*range(len(frames)), -1))
    assert np.all((np.asarray(b2) != 0) == lines[:, None]) and lines.sum() == 3 and not np.any(lines[6:10])
    np.testing.assert_allclose(first(A.H(b)), b1, atol=1e-12)


@pytest.mark.slow
def test_part_two_is_drawn_with_the_density_of_the_paper():
    n, A = 16, jr.Fourier((16,), dtype=complex)
    for spread, sd in ((None, 0.25), (0.5, 0.5), (jnp.inf, np.inf)):
        # One sample of sixteen: drawn with the density itself.
        loss = SSDU(share=1 / 16, calibration=0, spread=spread)
        draw = jax.vmap(lambda key, loss=loss: loss.split(A, jnp.ones(n, complex), key)[1][1].real)
        got = np.asarray(draw(jax.random.split(KEY, 20_000))).mean(0)
        want = np.exp(-0.5 * ((np.arange(n) - n // 2) / n / sd) ** 2)
        np.testing.assert_allclose(got, want / want.sum(), atol=4 * np.sqrt(0.1 / 20_000))


def test_ssdu_is_the_distance_that_it_says():
    A, b = jr.Fourier(SHAPE, mask=MASK), MASK * jnp.asarray(numbers(SHAPE, complex))
    (first, b1), (second, u) = SSDU().split(A, b, KEY)
    v = np.asarray(second(jr.Iterative(jr.CGNR(0.1), 3)(first, b1)))
    e = abs(v - u)
    r = jr.Iterative(jr.CGNR(0.1), 3)
    want = np.linalg.norm(e) / np.linalg.norm(u) + e.sum() / abs(u).sum()
    np.testing.assert_allclose(SSDU()(r, A, b, KEY), want, rtol=1e-10)
    want = np.sum(e**2) / (2 * np.sum(np.asarray(second.mask) != 0))
    np.testing.assert_allclose(SSDU(distance="l2")(r, A, b, KEY), want, rtol=1e-10)


def test_weights_of_what_is_hidden():
    A, b, w = jr.Fourier(SHAPE, mask=MASK), MASK * jnp.asarray(numbers(SHAPE, complex)), 1 + np.arange(6.0)[:, None]
    (first, b1), (second, u) = SSDU().split(A, b, KEY)
    r = jr.Iterative(jr.CGNR(0.1), 3)
    e, u = abs(np.asarray(second(r(first, b1)) - u)), abs(np.asarray(u))
    want = np.sum(w * e**2) / (2 * np.sum(np.asarray(second.mask) != 0))
    np.testing.assert_allclose(SSDU(weights=w, distance="l2")(r, A, b, KEY), want, rtol=1e-10)
    want = np.sqrt(np.sum(w * e**2) / np.sum(w * u**2)) + np.sum(w * e) / np.sum(w * u)
    np.testing.assert_allclose(SSDU(weights=w)(r, A, b, KEY), want, rtol=1e-10)


def test_the_reconstructor_sees_the_reduced_mask():
    seen = []

    @jr.value
    class Looks:
        def __call__(self, A, b):
            seen.append(A.mask)
            return A.H(b)

    SSDU(calibration=2)(Looks(), jr.Fourier(SHAPE, mask=MASK), MASK * numbers(SHAPE, complex), KEY)
    assert seen[0].sum() == MASK.sum() - round(0.4 * MASK.sum()) and np.all(seen[0] <= MASK)


@pytest.mark.slow
def test_nothing_to_judge_by_is_no_perfect_score():
    A = jr.Fourier((16, 16), mask=jnp.zeros((16, 16)).at[6:10, 6:10].set(1))
    loss = jr.training.SSDU()(jr.ZeroFilled(), A, jnp.ones((16, 16), complex) * A.mask, jax.random.key(0))
    assert jnp.isnan(loss)


def test_views_and_rows_are_split():
    A = jr.XRay(jr.ParallelBeam(jnp.linspace(0, 3, 10, endpoint=False), 8), SHAPE)
    x = jnp.asarray(numbers(SHAPE, float))
    b = A(x)
    (first, b1), (second, b2) = SSDU(share=0.3).split(A, b, KEY)
    assert b1.shape == (7, 8) and b2.shape == (3, 8)
    np.testing.assert_allclose(first(x), b1, atol=1e-10)
    np.testing.assert_allclose(second(x), b2, atol=1e-10)
    angles = np.concatenate([first.geometry.angles, second.geometry.angles])
    np.testing.assert_allclose(np.sort(angles), A.geometry.angles)
    rows = jr.Matrix(numbers((10, 4), float))
    (_, y1), (_, y2) = SSDU().split(rows, rows(jnp.ones(4)), KEY)
    assert y1.shape == (6,) and y2.shape == (4,)


@pytest.mark.slow
def test_views_under_vmap_and_grad():
    A = jr.with_norm(jr.XRay(jr.ParallelBeam(jnp.linspace(0, 3, 5, endpoint=False), 6), SHAPE))
    assert isinstance(A, jr.operator.KnownNorm)
    b, keys = numbers((2, 5, 6), float), jax.random.split(KEY, 2)

    def total(lam):
        return jnp.sum(jax.vmap(lambda b, key: SSDU()(Windowed(lam), A, b, key))(b, keys))

    slope = jax.jit(jax.grad(total))(0.1)
    assert np.isfinite(slope) and abs(slope) > 1e-3


# ---- equivariance


def test_transforms_are_drawn_evenly():
    x = jnp.arange(9.0).reshape(3, 3)
    keys = jax.random.split(KEY, 4000)
    wanted = {rotate: [np.rot90(x, k) for k in range(4)], flip: [x, x[::-1], x[:, ::-1], x[::-1, ::-1]],
              shift: [np.roll(x, (i, j), (0, 1)) for i in range(3) for j in range(3)]}
    for transform, images in wanted.items():
        made = np.asarray(jax.vmap(transform, (0, None))(keys, x)).reshape(-1, 9)
        counts = [np.sum(np.all(made == np.ravel(v), axis=1)) for v in images]
        assert sum(counts) == len(keys)
        np.testing.assert_allclose(counts, len(keys) / len(images), rtol=0.2)


def test_equivariance_by_hand():
    A, b, r = jr.Fourier(SHAPE, mask=MASK), MASK * numbers(SHAPE, complex), jr.Iterative(jr.CGNR(0.2), 3)
    x = r(A, b)
    turned = [np.rot90(x, k) for k in range(4)]
    terms = [np.mean(abs(np.asarray(r(A, A(jnp.asarray(t)))) - t) ** 2) for t in turned]
    base = Consistency()(r, A, b)
    got = [(Equivariant(Consistency(), 0.5, "rotate")(r, A, b, k) - base) / 0.5 for k in jax.random.split(KEY, 8)]
    assert all(np.min(abs(np.array(terms) / g - 1)) < 1e-8 for g in got)
    assert len({round(float(g), 9) for g in got}) > 1
    # Transforms of one's own, and of what is not square.
    own = Equivariant(Consistency(), 2.0, lambda key, x: 1j * x)(r, A, b, KEY)
    np.testing.assert_allclose(own, base + 2 * np.mean(abs(r(A, A(x)) - x) ** 2), rtol=1e-10)


@pytest.mark.slow
def test_noise_of_the_second_measurement():
    A, c = jr.Fourier((32, 32), mask=jnp.arange(32)[:, None] % 2), 1.0
    b, flipped = jnp.zeros((32, 32), complex), ("flip",)
    for loss in (Equivariant(SURE(0.3), 1.0, flipped), Equivariant(Consistency(), 1.0, flipped, noise=0.3),
                 Equivariant(Consistency(), 1.0, flipped, noise=jr.simulate.GaussianNoise(0.3))):
        # x = 0, so that what is found again is the noise, in half of the samples.
        again = loss(Zeroed(c), A, b, KEY) - (0.09 if isinstance(loss.base, SURE) else 0)
        np.testing.assert_allclose(again, 0.3**2, rtol=0.1)
    assert Equivariant(SURE(0.3), 1.0, flipped, noise=0.0)(Zeroed(c), A, b, KEY) == pytest.approx(0.09)


# ---- fit


def simulate(key):
    """No ground truth, and a mask of its own."""
    keys = jax.random.split(key, 3)
    A = jr.Fourier(SHAPE, mask=(jax.random.uniform(keys[0], SHAPE) < 0.7).astype(float))
    x = jax.random.normal(keys[1], SHAPE, complex)
    return A, jr.simulate.add_noise(keys[2], A(x), sigma=0.3, mask=A.mask), None


DATA = Simulated(simulate, batch_size=4, batched="mask")
OPTIMIZER = optax.adam(0.05)


def quick(loss, data=DATA, steps=6, **options):
    options = {"key": KEY, "progress": False, "checkpoint_every": 2, "optimizer": OPTIMIZER} | options
    trained, log = fit(Windowed(0.3), data, steps=steps, loss=loss, **options)
    return float(trained.lam), log


LOSSES = [SURE(0.3), SSDU(calibration=2), Equivariant(SURE(0.3)), Consistency()]


@pytest.mark.slow
@pytest.mark.parametrize("loss", LOSSES, ids=lambda v: type(v).__name__)
def test_fit_is_of_its_key_alone_and_goes_on_to_the_same_bits(tmp_path, loss):
    lam, log = quick(loss)
    assert log.ok and abs(lam - 0.3) > 0.01
    again, relog = quick(loss)
    assert again == lam and np.array_equal(log.loss, relog.loss)
    assert quick(loss, key=jax.random.key(6))[0] != lam
    quick(loss, steps=3, checkpoint=tmp_path)
    got, relog = quick(loss, checkpoint=tmp_path, resume=True)
    assert got == lam and np.array_equal(log.loss, relog.loss)


def test_each_example_and_each_step_has_a_key_of_its_own():
    @jr.value
    class Seen(SelfSupervised):
        def loss_and_image(self, reconstructor, A, b, key):
            x = reconstructor(A, b)
            return jax.random.uniform(key) + 0 * jnp.sum(jnp.abs(x)), x

    A, b = jr.Identity(SHAPE), jnp.ones((1, *SHAPE))
    losses = [quick(Seen(), [(A, b, None)], steps=k)[1].loss for k in (4, 2)]
    assert len(set(losses[0])) == 4 and np.array_equal(losses[0][:2], losses[1])
    twice = quick(Seen(), [(A, jnp.ones((2, *SHAPE)), None)], steps=1)[1].loss
    assert twice[0] != losses[0][0]


def test_another_level_does_not_compile_again():
    traces = []

    @jr.value
    class Counted(SURE):
        def loss_and_image(self, *args):
            traces.append(1)
            return SURE.loss_and_image(self, *args)

    quick(Counted(0.3))
    quick(Counted(0.1))
    assert len(traces) == 1


def test_another_level_is_another_training(tmp_path):
    quick(SURE(0.3), steps=2, checkpoint=tmp_path)
    with pytest.raises(ValueError, match=r"its loss was SURE\(sigma=0.3"):
        quick(SURE(0.2), checkpoint=tmp_path, resume=True)


@pytest.mark.slow
def test_validation_with_truth_is_an_ordinary_one_and_without_it_the_loss_itself():
    A, x = jr.Identity(SHAPE), jnp.asarray(numbers((8, *SHAPE), float))
    b = np.asarray(x) + 0.3 * RNG.normal(size=x.shape)
    data = Examples(A, b, None, batch_size=4)
    lam, log = quick(SURE(0.3), data, steps=3, validation=(A, b, x), validate_every=1)
    np.testing.assert_allclose(np.nanmin(log.validation), np.mean((WINDOW * b / (1 + lam) - x) ** 2), rtol=1e-10)
    assert np.all(np.isfinite(log.psnr))
    # The same keys at every validation: with nothing learnt the same number.
    for valid in ((A, b, None), [(A, b, None)], Examples(A, b, None, batch_size=2)):
        _, log = quick(SURE(0.3), data, steps=3, validation=valid, validate_every=1, optimizer=optax.sgd(0.0))
        assert len(set(log.validation)) == 1 and np.all(np.isnan(log.psnr)) and "psnr" not in log.columns()
    # Truth in the data is not looked at, of whatever value.
    with_x = quick(SURE(0.3), Examples(A, b, np.nan * x, batch_size=4))[0]
    assert with_x == quick(SURE(0.3), Examples(A, b, None, batch_size=4))[0]


@pytest.mark.slow
@pytest.mark.parametrize("kind", [float, complex])
def test_sure_learns_the_lam_of_least_risk(kind):
    d, sigma, n = jnp.array([1.0, 0.7, 0.4, 0.2]), 0.4, 4000
    x = numbers((n, 4), kind) * np.array([1.0, 2.0, 0.5, 1.5])
    A = jr.Diagonal(d)
    b = np.asarray(jax.vmap(A)(x)) + sigma * numbers((n, 4), kind)

    def learnt(loss):
        r, rate = jr.Iterative(jr.CGNR(0.3), iterations=4), optax.cosine_decay_schedule(0.2, 60)
        trained, log = fit(r, Examples(A, b, None, batch_size=n), steps=60, key=KEY, loss=loss, progress=False,
                           optimizer=optax.adam(rate, b2=0.9), train=lambda path, leaf: path == "solver.lam")
        assert log.ok
        return float(trained.solver.lam)

    # Of A x: sum_i (lam / (d_i^2 + lam))^2 |d_i x_i|^2 + values sigma^2 (d_i^2 / (d_i^2 + lam))^2.
    lams = np.exp(np.linspace(-4, 1, 4000))[:, None]
    energy, values = np.mean(abs(d * x) ** 2, axis=0), 2 if kind is complex else 1
    shrunk = d**2 / (d**2 + lams)
    risk = np.sum((1 - shrunk) ** 2 * energy + values * (sigma * shrunk) ** 2, axis=1)
    best = lams[np.argmin(risk), 0]
    np.testing.assert_allclose(learnt(SURE(sigma)), best, rtol=0.04)
    # Without the divergence the noise is fitted.
    if kind is float:
        assert learnt(Consistency()) < 0.5 * best


def test_a_network_learns_by_sure_in_float32():
    net = jr.networks.ConvNet(features=2, depth=2)
    r = jr.PostProcessed(jr.ZeroFilled(), net, key=KEY)
    A = jr.Identity(jax.ShapeDtypeStruct((5, 5), "float32"))
    b = RNG.normal(size=(4, 5, 5)).astype("float32")
    trained, log = fit(r, [(A, b, None)], steps=3, key=KEY, loss=SURE(0.5), progress=False)
    assert log.ok and all(v.dtype == jnp.float32 for v in jax.tree.leaves(trained.net.parameters))


# ---- what is refused

F, Y = jr.Fourier(SHAPE, mask=MASK), jnp.ones(SHAPE, complex)
Z = jr.ZeroFilled()
BAD = [
    (ValueError, "finite sigma >= 0, got -1", lambda: SURE(-1.0)),
    (ValueError, "finite sigma >= 0, got nan", lambda: SURE(np.nan)),
    (ValueError, "step must be positive", lambda: SURE(0.1, step=0.0)),
    (ValueError, r"sigma of shape \(5,\) does not broadcast", lambda: SURE(np.ones(5))(Z, F, Y, KEY)),
    (ValueError, "needs key=.*SURE draws", lambda: SURE(0.1)(Z, F, Y)),
    (ValueError, r"perturbation of shape \(5,\)", lambda: SURE(0.1, np.ones(5))(Z, F, Y)),
    (ValueError, "measurements are real", lambda: SURE(0.1, 1j)(Z, jr.Identity((2,)), jnp.ones(2))),
    (ValueError, r"mask of shape \(5,\)", lambda: SURE(0.1, mask=np.ones(5))(Z, F, Y, KEY)),
    (ValueError, r"b is complex128\[6, 5\], but Fourier gives", lambda: SURE(0.1)(Z, F, Y[:, :5], KEY)),
    (ValueError, "one array of measurements", lambda: Consistency()(Z, jr.stack([F, F]), (Y, Y))),
    (ValueError, r"reconstructor gives .*\[2, 6\], but A takes", lambda: Consistency()(Linear(jnp.ones((2, 6))), F, Y)),
    (ValueError, "0 < share < 1, got 1", lambda: SSDU(1.0)),
    (ValueError, "calibration must be", lambda: SSDU(calibration=-1)),
    (ValueError, "spread > 0, got 0", lambda: SSDU(spread=0.0)),
    (ValueError, "one of l1.l2, l2, got 'l1'", lambda: SSDU(distance="l1")),
    (ValueError, "calibration = 6 leaves nothing", lambda: SSDU(calibration=6)(Z, F, Y, KEY)),
    (ValueError, "a share of 0.1 of 3 views is 0", lambda: SSDU(0.1)(Z, jr.Matrix(np.eye(3)), jnp.ones(3), KEY)),
    (ValueError, "views are drawn evenly", lambda: SSDU(calibration=1)(Z, jr.Matrix(np.eye(3)), jnp.ones(3), KEY)),
    (ValueError, "real, positive and finite", lambda: SSDU(weights=jnp.array([1.0, 0.0]))),
    (ValueError, r"weights of shape \(5,\) do not broadcast", lambda: SSDU(weights=jnp.ones(5))(Z, F, Y, KEY)),
    (ValueError, "mask of lines.*got a mask of shape", lambda: SSDU(lines=True)(Z, F, Y, KEY)),
    (ValueError, "mask of lines.*got no mask", lambda: SSDU(lines=True)(Z, jr.Fourier(SHAPE), Y, KEY)),
    (ValueError, "lines=True for Matrix", lambda: SSDU(lines=True)(Z, jr.Matrix(np.eye(3)), jnp.ones(3), KEY)),
    (TypeError, "Identity has neither", lambda: SSDU()(Z, jr.Identity((3,)), jnp.ones(3), KEY)),
    (ValueError, "needs key=.*SSDU draws", lambda: SSDU()(Z, F, Y)),
    (TypeError, "self-supervised base", lambda: Equivariant("mse")),
    (ValueError, "rotate, flip, shift or functions.*got ..turn", lambda: Equivariant(SURE(0.1), 1.0, "turn")),
    (ValueError, "at least one", lambda: Equivariant(SURE(0.1), 1.0, ())),
    (ValueError, "finite alpha >= 0", lambda: Equivariant(SURE(0.1), -1.0)),
    (ValueError, "alpha is a number", lambda: Equivariant(SURE(0.1), np.ones(2))),
    (ValueError, "finite noise >= 0", lambda: Equivariant(SURE(0.1), noise=-1.0)),
    (ValueError, "square image", lambda: Equivariant(Consistency())(Z, jr.Fourier((4, 6)), jnp.ones((4, 6)), KEY)),
    (ValueError, "two axes", lambda: Equivariant(Consistency())(Z, jr.Identity((4,)), jnp.ones(4), KEY)),
    (ValueError, "transforms made .*3, 6", lambda: Equivariant(Consistency(), 1.0, lambda k, x: x[:3])(Z, F, Y, KEY)),
    (ValueError, "no images", lambda: quick("mse")),
    (ValueError, "no images", lambda: quick("mse", [(F, Y[None], Y[None])], validation=[(F, Y[None], None)])),
    (ValueError, "fit needs key=.*SURE draws", lambda: quick(SURE(0.1), [(F, Y[None], None)], key=None)),
    (ValueError, "leading axis of b", lambda: Examples(F, jnp.ones((3, 2)), jnp.ones((4, 2)), batch_size=1)),
    (TypeError, "got 2 entries", lambda: quick(SURE(0.1), [(F, Y[None])])),
]


@pytest.mark.parametrize("kind, said, f", BAD)
def test_bad_input_is_refused(kind, said, f):
    with pytest.raises(kind, match=said):
        f()


def test_a_loss_that_is_no_value_is_refused():
    class Plain(SelfSupervised):
        pass

    with pytest.raises(TypeError, match=r"Plain must be a value: write @jr.value"):
        quick(Plain())

    @jr.value
    class Empty(SelfSupervised):
        pass

    with pytest.raises(NotImplementedError, match="Empty must define `loss_and_image`"):
        quick(Empty())


# ---- several devices

SCRIPT = """
import jax, numpy as np
import sys
sys.path.insert(0, sys.argv[1])
import test_self_supervised as t

assert len(jax.devices()) == 4
mesh = jax.make_mesh((4,), ("batch",))
for loss in (t.SURE(0.3), t.SSDU(calibration=2), t.Equivariant(t.SURE(0.3))):
    held = t.DATA.batch(jax.random.key(9), 0)
    (one, log), (many, logs) = (t.quick(loss, steps=3, mesh=m, validation=[held], validate_every=1)
                                for m in (None, mesh))
    np.testing.assert_allclose(one, many, rtol=1e-9)
    np.testing.assert_allclose(log.loss, logs.loss, rtol=1e-9)
    np.testing.assert_allclose(log.validation, logs.validation, rtol=1e-9)
print("equal")
"""


@pytest.mark.slow
def test_four_devices_draw_what_one_draws():
    env = os.environ | {"JAX_PLATFORMS": "cpu", "JAX_ENABLE_X64": "1",
                        "XLA_FLAGS": "--xla_force_host_platform_device_count=4"}
    done = subprocess.run([sys.executable, "-c", SCRIPT, os.path.dirname(__file__)], capture_output=True, text=True,
                          env=env, check=False)
    assert done.stdout.strip() == "equal", done.stderr[-3000:]
