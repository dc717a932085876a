"""What a configuration trains on: simulated scans of drawn or stored images, and the reconstructor that learns them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..io import Image, load
from ..io.npz import list_npz, read_arrays
from ..operators import sense
from ..simulate.coil_maps import coil_maps
from ..simulate.simulation import MaskDraw, Simulation, sparse_view_ct
from .config import Config
from .errors import Failure

VALIDATION, TEST = 1, 2


def make_simulation(c: Config, images: np.ndarray | None = None) -> Simulation:
    """The scans of a configuration; `images` are those to draw from.

    Raises:
        ValueError: a mask that cannot be drawn.
    """
    shape = (c.size, c.size)
    snr = tuple(c.scan["snr"]) if isinstance(c.scan["snr"], list) else c.scan["snr"]
    if c.task == "ct":
        return dataclasses.replace(_ct(c), images=images, snr=snr)
    coils, new = c.scan["coils"], c.scan["new_masks"] and c.scan["mask"] != "uniform"
    maps = coil_maps(shape, coils, dtype="complex64") if coils > 1 else jnp.ones((1, *shape), "complex64")
    axis = -2 if c.scan["pattern"] == "lines" else None
    mask = MaskDraw(c.scan["mask"], shape, float(c.scan["acceleration"]), c.scan["calibration"], axis)
    first = mask(jax.random.key(c.training["seed"]))
    return Simulation(sense(maps, first), images, mask if new else None, snr, c.scan["phase"])


def scanner(c: Config) -> Any:
    """Parallel beams over the whole image."""
    return _ct(c).A


def _ct(c: Config) -> Simulation:
    return sparse_view_ct((c.size, c.size), c.scan["views"], detectors=c.scan["detectors"],
                          arc=math.radians(c.scan["arc"]))


def scans(simulation: Simulation, c: Config, part: int, images: np.ndarray | None) -> Iterator[tuple[Any, Any, Any]]:
    """The scans of a part of the data, always the same ones: of given images, or of drawn ones."""
    root = jax.random.fold_in(jax.random.key(c.training["seed"]), part)
    count = c.images["test" if part == TEST else "validation"] if images is None else len(images)
    for i in range(count):
        key = jax.random.fold_in(root, i)
        A, b, x = _drawn(simulation, key) if images is None else _given(simulation, images[i], key)
        # The operator itself where nothing of it was drawn: its geometry then stays numbers on the host.
        yield (simulation.A if simulation.mask is None else A), b, x


@jax.jit
def _drawn(simulation, key):
    return simulation(key)


@jax.jit
def _given(simulation, image, key):
    return simulation.scan(image, key)


# ---- images


class Images(NamedTuple):
    """(n, ny, nx) in three parts that share nothing; None: random ellipses, of three seeds."""

    train: np.ndarray | None
    validation: np.ndarray | None
    test: np.ndarray | None


def read_images(c: Config) -> Images:
    """The images of a configuration: the last ones are held out.

    Raises:
        Failure, OSError, ValueError: no such file; what is not an image; too few of them.
    """
    if c.images["source"] == "ellipses":
        return Images(None, None, None)
    stack = load_images(Path(c.images["source"]), c.size)
    validation, test = c.images["validation"], c.images["test"]
    left = len(stack) - validation - test
    if left < 1:
        raise Failure(f"{c.images['source']} holds {len(stack)} images, of which images.validation = {validation} and "
                      f"images.test = {test} leave none for training")
    return Images(stack[:left], stack[left : left + validation], stack[left + validation :])


def load_images(path: Path, size: int) -> np.ndarray:
    """(n, size, size) float32 of maximum 1, from a file or all files of a folder, by name."""
    if not path.exists():
        raise Failure(f"{path}: no such file or folder of images")
    files = sorted(p for p in path.iterdir() if p.is_file() and not p.name.startswith(".")) if path.is_dir() else [path]
    if not files:
        raise Failure(f"{path}: the folder holds no files")
    return np.stack([_fitted(image, size, file) for file in files for image in _slices(file)])


def _slices(path: Path) -> np.ndarray:
    if path.suffix.lower() == ".npz":
        names = list_npz(path)
        chosen = [n for n in ("images", "image") if n in names] or list(names[:1] if len(names) == 1 else ())
        if not chosen:
            raise Failure(f"{path} holds no array named images or image, only {', '.join(names) or 'nothing'}")
        pixels = read_arrays(path, chosen[:1])[chosen[0]]
    else:
        found = load(path)
        if not isinstance(found, Image):
            raise Failure(f"{path} holds a {type(found).__name__}, where images are needed")
        pixels = np.asarray(found.pixels)
    if pixels.dtype.kind not in "biufc" or pixels.ndim < 2 or 0 in pixels.shape:
        raise Failure(f"{path}: images must be numbers of shape (n, ny, nx), got {pixels.dtype} of {pixels.shape}")
    return pixels.reshape(-1, *pixels.shape[-2:])


def _fitted(image: np.ndarray, size: int, path: Path) -> np.ndarray:
    """The magnitude, made square by a margin of zeros, and at `size` by leaving out high frequencies."""
    ny, nx = image.shape
    side = max(ny, nx)
    if side < size:
        raise Failure(f"{path}: an image of {ny} x {nx} is smaller than size = {size}")
    margin = [((side - n) // 2, side - n - (side - n) // 2) for n in (ny, nx)]
    x = np.abs(image).astype(np.float64) if np.iscomplexobj(image) else np.asarray(image, np.float64)
    if x.min() < -0.02 * x.max():
        raise Failure(f"{path}: an image reaches down to {x.min():g}, but intensities and attenuations are not "
                      "negative (Hounsfield units: add 1000)")
    x = np.pad(np.maximum(x, 0), margin)
    if side > size:
        low = side // 2 - size // 2
        k = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(x)))[low : low + size, low : low + size]
        x = np.abs(np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(k))))
    if not (np.isfinite(x).all() and x.max() > 0):
        raise Failure(f"{path}: an image holds values that are not finite, or zeros only")
    return (x / x.max()).astype(np.float32)
