"""What a reader returns: the samples of one slice, Cartesian or not, checked."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..value import static, value
from .byte_order import native


@value
class Scan:
    """One Cartesian multi-coil slice, on the host: k-space, where it was measured, and coil maps where they are known.

    Args:
        kspace: complex (coils, ny, nx), or (ny, nx) for one coil; centred (zero frequency at N // 2).
        mask: bool, or 0 and 1, of shape (ny, nx), (ny, 1) or (1, nx): samples outside it are ignored. None: measured is
            what is not zero in some coil. A mask of whole lines is kept as (ny, 1) or (1, nx), the form that `jr.sense`
            has a fast path for.
        maps: complex coil sensitivities, of the shape of kspace.
        noise: (coils, coils) covariance of the noise of kspace, per real component, where the file has noise scans:
            `jr.whiten(scan.kspace, scan.noise)` (and the maps likewise) before reconstruction.
        crop: (ny, nx) of the middle of the image that the scan was made for; outside lies oversampling. None: all.
        slice, slices: which slice of how many in the file this is.

    Attributes:
        kspace: complex64 (complex128 where it was), (coils, ny, nx), zero outside the mask.

    Raises:
        ValueError: a wrong shape or dtype, values that are not finite, nothing measured.

    Example:
        >>> import numpy as np
        >>> kspace = np.ones((2, 4, 4), complex)
        >>> kspace[:, 1] = 0
        >>> jr.io.Scan(kspace).mask.ravel().tolist()
        [True, False, True, True]
    """

    kspace: Any
    mask: Any = None
    maps: Any = None
    noise: Any = None
    crop: tuple[int, int] | None = static(default=None)
    slice: int = static(default=0)
    slices: int = static(default=1)

    def check(self):
        kspace = _complex("kspace", self.kspace)
        if kspace.ndim == 2:
            kspace = kspace[None]
        if kspace.ndim != 3 or 0 in kspace.shape:
            raise ValueError(f"kspace must be (coils, ny, nx), or (ny, nx) for one coil, got {np.shape(self.kspace)}; "
                             "take one slice of a volume")
        _finite("kspace", kspace)
        image = kspace.shape[1:]
        mask = np.any(kspace != 0, axis=0) if self.mask is None else _mask(self.mask, image)
        mask = as_lines(mask)
        kspace = np.where(mask, kspace, 0)
        if not kspace.any():
            raise ValueError("kspace is zero wherever it was measured: there is nothing to reconstruct")
        maps = self.maps
        if maps is not None:
            maps = _complex("maps", maps)
            maps = maps[None] if maps.ndim == 2 else maps
            if maps.shape != kspace.shape:
                raise ValueError(f"maps have shape {maps.shape}, but kspace has {kspace.shape}: give one map per coil, "
                                 "of the size of the image")
            _finite("maps", maps)
            if not maps.any():
                raise ValueError("maps are zero everywhere")
        noise = _noise(self.noise, len(kspace))
        crop = _crop(self.crop, image)
        for name, v in (("kspace", kspace), ("mask", mask), ("maps", maps), ("noise", noise), ("crop", crop)):
            object.__setattr__(self, name, v)


@value
class NonCartesianScan:
    """One multi-coil slice or volume along a trajectory, on the host.

    Args:
        samples: complex (coils, ...), or (...) of the shape of the nodes for one coil.
        nodes: float (..., ndim), cycles per pixel in [-1/2, 1/2); nodes[..., d] belongs to axis d of the image, so y
            before x. As `jr.NUFFT(nodes, shape)` takes them.
        shape: (ny, nx) or (nz, ny, nx) of the image.
        density: float, of the shape of samples of one coil: weights that make the adjoint a gridding reconstruction.
        noise, crop, slice, slices: as in `Scan`.

    Raises:
        ValueError: shapes that do not fit, nodes out of range, values that are not finite.

    Example:
        >>> import numpy as np
        >>> nodes = np.stack([np.zeros(5), np.linspace(-0.5, 0.4, 5)], -1)
        >>> jr.io.NonCartesianScan(np.ones(5, complex), nodes, (8, 8)).samples.shape
        (1, 5)
    """

    samples: Any
    nodes: Any
    shape: tuple[int, ...] = static()
    density: Any = None
    noise: Any = None
    crop: tuple[int, ...] | None = static(default=None)
    slice: int = static(default=0)
    slices: int = static(default=1)

    def check(self):
        shape = tuple(int(n) for n in self.shape)
        if len(shape) not in (2, 3) or min(shape) < 1:
            raise ValueError(f"shape must be (ny, nx) or (nz, ny, nx), got {self.shape}")
        samples, nodes = _complex("samples", self.samples), np.asarray(self.nodes)
        if nodes.dtype.kind != "f" or nodes.ndim < 2 or nodes.shape[-1] != len(shape) or 0 in nodes.shape:
            raise ValueError(f"nodes must be real, of shape (..., {len(shape)}) for an image of {shape}, got "
                             f"{nodes.dtype} of {nodes.shape}")
        if samples.shape == nodes.shape[:-1]:
            samples = samples[None]
        if samples.shape[1:] != nodes.shape[:-1] or not len(samples):
            raise ValueError(f"samples have shape {samples.shape}, but nodes {nodes.shape}: samples must be (coils, "
                             f"{', '.join(map(str, nodes.shape[:-1]))})")
        _finite("samples", samples)
        _finite("nodes", nodes)
        if np.abs(nodes).max() > 0.5:
            raise ValueError(f"nodes reach {np.abs(nodes).max():g}; they must be in cycles per pixel, [-1/2, 1/2): "
                             "divide cycles per field of view by the number of pixels")
        if not samples.any():
            raise ValueError("all samples are zero: there is nothing to reconstruct")
        # e^{-2 pi i n k} is the same at both ends.
        nodes = np.where(nodes >= 0.5, nodes - 1, nodes)
        density = self.density
        if density is not None:
            density = np.asarray(density)
            if density.dtype.kind != "f" or density.shape != nodes.shape[:-1]:
                raise ValueError(f"density must be real, of shape {nodes.shape[:-1]}, got {density.dtype} of "
                                 f"{density.shape}")
            _finite("density", density)
            density = native(density)
        noise, crop = _noise(self.noise, len(samples)), _crop(self.crop, shape)
        for name, v in (("samples", samples), ("nodes", nodes), ("shape", shape), ("density", density),
                        ("noise", noise), ("crop", crop)):
            object.__setattr__(self, name, v)


def as_lines(mask: np.ndarray) -> np.ndarray:
    """A mask that repeats along an axis, as (ny, 1), (1, nx) or (1, 1); any other as it is."""
    if (mask == mask[:, :1]).all():
        mask = mask[:, :1]
    if (mask == mask[:1]).all():
        mask = mask[:1]
    return mask


def _complex(name: str, x: Any) -> np.ndarray:
    x = np.asarray(x)
    if not np.issubdtype(x.dtype, np.complexfloating):
        raise ValueError(f"{name} must be complex, got {x.dtype} of shape {x.shape}; with real and imaginary parts on "
                         f"an axis of length 2 combine them first: {name}[..., 0] + 1j * {name}[..., 1]")
    return x.astype(np.complex128 if x.dtype.itemsize >= 16 else np.complex64)


def _noise(noise: Any, coils: int) -> np.ndarray | None:
    if noise is None:
        return None
    noise = np.asarray(noise)
    if noise.shape != (coils, coils):
        raise ValueError(f"noise must be the covariance ({coils}, {coils}) of the coils, got {noise.shape}")
    _finite("noise", noise)
    return native(noise)


def _crop(crop: Any, image: tuple[int, ...]) -> tuple[int, ...] | None:
    if crop is None or tuple(crop) == tuple(image):
        return None
    crop = tuple(int(n) for n in crop)
    if len(crop) != len(image) or not all(1 <= n <= size for n, size in zip(crop, image, strict=True)):
        raise ValueError(f"crop {crop} is not a part of the image, {image}")
    return crop


def middle(x: Any, shape: tuple[int, ...] | None) -> Any:
    """The middle of the trailing axes of x, so that the centre N // 2 stays the centre.

    Example:
        >>> jr.io.middle(jnp.arange(6), (3,)).tolist()
        [2, 3, 4]
    """
    if shape is None:
        return x
    old = x.shape[x.ndim - len(shape):]
    window = (slice(n // 2 - m // 2, n // 2 - m // 2 + m) for n, m in zip(old, shape, strict=True))
    return x[(..., *window)]


def _finite(name: str, x: np.ndarray) -> None:
    bad = ~np.isfinite(x)
    if bad.any():
        first = tuple(int(i) for i in np.unravel_index(int(np.argmax(bad)), bad.shape))
        raise ValueError(f"{name} holds {int(bad.sum())} values that are not finite (NaN or infinite), "
                         f"the first at {first}")


def _mask(mask: Any, image: tuple[int, ...]) -> np.ndarray:
    mask = np.asarray(mask)
    ny, nx = image
    if mask.shape not in ((ny, nx), (ny, 1), (1, nx), (1, 1)):
        raise ValueError(f"mask has shape {mask.shape}, but k-space of {ny} x {nx} needs ({ny}, {nx}), ({ny}, 1) or "
                         f"(1, {nx})")
    if mask.dtype != bool:
        if not np.issubdtype(mask.dtype, np.number) or not np.isin(mask, (0, 1)).all():
            raise ValueError(f"mask must hold True and False, or 1 and 0; got {mask.dtype} with other values")
        mask = mask == 1
    return mask
