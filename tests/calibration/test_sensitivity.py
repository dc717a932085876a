"""Root-sum-of-squares maps and combination against plain numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrecon.calibration import rss, rss_maps


def test_rss_equals_numpy_and_has_a_gradient_at_zero(rng):
    x = rng.standard_normal((4, 5, 6, 2)) @ [1, 1j]
    np.testing.assert_allclose(rss(jnp.asarray(x)), np.linalg.norm(x, axis=0), rtol=1e-14)
    both = np.sqrt(np.sum(np.abs(x) ** 2, axis=(0, 2)))
    np.testing.assert_allclose(rss(jnp.asarray(x), axis=(0, 2)), both, rtol=1e-14)
    assert rss(jnp.ones((3, 2), "float32")).dtype == jnp.float32
    gradient = jax.grad(lambda v: jnp.sum(rss(v)))(jnp.zeros((3, 2)).at[:, 1].set(2.0))
    np.testing.assert_allclose(gradient, [[0, 3**-0.5]] * 3, rtol=1e-14)


@pytest.mark.parametrize("shape", [(20, 24), (21, 17), (12, 9, 10)])
@pytest.mark.parametrize("window", ["hann", "hamming", "none"])
def test_maps_equal_the_low_resolution_images_over_their_rss(rng, shape, window):
    kspace = rng.standard_normal((3, *shape, 2)) @ [1, 1j]
    n = 8
    floor = {"hann": 0.5, "hamming": 0.54, "none": 1.0}[window]
    keep = np.ones(shape)
    for axis, N in enumerate(shape):
        away = np.arange(N) - N // 2
        taper = np.where((away >= -n // 2) & (away < n // 2), floor + (1 - floor) * np.cos(np.pi * away / 5), 0)
        keep = keep * taper.reshape([-1 if a == axis else 1 for a in range(len(shape))])
    axes = tuple(range(1, kspace.ndim))
    images = np.fft.fftshift(np.fft.ifftn(np.fft.ifftshift(kspace * keep, axes), axes=axes), axes)
    size = np.linalg.norm(images, axis=0)
    np.testing.assert_allclose(rss_maps(jnp.asarray(kspace), n, window), images / size, atol=1e-12)
    cut = rss_maps(jnp.asarray(kspace), n, window, threshold=0.5)
    np.testing.assert_allclose(cut, np.where(size > 0.5 * size.max(), images / size, 0), atol=1e-12)


def test_maps_follow_the_dtype_and_stand_zero_data_and_transforms(rng):
    kspace = jnp.asarray(rng.standard_normal((2, 3, 16, 16, 2)) @ [1, 1j])
    loop = jnp.stack([rss_maps(k, 8) for k in kspace])
    np.testing.assert_allclose(jax.jit(jax.vmap(lambda k: rss_maps(k, 8)))(kspace), loop, atol=1e-13)
    small = rss_maps((1e-25 * kspace[0]).astype("complex64"), 8)
    assert small.dtype == jnp.complex64
    np.testing.assert_allclose(small, loop[0], atol=1e-4)
    gradient = jax.jit(jax.grad(lambda k: jnp.sum(rss_maps(k, 8).real)))(jnp.zeros((3, 16, 16), complex))
    assert bool(jnp.all(jnp.isfinite(gradient)))


def test_maps_refuse_bad_input(rng):
    kspace = jnp.asarray(rng.standard_normal((2, 16, 16)))
    with pytest.raises(ValueError, match="got 'kaiser'"):
        rss_maps(kspace, 8, "kaiser")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="were not measured"):
        rss_maps(kspace.at[:, 8].set(0), 8)
    with pytest.raises(ValueError, match=r"got 1\.5"):
        rss_maps(kspace, 8, threshold=1.5)


def test_brain_maps_explain_the_low_frequencies(shared_data):
    kspace = jnp.asarray(shared_data("mri_brain16_cart128.npz")["ksp"])
    maps = rss_maps(kspace, None)
    x = jnp.fft.fftshift(jnp.fft.ifft2(jnp.fft.ifftshift(kspace, (1, 2)), norm="ortho"), (1, 2))
    combined = jnp.sum(jnp.conj(maps) * x, axis=0)
    brain = rss(x) > 0.3 * jnp.max(rss(x))
    ratio = np.asarray(jnp.abs(combined) / rss(x))[brain]  # 1 where the maps explain all coils
    assert ratio.max() < 1.0001 and np.quantile(ratio, 0.05) > 0.97
