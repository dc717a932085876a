"""CoilMaps and sense against plain numpy and against Fourier @ CoilMaps."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrecon.operator import batched, real_part
from jaxrecon.operators.coils import CoilMaps
from jaxrecon.operators.elementary import Diagonal
from jaxrecon.operators.fourier import Fourier
from jaxrecon.operators.sense import SenseGram, sense
from jaxrecon.testing import check_operator

# The package re-exports the function under the module's name.
sense_module = importlib.import_module("jaxrecon.operators.sense")
KEY = jax.random.key(0)


def random(rng, *shape):
    return jnp.asarray(rng.standard_normal(shape) + 1j * rng.standard_normal(shape))


def normal_operator(maps, mask, x):
    """A^H A x by numpy, with the shifts written out."""
    axes = tuple(range(-x.ndim, 0))
    maps, x = np.asarray(maps), np.asarray(x)
    y = np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(maps * x, axes=axes), axes=axes, norm="ortho"), axes=axes)
    y = np.asarray(mask) ** 2 * y
    z = np.fft.fftshift(np.fft.ifftn(np.fft.ifftshift(y, axes=axes), axes=axes, norm="ortho"), axes=axes)
    return np.sum(np.conj(maps) * z, axis=0)


IMAGES = [((6, 5), (6, 5)), ((5, 6), (5, 1)), ((5, 6), (1, 6)), ((5, 6), (6,)), ((5, 4), (1, 1)), ((3, 4, 5), (4, 5)),
          ((3, 4, 5), (3, 1, 5)), ((3, 4, 5), (3, 1, 1)), ((7,), (7,))]


@pytest.mark.parametrize(("image", "mask_shape"), IMAGES)
def test_equals_the_composition_and_numpy(rng, monkeypatch, image, mask_shape):
    monkeypatch.setattr(sense_module, "CHUNK", 60)
    maps, x, mask = random(rng, 4, *image), random(rng, *image), jnp.asarray(rng.random(mask_shape))
    A, B = sense(maps, mask), Fourier(image, mask, axes=tuple(range(len(image)))) @ CoilMaps(maps)
    y = random(rng, 4, *image)
    run = jax.jit(lambda A, x, y: (A(x), A.H(y), A.gram(x)))
    for got, want in zip(run(A, x, y), run(B, x, y), strict=True):
        np.testing.assert_allclose(got, want, atol=1e-12)
    np.testing.assert_allclose(A.gram(x), normal_operator(maps, mask, x), atol=1e-12)


@pytest.mark.parametrize(("mask_shape", "chunk"), [(None, 40), ((4, 5), 40), ((4, 1), 40), ((1, 5), 2**18)])
def test_sense_is_a_sound_operator(rng, monkeypatch, mask_shape, chunk):
    monkeypatch.setattr(sense_module, "CHUNK", chunk)
    mask = None if mask_shape is None else jnp.asarray(rng.standard_normal(mask_shape))
    check_operator(sense(random(rng, 6, 4, 5), mask), KEY)


def test_single_precision_stays_single(rng):
    A = sense(random(rng, 2, 4, 5).astype("complex64"), rng.random((4, 5)) < 0.5)
    assert {a.dtype for a in (A.domain, A.codomain, A.gram.domain, A.gram.codomain)} == {jnp.dtype("complex64")}
    assert A.mask.dtype == jnp.float32
    check_operator(A, KEY)


def test_real_unknown_and_frames(rng):
    A = sense(random(rng, 2, 4, 5), rng.random((4, 1)) < 0.5)
    check_operator(batched(real_part(A), 2), KEY)


def test_coil_maps(rng):
    maps = random(rng, 3, 4, 5)
    check_operator(CoilMaps(maps), KEY)
    np.testing.assert_allclose(CoilMaps(maps).gram.d, np.sum(np.abs(maps) ** 2, axis=0), rtol=1e-14)
    assert CoilMaps(np.ones((2, 3, 3), int)).domain.dtype == jnp.float64


def test_gram_holds_folded_leaves(rng):
    maps = random(rng, 2, 8, 6)
    gram = sense(maps, np.ones((8, 1))).gram
    assert isinstance(gram, SenseGram)
    assert gram.domain.shape == (8, 6)
    assert gram.transformed == 1
    assert gram.maps.shape == (2, 6, 8)  # the transformed axis is last
    for mask in (None, 0.5, np.ones((1, 1))):
        assert isinstance(sense(maps, mask).gram, Diagonal)


@pytest.mark.parametrize("mask_shape", [(4, 6), (4, 1)])
@pytest.mark.parametrize("of", [lambda A, x, y: A(x), lambda A, x, y: A.H(y), lambda A, x, y: A.gram(x)])
def test_gradients_with_respect_to_maps_and_mask(rng, monkeypatch, mask_shape, of):
    monkeypatch.setattr(sense_module, "CHUNK", 24)
    maps, x, y = random(rng, 2, 4, 6), random(rng, 4, 6), random(rng, 2, 4, 6)
    mask = jnp.asarray(rng.standard_normal(mask_shape))
    along = random(rng, 2, 4, 6), jnp.asarray(rng.standard_normal(mask_shape))

    @jax.jit
    def loss(maps, mask):
        return jnp.sum(jnp.abs(of(sense(maps, mask), x, y) - 1j) ** 2)

    h = 1e-6
    slope = (loss(maps + h * along[0], mask + h * along[1]) - loss(maps - h * along[0], mask - h * along[1])) / (2 * h)
    by_maps, by_mask = jax.grad(loss, argnums=(0, 1))(maps, mask)
    # The derivative along v is Re sum(gradient * v) in JAX's convention.
    np.testing.assert_allclose(jnp.sum(by_maps * along[0]).real + jnp.sum(by_mask * along[1]), slope, rtol=1e-7)


def test_vmap_over_masks_and_maps_equals_the_loop(rng):
    maps, masks, x = random(rng, 3, 2, 4, 6), jnp.asarray(rng.random((3, 4, 1))), random(rng, 4, 6)

    def run(maps, mask):
        A = sense(maps, mask)
        return A.gram(x), A.H(A(x))

    one, both = jax.jit(run), jax.jit(jax.vmap(run))(maps, masks)
    for i in range(3):
        for got, want in zip(both, one(maps[i], masks[i]), strict=True):
            np.testing.assert_allclose(got[i], want, atol=1e-12)
    shared = jax.jit(jax.vmap(run, in_axes=(None, 0)))(maps[0], masks)
    np.testing.assert_allclose(shared[0][2], one(maps[0], masks[2])[0], atol=1e-12)


def test_new_masks_and_maps_do_not_trace_again(rng):
    traces = []

    @jax.jit
    def run(A, x):
        traces.append(1)
        return A.gram(A.H(A(x)))

    for _ in range(3):
        run(sense(random(rng, 2, 4, 4), rng.random((4, 1)) < 0.5), jnp.ones((4, 4)))
    assert len(traces) == 1


@pytest.mark.parametrize(("coils", "pixels", "step"), [(8, 320 * 320, 2), (8, 128 * 128, 8), (15, 320 * 320, 1),
                                                       (6, 256 * 256, 3), (1, 2**20, 1)])
def test_chunks_divide_the_coils(coils, pixels, step):
    assert sense_module._chunk(coils, pixels) == step


def test_errors():
    with pytest.raises(ValueError, match=r"got \(4,\).*maps\[None\]"):
        sense(np.ones(4))
    with pytest.raises(ValueError, match=r"\(4, 5\) does not broadcast to \(4, 4\)"):
        sense(np.ones((2, 4, 4)), np.ones((4, 5)))
    with pytest.raises(TypeError, match="bool or real"):
        sense(np.ones((2, 4, 4)), np.ones((4, 4), complex))
    with pytest.raises(ValueError, match=r"\(4,\)"):
        CoilMaps(np.ones(4))
    with pytest.raises(ValueError, match=r"takes shape \(4, 4\), got \(5, 4\)"):
        sense(np.ones((2, 4, 4)))(jnp.ones((5, 4)))
