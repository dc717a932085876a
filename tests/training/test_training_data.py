"""Streams of training data."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxrecon as jr
from jaxrecon.training import Examples, Simulated, fit
from jaxrecon.training.data import batched_leaves

KEY = jax.random.key(2)
SHAPE = (4, 3)
A = jr.Diagonal(jnp.array([1.0, 2.0]))
X = np.arange(20.0).reshape(10, 2)


def test_every_example_once_an_epoch_in_a_new_order():
    data = Examples(A, 2 * X, X, batch_size=5)
    epochs = []
    for epoch in range(2):
        drawn = [data.batch(KEY, 2 * epoch + k) for k in range(2)]
        assert all(a is A for a, _, _ in drawn)
        x = np.concatenate([x for _, _, x in drawn])
        np.testing.assert_array_equal(np.concatenate([b for _, b, _ in drawn]), 2 * x)
        np.testing.assert_array_equal(np.sort(x[:, 0]), X[:, 0])
        epochs.append(x)
    assert not np.array_equal(*epochs)
    np.testing.assert_array_equal(data.batch(KEY, 3)[2], epochs[1][5:])


def test_examples_left_over_are_dropped():
    data = Examples(A, X, X, batch_size=4)
    rows = np.concatenate([data.batch(KEY, k)[2][:, 0] for k in range(2)])
    assert len(set(rows)) == 8
    assert not np.array_equal(data.batch(KEY, 1)[2], data.batch(KEY, 2)[2])


def test_only_the_rows_of_the_batch_are_read(tmp_path):
    class Rows:
        """As h5py has it: rows in increasing order only."""

        shape, dtype, ndim, read = X.shape, X.dtype, 2, ()

        def __getitem__(self, index):
            assert np.all(np.diff(index) > 0)
            self.read = (*self.read, *index)
            return X[index]

    rows = Rows()
    stored = np.memmap(tmp_path / "x", float, "w+", shape=X.shape)
    stored[:] = X
    data = Examples(A, rows, stored, batch_size=3)
    _, b, x = data.batch(KEY, 0)
    assert len(rows.read) == 3
    np.testing.assert_array_equal(data.rows(np.array([4, 1, 4]))[1], X[[4, 1, 4]])
    assert type(x) is np.ndarray or not x.flags.owndata
    np.testing.assert_array_equal(b, x)
    on_device = Examples(A, jnp.asarray(X), X, batch_size=3).batch(KEY, 0)
    np.testing.assert_array_equal(on_device[1], on_device[2])
    np.testing.assert_array_equal(on_device[2], x)


def test_leaves_of_A_that_every_example_has_for_itself():
    masks = np.random.default_rng(0).random((6, *SHAPE)) < 0.5
    stacked = jax.vmap(lambda m: jr.Fourier(SHAPE, mask=m))(masks.astype(float))
    data = Examples(stacked, np.arange(6.0), np.arange(6.0), batch_size=2, batched="mask")
    drawn, _, x = data.batch(KEY, 0)
    np.testing.assert_array_equal(drawn.mask, masks[x.astype(int)])


def test_names_of_batched_leaves():
    sense = jr.sense(jnp.ones((2, *SHAPE), complex), jnp.ones(SHAPE))
    product = jr.Diagonal(jnp.ones(2)) @ jr.Matrix(jnp.ones((2, 3)))
    assert sum(batched_leaves(sense, ("mask",))) == 1
    assert batched_leaves(sense, True) == [True] * len(jax.tree.leaves(sense))
    assert sum(batched_leaves(product, ("d",))) == 1
    with pytest.raises(ValueError, match="'masks', but the leaves of Sense are maps, mask"):
        batched_leaves(sense, ("masks",))


def simulate(images, key):
    k1, k2 = jax.random.split(key)
    A = jr.Fourier(SHAPE, mask=(jax.random.uniform(k1, SHAPE) < 0.5).astype(float))
    x = images[jax.random.randint(k2, (), 0, len(images))]
    return A, A(x), x


def test_simulated_examples_are_what_the_function_makes_of_its_keys():
    images = jnp.asarray(np.random.default_rng(1).normal(size=(5, *SHAPE)) + 0j)
    data = Simulated(jr.Partial(simulate, images), 3, batched=("mask",))
    A, b, x = data.batch(KEY, 7)
    keys = jax.random.split(jax.random.fold_in(KEY, 7), 3)
    for n, key in enumerate(keys):
        want, wanted_b, wanted_x = simulate(images, key)
        np.testing.assert_array_equal(A.mask[n], want.mask)
        np.testing.assert_allclose(b[n], wanted_b, atol=1e-14)
        np.testing.assert_array_equal(x[n], wanted_x)


def test_an_operator_from_outside_is_that_very_operator():
    shared = jr.Matrix(jnp.ones((3, 2)))

    def one(key):
        x = jax.random.normal(key, (2,))
        return shared, shared(x), x

    data = Simulated(one, 2)
    first, second = (data.batch(KEY, k)[0] for k in range(2))
    assert first is second and jax.tree.leaves(first)[0] is jax.tree.leaves(shared)[0]


def test_training_on_masks_of_their_own_is_the_mean_over_examples():
    images = jnp.asarray(np.random.default_rng(1).normal(size=(5, *SHAPE)) + 0j)
    data = Simulated(jr.Partial(simulate, images), 3, batched=("mask",))
    r = jr.Iterative(jr.Landweber(step_size=0.3), iterations=2)
    _, log = fit(r, data, steps=2, optimizer=optax.sgd(0.0), key=KEY, train=lambda p, _: "step" in p, progress=False)
    keys = jax.random.split(jax.random.fold_in(KEY, 1), 3)
    errors = [jnp.mean(jnp.abs(r(A, b) - x) ** 2) for A, b, x in (simulate(images, k) for k in keys)]
    np.testing.assert_allclose(log.loss[1], np.mean(errors), rtol=1e-12)
    # A list says it by an attribute.
    class Batches(list):
        batched = ("mask",)
    _, same = fit(r, Batches([data.batch(KEY, 0), data.batch(KEY, 1)]), steps=2, optimizer=optax.sgd(0.0),
                  train=lambda p, _: "step" in p, progress=False)
    np.testing.assert_allclose(same.loss, log.loss, rtol=1e-12)


@pytest.mark.parametrize("make, kind, said", [
    (lambda: Examples(A, X, X, batch_size=0), ValueError, "batch_size >= 1, got 0"),
    (lambda: Examples(A, X, X, batch_size=11), ValueError, "batch_size 11 exceeds the number of examples, 10"),
    (lambda: Examples(A, X[:9], X, batch_size=2), ValueError, r"\(9, 2\), \(10, 2\)"),
    (lambda: Examples(X, X, X, batch_size=2), TypeError, "operator A, got ndarray"),
    (lambda: Examples(A, X, X, 2, batched=("mask",)), ValueError, "'mask', but the leaves of Diagonal are d"),
    (lambda: Examples(A, X, X, 2, batched=True), ValueError, r"\(2,\)"),
    (lambda: Simulated(3, 2), TypeError, "key -> "),
    (lambda: Simulated(lambda key: (A, X[0]), 2), TypeError, "got 2 entries"),
    (lambda: Simulated(lambda key: simulate(jnp.ones((1, *SHAPE), complex), key), 2), ValueError,
     r"leaf 'mask' of A depends on the key.*batched=\('mask',\)"),
])
def test_bad_streams_are_refused(make, kind, said):
    with pytest.raises(kind, match=said):
        make()
