"""Any flat-detector geometry as lines, in pixels from the centre of the image with y down, one per view and detector.

The ray to detector pixel d of a view goes through Q0 + e Q1 along W0 + e W1 with e = d - (D - 1)/2. Parallel beams have
W1 = 0, fan beams Q1 = 0, so what decides about a pixel p is linear in e: (p - Q) x W = num(p) + e den(p), zero at the
detector coordinate e*(p) = -num/den onto which p projects.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...geometry import FanBeam, FanVectors, ParallelBeam


def lines(geometry: Any, pixel_size: float) -> np.ndarray:
    """(V, 8) float64: Q0, Q1, W0, W1 of every view.

    Raises:
        ValueError: a fan-beam detector that the source sees edge-on, or whose pixels are in one place.
    """
    if isinstance(geometry, ParallelBeam):
        c, s = np.cos(geometry.angles), np.sin(geometry.angles)
        along, ray = np.stack([c, -s], -1), np.stack([-s, -c], -1)
        q0, q1 = along * geometry.detector_offset / pixel_size, along * geometry.detector_spacing / pixel_size
        return np.concatenate([q0, q1, ray, np.zeros_like(ray)], -1)
    vectors: FanVectors = geometry.vectors if isinstance(geometry, FanBeam) else geometry
    source, detector, step = (np.asarray(v) * np.array([1, -1]) / pixel_size
                              for v in (vectors.source, vectors.detector, vectors.step))
    w0 = detector - source
    size = np.hypot(*w0.T) * np.hypot(*step.T)
    flat = np.abs(_cross(w0, step)) <= 1e-6 * size
    if flat.any():
        v = int(np.flatnonzero(flat)[0])
        raise ValueError(f"XRay: the source sees the detector of view {v} edge-on (source {vectors.source[v]}, "
                         f"detector {vectors.detector[v]}, step {vectors.step[v]}): step must not point along the ray")
    return np.concatenate([source, np.zeros_like(source), w0, step], -1)


def projections(of: np.ndarray) -> np.ndarray:
    """(V, 6): e*(p) = (a0 + a1 x + a2 y) / (1 + b1 x + b2 y) for a pixel p = (x, y); the last is |den| at the origin.

    The columns are a0, a1, a2, b1, b2, |den(0)|. The denominator is positive in front of the source.
    """
    q0, q1, w0, w1 = np.split(of, 4, -1)
    den = -_cross(q0, w1) - _cross(q1, w0)
    num = -_cross(q0, w0)
    return np.stack([-num / den, -w0[:, 1] / den, w0[:, 0] / den, w1[:, 1] / den, -w1[:, 0] / den, np.abs(den)], -1)


def footprint(of: np.ndarray, shape: tuple[int, int], num_detectors: int) -> tuple[np.ndarray, np.ndarray]:
    """(V,) and (V,): how far below and above e*(p), at most, are the detectors whose ray has a weight at p.

    A ray has one where it passes within one pixel along a row or along a column. How far apart these rays land falls
    with the distance to the source, so the extremes lie on the outline of the image.

    Raises:
        ValueError: the source is in the image, or part of the image is behind it.
    """
    q0, q1, w0, w1 = np.split(of, 4, -1)
    if not w1.any():
        far = np.abs(w0).max(-1) / np.abs(_cross(q1, w0))
        return far, far
    half = np.array([shape[1], shape[0]]) / 2
    inside = (np.abs(q0) < half).all(-1)
    if inside.any():
        v = int(np.flatnonzero(inside)[0])
        raise ValueError(f"XRay: the source of view {v} is inside the image ({_pixels(q0[v])} pixels from its centre, "
                         f"half sizes {_pixels(half)}); move the source out, or make the image or pixel_size smaller")
    # One pixel beyond the image: as far as a hat reaches.
    corners = (half + 1) * np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]])
    front = _cross(corners - q0[:, None], w1[:, None]) / _cross(w0, w1)[:, None]
    if front.min() <= 1e-6:
        v = int(np.flatnonzero(front.min(-1) <= 1e-6)[0])
        raise ValueError(f"XRay: in view {v} part of the image is behind the source or beside it ({_pixels(q0[v])} "
                         f"pixels from its centre, half sizes {_pixels(half)}); all of it must lie on the detector's "
                         "side: move the source out, or make the image or pixel_size smaller")
    a0, a1, a2, b1, b2, _ = projections(of).T[..., None]
    x, y = _outline(half)

    def project(dx, dy):
        return (a0 + a1 * (x + dx) + a2 * (y + dy)) / (1 + b1 * (x + dx) + b2 * (y + dy))

    centre = project(0, 0)
    low, high = np.zeros_like(centre), np.zeros_like(centre)
    for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        away = project(dx, dy) - centre
        np.maximum(low, -away, out=low)
        np.maximum(high, away, out=high)
    edge = (num_detectors - 1) / 2
    margin = 2 * (low + high) + 1
    seen = (centre > -edge - margin) & (centre < edge + margin)
    return (low * seen).max(-1), (high * seen).max(-1)


def _outline(half):
    x, y = (np.arange(-h, h + 0.25, 0.5 if h < 64 else 1.0) for h in half)
    far_x, far_y = np.full_like(y, half[0]), np.full_like(x, half[1])
    return np.concatenate([x, x, far_x, -far_x]), np.concatenate([far_y, -far_y, y, y])


def joseph(of: Any, shape: tuple[int, int], num_detectors: int, xp: Any = np) -> tuple[Any, Any]:
    """(V, D) where each ray crosses the middle line of what it is driven along, and its slope there.

    A ray nearer to vertical is driven along the rows: at row i it is between columns. The others are driven along the
    columns. Both gather from one padded line of pixels (see `layout`): the position counts from its start, and
    grows by the slope from each row (or column) to the next; the middle is row (column) `size // 2`.

    Args:
        of: (V, 8) lines, float64.
        xp: numpy, or jax.numpy for the same in traced code.
    """
    ny, nx = shape
    size, zero, first, second, _ = layout(shape)
    e = xp.asarray(_centred(num_detectors), of.dtype)
    qx, qy, wx, wy = (of[:, None, k] + e * of[:, None, k + 2] for k in (0, 1, 4, 5))
    by_row = xp.abs(wy) >= xp.abs(wx)
    slope = xp.where(by_row, wx, wy) / xp.where(by_row, wy, wx)
    at_centre = xp.where(by_row, qx, qy) - slope * xp.where(by_row, qy, qx)
    across, along = xp.where(by_row, nx, ny), xp.where(by_row, ny, nx)
    start = at_centre + (across - 1) / 2 - slope * (along - 1) / 2
    end = start + slope * (along - 1)
    dead = (xp.maximum(start, end) <= -1) | (xp.minimum(start, end) >= across)
    middle = start + slope * (size // 2) + xp.where(by_row, first, second)
    return xp.where(dead, zero / 2 - 0.5, middle), slope


def layout(shape: tuple[int, int]) -> tuple[int, int, int, int, int]:
    """The padded line of pixels at step i: zeros, row i, zeros, column i, zeros.

    The zeros are as long as a ray can get beyond the image: a ray crosses at most one pixel a step.

    Returns:
        Number of steps, of zeros, start of the row, start of the column, whole length.
    """
    ny, nx = shape
    size = max(shape)
    zero = size + 2
    return size, zero, zero, 2 * zero + nx, 3 * zero + nx + ny


def _centred(n):
    return np.arange(n) - (n - 1) / 2


def _cross(a, b):
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def _pixels(v):
    return "(" + ", ".join(f"{x:.4g}" for x in v) + ")"
