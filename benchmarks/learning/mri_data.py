"""Cartesian MRI, 4-fold undersampled lines at 128 x 128: training data made on the fly, and the test scans.

Train      mr_chest100 and mr_mni152 but every tenth image: flips, transposition, a random contrast curve and a random
           smooth phase at 256 x 256, k-space cropped to 128 x 128, a mask and noise of its own for every example.
Validate   on the images left out, drawn once from a fixed key.
Test       mr_pd20 (20 slices of heads, another scanner and contrast than those of training; magnitudes given a smooth
           phase, k-space cropped, noise added), mri_sag256 (measured k-space of a single coil, cropped) and mri_brain16
           (measured, 16 coils, combined by ESPIRiT maps, or as 8 virtual coils).

The mask draws 32 of the 128 phase-encode lines, the 10 central ones and others with a density that falls outwards.
Images have maximum 1; noise is per real component, 0 to 1 % of that in training and .5 % in the test on mr_pd20.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jaxrecon as jr

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
SIZE = 128
SHAPE = (SIZE, SIZE)
ACCELERATION, CENTRE = 4, 10
NOISE = 0.01  # the most, in training
TEST_NOISE = 0.005


class Scan(NamedTuple):
    """A test scan: what was measured, and the image that full sampling gives."""

    A: Any
    b: jax.Array
    x: jax.Array


def load(name: str, *arrays: str) -> list[np.ndarray]:
    with np.load(DATA / name, allow_pickle=False) as f:
        return [f[a] for a in arrays]


def training_images() -> tuple[np.ndarray, np.ndarray]:
    """(training, validation) magnitudes in [0, 1], (n, 256, 256)."""
    chest, = load("mr_chest100_train256.npz", "images")
    head, = load("mr_mni152_t1_axial55.npz", "images")
    head = head[[np.mean(h > 20) > 0.05 for h in head]]  # the topmost slices are all but empty
    images = np.concatenate([chest / 65535, head / 255]).astype("float32")
    held_out = np.arange(len(images)) % 10 == 5
    return images[~held_out], images[held_out]


def line_mask(key: jax.Array) -> jax.Array:
    return jr.simulate.variable_density_mask(key, SHAPE, ACCELERATION, calibration=CENTRE, dtype="float32")


def smooth_phase(key: jax.Array, shape: tuple[int, int]) -> jax.Array:
    """exp(i phi): a slope of up to a turn or so across the image, and bumps, as off-resonance and coils leave."""
    slopes, size, bumps = jax.random.split(key, 3)
    y, x = jnp.meshgrid(*(jnp.linspace(-1, 1, n) for n in shape), indexing="ij")
    offset, down, across = jnp.array([np.pi, 4, 4]) * jax.random.uniform(slopes, (3,), minval=-1, maxval=1)
    knots = 2 * jax.random.uniform(size) * jax.random.normal(bumps, (5, 5))
    phi = offset + down * y + across * x + jax.image.resize(knots, shape, "cubic")
    return jax.lax.complex(jnp.cos(phi), jnp.sin(phi))


def at_128(image: jax.Array) -> jax.Array:
    """The centre of k-space as an image of its own, its largest magnitude 1."""
    n, first = image.shape[0], (image.shape[0] - SIZE) // 2
    k = jr.Fourier((n, n), dtype="complex64")(image)[first : first + SIZE, first : first + SIZE]
    x = jr.Fourier(SHAPE, dtype="complex64").H(k)
    return x / jnp.maximum(jnp.max(jnp.abs(x)), 1e-12)


def drawn_image(images: jax.Array, keys: jax.Array) -> jax.Array:
    """One of them in a random orientation, with contrast and phase of its own, by four keys."""
    m = images[jax.random.randint(keys[0], (), 0, len(images))].astype("float32")
    up, across, turned = jax.random.bernoulli(keys[1], shape=(3,))
    m = jnp.where(up, m[::-1], m)
    m = jnp.where(across, m[:, ::-1], m)
    m = jnp.where(turned, m.T, m)
    # Other scanners and sequences map tissues to other greys.
    m = jnp.maximum(m, 1e-6) ** jax.random.uniform(keys[2], minval=0.6, maxval=1.6)
    return at_128(m * smooth_phase(keys[3], m.shape))


def simulate(images: jax.Array, key: jax.Array) -> tuple[Any, jax.Array, jax.Array]:
    """(A, b, x) of one training example."""
    keys = jax.random.split(key, 7)
    x = drawn_image(images, keys[:4])
    mask = line_mask(keys[4])
    A = jr.Fourier(SHAPE, mask=mask, dtype="complex64")
    sigma = NOISE * jax.random.uniform(keys[5])
    return A, jr.simulate.add_noise(keys[6], A(x), sigma=sigma, mask=mask), x


def examples(images: np.ndarray, batch: int):
    """The stream that jr.fit takes."""
    return jr.Simulated(jax.tree_util.Partial(simulate, jnp.asarray(images)), batch, batched=("mask",))


def fixed_examples(images: np.ndarray, count: int, seed: int = 1):
    """(A, b, x) with a leading axis, drawn once."""
    keys = jax.random.split(jax.random.key(seed), count)
    return jax.jit(jax.vmap(partial(simulate, jnp.asarray(images))))(keys)


# ---- test scans


def proton_density() -> list[Scan]:
    images, = load("mr_pd20_axial256.npz", "images")
    scans = []
    for i, image in enumerate(images):
        phase, masking, noise = jax.random.split(jax.random.fold_in(jax.random.key(2026), i), 3)
        x = at_128(jnp.asarray(image, "float32") * smooth_phase(phase, image.shape))
        mask = line_mask(masking)
        A = jr.Fourier(SHAPE, mask=mask, dtype="complex64")
        scans.append(Scan(A, jr.simulate.add_noise(noise, A(x), sigma=TEST_NOISE, mask=mask), x))
    return scans


def measured(k: jax.Array, seed: int) -> Scan:
    """Retrospectively undersampled k-space of one coil, scaled to an image of maximum 1."""
    x = jr.Fourier(SHAPE, dtype="complex64").H(k)
    scale = jnp.max(jnp.abs(x))
    A = jr.Fourier(SHAPE, mask=line_mask(jax.random.key(seed)), dtype="complex64")
    return Scan(A, A.mask * k / scale, x / scale)


def sagittal() -> list[Scan]:
    k, = load("mri_sag256_single.npz", "ksp")
    first = (k.shape[0] - SIZE) // 2
    return [measured(jnp.asarray(k[first : first + SIZE, first : first + SIZE]), seed) for seed in range(4)]


def brain() -> tuple[list[Scan], list[Scan]]:
    """The axial brain: (combined to one coil, 8 virtual coils with ESPIRiT maps), four masks each."""
    k, = load("mri_brain16_cart128.npz", "ksp")
    k = jr.compress_coils(jnp.asarray(k), 8).kspace
    maps = jr.espirit(k)
    x = jr.sense(maps).H(k)
    scale = jnp.max(jnp.abs(x))
    one = [measured(jr.Fourier(SHAPE, dtype="complex64")(x), seed) for seed in range(4)]
    many = [Scan(jr.sense(maps, line_mask(jax.random.key(seed))), line_mask(jax.random.key(seed)) * k / scale,
                 x / scale) for seed in range(4)]
    return one, many


def test_sets() -> dict[str, list[Scan]]:
    one, many = brain()
    return {"pd20": proton_density(), "sag256": sagittal(), "brain16, combined": one, "brain16, 8 coils": many}
