"""Simulated scans: what they promise of A, b and x, and that training takes them."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxrecon as jr

SHAPE = (16, 12)


def snr_of(b, y):
    return 10 * np.log10(np.sum(np.abs(y) ** 2) / np.sum(np.abs(b - y) ** 2))


@pytest.mark.parametrize("coils", [1, 3])
@pytest.mark.parametrize("axis", [-2, None])
def test_cartesian_mri(coils, axis):
    scan = jr.simulate.cartesian_mri(SHAPE, 4, coils=coils, axis=axis, snr=25)
    (A, b, x), (other, _, z) = scan(jax.random.key(1)), scan(jax.random.key(2))
    assert b.shape == ((coils, *SHAPE) if coils > 1 else SHAPE) and x.shape == SHAPE and x.dtype == complex
    assert A.mask.sum() == (4 if axis == -2 else 48) and A.mask.shape == ((16, 1) if axis == -2 else SHAPE)
    assert bool(jnp.any(A.mask != other.mask)) and bool(jnp.any(x != z))
    np.testing.assert_allclose(jnp.max(jnp.abs(x)), 1, rtol=1e-5)
    np.testing.assert_allclose(snr_of(b, A(x)), 25, atol=1e-3)
    assert not np.any(np.where(np.broadcast_to(A.mask, b.shape), 0, b))


def test_noise_is_where_measurements_are_whatever_wraps_the_operator():
    mask = jr.simulate.uniform_mask(SHAPE, 4)
    F = jr.Fourier(SHAPE, mask=mask)
    D = jr.Diagonal(jnp.full(SHAPE, 2.0))
    for A in (F, jr.real_part(F), 0.5 * F, F @ D, jr.Fourier(SHAPE).kept(jnp.broadcast_to(mask, SHAPE)),
              jr.real_part(2.0 * F @ D), D @ F, F + D @ F, (D @ D) @ F,
              jr.with_norm(D) @ F, 2.0 * (2.0 * D) @ F, jr.Identity(SHAPE) @ F):
        A, b, x = jr.simulate.Simulation(A, snr=20.0)(jax.random.key(0))
        off = np.broadcast_to(np.asarray(mask), SHAPE) == 0
        assert off.any() and not np.any(np.asarray(b)[off])
        np.testing.assert_allclose(snr_of(b, A(x)), 20, atol=1e-3)
    with pytest.raises(ValueError, match="RealPart has none of its own"):
        jr.simulate.Simulation(jr.real_part(F), mask=lambda key: mask)


def test_calibration_is_of_the_axis_and_phases_are_of_any(rng):
    A, _, _ = jr.simulate.cartesian_mri((256, 64), 4, axis=-1)(jax.random.key(0))
    assert A.mask.shape == (1, 64) and A.mask.sum() == 16
    scan = jr.simulate.Simulation(jr.Fourier((4, 6, 5)), rng.random((2, 4, 6, 5)), phase=True)
    x = scan(jax.random.key(0))[2]
    assert x.shape == (4, 6, 5) and np.abs(x.imag).max() > 0
    third = np.diff(np.unwrap(np.angle(np.asarray(x)), axis=0), 3, axis=0)
    np.testing.assert_allclose(third, 0, atol=1e-5)


def test_an_acceleration_that_is_no_whole_number_is_refused():
    with pytest.raises(ValueError, match=r"whole number from 1 to 16, got 4\.5"):
        jr.simulate.cartesian_mri(SHAPE, 4.5, pattern="uniform")


@pytest.mark.parametrize("pattern", ["uniform", "random"])
def test_one_mask_for_all(pattern):
    scan = jr.simulate.cartesian_mri(SHAPE, 2, pattern=pattern, new_masks=False, phase=False, key=jax.random.key(5))
    A, _, x = scan(jax.random.key(1))
    np.testing.assert_array_equal(A.mask, scan.A.mask)
    np.testing.assert_array_equal(x.imag, 0)


def test_sparse_view_ct():
    scan = jr.simulate.sparse_view_ct(SHAPE, 7, snr=(20, 30))
    A, b, x = scan(jax.random.key(1))
    assert b.shape == (7, 21) and x.dtype == float
    assert 20 <= snr_of(b, A(x)) <= 30
    # A disc of radius 1/2 in an image whose longer side is 2: line integrals up to its diameter.
    y, z = np.meshgrid((np.arange(16) - 7.5) / 8, (np.arange(12) - 5.5) / 8, indexing="ij")
    np.testing.assert_allclose(jnp.max(A((y**2 + z**2 < 0.25).astype("float32"))), 1, atol=0.15)


def test_given_images_and_jit_and_vmap():
    images = jax.random.uniform(jax.random.key(0), (3, *SHAPE), "float32")
    scan = jr.simulate.cartesian_mri(SHAPE, 2, images=images, phase=False)
    keys = jax.random.split(jax.random.key(4), 5)
    A, b, _ = jax.jit(lambda scan, keys: jax.vmap(scan)(keys))(scan, keys)
    for i, key in enumerate(keys):
        B, c, z = scan(key)
        np.testing.assert_array_equal(A.mask[i], B.mask)
        np.testing.assert_allclose(b[i], c, atol=1e-5)
        assert any(np.array_equal(z, image) for image in images)


def test_training_takes_it_and_compiles_once():
    traces = []

    def loss(x, truth):
        traces.append(1)
        return jnp.mean(jnp.abs(x - truth) ** 2)

    scan = jr.simulate.cartesian_mri(SHAPE, 2)
    data = jr.Simulated(scan, batch_size=2, batched=("mask",))
    A, b, x = data.batch(jax.random.key(0), 0)
    assert A.mask.shape == (2, 16, 1) and b.shape == x.shape == (2, *SHAPE)
    net = jr.networks.ConvNet(channels=2, features=2, depth=2)
    r = jr.PostProcessed(jr.ZeroFilled(), net, key=jax.random.key(0))
    _, log = jr.fit(r, data, steps=3, optimizer=optax.adam(1e-3), key=jax.random.key(1), loss=loss)
    assert len(traces) == 1 and np.all(np.isfinite(log.loss))


@pytest.mark.parametrize(("make", "message"), [
    (lambda: jr.simulate.Simulation(jr.Fourier(SHAPE), snr=(30, 20)), "snr"),
    (lambda: jr.simulate.Simulation(jr.Fourier(SHAPE), np.ones((2, 16, 16))), "16, 12"),
    (lambda: jr.simulate.Simulation(jr.Gradient(SHAPE), phase=True), "phase=False"),
    (lambda: jr.simulate.cartesian_mri(SHAPE, pattern="radial"), "variable-density"),
    (lambda: jr.simulate.cartesian_mri(SHAPE, pattern="uniform", axis=None), "axis"),
    (lambda: jr.simulate.cartesian_mri(SHAPE, 100, calibration=8), "calibration"),
    (lambda: jr.simulate.cartesian_mri((16,)), "cartesian_mri"),
    (lambda: jr.simulate.sparse_view_ct((16, 16, 4)), "sparse_view_ct"),
])
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()
