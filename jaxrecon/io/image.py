"""What the readers of images return: pixels, and where they lie in space."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..value import value


@value
class Image:
    """An image or volume on the host, and the place of its pixels.

    Axes are (ny, nx), (nz, ny, nx) or (frames, nz, ny, nx); rows y and columns x as the file has them: nothing is
    flipped or resampled on reading.

    Args:
        pixels: real or complex numbers, two to four axes.
        spacing: mm between pixels, for the last two axes (of a 2-D image) or three. Default: 1, or what affine says.
        affine: (4, 4), from the indices (z, y, x, 1) of a pixel to mm in space, towards the right, front and top of a
            patient (RAS+, as NIfTI has it). Default: from spacing. For a 2-D image z is 0.

    Raises:
        ValueError: not an image, spacing that is not positive, an affine that is no map, or the two disagree.

    Example:
        >>> jr.io.Image(jnp.zeros((5, 4)), spacing=(0.5, 2)).affine.tolist()
        [[0.0, 0.0, 2.0, 0.0], [0.0, 0.5, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]]
    """

    pixels: Any
    spacing: Any = None
    affine: Any = None

    def check(self):
        pixels = np.asarray(self.pixels)
        if pixels.dtype.kind not in "biufc" or not 2 <= pixels.ndim <= 4 or 0 in pixels.shape:
            raise ValueError("pixels must be numbers of shape (ny, nx), (nz, ny, nx) or (frames, nz, ny, nx), got "
                             f"{pixels.dtype} of {pixels.shape}")
        axes = min(pixels.ndim, 3)
        spacing = self.spacing
        if spacing is not None:
            spacing = tuple(float(s) for s in spacing)
            if len(spacing) != axes or not all(0 < s < np.inf for s in spacing):
                raise ValueError(f"spacing must be {axes} positive lengths, got {spacing}")
        if self.affine is None:
            spacing = spacing or (1.0,) * axes
            affine = np.eye(4)
            affine[:3, :3] = np.diag((*(1.0,) * (3 - axes), *spacing))[::-1]
        else:
            affine = np.array(self.affine, np.float64)
            if affine.shape != (4, 4) or not np.isfinite(affine).all() or affine[3].tolist() != [0, 0, 0, 1]:
                raise ValueError("affine must be a finite (4, 4) matrix whose last row is 0 0 0 1, got "
                                 f"{affine.tolist()}")
            found = tuple(float(s) for s in np.linalg.norm(affine[:3, :3], axis=0)[3 - axes:])
            if not all(s > 0 for s in found):
                raise ValueError(f"affine has a column of zeros: {affine.tolist()}")
            if spacing is not None and not np.allclose(spacing, found, rtol=1e-3):
                raise ValueError(f"spacing is {spacing}, but affine says {found}")
            spacing = found
        for name, v in (("pixels", pixels), ("spacing", spacing), ("affine", affine)):
            object.__setattr__(self, name, v)


def as_image(x: Any) -> Image:
    """An Image of an array, or itself."""
    return x if isinstance(x, Image) else Image(np.asarray(x))
