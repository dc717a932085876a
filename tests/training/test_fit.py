"""fit: the steps it makes, what trains, what it returns, and what it refuses."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import jaxrecon as jr
from jaxrecon.networks.base import build
from jaxrecon.training import Examples, fit, l1, magnitude_l1, magnitude_mse, mse, nmse, ssim

KEY = jax.random.key(5)


@jr.value
class Scaled:
    """x = factor * A^H b + shift: enough to know every step by hand."""

    trains = ("factor",)
    factor: object
    shift: object = 0.0
    label: int = 7  # a leaf that is no floating-point number

    def __call__(self, A, b):
        return self.factor * A.H(b) + self.shift


@jr.value
class Descent:
    """A solver with its own values in each of three iterations."""

    trains = ("solvers",)
    solvers: object

    def __call__(self, A, b):
        return jr.unroll(A, b, self.solvers, iterations=3)


@jr.value
class Convolved:
    """A network on A^H b."""

    net: object

    def __call__(self, A, b):
        return self.net(A.H(b)[..., None])[..., 0]


A = jr.Diagonal(jnp.array([1.0, 2.0, -1.0]))
RNG = np.random.default_rng(3)
X = RNG.normal(size=(12, 3))
B = np.asarray(jax.vmap(A)(X)) + 0.3 * RNG.normal(size=(12, 3))


def batches(n=4):
    return [(A, B[i : i + n], X[i : i + n]) for i in range(0, 12, n)]


def quick(reconstructor, data=None, **options):
    options = {"steps": 3, "optimizer": optax.sgd(0.1), "progress": False, "key": KEY} | options
    return fit(reconstructor, batches() if data is None else data, **options)


def test_the_steps_are_those_of_a_loop_written_by_hand():
    net = build(lambda rngs: nnx.Sequential(nnx.Conv(1, 2, (3, 3), rngs=rngs), nnx.tanh,
                                            nnx.Conv(2, 1, (3, 3), rngs=rngs)), KEY)
    F = jr.Convolution(jnp.ones((3, 3)) / 9, (6, 5))
    x = RNG.normal(size=(8, 6, 5)).astype("float32")
    b = np.asarray(jax.vmap(F)(x))
    optimizer = optax.adam(1e-2)
    r = Convolved(net)
    trained, log = quick(r, [(F, b[:4], x[:4]), (F, b[4:], x[4:])], steps=5, optimizer=optimizer)

    module = nnx.merge(net.graphdef, net.parameters, net.rest)
    graphdef, weights = nnx.split(module, nnx.Param)

    def loss(weights, b, x):
        module = nnx.merge(graphdef, weights)
        return jnp.mean((jax.vmap(lambda b: module(F.H(b)[..., None])[..., 0])(b) - x) ** 2)

    state, losses = optimizer.init(weights), []
    for k in range(5):
        rows = slice(0, 4) if k % 2 == 0 else slice(4, 8)
        value, g = jax.value_and_grad(loss)(weights, b[rows], x[rows])
        updates, state = optimizer.update(g, state, weights)
        weights = optax.apply_updates(weights, updates)
        losses.append(value)
    want = jax.tree.leaves(nnx.to_pure_dict(weights))
    for got, w in zip(jax.tree.leaves(trained.net.parameters), want, strict=True):
        assert got.dtype == jnp.float32
        np.testing.assert_allclose(got, w, rtol=0, atol=2e-6)
    np.testing.assert_allclose(log.loss, losses, rtol=1e-5)
    assert log.ok and log.finished and list(log.step) == [1, 2, 3, 4, 5] and log.best_step == 5


def test_a_complex_parameter_goes_to_its_least_squares_value():
    x = X + 1j * RNG.normal(size=X.shape)
    b = np.asarray(jax.vmap(A)(x)) * np.exp(0.8j)
    trained, _ = quick(Scaled(jnp.array(1.0 + 0j)), [(A, b, x)], steps=60, optimizer=optax.sgd(0.05))
    back = np.asarray(A.d) * b
    np.testing.assert_allclose(trained.factor, np.vdot(back, x) / np.vdot(back, back), rtol=1e-6)


def test_positive_scalars_train_as_their_log():
    back = np.asarray(A.d) * B[:4]
    gradient = 2 * np.sum((0.5 * back - X[:4]) * back) / back.size
    trained, _ = quick(Scaled(0.5), steps=1)
    np.testing.assert_allclose(trained.factor, np.exp(np.log(0.5) - 0.1 * gradient * 0.5), rtol=1e-12)
    trained, _ = quick(Scaled(-0.5), steps=1)
    gradient = 2 * np.sum((-0.5 * back - X[:4]) * back) / back.size
    np.testing.assert_allclose(trained.factor, -0.5 - 0.1 * gradient, rtol=1e-12)


def test_what_is_zero_stays_zero_beside_others():
    """One number for each iteration: what is left out stays so, the others stay positive."""
    start = jnp.array([0.05, 0.0, 0.07])
    trained, _ = quick(Descent(jr.ISTA(jr.L1(start))), optimizer=optax.adamw(0.1, weight_decay=0.5))
    lam = trained.solvers.prior.lam
    assert lam[1] == 0 and np.all(np.isfinite(lam)) and np.all(lam[::2] > 0)
    assert lam[0] != 0.05 and lam[2] != 0.07


def test_frozen_leaves_never_reach_the_optimiser_and_come_back_as_they_are():
    seen = []
    inner = optax.sgd(0.1)
    spy = optax.GradientTransformation(lambda p: (seen.append(p), inner.init(p))[1], inner.update)
    shift = np.ones(3)
    r = Scaled(0.5, shift)
    trained, _ = quick(r, optimizer=spy)
    assert list(seen[0]) == ["factor"]
    assert trained.shift is shift and trained.label == 7 and type(trained.label) is int
    trained, _ = quick(r, optimizer=spy, train=lambda path, leaf: path == "shift")
    assert list(seen[1]) == ["shift"] and trained.factor == 0.5
    # Whatever the predicate says, integers do not train.
    quick(r, optimizer=spy, train=lambda path, leaf: True)
    assert sorted(seen[2]) == ["factor", "shift"]
    assert r.factor == 0.5  # and the value given is what it was


def test_one_trace_for_all_steps_and_for_the_next_fit():
    traces = []

    def loss(x, ref):
        traces.append(1)
        return jnp.mean((x - ref) ** 2)

    optimizer = optax.inject_hyperparams(optax.adam)(optax.linear_schedule(0.1, 0.0, 6))
    _, log = quick(Scaled(0.5), steps=6, loss=loss, optimizer=optimizer)
    assert len(traces) == 1
    np.testing.assert_allclose(log.learning_rate, 0.1 * (1 - np.arange(6) / 6), rtol=1e-6)
    quick(Scaled(0.9), [(jr.Diagonal(jnp.arange(3.0)), B[:4], X[:4])], steps=2, loss=loss, optimizer=optimizer)
    assert len(traces) == 1


def test_the_same_key_gives_the_same_bits():
    data = Examples(A, B, X, batch_size=3)
    a, b, c = (quick(Scaled(0.5), data, steps=9, key=jax.random.key(k))[0].factor for k in (1, 1, 2))
    assert a == b and a != c


def test_clip_bounds_the_norm_of_the_whole_gradient():
    r = Scaled(jnp.array([-0.5, 3.0, 1.0]), jnp.array([-9.0, 2.0, 2.0]))
    trained, _ = quick(r, steps=1, optimizer=optax.sgd(1.0), clip=1e-3, train=lambda path, leaf: path != "label")
    moved = np.concatenate([(trained.factor - r.factor).ravel(), (trained.shift - r.shift).ravel()])
    np.testing.assert_allclose(np.linalg.norm(moved), 1e-3, rtol=1e-6)


@pytest.mark.slow
def test_any_optimiser_of_optax():
    for optimizer in (optax.lbfgs(), optax.MultiSteps(optax.sgd(0.1), 2), optax.contrib.reduce_on_plateau(),
                      optax.chain(optax.add_noise(1e-3, 0.5, jax.random.key(0)), optax.sgd(0.1))):
        trained, log = quick(Scaled(-0.5), steps=2, optimizer=optimizer)
        assert log.ok and trained.factor != -0.5


# ---- validation


def test_validation_is_the_loss_over_the_whole_set_and_the_best_is_returned():
    # Large steps: the loss falls and rises again.
    trained, log = quick(Scaled(-3.0), batches(4), steps=12, optimizer=optax.sgd(0.55), validate_every=3,
                         validation=(A, B[:7], X[:7]))
    back = np.asarray(A.d) * B[:7]
    assert np.array_equal(np.flatnonzero(~np.isnan(log.validation)), [2, 5, 8, 11])
    assert log.best_step == log.step[np.nanargmin(log.validation)]
    np.testing.assert_allclose(np.nanmin(log.validation), np.mean((trained.factor * back - X[:7]) ** 2), rtol=1e-12)
    guess = trained.factor * back
    psnr = [10 * np.log10(np.ptp(x) ** 2 / np.mean((g - x) ** 2)) for g, x in zip(guess, X[:7], strict=True)]
    np.testing.assert_allclose(log.psnr[log.best_step - 1], np.mean(psnr), rtol=1e-12)


def test_validation_sets_of_all_kinds_give_the_same_number():
    kinds = [(A, B[:8], X[:8]), Examples(A, B[:8], X[:8], batch_size=2), [(A, B[:4], X[:4]), (A, B[4:8], X[4:8])],
             iter([(A, B[:8], X[:8])])]
    losses = [quick(Scaled(-0.5), validation=v)[1].validation[-1] for v in kinds]
    np.testing.assert_allclose(losses, losses[0], rtol=1e-12)


def test_patience_ends_it():
    _, log = quick(Scaled(-1.0), steps=50, optimizer=optax.sgd(-0.01), validation=(A, B, X), validate_every=2,
                   patience=3)
    assert not log.finished and "3 validations" in log.reason
    assert len(log) == 8 and log.best_step == 2


def test_a_time_limit_ends_it():
    _, log = quick(Scaled(0.5), steps=50, time_limit=1e-9)
    assert not log.finished and "time limit" in log.reason and len(log) == 1


def test_data_may_end():
    trained, log = quick(Scaled(0.5), iter(batches()), steps=50)
    assert not log.finished and log.reason == "the data ended after 3 batches" and len(log) == 3
    assert trained.factor == quick(Scaled(0.5))[0].factor


def test_a_shared_operator_is_prepared_once():
    prepared = []

    @jr.value
    class Prepared(Scaled):
        trains = ("factor",)

        def prepare(self, A):
            prepared.append(A)
            return dataclasses.replace(A, d=2 * A.d)

    other = jr.Diagonal(jnp.ones(3))
    data = [(A, B[:4], X[:4]), (A, B[:4], X[:4]), (other, B[:4], X[:4])]
    quick(Prepared(-0.5), data)
    assert prepared == [A, other]
    got = quick(Prepared(-0.5), data[:1], steps=1)[0].factor
    want = quick(Scaled(-0.5), [(2 * A, B[:4], X[:4])], steps=1)[0].factor
    np.testing.assert_allclose(got, want, rtol=1e-12)


# ---- not a number


def test_a_broken_batch_is_left_out_and_counted():
    broken = B[4:8].copy()
    broken[0, 0] = np.nan
    data = [(A, B[:4], X[:4]), (A, broken, X[4:8]), (A, B[8:], X[8:])]
    optimizer = optax.adam(0.1)
    trained, log = quick(Scaled(-0.5), data, optimizer=optimizer)
    want, _ = quick(Scaled(-0.5), [data[0], data[2]], steps=2, optimizer=optimizer)
    assert trained.factor == want.factor
    assert not log.ok and log.skipped == 1 and np.isnan(log.loss[1]) and log.finished


def test_a_gradient_that_is_not_finite_is_left_out_too():
    _, log = quick(Scaled(-0.5), [(A, 0 * B[:4], X[:4]), (A, B[:4], X[:4])], steps=2,
                   loss=lambda x, ref: jnp.sqrt(jnp.sum(x**2)))
    assert log.skipped == 1 and np.isnan(log.loss[0])


@pytest.mark.parametrize("steps, said", [(4, "4 steps in a row, from step 1 "), (80, "50 steps .*from step 3 ")])
def test_one_that_never_recovers_is_an_error_that_names_the_step(steps, said):
    good = [] if steps == 4 else batches()[:2]
    with pytest.raises(FloatingPointError, match=said):
        quick(Scaled(-0.5), iter([*good, *[(A, np.nan * B[:4], X[:4])] * 80]), steps=steps)


# ---- losses


def test_losses_against_their_formulas():
    shape = (9, 8)
    x, ref = (RNG.normal(size=shape) + 1j * RNG.normal(size=shape) for _ in range(2))
    np.testing.assert_allclose(mse(x, ref), np.mean(abs(x - ref) ** 2))
    np.testing.assert_allclose(l1(x, ref), np.mean(abs(x - ref)))
    np.testing.assert_allclose(nmse(x, ref), np.sum(abs(x - ref) ** 2) / np.sum(abs(ref) ** 2))
    np.testing.assert_allclose(magnitude_mse(x, ref), np.mean((abs(x) - abs(ref)) ** 2))
    np.testing.assert_allclose(magnitude_l1(x, ref), np.mean(abs(abs(x) - abs(ref))))
    from skimage.metrics import structural_similarity
    want = 1 - structural_similarity(abs(x), abs(ref), data_range=np.ptp(abs(ref)))
    np.testing.assert_allclose(ssim(x, ref), want, rtol=1e-10)
    assert ssim(x, jnp.ones(shape)) == 0
    for loss in (mse, l1, nmse, magnitude_mse, magnitude_l1, ssim):
        assert np.all(np.isfinite(jax.grad(lambda v: loss(v * ref, ref))(1.0)))
        assert np.all(np.isfinite(jax.grad(lambda v: loss(v * ref, ref))(0.0)))


# ---- what is refused

BAD = [
    (TypeError, "called as x = r", {"reconstructor": 3}),
    (TypeError, "optimizer", {"optimizer": 1e-3}),
    (ValueError, "steps must be a whole number >= 1, got 0", {"steps": 0}),
    (ValueError, "patience", {"patience": 0}),
    (ValueError, "clip must be > 0", {"clip": 0.0}),
    (ValueError, "time_limit", {"time_limit": -1}),
    (ValueError, "loss must be one of mse, l1.*'mess'", {"loss": "mess"}),
    (TypeError, "loss must be", {"loss": 2}),
    (ValueError, r"real scalar, got float64\[3\]", {"loss": lambda x, ref: x - ref}),
    (ValueError, "no leaf of Scaled; its leaves are factor, shift, label", {"train": lambda path, leaf: False}),
    (TypeError, "predicate", {"train": "factor"}),
    (ValueError, "start above 0", {"reconstructor": Scaled(0.0)}),
    (ValueError, "nothing trains in Iterative by itself.*solver.lam",
     {"reconstructor": jr.Iterative(jr.CGNR(0.1))}),
    (ValueError, "has no leaves", {"reconstructor": jr.ZeroFilled()}),
    (ValueError, "resume=True needs checkpoint=", {"resume": True}),
    (ValueError, "patience=1 needs validation=", {"patience": 1}),
    (ValueError, "mesh must have one axis", {"mesh": 8}),
    (TypeError, "iterable of batches", {"data": 3}),
    (ValueError, "no batch at all", {"data": []}),
    (TypeError, "got 2 entries", {"data": [(B, X)]}),
    (TypeError, "operator A, got ndarray", {"data": [(B, B, X)]}),
    (ValueError, r"images x .*float64\[2\] each.*A has float64\[3\]", {"data": [(A, B, X[:, :2])]}),
    (ValueError, r"measurements b .*float64\[2\] each.*A has float64\[3\]", {"data": [(A, B[:, :2], X)]}),
    (ValueError, r"leading batch axis, got b float64\[12, 3\], x float64\[6, 3\]", {"data": [(A, B, X[:6])]}),
    (ValueError, "empty", {"data": [(A, B[:0], X[:0])]}),
    (ValueError, "pass x.real", {"data": [(A, B, X + 1j)]}),
    (ValueError, "validation is empty", {"validation": []}),
    (TypeError, "validation must be", {"validation": 3}),
    (ValueError, "needs key=", {"data": Examples(A, B, X, 3), "key": None}),
    (ValueError, r"gives float64\[\], but the images of the data are float64\[3\]",
     {"reconstructor": lambda A, b: jnp.sum(b)}),
]


@pytest.mark.parametrize("unit", [1e-6, 1e9])
def test_units_in_which_adam_is_blind_are_named(unit):
    data = [(A, unit * B, unit * X)]
    with pytest.warns(UserWarning, match=r"root mean square .* use loss='nmse'"):
        quick(Scaled(0.5), data, steps=1)
    quick(Scaled(0.5), data, steps=1, loss="nmse")


@pytest.mark.parametrize("kind, said, options", BAD)
def test_bad_input_is_refused_with_both_values(kind, said, options):
    options = dict(options)
    reconstructor = options.pop("reconstructor", Scaled(0.5))
    if callable(reconstructor) and said.startswith("gives"):
        @jr.value
        class Wrong(Scaled):
            trains = ("factor",)

            def __call__(self, A, b):
                return self.factor * jnp.sum(b)
        reconstructor = Wrong(0.5)
        said = r"reconstructor gives float64\[\], but the images of the data are float64\[3\]"
    with pytest.raises(kind, match=said):
        quick(reconstructor, options.pop("data", None), **options)
