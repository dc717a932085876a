"""Patches of 32 x 32 pixels from MR images and photographs: what AUTOMAP trains and is tested on.

Train      patches of 90 chests (mr_chest100), 45 slices of a mean brain (mr_mni152) and 20 photographs (nat_kodak24)
Validate   of the chests, slices and photographs left out
Test       of other scans and photographs: mr_pd20, mri_sag256 and nat_skimage (camera, astronaut, chelsea, coffee)

Images are averaged over 2 x 2 or 4 x 4 pixels; patches are cut, turned and mirrored at random, left out where they
are nearly empty, and scaled to root mean square 1. They are real and >= 0.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from mri_data import load

SIZE = 32
EMPTY = 0.08  # of the image's maximum: patches whose mean is below are left out


def sources(split: str) -> list[np.ndarray]:
    """The images of a split, their maximum 1."""
    if split == "test":
        images = [*load("mr_pd20_axial256.npz", "images")[0], *load("mri_sag256_single.npz", "image"),
                  *load("nat_skimage_cc0_gray.npz", "camera", "astronaut", "chelsea", "coffee")]
    else:
        chest, = load("mr_chest100_train256.npz", "images")
        head, = load("mr_mni152_t1_axial55.npz", "images")
        photographs, = load("nat_kodak24_gray.npz", "images")
        first, last = {"train": ((0, 0, 0), (90, 45, 20)), "validation": ((92, 50, 21), (100, 55, 24))}[split]
        images = [m for every, i, j in zip((chest, head, photographs), first, last, strict=True) for m in every[i:j]]
    return [m.astype("float32") / m.max() for m in images]


def patches(split: str, count: int, seed: int = 0) -> np.ndarray:
    """(count, 32, 32) float32. The first n of more are the same as n of them."""
    rng = np.random.default_rng([seed, len(split)])
    images = [averaged(m, f) for m in sources(split) for f in (2, 4)]
    found = np.empty((count, SIZE, SIZE), "float32")
    n = 0
    while n < count:
        patch = cut(images, rng)
        if patch.mean() >= EMPTY:
            found[n] = patch / np.sqrt(np.mean(patch**2))
            n += 1
    return found


def cut(images: Sequence[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    m = images[rng.integers(len(images))]
    y, x = (rng.integers(n - SIZE + 1) for n in m.shape)
    patch = np.rot90(m[y : y + SIZE, x : x + SIZE], rng.integers(4))
    return patch.T if rng.random() < 0.5 else patch


def averaged(m: np.ndarray, factor: int) -> np.ndarray:
    ny, nx = (n // factor for n in m.shape)
    return m[: ny * factor, : nx * factor].reshape(ny, factor, nx, factor).mean((1, 3))
