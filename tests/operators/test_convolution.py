"""Convolution against SciPy, direct and by FFT, and its spectrum."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage, signal

import jaxrecon.operators.convolution as module
from jaxrecon.operator import dense
from jaxrecon.operators.convolution import Convolution, Filter, fast_length
from jaxrecon.testing import check_operator

MODES = {"circular": "wrap", "zero": "constant", "symmetric": "reflect"}
BOUNDARIES = list(MODES)


@pytest.fixture(params=["direct", "fft"])
def method(request, monkeypatch):
    """Each test in both forms, whatever the size of its kernel."""
    monkeypatch.setattr(module, "_DIRECT_TAPS", 10**9 if request.param == "direct" else 0)
    return request.param


def noise(rng, shape, dtype):
    x = rng.standard_normal(shape)
    return (x + 1j * rng.standard_normal(shape) if "complex" in dtype else x).astype(dtype)


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("shape, kernel_shape", [
    ((8,), (4,)), ((9, 12), (3, 5)), ((12, 7), (2, 4)), ((4, 5, 6), (3, 2, 3)), ((7, 4), (7, 4)),
])
def test_equals_scipy(rng, method, boundary, shape, kernel_shape):
    x, k = rng.standard_normal(shape), rng.standard_normal(kernel_shape)
    wanted = ndimage.convolve(x, k, mode=MODES[boundary])
    A = Convolution(k, shape, boundary)
    assert isinstance(A.prepared, Filter) == (method == "fft")
    for operator in (A, A.prepared):
        np.testing.assert_allclose(operator(x), wanted, atol=1e-12)
    z = noise(rng, shape, "complex128")
    both = ndimage.convolve(z.real, k, mode=MODES[boundary]) + 1j * ndimage.convolve(z.imag, k, mode=MODES[boundary])
    np.testing.assert_allclose(A(z), both, atol=1e-12)


def by_definition(k, x, boundary, centre):
    """sum_j k[j] x[i + c - j], one value at a time, 1-D."""
    n = x.size

    def outside(i):
        if boundary == "zero":
            return x[i] if 0 <= i < n else 0.0
        i %= n if boundary == "circular" else 2 * n
        return x[i if i < n else 2 * n - 1 - i]

    return np.array([sum(k[j] * outside(i + centre - j) for j in range(k.size)) for i in range(n)])


@pytest.mark.parametrize("origin", ["centre", "corner"])
@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("taps", [4, 13])
def test_equals_its_definition_with_kernels_larger_than_the_image_too(rng, method, boundary, origin, taps):
    k = noise(rng, taps, "complex128")
    A = Convolution(k, 6, boundary, origin)
    centre = taps // 2 if origin == "centre" else 0
    wanted = np.stack([by_definition(k, e, boundary, centre) for e in np.eye(6)], 1)
    np.testing.assert_allclose(dense(A), wanted, atol=1e-12)
    np.testing.assert_allclose(dense(A.H), wanted.conj().T, atol=1e-12)


def test_a_lensless_camera_is_the_crop_of_a_convolution_in_a_scene_of_twice_its_size(rng):
    psf, scene = rng.uniform(size=(6, 9)), rng.uniform(size=(12, 18))
    linear = signal.convolve(scene, psf)[3:, 4:]  # centred on psf[3, 4]
    for boundary in ("circular", "zero"):  # alike, since the kernel reaches no further than the scene
        y = Convolution(psf, (12, 18), boundary)(scene)[3:9, 4:13]
        np.testing.assert_allclose(y, linear[3:9, 4:13], atol=1e-12)
    # A scene no larger than the sensor, with nothing outside.
    inside = scene[3:9, 4:13]
    wanted = signal.convolve(inside, psf)[3:9, 4:13]
    np.testing.assert_allclose(Convolution(psf, (6, 9), "zero")(inside), wanted, atol=1e-12)


@pytest.mark.parametrize("method, boundary, dtype, shape, kernel_shape, origin", [
    ("direct", "symmetric", "float64", (7, 4), (2, 3), "centre"),
    ("fft", "symmetric", "complex64", (5,), (4,), "corner"),
    ("fft", "zero", "float32", (8, 5), (3, 3), "corner"),
    ("fft", "circular", "complex128", (6, 7), (4, 3), "corner"),
], indirect=["method"])
def test_is_an_operator(rng, method, boundary, dtype, shape, kernel_shape, origin):
    A = Convolution(noise(rng, kernel_shape, dtype), shape, boundary, origin)
    assert A.domain.dtype == dtype
    check_operator(A, jax.random.key(0))


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_spectra_are_eigenvalues(rng, method, dtype):
    shape = (6, 5)
    A = Convolution(noise(rng, (3, 2), dtype), shape)
    a = np.asarray(dense(A))
    f = np.stack([np.exp(2j * np.pi * (u * np.arange(6)[:, None] / 6 + v * np.arange(5) / 5)).ravel()
                  for u in range(6) for v in range(5)], 1)
    for operator, matrix in ((A, a), (A.gram, a.conj().T @ a), (A.prepared.gram, a.conj().T @ a)):
        np.testing.assert_allclose(matrix @ f, f * np.asarray(operator.spectrum).ravel(), atol=1e-12)
    assert A.gram.spectrum.dtype == "float64"
    assert A.gram.domain.dtype == dtype
    assert Convolution(A.kernel, shape, "zero").spectrum is None


def test_box_with_its_corner_at_the_origin_is_multiplication_by_its_fft(rng):
    x = rng.standard_normal((16, 16))
    box = np.full((5, 5), 1 / 25)
    wanted = np.fft.ifft2(np.fft.fft2(box, (16, 16)) * np.fft.fft2(x)).real
    np.testing.assert_allclose(Convolution(box, (16, 16), origin="corner")(x), wanted, atol=1e-13)


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_gradient_reaches_the_kernel(rng, method, boundary):
    x, y = rng.standard_normal((6, 7)), rng.standard_normal((6, 7))

    def loss(k):
        A = Convolution(k, (6, 7), boundary)
        return jnp.sum(A(x) * y) + jnp.sum(A.prepared.H(y) ** 3)

    k = rng.standard_normal((3, 4))
    grad = jax.jit(jax.grad(loss))(jnp.asarray(k))
    steps = 1e-6 * np.eye(12).reshape(12, 3, 4)
    values = jax.vmap(loss)
    np.testing.assert_allclose(grad.ravel(), (values(k + steps) - values(k - steps)) / 2e-6, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_a_batch_of_kernels_by_vmap(rng, method, boundary):
    kernels, x = rng.standard_normal((3, 2, 3)), rng.standard_normal((5, 6))
    operators = jax.vmap(lambda k: Convolution(k, (5, 6), boundary))(jnp.asarray(kernels))
    for apply in (lambda A: A(x), lambda A: A.H(x), lambda A: A.gram(x)):
        wanted = [apply(Convolution(k, (5, 6), boundary)) for k in kernels]
        np.testing.assert_allclose(jax.vmap(apply)(operators), np.stack(wanted), atol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "complex64"])
def test_single_precision_stays_single(rng, method, dtype):
    A = Convolution(rng.standard_normal((3, 3)).astype("float32"), (6, 6), "symmetric")
    x = noise(rng, (6, 6), dtype)
    assert A(x).dtype == A.H(x).dtype == A.gram(x).dtype == A.prepared(x).dtype == dtype


def test_large_kernels_go_by_fft_and_small_ones_directly():
    small, large = (Convolution(jnp.ones((k, k)), (32, 32)) for k in (7, 8))
    assert small.prepared is small
    assert isinstance(large.prepared, Filter)


def test_integer_kernels_count_as_floats():
    np.testing.assert_array_equal(Convolution(np.array([1, 2]), 3, "zero")(jnp.array([0, 1, 0])), [1.0, 2.0, 0.0])


def test_fast_length():
    assert [fast_length(n) for n in (1, 7, 11, 13, 97, 257)] == [1, 7, 12, 14, 98, 270]


@pytest.mark.parametrize("arguments, message", [
    ((np.ones(3), (4, 4)), r"kernel \(3,\) and shape \(4, 4\); add axes"),
    ((np.ones(3), (4,), "periodic"), "'circular', 'zero', 'symmetric', got 'periodic'"),
    ((np.ones(3), (4,), "zero", "center"), "'centre' or 'corner', got 'center'"),
    ((np.ones(0), (4,)), "non-empty"),
    ((np.ones((1, 1, 1, 1)), (4, 4, 4, 4)), "1 to 3 axes"),
])
def test_refuses_what_it_cannot_do(arguments, message):
    with pytest.raises(ValueError, match=message):
        Convolution(*arguments)
