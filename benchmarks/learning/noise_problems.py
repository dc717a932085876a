"""The scans of noise_adaptation.py, 64 x 64: MRI of several noise levels and factors, CT of several kinds of noise."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from mri_data import load, smooth_phase, training_images

import jaxrecon as jr

SIZE = 64
SHAPE = (SIZE, SIZE)
CENTRE = 6  # central lines that every mask holds
KINDS: dict[str, Any] = {
    "white": jr.simulate.GaussianNoise((0.01, 0.08), relative=True),
    "counts": jr.simulate.PoissonNoise((3e2, 3e4), transmission=True),
    "correlated": jr.simulate.CorrelatedNoise((0.01, 0.08), (0.7, 2.0), relative=True),
    "detectors": jr.simulate.MixedNoise([
        jr.simulate.ImpulsiveNoise((0.02, 0.1), 0.0, shared=(0,), replace=True),
        jr.simulate.ImpulsiveNoise((0.02, 0.1), (0.3, 1.0), shared=(0,), relative=True)]),
}


# ---- images


@functools.cache
def at_64() -> tuple[jax.Array, jax.Array]:
    """(training, validation) magnitudes at 64^2, from the centre of k-space."""
    return tuple(jnp.stack([jnp.abs(cropped(jnp.asarray(m))) for m in images]) for images in training_images())


@jax.jit
def cropped(image: jax.Array) -> jax.Array:
    """The centre of k-space as an image of its own, its largest magnitude 1."""
    ny, nx = image.shape
    k = jr.Fourier(image.shape, dtype="complex64")(image)
    k = k[(ny - SIZE) // 2 : (ny + SIZE) // 2, (nx - SIZE) // 2 : (nx + SIZE) // 2]
    x = jr.Fourier(SHAPE, dtype="complex64").H(k)
    return x / jnp.maximum(jnp.max(jnp.abs(x)), 1e-12)


def drawn_image(images: jax.Array, key: jax.Array) -> jax.Array:
    keys = jax.random.split(key, 3)
    m = images[jax.random.randint(keys[0], (), 0, len(images))]
    up, across, turned = jax.random.bernoulli(keys[1], shape=(3,))
    m = jnp.where(up, m[::-1], m)
    m = jnp.where(across, m[:, ::-1], m)
    m = jnp.where(turned, m.T, m)
    m = jnp.maximum(m, 1e-6) ** jax.random.uniform(keys[2], minval=0.6, maxval=1.6)
    return m / jnp.max(m)


# ---- MRI: levels and factors


def masks(key: jax.Array, factors: Sequence[int]) -> jax.Array:
    """One line mask per factor, (factors, ny, 1)."""
    return jnp.stack([jr.simulate.variable_density_mask(key, SHAPE, f, calibration=CENTRE, dtype="float32")
                      for f in factors])


def scan(x: jax.Array, key: jax.Array, noise: Any, factors: Sequence[int]):
    """(A, b, x) of an image, with a mask and noise of the key."""
    which, line, noisy = jax.random.split(key, 3)
    mask = masks(line, factors)[jax.random.randint(which, (), 0, len(factors))]
    A = jr.Fourier(SHAPE, mask=mask, dtype="complex64")
    return A, noise(noisy, A(x), mask), x


def simulate_mri(images: jax.Array, noise: Any, key: jax.Array, *, factors: tuple[int, ...]):
    image, phase, rest = jax.random.split(key, 3)
    return scan(drawn_image(images, image) * smooth_phase(phase, SHAPE), rest, noise, factors)


@functools.cache
def mri_test_images() -> jax.Array:
    """(22, 64, 64): mr_pd20 with a smooth phase, and two measured scans."""
    slices, = load("mr_pd20_axial256.npz", "images")
    keys = jax.random.split(jax.random.key(2026), len(slices))
    images = [cropped(jnp.asarray(m, "float32") * smooth_phase(k, m.shape)) for k, m in zip(keys, slices, strict=True)]
    sagittal, = load("mri_sag256_single.npz", "ksp")
    images.append(cropped(jr.Fourier(sagittal.shape, dtype="complex64").H(jnp.asarray(sagittal))))
    brain, = load("mri_brain16_cart128.npz", "ksp")
    k = jr.compress_coils(jnp.asarray(brain), 8).kspace
    images.append(cropped(jr.sense(jr.espirit(k)).H(k)))
    return jnp.stack(images)


def mri_test(sigma: float, factor: int):
    """All test images at one level and factor: (A, b, x) with a leading axis; masks do not depend on the level."""
    x = mri_test_images()
    keys = jax.random.split(jax.random.key(7), len(x))
    noise = jr.simulate.GaussianNoise(sigma)
    return jax.jit(jax.vmap(lambda x, k: scan(x, k, noise, (factor,))))(x, keys)


# ---- CT: kinds


@functools.cache
def projector():
    """60 parallel views; a length of 1 is what attenuates by 1/e at the largest density, 64 pixels being 6."""
    h = 6 / SIZE
    return jr.XRay(jr.ParallelBeam(np.arange(60) * np.pi / 60, 91, h), SHAPE, h)


def simulate_ct(images: jax.Array, noise: Any, A: Any, key: jax.Array):
    image, noisy = jax.random.split(key)
    x = drawn_image(images, image)
    return A, noise(noisy, A(x)), x


def ct_test(kind: str):
    """Slices of a head, from air (0) to dense bone (1)."""
    hu, = load("ct_head28_hu256.npz", "hu")
    x = np.clip((hu.astype("float32") + 1000) / 2500, 0, 1).reshape(len(hu), SIZE, 4, SIZE, 4).mean((2, 4))
    x = jnp.asarray(x / x.max((1, 2), keepdims=True))
    A, noise = projector(), KINDS[kind]
    keys = jax.random.split(jax.random.key(8), len(x))
    return A, jax.jit(jax.vmap(lambda x, k: noise(k, A(x))))(x, keys), x
