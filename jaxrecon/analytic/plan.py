"""What filtered back-projection does with each view of a geometry."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..geometry import FanBeam, FanVectors, ParallelBeam
from ..value import is_concrete
from .weights import angular_cells, half_turn_weights, namespace, parker_weights

# How far a scan may be from a circle around the origin, relative to its radius.
_CIRCLE = 0.02


class Plan(NamedTuple):
    """A row of a sinogram (V, D) is taken times `weights`, filtered at `spacing`, and spread over the image.

    The pixel p = (x, y, 1) takes the sample number (n . p) / (d . p), with weight 1 / (d . p)^2.
    """

    weights: Any  # (V, D)
    spacing: Any  # (V, 1) of the detector, as seen at the origin
    numerator: Any  # n, (V, 3)
    denominator: Any  # d, (V, 3); None for a parallel beam


def plan(geometry: Any) -> Plan:
    """The plan of a geometry in two dimensions, on the host where its numbers are known."""
    if isinstance(geometry, ParallelBeam):
        return _parallel(geometry)
    return fan_plan(*fan_vectors(geometry), geometry.num_detectors)


def _parallel(geometry):
    number, spacing, offset = geometry.num_detectors, geometry.detector_spacing, geometry.detector_offset
    xp = namespace(geometry)
    angles = xp.asarray(geometry.angles) + 0.0
    turn, half = angular_cells(angles, 2 * np.pi), angular_cells(angles, np.pi)
    u = (xp.arange(number) - (number - 1) / 2) * spacing + offset
    edge = number * spacing / 2
    once = half_turn_weights(u, offset - edge, offset + edge, spacing)
    # One or two views leave half of a full turn open.
    whole = (turn.span >= 2 * np.pi) & (turn.largest < np.pi)
    weights = xp.where(whole, turn.cells[:, None] * once, half.cells[:, None] * xp.ones(number))
    middle = (number - 1) / 2 - offset / spacing
    numerator = xp.stack([xp.cos(angles) / spacing, xp.sin(angles) / spacing, middle + 0 * angles], -1)
    return Plan(weights, xp.ones((angles.shape[0], 1)) * spacing, numerator, None)


def fan_vectors(geometry: Any) -> tuple[Any, Any, Any]:
    """Source, detector centre and detector step of every view, each (V, 2)."""
    if isinstance(geometry, FanVectors):
        return geometry.source, geometry.detector, geometry.step
    if not isinstance(geometry, FanBeam):
        raise TypeError(f"filtered back-projection knows ParallelBeam, FanBeam and FanVectors, got {geometry!r}")
    return circle_vectors(geometry.angles, geometry.source_origin, geometry.origin_detector, geometry.detector_spacing,
                          geometry.detector_offset)


def circle_vectors(angles: Any, source_origin: Any, origin_detector: Any, spacing: Any,
                   offset: Any = 0.0) -> tuple[Any, Any, Any]:
    """Source, detector centre and detector step of a circular scan, each (V, 2)."""
    xp = namespace(angles, source_origin, origin_detector, spacing, offset)
    c, s = xp.cos(angles), xp.sin(angles)
    along, across = xp.stack([c, s], -1), xp.stack([-s, c], -1)
    return -across * source_origin, across * origin_detector + along * offset, along * spacing


def fan_plan(source: Any, detector: Any, step: Any, number: int) -> Plan:
    """The plan of a circular scan with a flat detector (Kak and Slaney 1988, section 3.4.2)."""
    xp = namespace(source, detector, step)
    source, detector, step = (xp.asarray(v) + 0.0 for v in (source, detector, step))
    radius, spacing = xp.sqrt((source**2).sum(-1)), xp.sqrt((step**2).sum(-1))
    along = step / spacing[:, None]
    normal = xp.stack([-along[:, 1], along[:, 0]], -1)
    distance = ((detector - source) * normal).sum(-1)
    normal, distance = normal * xp.sign(distance)[:, None], xp.abs(distance)
    shift = ((detector - source) * along).sum(-1)  # of the detector's centre from the foot of the source
    if is_concrete(source, detector, step):
        _check_circle(radius, spacing, distance, (source * along).sum(-1))

    u = (xp.arange(number) - (number - 1) / 2) * spacing[:, None] + shift[:, None]
    cosine = distance[:, None] / xp.sqrt(distance[:, None] ** 2 + u**2)
    turning = xp.arctan2(source[:, 0], -source[:, 1])
    cells, start, span, _ = angular_cells(turning, 2 * np.pi)
    side = xp.sign(xp.cos(turning) * along[:, 0] + xp.sin(turning) * along[:, 1])[:, None]
    fan_angle = side * xp.arctan(u / distance[:, None])
    short = parker_weights(xp.mod(turning - start, 2 * np.pi)[:, None], fan_angle, span)
    edge = number * spacing.mean() / 2
    whole = half_turn_weights(u, shift.mean() - edge, shift.mean() + edge, spacing.mean())
    once = xp.where(span >= 2 * np.pi, whole, short)

    def affine(v):
        """v . (p - source) / radius, as coefficients of p = (x, y, 1)."""
        return xp.concatenate([v, -(source * v).sum(-1, keepdims=True)], -1) / radius[:, None]

    depth = affine(normal)
    middle = (number - 1) / 2 - shift / spacing
    numerator = affine(along) * (distance / spacing)[:, None] + middle[:, None] * depth
    return Plan(cells[:, None] * once * cosine, (spacing * radius / distance)[:, None], numerator, depth)


def _check_circle(radius, spacing, distance, tilt):
    def spread(v):
        return np.ptp(v) / np.abs(v).mean()

    worst = {"distance from source to origin": spread(radius), "distance from source to detector": spread(distance),
             "detector spacing": spread(spacing), "direction of the detector": (np.abs(tilt) / radius).max()}
    for what, value in worst.items():
        if not value <= _CIRCLE:
            raise ValueError(f"FBP needs a circular scan around the origin, its detector across the central ray: the "
                             f"{what} is off by {100 * value:.1f} %, allowed {100 * _CIRCLE:.0f} %; use jr.SIRT or "
                             "jr.CGNR")
