"""ESPIRiT against known maps, a plain numpy version of the paper, and real scans."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrecon.calibration import calibration_size, espirit, rss


def fft(x):
    axes = tuple(range(1, x.ndim))
    return np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(x, axes), axes=axes, norm="ortho"), axes)


def ifft(k):
    axes = tuple(range(1, k.ndim))
    return np.fft.fftshift(np.fft.ifftn(np.fft.ifftshift(k, axes), axes=axes, norm="ortho"), axes)


def known_maps(rng, coils, shape):
    """Maps of harmonics -1, 0, 1 per axis (within reach of any kernel), of unit sum of squares."""
    waves = [np.exp(2j * np.pi * np.outer(np.arange(N) - N // 2, [-1, 0, 1]) / N) for N in shape]
    maps = rng.standard_normal((coils, *[3] * len(shape), 2)) @ [1, 1j]
    for wave in waves:
        maps = np.moveaxis(maps, 1, -1) @ wave.T
    return maps / np.sqrt(np.sum(np.abs(maps) ** 2, axis=0))


def bandlimited(rng, coils, shape, noise=0.0):
    maps = known_maps(rng, coils, shape)
    # the unnormalised maps are the trigonometric polynomials: an object absorbs the normalisation
    kspace = fft(maps * (rng.standard_normal((*shape, 2)) @ [1, 1j]))
    return maps, kspace + noise * (rng.standard_normal((*kspace.shape, 2)) @ [1, 1j])


def plain_espirit(kspace, calibration, kernel, threshold):
    """The paper as it is written: SVD, every kernel padded to the image, one matrix per pixel."""
    coils, *shape = kspace.shape
    start = [N // 2 - calibration // 2 for N in shape]
    data = kspace[:, start[0]:start[0] + calibration, start[1]:start[1] + calibration]
    rows = [data[:, i:i + kernel, j:j + kernel].ravel()
            for i in range(calibration - kernel + 1) for j in range(calibration - kernel + 1)]
    _, s, vh = np.linalg.svd(np.array(rows), full_matrices=False)
    matrices = np.zeros((*shape, coils, coils), complex)
    for v in vh[s > threshold * s[0]].reshape(-1, coils, kernel, kernel):
        padded = np.zeros(kspace.shape, complex)
        y, x = shape[0] // 2, shape[1] // 2
        padded[:, y:y + kernel, x:x + kernel] = v
        image = np.moveaxis(ifft(padded), 0, -1) * np.sqrt(np.prod(shape))
        matrices += image[..., :, None] * image.conj()[..., None, :] / kernel**2
    values, vectors = np.linalg.eigh(matrices)
    u = np.linalg.svd(data.reshape(coils, -1), full_matrices=False)[0][:, 0]
    u = u * np.conj(u[np.argmax(abs(u))]) / abs(u[np.argmax(abs(u))])
    top = np.transpose(vectors[..., ::-1], (3, 2, 0, 1))
    phase = np.einsum("c,mcyx->myx", u.conj(), top)
    return top * (phase.conj() / abs(phase))[:, None], np.moveaxis(values[..., ::-1], -1, 0)


def test_recovers_known_maps(rng):
    shape = (25, 30)
    truth, kspace = bandlimited(rng, 6, shape)
    maps, values = espirit(jnp.asarray(kspace), calibration=24, kernel=6, threshold=1e-5, crop=0.9, eigenvalues=True)
    assert maps.shape == truth.shape and values.shape == shape
    np.testing.assert_allclose(values, 1, atol=1e-8)
    np.testing.assert_allclose(np.abs(np.sum(truth.conj() * maps, axis=0)), 1, atol=1e-8)
    np.testing.assert_allclose(np.sum(np.abs(maps) ** 2, axis=0), 1, atol=1e-12)


def test_recovers_known_maps_3d(rng):
    truth, kspace = bandlimited(rng, 4, (12, 14, 15))
    maps, values = espirit(jnp.asarray(kspace), calibration=(11, 12, 11), kernel=(4, 5, 4), threshold=1e-5,
                           eigenvalues=True)
    np.testing.assert_allclose(values, 1, atol=1e-8)
    np.testing.assert_allclose(np.abs(np.sum(truth.conj() * maps, axis=0)), 1, atol=1e-8)


def test_known_maps_in_noise(rng):
    # samples have unit variance, noise 1 % of it: the maps are smooth fits to 400 samples a coil
    truth, kspace = bandlimited(rng, 6, (48, 40), noise=0.01)
    maps = espirit(jnp.asarray(kspace, "complex64"), threshold=0.05, crop=0.5)
    assert maps.dtype == jnp.complex64
    agreement = np.abs(np.sum(truth.conj() * np.asarray(maps), axis=0))
    assert agreement.min() > 0.99 and agreement.mean() > 0.9995


def test_equals_the_paper_written_plainly(rng):
    kspace = rng.standard_normal((3, 13, 18, 2)) @ [1, 1j]
    expected, expected_values = plain_espirit(kspace, 12, 4, 0.5)
    maps, values = espirit(jnp.asarray(kspace), 12, 4, threshold=0.5, crop=0.0, maps=3, eigenvalues=True)
    np.testing.assert_allclose(values, expected_values, atol=1e-12)
    assert expected_values[0].min() < 0.95  # a random case, in which crop does something
    np.testing.assert_allclose(maps, expected, atol=1e-7)  # some pixels' eigenvalues all but coincide
    cropped = espirit(jnp.asarray(kspace), 12, 4, threshold=0.5, crop=0.8)
    np.testing.assert_allclose(cropped, np.where(expected_values[0] > 0.8, expected[0], 0), atol=1e-7)


def test_scale_and_phase_of_the_data_do_not_matter(rng):
    kspace = jnp.asarray(rng.standard_normal((3, 20, 20, 2)) @ [1, 1j])
    maps = espirit(kspace, 12, 4, threshold=0.5, crop=0.0)
    np.testing.assert_allclose(espirit(1e-9 * jnp.exp(2j) * kspace, 12, 4, 0.5, 0.0), maps, atol=1e-9)
    small = espirit((1e-25 * kspace).astype("complex64"), 12, 4, 0.5, 0.0)
    np.testing.assert_allclose(small, maps, atol=1e-3)


def test_jit_vmap_and_chunks_of_rows(rng, monkeypatch):
    kspace = jnp.asarray(rng.standard_normal((2, 3, 18, 20, 2)) @ [1, 1j])

    def f(k, crop):
        return espirit(k, 12, 4, threshold=0.5, crop=crop)

    loop = jnp.stack([f(k, 0.9) for k in kspace])
    np.testing.assert_allclose(jax.jit(jax.vmap(f, (0, None)))(kspace, 0.9), loop, atol=1e-10)
    module = sys.modules["jaxrecon.calibration.espirit"]
    monkeypatch.setattr(module, "_ENTRIES", 20 * 9 * 5)  # five rows at a time, three left over
    monkeypatch.setattr(module, "_maps", jax.jit(module._maps.__wrapped__, static_argnames=("shape", "kernel", "maps")))
    np.testing.assert_allclose(f(kspace[0], 0.9), loop[0], atol=1e-10)


def test_gradient_equals_central_differences(rng):
    kspace = jnp.asarray(rng.standard_normal((3, 14, 15, 2)) @ [1, 1j])
    change = jnp.asarray(rng.standard_normal((3, 14, 15, 2)) @ [1, 1j])
    weight = jnp.asarray(rng.standard_normal((2, 3, 14, 15)))

    @jax.jit
    def loss(t):
        found, values = espirit(kspace + t * change, 10, 3, threshold=0.4, crop=0.0, maps=2, eigenvalues=True)
        return jnp.sum(weight * found.imag) + jnp.sum(values**2)

    h = 1e-6
    np.testing.assert_allclose(jax.grad(loss)(0.0), (loss(h) - loss(-h)) / (2 * h), rtol=1e-5)


def test_gradient_is_finite_where_eigenvalues_coincide(rng):
    _, kspace = bandlimited(rng, 5, (16, 16))  # exact null spaces in both eigendecompositions

    def loss(k):
        return jnp.sum(jnp.abs(espirit(k, 14, 5, threshold=1e-4)[0]) ** 2)

    gradient = jax.jit(jax.grad(loss))
    assert bool(jnp.all(jnp.isfinite(gradient(jnp.asarray(kspace)))))
    assert bool(jnp.all(jnp.isfinite(gradient(jnp.zeros_like(kspace)))))


def test_bad_input_says_what_to_do(rng):
    kspace = jnp.asarray(rng.standard_normal((3, 20, 24, 2)) @ [1, 1j])
    with pytest.raises(ValueError, match=r"2 of the 256 positions .* largest full region here is \(20, 9\)"):
        espirit(kspace.at[:, 10, 7].set(0).at[:, 12, 7].set(0), 16)
    with pytest.raises(ValueError, match=r"\(24, 24\) is larger than k-space \(20, 24\)"):
        espirit(kspace)
    with pytest.raises(ValueError, match=r"kernel \(6, 6\) is larger than the calibration region \(4, 4\)"):
        espirit(kspace, 4)
    with pytest.raises(ValueError, match="centre of k-space was not measured"):
        espirit(kspace.at[:, 10, 12].set(0), None)
    with pytest.raises(ValueError, match=r"before jax\.jit"):
        jax.jit(lambda k: espirit(k, None))(kspace)
    with pytest.raises(ValueError, match="threshold must lie in"):
        espirit(kspace, 16, threshold=1.5)
    with pytest.raises(ValueError, match="number of coils, 3; got 4"):
        espirit(kspace, 16, maps=4)
    with pytest.raises(ValueError, match=r"jax\.vmap over slices"):
        espirit(kspace[0])
    with pytest.raises(ValueError, match="NaN"):
        espirit(kspace.at[0, 10, 12].set(jnp.nan), 16)


@pytest.mark.parametrize("shape", [(9, 12), (8, 8), (5, 6, 7)])
@pytest.mark.parametrize("fraction", [0.9, 0.99, 1.0])
def test_calibration_size_equals_trying_all(rng, shape, fraction):
    def full(sampled, size):
        starts = [N // 2 - n // 2 for N, n in zip(sampled.shape, size, strict=True)]
        return sampled[tuple(slice(s, s + n) for s, n in zip(starts, size, strict=True))].all()

    for _ in range(5):
        sampled = rng.random(shape) < fraction
        areas = [np.prod(i) for i in np.ndindex(*(n + 1 for n in shape)) if 0 not in i and full(sampled, i)]
        kspace = np.where(sampled, rng.standard_normal((2, *shape)), 0)
        kspace[1, 0] = 0  # one coil's zeros are no holes
        found = calibration_size(jnp.asarray(kspace))
        assert np.prod(found) == max(areas, default=0) and (0 in found or full(sampled, found))


@pytest.mark.slow
def test_brain_fully_sampled(shared_data):
    """What the maps do not explain is white noise; below the noise's frequencies it is some per cent."""
    kspace = shared_data("mri_brain16_cart128.npz")["ksp"]
    maps, values = espirit(jnp.asarray(kspace), eigenvalues=True)
    support = np.asarray(values) > 0.95
    assert 0.35 < support.mean() < 0.45

    def residual(k):
        x = ifft(k)
        return support * (x - maps * np.sum(np.conj(maps) * x, axis=0)), support * x

    low = np.zeros(128)
    low[32:96] = np.hanning(66)[1:-1]
    error, signal = residual(kspace * low[:, None] * low)
    assert np.linalg.norm(error) / np.linalg.norm(signal) < 0.03  # measured .0263
    # the whole band: 15 of 16 coils' dimensions hold nothing but noise, measured at the corners of k-space
    error, signal = residual(kspace)
    corners = np.concatenate([kspace[:, :8, :8], kspace[:, -8:, -8:]], axis=1)
    noise = np.sqrt(15 / 16 * np.sum(np.mean(np.abs(corners) ** 2, axis=(1, 2))) * support.sum())
    assert np.linalg.norm(error) < 1.02 * noise  # measured .98


def test_brain_poisson_disc(shared_data):
    scan = shared_data("mri_brain8_poisson.npz")
    kspace = jnp.asarray(scan["ksp"])
    assert calibration_size(kspace) == (24, 24)
    maps = espirit(kspace, None)
    inside = np.asarray(rss(maps)) > 0
    assert 0.65 < inside.mean() < 0.75  # the head
    np.testing.assert_allclose(np.asarray(rss(maps))[inside], 1, atol=1e-5)
    with pytest.raises(ValueError, match="largest full region here is"):
        espirit(kspace, 40)
