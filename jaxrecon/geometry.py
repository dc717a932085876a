"""Where sources and detectors stand: parallel, fan and cone beam. All lengths in one unit, angles in radians.

The plane has x to the right and y up. At angle t the detector runs along u = (cos t, sin t), its pixel d at
(d - (D - 1)/2) spacing + offset; rays travel along (-sin t, cos t). The origin is the centre of the image.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax.numpy as jnp
import numpy as np

from .value import is_concrete, static, value


class _Views:
    """What all geometries share: arrays with the views first, which can be selected."""

    _per_view: tuple[str, ...] = ("angles",)

    @property
    def num_views(self) -> int:
        return int(np.shape(getattr(self, self._per_view[0]))[0])

    def subset(self, index: Any) -> Any:
        """The same geometry with the views `index` only.

        Args:
            index: what selects from a numpy axis: a slice, integers, or a mask of V booleans. Integers may be traced.

        Raises:
            ValueError: no view is left.
        """
        fields = {name: getattr(self, name) for name in self._per_view}
        if not isinstance(index, slice):
            traced = not (isinstance(index, list | tuple) or is_concrete(index))
            index = index if traced else np.asarray(index, None if np.size(index) else int)
            fields = {name: jnp.asarray(v) if traced else v for name, v in fields.items()}
        chosen = {name: v[index] for name, v in fields.items()}
        return dataclasses.replace(self, **chosen)  # type: ignore[type-var]

    def _set(self, **fields):
        for name, v in fields.items():
            object.__setattr__(self, name, v)


@value
class ParallelBeam(_Views):
    """Parallel rays onto a flat detector.

    Args:
        angles: (V,) radians, in any order and range.
        num_detectors: D.
        detector_spacing: length between neighbouring detector pixels.
        detector_offset: length by which the detector is shifted along u, as by a wrong centre of rotation.

    Raises:
        ValueError: empty or not one-dimensional angles, numbers out of range.

    Example:
        >>> geometry = jr.ParallelBeam(jnp.linspace(0, jnp.pi, 180, endpoint=False), num_detectors=128)
        >>> geometry.num_views, geometry.subset(slice(None, None, 10)).num_views
        (180, 18)
    """

    angles: Any
    num_detectors: int = static()
    detector_spacing: Any = 1.0
    detector_offset: Any = 0.0

    def check(self):
        self._set(angles=_angles(self), num_detectors=_count(self, "num_detectors"))
        _positive(self, "detector_spacing")
        _finite(self, "detector_offset")

    @property
    def positions(self) -> Any:
        """(D,) where the detector pixels are along u."""
        return _along(self.num_detectors, self.detector_spacing) + self.detector_offset


@value
class FanBeam(_Views):
    """A point source and a flat detector turning about the origin.

    At angle t the source is at (sin t, -cos t) source_origin and the detector's centre at
    (-sin t, cos t) origin_detector; the detector is perpendicular to the central ray.

    Args:
        angles: (V,) radians.
        num_detectors: D.
        source_origin: length from the source to the origin.
        origin_detector: length from the origin to the detector; 0 for a virtual detector through the origin.
        detector_spacing: length between neighbouring pixels, on the detector itself.
        detector_offset: length by which the detector is shifted along u.

    Raises:
        ValueError: empty or not one-dimensional angles, numbers out of range.

    Example:
        >>> geometry = jr.FanBeam(jnp.linspace(0, 2 * jnp.pi, 360, endpoint=False), 256, 500.0, 500.0, 2.0)
        >>> geometry.magnification
        2.0
    """

    angles: Any
    num_detectors: int = static()
    source_origin: Any
    origin_detector: Any
    detector_spacing: Any = 1.0
    detector_offset: Any = 0.0

    def check(self):
        self._set(angles=_angles(self), num_detectors=_count(self, "num_detectors"))
        _positive(self, "source_origin", "detector_spacing")
        _finite(self, "origin_detector", "detector_offset", least=0.0)

    @property
    def positions(self) -> Any:
        """(D,) where the detector pixels are along u."""
        return _along(self.num_detectors, self.detector_spacing) + self.detector_offset

    @property
    def magnification(self) -> Any:
        """The size on the detector of a length at the origin."""
        return (self.source_origin + self.origin_detector) / self.source_origin

    @property
    def vectors(self) -> FanVectors:
        """The same geometry, each view by its source, detector and step."""
        c, s = np.cos(self.angles), np.sin(self.angles)
        along, ray = np.stack([c, s], -1), np.stack([-s, c], -1)
        return FanVectors(-ray * self.source_origin, ray * self.origin_detector + along * self.detector_offset,
                          along * self.detector_spacing, self.num_detectors)


@value
class FanVectors(_Views):
    """A point source and a flat detector placed anew in each view: short scans, tilts, offsets, wobble.

    Args:
        source: (V, 2) the source, as (x, y).
        detector: (V, 2) the centre of the detector.
        step: (V, 2) from one detector pixel to the next; pixel d is at detector + (d - (D - 1)/2) step.
        num_detectors: D.

    Raises:
        ValueError: shapes that do not agree, or no views.

    Example:
        >>> source, detector, step = jnp.array([[0.0, -9.0]]), jnp.array([[0.0, 9.0]]), jnp.array([[1.0, 0.0]])
        >>> jr.FanVectors(source, detector, step, num_detectors=8).num_views
        1
    """

    _per_view = ("source", "detector", "step")

    source: Any
    detector: Any
    step: Any
    num_detectors: int = static()

    def check(self):
        self._set(num_detectors=_count(self, "num_detectors"), **{n: _host(getattr(self, n)) for n in self._per_view})
        shapes = [np.shape(getattr(self, n)) for n in self._per_view]
        if len(set(shapes)) != 1 or len(shapes[0]) != 2 or shapes[0][1] != 2 or not shapes[0][0]:
            raise ValueError("FanVectors needs source, detector and step of one shape (views, 2), views >= 1, got "
                             + ", ".join(map(str, shapes)))
        _finite(self, *self._per_view)


@value
class ConeBeam(_Views):
    """A point source and a flat two-dimensional detector on a circle about the z axis.

    As `FanBeam` in the plane z = 0, with detector columns along u and detector rows, from low to high z, above one
    another: pixel (r, c) is at (c - (C - 1)/2) column_spacing along u and at z = (r - (R - 1)/2) row_spacing.

    Args:
        angles: (V,) radians.
        num_rows: R, along z.
        num_columns: C, along u.
        source_origin: length from the source to the axis.
        origin_detector: length from the axis to the detector.
        row_spacing: length between neighbouring rows.
        column_spacing: length between neighbouring columns.

    Raises:
        ValueError: empty or not one-dimensional angles, numbers out of range.

    Example:
        >>> jr.ConeBeam(jnp.linspace(0, 6, 7), 4, 5, source_origin=50.0, origin_detector=50.0).num_views
        7
    """

    angles: Any
    num_rows: int = static()
    num_columns: int = static()
    source_origin: Any
    origin_detector: Any
    row_spacing: Any = 1.0
    column_spacing: Any = 1.0

    def check(self):
        self._set(angles=_angles(self), num_rows=_count(self, "num_rows"), num_columns=_count(self, "num_columns"))
        _positive(self, "source_origin", "row_spacing", "column_spacing")
        _finite(self, "origin_detector", least=0.0)

    @property
    def magnification(self) -> Any:
        """The size on the detector of a length on the axis."""
        return (self.source_origin + self.origin_detector) / self.source_origin


def _along(count, spacing):
    return (np.arange(count) - (count - 1) / 2) * spacing


def _host(a):
    """float64 on the host where the numbers are known: tables are made of them before any rounding to float32."""
    return np.asarray(a, np.float64) if is_concrete(a) or isinstance(a, list | tuple) else a


def _angles(geometry):
    name, angles = type(geometry).__name__, _host(geometry.angles)
    if np.ndim(angles) != 1 or np.shape(angles)[0] == 0:
        raise ValueError(f"{name} needs angles of shape (views,) with at least one view, got shape {np.shape(angles)}")
    if is_concrete(angles) and not np.all(np.isfinite(angles)):
        raise ValueError(f"{name} needs finite angles, got {int(np.sum(~np.isfinite(angles)))} that are not")
    return angles


def _count(geometry, field):
    n = getattr(geometry, field)
    try:
        whole = int(n) == n
    except (TypeError, ValueError):
        whole = False
    if not whole or n < 1:
        raise ValueError(f"{type(geometry).__name__} needs {field} as an integer >= 1, got {n!r}")
    return int(n)


def _positive(geometry, *fields):
    _finite(geometry, *fields)
    for field in fields:
        v = getattr(geometry, field)
        if is_concrete(v) and not v > 0:
            raise ValueError(f"{type(geometry).__name__} needs {field} > 0, got {v}")


def _finite(geometry, *fields, least=-math.inf):
    for field in fields:
        v = getattr(geometry, field)
        if is_concrete(v) and not np.all(np.isfinite(v)):
            raise ValueError(f"{type(geometry).__name__} needs a finite {field}, got {v}")
        if field == fields[0] and is_concrete(v) and not np.all(np.asarray(v) >= least):
            raise ValueError(f"{type(geometry).__name__} needs {field} >= {least:g}, got {v}")
