"""What both directions of the X-ray transform look up, made on the host in float64.

float32 data: positions in int32 fixed point. A float32 position of 500 pixels has an error of 3e-5, and rounding it
down costs more than the whole lookup; in fixed point both parts are a shift and a mask. float64 data: positions from
`lines`, in float64.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ...geometry import ParallelBeam
from ...value import static, value
from .lines import footprint, joseph, layout, lines, projections

FINE_BITS = 16


@value
class Tables:
    """Per view, all with V as their first axis.

    Args:
        lines: (V, 8) see `lines`.
        projections: (V, 6) see `projections`.
        reach: (V,) the first detector with a weight at p is floor(e*(p) + (D - 1)/2 - reach) + 1.
        middle, slope, slope_fine: (V, D) the positions of `joseph` times 2^bits, unsigned 32 bits in int32; the slopes
            have FINE_BITS bits more, and shape (V, 1) for parallel beams.
        columns, rows: (V, nx) and (V, ny), parallel beams only: e*(p) + (D - 1)/2 - reach + 1 is their sum, times
            2^-shift.
        taps: how many detectors, at most, have a weight at a pixel in one view.
    """

    lines: Any
    projections: Any
    reach: Any
    middle: Any
    slope: Any
    slope_fine: Any
    columns: Any
    rows: Any
    shape: tuple[int, int] = static()
    num_detectors: int = static()
    pixel_size: float = static()
    taps: int = static()
    shift: int = static()

    @property
    def bits(self) -> int:
        """Fractional bits of a position in the padded line of pixels."""
        return _bits(self.shape)


def make_tables(geometry: Any, shape: tuple[int, int], pixel_size: float) -> Tables:
    """The tables of a geometry whose numbers are known."""
    parallel, D = isinstance(geometry, ParallelBeam), geometry.num_detectors
    of = lines(geometry, pixel_size)
    low, high = footprint(of, shape, D)
    # A weight of 1e-5 is near the rounding of float32 positions: a third tap for it would cost as much as the others.
    # For parallel beams, of the worst angle: other angles are then no other program.
    width = 2 * pixel_size / geometry.detector_spacing if parallel else (low + high).max()
    taps = min(D, max(1, math.ceil(width - 1e-5)))
    middle, slope = joseph(of, shape, D)
    slope = slope[:, :1] if parallel else slope
    bits, onto = _bits(shape), projections(of)
    coarse = _fixed(slope, bits)
    rest = np.rint((slope * 2.0**bits - coarse) * 2.0**FINE_BITS)
    fine = np.clip(rest, -(2**15), 2**15 - 1).astype(np.int16)
    columns, rows, shift = _detector_tables(onto, low, shape, D) if parallel else (None, None, 0)
    arrays = jax.tree.map(jnp.asarray, (of, onto, low, _fixed(middle, bits), coarse, fine, columns, rows))
    return Tables(*arrays, shape=shape, num_detectors=D, pixel_size=pixel_size, taps=taps, shift=shift)


def _bits(shape):
    return 32 - math.ceil(math.log2(layout(shape)[-1]))


def _detector_tables(of, reach, shape, num_detectors):
    a0, a1, a2 = of.T[:3, :, None]
    x, y = ((np.arange(n) - (n - 1) / 2) for n in shape[::-1])
    columns = a0 + a1 * x + (num_detectors - 1) / 2 - reach[:, None] + 1
    rows = a2 * y
    # By what no angle exceeds, so that other angles are no other program.
    largest = np.hypot(a1, a2).max() * (np.hypot(*shape) / 2 + 1) + np.abs(a0).max() + num_detectors / 2 + 1
    shift = 30 - math.ceil(math.log2(largest))
    return _fixed(columns, shift), _fixed(rows, shift), shift


def _fixed(a, bits):
    """Rounded to 2^-bits, modulo 2^32."""
    return np.rint(a * 2.0**bits).astype(np.int64).astype(np.int32)
