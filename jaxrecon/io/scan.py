"""What a reader returns: the samples of one Cartesian slice, checked."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..value import value


@value
class Scan:
    """One Cartesian multi-coil slice, on the host: k-space, where it was measured, and coil maps where they are known.

    Args:
        kspace: complex (coils, ny, nx), or (ny, nx) for one coil; centred (zero frequency at N // 2).
        mask: bool, or 0 and 1, of shape (ny, nx), (ny, 1) or (1, nx): samples outside it are ignored. None: measured is
            what is not zero in some coil. A mask of whole lines is kept as (ny, 1) or (1, nx), the form that `jr.sense`
            has a fast path for.
        maps: complex coil sensitivities, of the shape of kspace.

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
        for name, v in (("kspace", kspace), ("mask", mask), ("maps", maps)):
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


def _finite(name: str, x: np.ndarray) -> None:
    bad = ~np.isfinite(x)
    if bad.any():
        first = tuple(int(i) for i in np.unravel_index(int(np.argmax(bad)), bad.shape))
        raise ValueError(f"{name} holds {int(bad.sum())} values that are not finite (NaN or infinite), "
                         f"the first at {first}")


def _mask(mask: Any, image: tuple[int, ...]) -> np.ndarray:
    mask = np.asarray(mask)
    ny, nx = image
    if mask.shape not in ((ny, nx), (ny, 1), (1, nx)):
        raise ValueError(f"mask has shape {mask.shape}, but k-space of {ny} x {nx} needs ({ny}, {nx}), ({ny}, 1) or "
                         f"(1, {nx})")
    if mask.dtype != bool:
        if not np.issubdtype(mask.dtype, np.number) or not np.isin(mask, (0, 1)).all():
            raise ValueError(f"mask must hold True and False, or 1 and 0; got {mask.dtype} with other values")
        mask = mask == 1
    return mask
