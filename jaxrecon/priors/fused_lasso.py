"""The fused lasso: sparse and piecewise constant."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from ..checks import check_weights
from ..operator import stack
from ..operators.elementary import Identity
from ..operators.gradient import BOUNDARIES, Gradient
from ..value import is_count, static, value
from ._dual import ByDual, DualForm
from .combined import Separable
from .l1 import L1
from .l21 import L21
from .tv import TV


@value
class FusedLasso(ByDual):
    """l1 |x|_1 + tv TV(x).

    Args:
        l1, tv: weights >= 0, or arrays of them for each pixel.
        isotropic: as for `TV`; anisotropic by default.
        boundary: "symmetric" or "circular", as for `Gradient`.
        inner: steps on the dual that `warm_prox` makes for each outer iteration of a solver.

    Raises:
        ValueError: a negative weight, or another boundary.

    For real x, anisotropic TV and one number as l1, the prox is a soft threshold after the prox of TV (Friedman et al.
    2007). Isotropic and complex have no such order: both terms are solved jointly, on their common dual.

    Example:
        >>> jr.FusedLasso(0.25, 0.5).prox(jnp.array([0.0, 0.0, 1.0, 1.0])).round(8).tolist()
        [0.0, 0.0, 0.5, 0.5]

    Source: Tibshirani, Saunders, Rosset, Zhu and Knight 2005.
    """

    l1: Any
    tv: Any
    isotropic: bool = static(default=False)
    boundary: str = static(default="symmetric")
    inner: int = static(default=10)

    def check(self):
        check_weights(self, l1=self.l1, tv=self.tv)
        if self.boundary not in BOUNDARIES:
            raise ValueError(f"FusedLasso: boundary must be one of {BOUNDARIES}, got {self.boundary!r}")
        if not is_count(self.inner):
            raise ValueError(f"FusedLasso: inner must be at least 1 step, got {self.inner!r}")

    def __call__(self, x):
        return L1(self.l1)(x) + self._tv()(x)

    def prox(self, v, t=1.0):
        return L1(self.l1).prox(self._tv().prox(v, t), t) if self._sequential(v) else super().prox(v, t)

    def start(self, x):
        return self._tv().start(x) if self._sequential(x) else super().start(x)

    def warm_prox(self, v, t, state):
        if not self._sequential(v):
            return super().warm_prox(v, t, state)
        u, state = self._tv().warm_prox(v, t, state)
        return L1(self.l1).prox(u, t), state

    def split(self, domain: Any):
        K = Gradient(domain.shape, self.boundary, domain.dtype)
        penalty = L21(self.tv, axis=0) if self.isotropic else L1(self.tv)
        return stack([Identity(domain), K]), Separable((L1(self.l1), penalty))

    def dual_form(self, domain: Any):
        return DualForm(*self.split(domain), norm2=1 + 4.0 * domain.ndim)

    def _tv(self):
        return TV(self.tv, isotropic=self.isotropic, boundary=self.boundary, inner=self.inner)

    def _sequential(self, x):
        # One number only: a threshold that differs between neighbours may reorder them.
        one_dimensional = x.ndim == 1
        return not jnp.iscomplexobj(x) and (not self.isotropic or one_dimensional) and jnp.ndim(self.l1) == 0
