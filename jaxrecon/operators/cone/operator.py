"""Line integrals of a volume along the rays of a circular cone beam."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ...geometry import ConeBeam
from ...operator import LinearOperator, matched_pair
from ...value import is_concrete, static, value
from .kernels import backproject, project
from .tables import make_tables


@value
class ConeBeamXRay(LinearOperator):
    """Line integrals of a volume along the rays of a circular cone beam, interpolated as by Joseph (1982).

    The volume is centred on the axis of rotation, its rows and columns as in `XRay` (y up); slice k is at
    z = (k - (nz - 1)/2) voxel_size. Lengths are in one unit, that of the geometry. For parallel rays in three
    dimensions use `jr.batched(jr.XRay(geometry, (ny, nx)), nz)`, which projects slice by slice.

    A ray steps through the rows or the columns of the image, never through the slices: meant for rays that are tilted
    less than 45 degrees.

    Args:
        geometry: `ConeBeam`.
        shape: (nz, ny, nx).
        voxel_size: length of the side of a voxel.

    Raises:
        ValueError: a shape that is not three-dimensional, a source inside the volume, a traced geometry.
        TypeError: another geometry.

    Example:
        >>> geometry = jr.ConeBeam(jnp.linspace(0, 6, 7), 4, 5, source_origin=50.0, origin_detector=50.0)
        >>> A = jr.ConeBeamXRay(geometry, (2, 3, 3))
        >>> A(jnp.ones((2, 3, 3))).shape
        (7, 4, 5)
    """

    geometry: ConeBeam
    shape: Any = static()
    voxel_size: Any = static(default=1.0)
    tables: Any = dataclasses.field(init=False, default=None)
    taps: Any = static(init=False, default=None)  # how many columns, and rows, of the detector can see one voxel
    bits: Any = static(init=False, default=None)  # of the fraction in fixed-point places

    def check(self):
        if not isinstance(self.geometry, ConeBeam):
            raise TypeError(f"ConeBeamXRay takes a jr.ConeBeam, got {self.geometry!r}; for others use jr.XRay")
        shape = tuple(int(n) for n in np.ravel(self.shape))
        if len(shape) != 3 or min(shape) < 1:
            raise ValueError(f"ConeBeamXRay needs a shape (nz, ny, nx), got {self.shape}")
        if not is_concrete(self.geometry, self.voxel_size):
            raise ValueError("ConeBeamXRay makes its tables on the host, from numbers: make it outside jit, vmap and "
                             "grad, and pass it in as an argument")
        if not float(self.voxel_size) > 0:
            raise ValueError(f"ConeBeamXRay needs voxel_size > 0, got {self.voxel_size}")
        made = make_tables(self.geometry, shape, float(self.voxel_size))
        fields = {"shape": shape, "voxel_size": float(self.voxel_size)}
        for name, v in {**fields, **dict(zip(("tables", "taps", "bits"), made, strict=True))}.items():
            object.__setattr__(self, name, v)

    @property
    def domain(self):
        return jax.ShapeDtypeStruct(self.shape, jnp.result_type(float))

    @property
    def codomain(self):
        g = self.geometry
        return jax.ShapeDtypeStruct((g.num_views, g.num_rows, g.num_columns), self.domain.dtype)

    @property
    def locations(self):
        return (self.geometry.num_views, 1, 1)

    def apply(self, x):
        return matched_pair(self._forward, self._adjoint, self._data, x)

    def apply_adjoint(self, y):
        return matched_pair(self._adjoint, self._forward, self._data, y)

    def views(self, index: Any) -> ConeBeamXRay:
        """The views `index` only, by selecting from the tables: quick, and possible in traced code.

        Args:
            index: what selects from the axis of views: a slice or integers, which may be traced.

        Example:
            >>> geometry = jr.ConeBeam(jnp.linspace(0, 6, 7), 4, 5, source_origin=50.0, origin_detector=50.0)
            >>> jr.ConeBeamXRay(geometry, (2, 3, 3)).views(slice(0, 7, 3)).codomain.shape
            (3, 4, 5)
        """
        select = index if isinstance(index, slice) else jnp.asarray(index)
        chosen = copy.copy(self)
        object.__setattr__(chosen, "geometry", self.geometry.subset(index))
        object.__setattr__(chosen, "tables", jax.tree.map(lambda v: v[select], self.tables))
        return chosen

    @property
    def _data(self):
        size = jnp.asarray(self.voxel_size)
        return lax.stop_gradient((self.tables, size, self.geometry.row_spacing / size))

    def _forward(self, data, x):
        return project(data, x, rows=self.geometry.num_rows, bits=self.bits)

    def _adjoint(self, data, y):
        return backproject(data, y, shape=self.shape, taps=self.taps, bits=self.bits)
