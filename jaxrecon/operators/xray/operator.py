"""The X-ray transform in two dimensions."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ...geometry import FanBeam, FanVectors, ParallelBeam
from ...operator import LinearOperator, matched_pair
from ...value import is_complex, is_concrete, static, value
from .adjoint import back_project
from .forward import project
from .tables import make_tables


@value
class XRay(LinearOperator):
    """Line integrals of an image along the rays of a scanner (Joseph's method), y_r = integral of x along ray r.

    Between pixel centres x is interpolated linearly along a row or a column, whichever the ray crosses at the steeper
    angle; outside the image it is 0. Rays are whole lines: they do not end at source or detector. The adjoint has the
    same weights, so iterative solvers converge to what they minimise.

    x[i, j] is at ((j - (nx - 1)/2), ((ny - 1)/2 - i)) pixel_size; y is in units of x times length.

    float64 is exact to rounding. In float32, positions have an error of 1e-6 pixels (at 512 pixels), and of up to
    1e-4 in the adjoint of fan beams. Under `jax.vmap` the images of a batch share each lookup.

    Args:
        geometry: `ParallelBeam`, `FanBeam` or `FanVectors`. Its numbers become tables here, on the host: it is not
            differentiable, and cannot be traced. Another geometry of the same size does not trace again where no more
            detectors see a pixel.
        shape: (ny, nx) of x, real or complex.
        pixel_size: length of a pixel's side, in the unit of the geometry.

    Returns:
        x of `shape` -> (views, detectors).

    Raises:
        ValueError: a traced geometry, a source inside the image or beside it, a shape that is not 2-D.
        TypeError: another kind of geometry.

    Source: Joseph, IEEE Trans. Med. Imaging 1 (1982) 192.

    Example:
        >>> A = jr.XRay(jr.ParallelBeam(jnp.array([0.0, jnp.pi / 4]), num_detectors=3), (3, 3))
        >>> A(jnp.ones((3, 3))).round(3).tolist()
        [[3.0, 3.0, 3.0], [2.243, 4.243, 2.243]]
    """

    geometry: Any
    shape: Any = static()
    pixel_size: Any = static(default=1.0)
    tables: Any = dataclasses.field(init=False, default=None)

    def check(self):
        geometry, shape, pixel_size = self.geometry, self.shape, self.pixel_size
        if not isinstance(geometry, ParallelBeam | FanBeam | FanVectors):
            raise TypeError("XRay takes a ParallelBeam, FanBeam or FanVectors geometry, got "
                            f"{type(geometry).__name__}")
        if not is_concrete(geometry):
            raise ValueError("XRay got a traced geometry: its tables are made from numbers, on the host. Make the "
                             "operator outside jit, vmap and grad, and pass it as an argument; A.views(index) selects "
                             "views inside them")
        shape = tuple(shape) if np.ndim(shape) == 1 else (shape,)
        if len(shape) != 2 or any(int(n) != n or n < 1 for n in shape):
            raise ValueError(f"XRay takes the shape (ny, nx) of a 2-D image, got {self.shape}; lift it over slices "
                             "with jr.batched or jax.vmap")
        if not (is_concrete(pixel_size) and np.ndim(pixel_size) == 0 and 0 < pixel_size < math.inf):
            raise ValueError(f"XRay needs a number pixel_size > 0, got {pixel_size}")
        shape, pixel_size = (int(shape[0]), int(shape[1])), float(pixel_size)
        for name, v in (("shape", shape), ("pixel_size", pixel_size),
                        ("tables", make_tables(geometry, shape, pixel_size))):
            object.__setattr__(self, name, v)

    @property
    def domain(self):
        return jax.ShapeDtypeStruct(self.shape, jax.dtypes.canonicalize_dtype(float))

    @property
    def codomain(self):
        return jax.ShapeDtypeStruct((self.geometry.num_views, self.geometry.num_detectors), self.domain.dtype)

    @property
    def locations(self):
        return (self.geometry.num_views, 1)

    def apply(self, x):
        return _by_planes(lambda v: matched_pair(project, back_project, self.tables, v, batch_last=True), x)

    def apply_adjoint(self, y):
        return _by_planes(lambda v: matched_pair(back_project, project, self.tables, v, batch_last=True), y)

    def views(self, index: Any) -> XRay:
        """The views `index` only, by selecting from the tables: quick, and possible in traced code.

        Args:
            index: what selects from the axis of views: a slice or integers, which may be traced.

        Example:
            >>> A = jr.XRay(jr.ParallelBeam(jnp.linspace(0.0, 3.0, 12), num_detectors=8), (8, 8))
            >>> A.views(slice(0, None, 4)).codomain.shape
            (3, 8)
        """
        chosen = object.__new__(XRay)
        select = index if isinstance(index, slice) else jnp.asarray(index)
        fields = {"geometry": self.geometry.subset(index), "shape": self.shape, "pixel_size": self.pixel_size,
                  "tables": jax.tree.map(lambda a: a[select], self.tables)}
        for name, v in fields.items():
            object.__setattr__(chosen, name, v)
        return chosen


def _by_planes(apply, x):
    """`apply`, real and with a trailing batch, of one real or complex x: its two parts are a batch."""
    dtype = jnp.finfo(x.dtype).dtype
    working = jnp.promote_types(dtype, jnp.float32)
    if is_complex(x):
        y = apply(jnp.stack([x.real, x.imag], -1))
        return jnp.asarray(y[..., 0] + 1j * y[..., 1], x.dtype)
    return apply(x[..., None].astype(working))[..., 0].astype(x.dtype)
