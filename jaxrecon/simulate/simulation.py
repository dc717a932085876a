"""Whole simulated scans: an image, a scanner, noise. What `jr.fit` trains on and benchmarks test with."""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..geometry import ParallelBeam
from ..operator import KnownNorm, LinearOperator
from ..operator.algebra import Composed, Scaled, Sum
from ..operator.base import Measuring
from ..operator.batched import Batched
from ..operator.kept import Kept
from ..operators import Diagonal, Fourier, Identity, sense
from ..operators.xray import XRay
from ..value import static, value
from ._shape import check_shape
from .coil_maps import coil_maps
from .masks import random_mask, uniform_mask, variable_density_mask
from .noise import add_noise
from .phantoms import random_ellipses

PHASE = 0.7  # standard deviation in radians of each term of the random phase
PATTERNS = {"variable-density": variable_density_mask, "random": random_mask}


@value
class Simulation:
    """key -> (A, b, x), one simulated scan: b = A x + n, x an image of maximum 1.

    Under jit and vmap over keys; `jr.Simulated(simulation, batch_size=8)` trains on it (with `batched=("mask",)` where
    every scan has a mask of its own).

    Args:
        A: the scan; its mask is replaced where each scan has its own.
        images: (n, ny, nx), real, to draw from; None: random ellipses, no two the same.
        mask: a function of a key that draws the mask of A, hashable; None: A stays as it is.
        snr: dB, or (low, high) to draw from evenly.
        phase: give images a smooth random phase (A must take complex images).

    Raises:
        ValueError: images of another shape than A takes, snr that is not a number or an ascending pair, a
            phase where A takes real images.

    Example:
        >>> scan = jr.simulate.Simulation(jr.Fourier((16, 16), dtype="complex64"), snr=(20, 40), phase=True)
        >>> A, b, x = scan(jax.random.key(0))
        >>> b.shape, x.dtype
        ((16, 16), dtype('complex64'))
    """

    A: LinearOperator
    images: Any = None
    mask: Any = static(default=None)
    snr: Any = static(default=30.0)
    phase: bool = static(default=False)

    def check(self):
        low, high = self.snr if isinstance(self.snr, tuple | list) else (self.snr, self.snr)
        if not low <= high:
            raise ValueError(f"Simulation: snr must be a number or (low, high) in dB, got {self.snr}")
        object.__setattr__(self, "snr", (float(low), float(high)))
        shape, dtype = self.A.domain.shape, self.A.domain.dtype
        if self.phase and not jnp.issubdtype(dtype, jnp.complexfloating):
            raise ValueError(f"Simulation: images with a phase are complex, A takes {dtype}; give phase=False")
        if self.mask is not None and not hasattr(self.A, "mask"):
            raise ValueError(f"Simulation: mask draws the mask of A, but {type(self.A).__name__} has none of its own")
        if self.images is not None and np.shape(self.images)[1:] != shape:
            raise ValueError(f"Simulation: images of shape (n, {', '.join(map(str, shape))}) are what A takes, got "
                             f"{np.shape(self.images)}")

    def __call__(self, key: jax.Array) -> tuple[LinearOperator, jax.Array, jax.Array]:
        """A random scan."""
        image_key, key = jax.random.split(key)
        if self.images is None:
            image = random_ellipses(image_key, self.A.domain.shape, dtype="float32")
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
        return A, add_noise(noise_key, b, snr=snr, mask=_mask(A)), x


def cartesian_mri(shape: tuple[int, int], acceleration: float = 4, *, coils: int = 1, pattern: str = "variable-density",
                  calibration: int | None = None, axis: int | None = -2, snr: Any = 30.0, images: Any = None,
                  phase: bool = True, new_masks: bool = True, key: jax.Array | None = None) -> Simulation:
    """Undersampled Cartesian MRI: b = mask . F (maps x) + n, of JAX's default complex dtype.

    Args:
        shape: (ny, nx).
        acceleration: N / number of lines (points where axis is None) that are measured.
        coils: receive coils; with one, A is `jr.Fourier`, else `jr.sense` with `coil_maps`.
        pattern: "variable-density", "random" or "uniform" (lines only; the same for every scan).
        calibration: central lines that are always measured; None: a twelfth of all, at least one.
        axis: along which lines are left out; None: points.
        snr, images, phase: see `Simulation`.
        new_masks: every scan draws a mask of its own.
        key: of the mask of A (of all scans, where new_masks is False); None: jax.random.key(0).

    Raises:
        ValueError: an unknown pattern, and what the masks raise.

    Example:
        >>> scan = jr.simulate.cartesian_mri((32, 32), acceleration=4)
        >>> A, b, x = scan(jax.random.key(1))
        >>> int(A.mask.sum())
        8
    """
    ny, nx = check_shape(shape, "cartesian_mri", (2,))
    shape = (ny, nx)
    if calibration is None:
        calibration = max(1, (ny if axis is None else shape[axis]) // 12)
    draw = MaskDraw(pattern, shape, acceleration, calibration, axis)
    mask = draw(jax.random.key(0) if key is None else key)
    dtype = jnp.result_type(complex)
    A = Fourier(shape, mask=mask, dtype=dtype) if coils == 1 else sense(coil_maps(shape, coils, dtype=dtype), mask)
    return Simulation(A, images, draw if new_masks and pattern != "uniform" else None, snr, phase)


def sparse_view_ct(shape: tuple[int, int], views: int = 30, *, detectors: int | None = None, arc: float = math.pi,
                   snr: Any = 40.0, images: Any = None) -> Simulation:
    """Parallel-beam CT from few views: b = A x + n; the longer side of the image has the length 2.

    Args:
        shape: (ny, nx).
        views: number of angles, evenly over `arc`.
        detectors: number of pixels along the diagonal, which they cover; None: its length in pixels, made odd.
        arc: radians.
        snr, images: see `Simulation`.

    Raises:
        ValueError: what the geometry raises.

    Example:
        >>> A, b, x = jr.simulate.sparse_view_ct((32, 32), views=10)(jax.random.key(0))
        >>> b.shape
        (10, 47)
    """
    ny, nx = check_shape(shape, "sparse_view_ct", (2,))
    diagonal, pixel = math.hypot(ny, nx), 2 / max(ny, nx)
    detectors = detectors or math.ceil(diagonal) | 1
    angles = np.linspace(0, arc, views, endpoint=False)
    return Simulation(XRay(ParallelBeam(angles, detectors, pixel * diagonal / detectors), (ny, nx), pixel), images,
                      snr=snr)


def _mask(A: Any) -> Any:
    """Which measurements are made: the mask of A, or of what A is made of. (Rays that miss the image are measured.)"""
    if isinstance(A, Composed):
        return _mask(A.inner if _keeps_places(A.outer) else A.outer)
    if isinstance(A, Sum):
        first, second = _mask(A.first), _mask(A.second)
        return None if first is None or second is None else jnp.maximum(first, second)
    if isinstance(A, Kept):
        inner = _mask(A.operator)
        return A.keep if inner is None else A.keep * inner
    return _mask(A.operator) if isinstance(A, Measuring) else getattr(A, "mask", None)


def _keeps_places(A: Any) -> bool:
    """Whether A multiplies each sample by a factor, such as a weight."""
    if isinstance(A, Composed):
        return _keeps_places(A.outer) and _keeps_places(A.inner)
    if isinstance(A, Scaled | KnownNorm | Batched):
        return _keeps_places(A.operator)
    return isinstance(A, Diagonal | Identity)


class MaskDraw(NamedTuple):
    """A sampling mask from a key; equal ones are one program."""

    pattern: str
    shape: tuple[int, ...]
    acceleration: float
    calibration: int
    axis: int | None

    def __call__(self, key: jax.Array) -> jax.Array:
        if self.pattern == "uniform":
            if self.axis is None:
                raise ValueError('cartesian_mri: pattern "uniform" leaves out lines; give axis=-2 or -1')
            return uniform_mask(self.shape, self.acceleration, self.calibration, self.axis, dtype="float32")
        if self.pattern not in PATTERNS:
            raise ValueError(f"cartesian_mri: pattern must be one of {', '.join(PATTERNS)}, uniform, got "
                             f"{self.pattern!r}")
        return PATTERNS[self.pattern](key, self.shape, self.acceleration, self.calibration, self.axis, dtype="float32")


def smooth_phase(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """exp(i p(x, y, ...)) with a random polynomial p of second degree."""
    axes = jnp.meshgrid(*(jnp.linspace(-1, 1, n, dtype="float32") for n in shape), indexing="ij")[::-1]
    products = [s * t for s, t in itertools.combinations_with_replacement(axes, 2)]
    terms = jnp.stack([jnp.ones_like(axes[0]), *axes, *products])
    c = PHASE * jax.random.normal(key, (len(terms),), "float32")
    return jnp.exp(1j * jnp.tensordot(c.at[0].mul(math.pi / PHASE), terms, 1)).astype("complex64")
