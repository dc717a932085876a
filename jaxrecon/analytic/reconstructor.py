"""Filtered back-projection as a reconstructor: x = FBP()(A, b)."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from ..operator import LinearOperator
from ..operator.batched import Batched
from ..operators.cone import ConeBeamXRay
from ..operators.xray import XRay
from ..value import describe, static, value
from .fbp import filtered_backprojection
from .fdk import feldkamp
from .filters import check_filter


@value
class FBP:
    """Filtered back-projection: x = sum over views of |f|-filtered rows, spread back along their rays.

    Parallel beam over pi or 2 pi; fan beam with a flat detector over 2 pi, or less with Parker's weights (a short scan
    needs pi plus the fan angle); circular cone beam by the method of Feldkamp, Davis and Kress. Views may be unevenly
    spaced, the detector shifted (on a full turn even so far that one side of the object is missed). The image has the
    scale of the object, 1 inside a disc of value 1; what was not scanned is missing from it. Linear in b.

    Args:
        filter: "ram-lak", "shepp-logan", "cosine", "hamming" or "hann": the sharpest first, the smoothest last.
        frequency_cutoff: where the window of the filter ends, as a fraction of the Nyquist frequency. A leaf.

    Raises:
        ValueError: an unknown filter, a cutoff outside (0, 1], b that is not of the shape of A's measurements, a scan
            that is not circular.
        TypeError: A is not an X-ray transform.

    Example:
        >>> A = jr.XRay(jr.ParallelBeam(jnp.linspace(0, jnp.pi, 48, endpoint=False), 24), (16, 16))
        >>> x = jr.FBP("hann")(A, A(jr.simulate.discs(16)))
        >>> x.shape
        (16, 16)

    Source: Kak and Slaney (1988); Parker (1982); Feldkamp, Davis and Kress (1984).
    """

    filter: str = static(default="ram-lak")
    frequency_cutoff: Any = 1.0

    def check(self):
        check_filter(self.filter, self.frequency_cutoff)

    def __call__(self, A: LinearOperator, b: Any) -> jax.Array:
        if isinstance(A, Batched):
            b = _checked(A, b)
            run = lambda v: self(A.operator, v)  # noqa: E731
            for _ in A.lead:
                run = jax.vmap(run)
            return run(b)
        if not isinstance(A, XRay | ConeBeamXRay):
            raise TypeError(f"FBP needs an X-ray transform, jr.XRay or jr.ConeBeamXRay, got {type(A).__name__}")
        b, options = _checked(A, b), (self.filter, self.frequency_cutoff)
        if isinstance(A, ConeBeamXRay):
            return feldkamp(A.geometry, A.shape, A.voxel_size, b, *options)
        return filtered_backprojection(A.geometry, A.shape, A.pixel_size, b, *options)


def fbp(A: LinearOperator, b: Any, filter: str = "ram-lak", frequency_cutoff: Any = 1.0) -> jax.Array:
    """`FBP(filter, frequency_cutoff)(A, b)`.

    Example:
        >>> A = jr.XRay(jr.ParallelBeam(jnp.linspace(0, jnp.pi, 48, endpoint=False), 24), (16, 16))
        >>> jr.fbp(A, A(jr.simulate.discs(16)), "hann").shape
        (16, 16)
    """
    return FBP(filter, frequency_cutoff)(A, b)


def _checked(A, b):
    b = jnp.asarray(b)
    if b.shape != A.codomain.shape:
        raise ValueError(f"b is {describe(b)}, but {type(A).__name__} gives {describe(A.codomain)}; for a batch of "
                         "sinograms use jax.vmap(lambda b: jr.fbp(A, b)), for slices jr.batched(A, slices)")
    return b if jnp.issubdtype(b.dtype, jnp.inexact) else b.astype(float)
