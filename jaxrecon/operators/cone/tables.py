"""What a cone beam's rays have in common, computed on the host in float64.

The rays of one detector column lie in one plane that is parallel to the axis. They step through the slabs of the
volume, its rows or its columns, whichever they cross more steeply. In a slab all of them are at the same place across
it, and their heights are evenly spaced, the more widely the further from the source. So the weight of a voxel is
hat(y - j) hat(z - k), and either direction of the transform is two short sums, across a slab and along z.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

PAD = 2  # zeros on either side of what is gathered from
DEPTH_BITS = 27


class Columns(NamedTuple):
    """Fixed-point numbers of detector columns, each (V, C), for slab s counted from number max(ny, nx) // 2.

    Forward map and adjoint compute the same integers from them, so that one is the other's adjoint to rounding.
    """

    base: Any  # base + slope s: place across the slab, in voxels after PAD of padding
    slope: Any
    near: Any  # near + pace s: distance from the source, 1 at the detector
    pace: Any
    along_x: Any  # whether the slabs are the columns of the volume instead of its rows


class Tables(NamedTuple):
    columns: Columns
    slant: Any  # (V, C) length^2 of a ray of height 0, per slab
    lift: Any  # (V, C) what a voxel of height at the detector adds to it: its root
    sees: Any  # (V, 2, 3): the column that sees p = (x, y, 1), in voxels, is (sees[0] . p) / (sees[1] . p)


def centred(n: int) -> np.ndarray:
    return np.arange(n) - (n - 1) / 2


def make_tables(g: Any, shape: tuple[int, int, int], size: float) -> tuple[Tables, tuple[int, int], int]:
    """The tables, the taps (columns, rows) that see one voxel, and the bits of the fraction of a place."""
    _, ny, nx = shape
    radius, far = float(g.source_origin) / size, float(g.source_origin + g.origin_detector) / size
    spacing = float(g.column_spacing) / size
    if radius <= math.hypot(nx + 2, ny + 2) / 2:
        raise ValueError(f"the source turns inside the volume: source_origin is {g.source_origin}, and the edges of "
                         f"the volume are {math.hypot(nx, ny) / 2 * size:.6g} from the axis")
    angles = np.asarray(g.angles, np.float64)[:, None]
    c, s = np.cos(angles), np.sin(angles)
    x, y = s * radius, -c * radius
    u = centred(g.num_columns) * spacing
    wx, wy = u * c - far * s, u * s + far * c  # from the source to the detector
    along_x = np.abs(wy) < np.abs(wx)
    drive = np.where(along_x, wx, -wy)  # columns of the volume run with x, rows against y
    slabs, width = np.where(along_x, nx, ny), np.where(along_x, ny, nx)
    middle = max(nx, ny) // 2
    reach = middle - (slabs - 1) / 2 - np.where(along_x, x, -y)  # slabs from the source to the middle one
    slope = np.where(along_x, -wy, wx) / drive
    base = (width - 1) / 2 + np.where(along_x, -y, x) + slope * reach

    # Detector columns that miss the volume read the zeros beside it.
    ends = np.stack([base - slope * middle, base + slope * (slabs - 1 - middle)])
    dead = (ends.max(0) <= -1) | (ends.min(0) >= width)
    base, slope = np.where(dead, -PAD, base), np.where(dead, 0, slope)
    # By what no angle exceeds, so that other angles are no other program.
    bits = 30 - math.ceil(math.log2(2 * max(nx, ny) + 2 * PAD + 1))

    def fixed(v, bits):
        return np.rint(v * 2.0**bits).astype(np.int32)

    columns = Columns(fixed(base + PAD, bits), fixed(slope, bits), fixed(reach / drive, DEPTH_BITS),
                      fixed(1 / drive, DEPTH_BITS), along_x)
    sees = np.stack([np.concatenate([c, s, 0 * c], 1), np.concatenate([-s, c, radius + 0 * c], 1)], 1)
    sees[:, 0] = sees[:, 0] * far / spacing + sees[:, 1] * (g.num_columns - 1) / 2
    nearest = (radius - math.hypot(nx + 2, ny + 2) / 2) / far
    rows = math.floor(2 * size / (float(g.row_spacing) * nearest) + 1e-6) + 1
    tables = Tables(columns, (wx**2 + wy**2) / drive**2, 1 / np.abs(drive), sees)
    return tables, (min(_columns_of_a_voxel(sees, nx, ny), g.num_columns), min(rows, g.num_rows)), bits


def _columns_of_a_voxel(sees, nx, ny):
    """The most detector columns whose rays pass within one voxel of a voxel's centre, along a row or a column."""
    x, y = centred(nx), centred(ny)
    # They are the more the nearer the source: most at the outline.
    outline = (np.concatenate([x, x, np.repeat(x[[0, -1]], ny)]), np.concatenate([np.repeat(y[[0, -1]], nx), y, y]))

    def column(dx, dy):
        p = np.stack([outline[0] + dx, outline[1] + dy, np.ones(2 * (nx + ny))])
        return sees[:, 0] @ p / (sees[:, 1] @ p)

    ends = [column(1, 0), column(-1, 0), column(0, 1), column(0, -1)]
    return math.floor((np.max(ends, 0) - np.min(ends, 0)).max() + 1e-6) + 1
