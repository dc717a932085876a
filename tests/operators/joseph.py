"""Joseph's line integrals by plain loops over rays in float64, and chord lengths of ellipses."""

import numpy as np


def rays(geometry):
    """A point and a direction, (V, D, 2) each, of every ray of a parallel beam, fan beam or of fan vectors."""
    D = geometry.num_detectors
    e = np.arange(D) - (D - 1) / 2
    if hasattr(geometry, "source"):
        pixels = geometry.detector[:, None] + e[:, None] * geometry.step[:, None]
        return np.broadcast_to(geometry.source[:, None], pixels.shape), pixels - geometry.source[:, None]
    t = np.asarray(geometry.angles)[:, None, None]
    along = np.concatenate([np.cos(t), np.sin(t)], -1)
    beam = np.concatenate([-np.sin(t), np.cos(t)], -1)
    on_line = along * (e * geometry.detector_spacing + geometry.detector_offset)[:, None]
    if not hasattr(geometry, "source_origin"):
        return on_line, np.broadcast_to(beam, on_line.shape)
    pixels, source = beam * geometry.origin_detector + on_line, -beam * geometry.source_origin
    return np.broadcast_to(source, pixels.shape), pixels - source


def joseph_matrix(geometry, shape, pixel_size=1.0):
    """(V * D, ny * nx)"""
    ny, nx = shape
    points, directions = (v.reshape(-1, 2) for v in rays(geometry))
    matrix = np.zeros((len(points), ny, nx))
    for row, (px, py), (wx, wy) in zip(matrix, points / pixel_size, directions, strict=True):
        column, line = px + (nx - 1) / 2, (ny - 1) / 2 - py  # the point, in indices
        by_row = abs(wy) >= abs(wx)
        length = pixel_size * np.hypot(wx, wy) / max(abs(wx), abs(wy))
        for k in range(ny if by_row else nx):
            at = column - (k - line) * wx / wy if by_row else line - (k - column) * wy / wx
            low = int(np.floor(at))
            for n, weight in ((low, low + 1 - at), (low + 1, at - low)):
                if 0 <= n < (nx if by_row else ny):
                    row[(k, n) if by_row else (n, k)] += weight * length
    return matrix.reshape(len(points), -1)


def chords(geometry, centre, axes, angle=0.0):
    """(V, D) lengths of the rays inside an ellipse with semi-axes `axes`, turned by `angle`."""
    points, w = rays(geometry)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    p, d = ((v @ turn) / axes for v in (points - centre, w / np.linalg.norm(w, axis=-1, keepdims=True)))
    a, b, c = (d * d).sum(-1), (p * d).sum(-1), (p * p).sum(-1) - 1
    return 2 * np.sqrt(np.maximum(b * b - a * c, 0)) / a
