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

from .. import simulate
from ..geometry import ParallelBeam
from ..io import Image, load
from ..io.npz import list_npz, read_arrays
from ..operator import LinearOperator
from ..operators import sense
from ..operators.xray import XRay
from ..value import static, value
from .config import Config
from .errors import Failure

PHASE = 0.7  # standard deviation in radians of each term of the random phase
VALIDATION, TEST = 1, 2


@value
class Simulation:
    """(A, b, x) of one example: x an image of maximum 1, b = A x with noise.

    Attributes:
        A: the scan, without the mask where each example has its own.
        images: (n, ny, nx) to draw from, or None: random ellipses.
        mask: a function of the key, or None: A has it.
        snr: dB, low and high.
        phase: give images a smooth random phase.
    """

    A: LinearOperator
    images: Any
    mask: Any = static()
    snr: tuple[float, float] = static()
    phase: bool = static()

    def __call__(self, key: jax.Array) -> tuple[LinearOperator, jax.Array, jax.Array]:
        """A random example."""
        image_key, key = jax.random.split(key)
        if self.images is None:
            image = simulate.random_ellipses(image_key, self.A.domain.shape, dtype="float32")
        else:
            image = jnp.asarray(self.images)[jax.random.randint(image_key, (), 0, len(self.images))]
        return self.scan(image, key)

    def scan(self, image: jax.Array, key: jax.Array) -> tuple[LinearOperator, jax.Array, jax.Array]:
        """The scan of a given image."""
        mask_key, phase_key, snr_key, noise_key = jax.random.split(key, 4)
        x = image * smooth_phase(phase_key, image.shape) if self.phase else image
        x = x.astype(self.A.domain.dtype)
        A: Any = self.A if self.mask is None else dataclasses.replace(self.A, mask=self.mask(mask_key))  # type: ignore
        low, high = self.snr
        snr = low if low == high else jax.random.uniform(snr_key, (), minval=low, maxval=high)
        b = A(x)
        return A, simulate.add_noise(noise_key, b, snr=snr, mask=getattr(A, "mask", None)), x


class Drawn(NamedTuple):
    """A sampling mask from a key; equal ones are one program."""

    name: str
    shape: tuple[int, int]
    pattern: str
    acceleration: float
    calibration: int

    def __call__(self, key: jax.Array) -> jax.Array:
        axis = -2 if self.pattern == "lines" else None
        if self.name == "uniform":
            return simulate.uniform_mask(self.shape, int(self.acceleration), self.calibration, dtype="float32")
        draw = {"variable-density": simulate.variable_density_mask, "random": simulate.random_mask}[self.name]
        return draw(key, self.shape, self.acceleration, self.calibration, axis, dtype="float32")


def smooth_phase(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """exp(i p(y, x)) with a random polynomial p of second degree."""
    y, x = jnp.meshgrid(*(jnp.linspace(-1, 1, n, dtype="float32") for n in shape), indexing="ij")
    terms = jnp.stack([jnp.ones_like(x), x, y, x * x, x * y, y * y])
    c = PHASE * jax.random.normal(key, (len(terms),), "float32")
    return jnp.exp(1j * jnp.tensordot(c.at[0].mul(math.pi / PHASE), terms, 1)).astype("complex64")


def make_simulation(c: Config, images: np.ndarray | None = None) -> Simulation:
    """The scans of a configuration; `images` are those to draw from.

    Raises:
        ValueError: a mask that cannot be drawn.
    """
    shape, snr = (c.size, c.size), c.scan["snr"]
    snr = (snr[0], snr[1]) if isinstance(snr, list) else (snr, snr)
    if c.task == "ct":
        return Simulation(scanner(c), images, None, snr, False)
    coils, new = c.scan["coils"], c.scan["new_masks"] and c.scan["mask"] != "uniform"
    maps = simulate.coil_maps(shape, coils, dtype="complex64") if coils > 1 else jnp.ones((1, *shape), "complex64")
    mask = Drawn(c.scan["mask"], shape, c.scan["pattern"], float(c.scan["acceleration"]), c.scan["calibration"])
    first = mask(jax.random.key(c.training["seed"]))
    return Simulation(sense(maps, first), images, mask if new else None, snr, c.scan["phase"])


def scanner(c: Config) -> XRay:
    """Parallel beams over the whole image."""
    arc = math.radians(c.scan["arc"])
    diagonal = math.sqrt(2) * c.size
    detectors = c.scan["detectors"] or math.ceil(diagonal) | 1
    angles = np.linspace(0, arc, c.scan["views"], endpoint=False)
    # Lengths such that the image is 2 wide: a sinogram then has numbers near those of the image.
    pixel = 2 / c.size
    return XRay(ParallelBeam(angles, detectors, pixel * diagonal / detectors), (c.size, c.size), pixel)


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
