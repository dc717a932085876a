"""Direct reconstruction of non-Cartesian scans: samples weighted by the area they stand for, then the adjoint."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .fidelity import cast_measurements
from .operator import LinearOperator, RealPart, real_dtype
from .operator.algebra import Composed
from .operator.batched import Batched
from .operators.density import pipe_menon
from .operators.nufft.operator import Planned
from .operators.off_resonance import OffResonance, Segmented
from .value import is_complex, is_concrete, safe_divide, value

# Standard deviation, in pixels, of the Gaussian blob that sets the scale: narrow enough to weigh many samples about the
# centre of k-space, wide enough to end well before its edge.
_BLOB = 1.5


@value
class Gridding:
    """x = c A^H (w b) / sum |m|^2 for A = NUFFT or NUFFT @ CoilMaps: the direct reconstruction, linear in b.

    c gives x the amplitude of the image, whatever the scale of w: a Gaussian blob keeps its energy, or
    c sum_j w_j g(k_j) = N integral g dk with its power spectrum g. m are the coil maps (1 for one coil); where all are
    0, x is 0. For an `OffResonance` this is the conjugate phase reconstruction.

    Args:
        density: w, real weights >= 0 that broadcast to the samples, nodes.shape[:-1], such as `jr.radial_density`; None
            takes `jr.pipe_menon` of the nodes.

    Raises:
        ValueError: no NUFFT in A, or weights that do not fit the samples, are complex or negative.

    Example:
        >>> nodes = jr.simulate.radial(50, 64)
        >>> A, x = jr.NUFFT(nodes, (32, 32)), jr.simulate.discs(32)
        >>> jr.Gridding()(A, A(x)).shape
        (32, 32)

    Source: O'Sullivan (1985); Jackson et al. (1991).
    """

    density: Any = None

    def check(self):
        if self.density is None:
            return
        if is_complex(self.density):
            raise ValueError("density must be real; pass jnp.abs(density)")
        if is_concrete(self.density) and bool(np.any(np.asarray(self.density) < 0)):
            raise ValueError("density must not be negative: it is the area of k-space that each sample stands for")

    def __call__(self, A: LinearOperator, b: Any) -> jax.Array:
        b, _ = cast_measurements(A, b)
        F, energy = _transform(A)
        w = self._weights(F).astype(real_dtype(b))
        x = A.H(w * b)
        scale = math.prod(F.shape) / _covered(F.nodes, w)
        return scale * x if energy is None else scale * safe_divide(x, energy.astype(x.real.dtype))

    def _weights(self, F):
        if self.density is None:
            return pipe_menon(F.nodes, F.shape)
        w = jnp.asarray(self.density)
        samples = F.nodes.shape[:-1]
        if w.ndim > len(samples) or any(n not in (1, m) for n, m in zip(w.shape[::-1], samples[::-1], strict=False)):
            raise ValueError(f"density of shape {w.shape} does not broadcast to the samples, {samples}")
        return w


def _transform(A) -> tuple[Any, Any]:
    """The NUFFT inside A, and sum |m|^2 of the coil maps around it (None without)."""
    found, energy = A, None
    while not hasattr(found, "nodes"):
        if isinstance(found, Composed) and energy is None:
            energy = getattr(found.inner.gram, "d", None)
            found = found.outer if energy is not None or found.inner.orthogonal else None
        elif isinstance(found, Batched | OffResonance | Segmented | Planned | RealPart):
            found = found.operator
        else:
            found = None
        if found is None:
            raise ValueError(f"Gridding takes a jr.NUFFT, alone or with jr.CoilMaps, jr.OffResonance or jr.real_part, "
                             f"and found none in {A!r}; use jr.ZeroFilled() for Cartesian data, jr.Iterative(...) for "
                             "any operator")
    return found, energy


def _covered(nodes, w):
    """sum_j w_j g(k_j) over integral g dk, for g = exp(-(2 pi sigma |k|)^2): 1 where each w is the sample's area."""
    g = jnp.exp(-((2 * math.pi * _BLOB) ** 2) * jnp.sum(nodes**2, axis=-1))
    integral = (1 / (4 * math.pi * _BLOB**2)) ** (nodes.shape[-1] / 2)
    return jnp.sum(w * g.astype(w.dtype)) / integral
