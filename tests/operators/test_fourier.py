"""Fourier against numpy's shifted FFT, dense algebra and central differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrecon.operators.elementary import Identity
from jaxrecon.operators.fourier import Fourier
from jaxrecon.testing import check_operator

KEY = jax.random.key(0)


def centred(x, axes):
    return np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(x, axes=axes), axes=axes, norm="ortho"), axes=axes)


def random(rng, *shape):
    return rng.standard_normal(shape) + 1j * rng.standard_normal(shape)


SHAPES = [((8,), (-1,)), ((7,), (-1,)), ((1,), (0,)), ((6, 5), (-2, -1)), ((5, 10), (0,)), ((4, 6, 3), (0, 2)),
          ((3, 4, 5), (0, 1, 2)), ((2, 9, 6), (-2, -1)), ((12, 2), (1, 0))]


@pytest.mark.parametrize(("shape", "axes"), SHAPES)
def test_equals_the_shifted_fft(rng, shape, axes):
    x, mask = random(rng, *shape), rng.random(shape) < 0.5
    y = centred(x, axes)
    wanted = y, x, mask * y, np.fft.ifftn(np.fft.ifftshift(mask, axes) * np.fft.fftn(x, axes=axes), axes=axes)

    @jax.jit
    def run(A, M, x, y):
        return A(x), A.H(y), M(x), M.H(M(x)), M.gram(x)

    for dtype, tolerance in (("complex128", 1e-13), ("complex64", 1e-5)):
        A, M = Fourier(shape, axes=axes, dtype=dtype), Fourier(shape, mask, axes, dtype)
        got = run(A, M, jnp.asarray(x, dtype), jnp.asarray(y, dtype))
        for g, w in zip(got, (*wanted, wanted[-1]), strict=True):
            assert g.dtype == dtype
            np.testing.assert_allclose(g, w, atol=tolerance)


def test_odd_sizes_are_accurate_to_rounding(rng):
    x = random(rng, 1, 2047)
    y = centred(x, (-1,))
    np.testing.assert_allclose(Fourier((1, 2047), axes=-1)(jnp.asarray(x)), y, atol=1e-12)


def test_even_sizes_need_no_complex_phases():
    jaxpr = jax.make_jaxpr(lambda x: Fourier((4, 6)).apply(x))(jnp.zeros((4, 6), complex))
    assert all(not np.iscomplexobj(c) for c in jaxpr.consts)


@pytest.mark.parametrize(("shape", "axes", "mask_shape"), [
    ((6, 5), (-2, -1), None), ((5, 4), (-2, -1), (5, 4)), ((3, 4, 5), (0, 1, 2), (4, 1)),
    ((3, 4, 5), (1, 2), (3, 1, 5)), ((7,), (-2, -1), (7,))])
def test_is_a_sound_operator(rng, shape, axes, mask_shape):
    mask = None if mask_shape is None else rng.standard_normal(mask_shape)
    check_operator(Fourier(shape, mask, axes), KEY)


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_dtype_and_bool_mask(dtype):
    A = Fourier((4, 6), jnp.arange(6) % 2 == 0, dtype=dtype)
    assert A.mask.dtype == jnp.finfo(dtype).dtype
    assert A.domain.dtype == A.codomain.dtype == A.gram.domain.dtype == dtype
    assert Fourier((4, 6)).domain.dtype == jnp.complex128
    assert A(jnp.ones((4, 6), jnp.finfo(dtype).dtype)).dtype == dtype
    check_operator(A, KEY)


def test_default_dtype_without_x64():
    with jax.enable_x64(False):
        assert Fourier((4, 4)).domain.dtype == jnp.complex64


def test_gram_of_a_line_mask_transforms_one_axis(rng):
    A = Fourier((8, 6, 4), rng.random((8, 1, 1)) < 0.5, axes=(0, 1, 2))
    assert A.gram.axes == (0,)
    assert A.gram.weights.shape == (8, 1, 1)
    assert isinstance(Fourier((4, 4)).gram, Identity)
    assert Fourier((4, 4), 2.0).gram.axes == ()


def test_spectrum(rng):
    shape = (4, 6, 5)
    x = random(rng, *shape)
    for mask_shape, axes, diagonal in (((6, 5), (1, 2), True), ((4, 1, 5), (1, 2), False), ((4, 1, 1), (0,), True),
                                       ((4, 6, 5), (0, 1, 2), True)):
        gram = Fourier(shape, rng.standard_normal(mask_shape), axes).gram
        assert (gram.spectrum is not None) == diagonal
        if diagonal:
            assert gram.spectrum.shape == shape
            np.testing.assert_allclose(np.fft.ifftn(gram.spectrum * np.fft.fftn(x)), gram(jnp.asarray(x)), atol=1e-12)


@pytest.mark.parametrize("mask_shape", [(5, 4), (5, 1)])
@pytest.mark.parametrize("of", [lambda A, x, y: A(x), lambda A, x, y: A.H(y), lambda A, x, y: A.gram(x)])
def test_gradient_with_respect_to_the_mask(rng, mask_shape, of):
    x, y, t = (jnp.asarray(random(rng, 5, 4)) for _ in range(3))
    mask, direction = (jnp.asarray(rng.standard_normal(mask_shape)) for _ in range(2))

    @jax.jit
    def loss(mask):
        return jnp.sum(jnp.abs(of(Fourier((5, 4), mask), x, y) - t) ** 2)

    h = 1e-6
    slope = (loss(mask + h * direction) - loss(mask - h * direction)) / (2 * h)
    np.testing.assert_allclose(jnp.vdot(jax.grad(loss)(mask), direction), slope, rtol=1e-7)


def test_vmap_over_masks_equals_the_loop(rng):
    masks, x = jnp.asarray(rng.standard_normal((3, 5, 1))), jnp.asarray(random(rng, 5, 4))

    def run(mask):
        A = Fourier((5, 4), mask)
        return A(x), A.gram(x)

    for got, want in zip(jax.vmap(run)(masks), zip(*map(run, masks), strict=True), strict=True):
        np.testing.assert_allclose(got, jnp.stack(want), atol=1e-14)


def test_new_masks_do_not_trace_again(rng):
    traces = []

    @jax.jit
    def run(A, x):
        traces.append(1)
        return A.H(A(x))

    for _ in range(3):
        run(Fourier((4, 4), rng.random((4, 4)) < 0.5), jnp.ones((4, 4)))
    assert len(traces) == 1


@pytest.mark.parametrize(("arguments", "error", "message"), [
    (((4, 4), np.ones(3)), ValueError, r"\(3,\) does not broadcast to \(4, 4\)"),
    (((4, 5), np.ones(4)), ValueError, r"mask\[:, None\]"),
    (((4, 4), np.ones((2, 4, 4))), ValueError, "jax.vmap"),
    (((4, 4), np.ones((4, 4), complex)), TypeError, "complex128"),
    (((4, 4), None, (0, 0)), ValueError, r"different axes.*\(0, 0\)"),
    (((4, 4), None, (2,)), ValueError, r"\[-2, 1\], got \(2,\)"),
    (((2, 2, 2, 2), None, (0, 1, 2, 3)), ValueError, "1 to 3"),
    (((4, 4), None, (-1,), "float32"), TypeError, "float32.*real_part"),
    (((4, 0),), ValueError, r"\(4, 0\)"),
])
def test_errors(arguments, error, message):
    with pytest.raises(error, match=message):
        Fourier(*arguments)
