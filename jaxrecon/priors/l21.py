"""Group sparsity: the sum of the l2 norms of groups."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from ..checks import check_weights
from ..value import as_sizes, static, value
from ._arithmetic import clip_magnitude, magnitude, soft
from ._fitted import values_for
from .base import Prior, scalar_like


@value
class L21(Prior):
    """lam sum over groups of |x_group|_2, a group being what lies along `axis` (Yuan and Lin 2006).

    Args:
        lam: weight >= 0, or an array of weights that broadcasts against the norms (the shape of x without `axis`).
        axis: an axis or a tuple of them; 0 by default (directions, coils, frames).

    Raises:
        ValueError: negative lam, or an axis that x does not have.

    Example:
        >>> prior = jr.L21(1.0, axis=0)
        >>> float(prior(jnp.array([3.0, 4.0]))), prior.prox(jnp.array([3.0, 4.0]), 2.5).tolist()
        (5.0, [1.5, 2.0])
    """

    lam: Any
    axis: Any = static(default=0)

    def check(self):
        check_weights(self, lam=self.lam)
        if not isinstance(self.axis, int):
            object.__setattr__(self, "axis", as_sizes("axis of L21", self.axis))

    def __call__(self, x):
        return jnp.sum(self._weights(x) * magnitude(x, self._axes(x)))

    def prox(self, v, t=1.0):
        return soft(v, scalar_like(t, v) * self._weights(v), self._axes(v))

    def conjugate_prox(self, v, t=1.0):
        """v - prox(v, t): the projection onto group norms <= t lam."""
        return clip_magnitude(v, scalar_like(t, v) * self._weights(v), self._axes(v))

    def dual_prox(self, v, sigma):
        return self.conjugate_prox(v)  # the projection on the dual ball, whatever sigma

    def _axes(self, x):
        axes = (self.axis,) if isinstance(self.axis, int) else self.axis
        if any(not -x.ndim <= a < x.ndim for a in axes):
            raise ValueError(f"L21 over axis {self.axis} needs an array with that axis, got shape {x.shape}")
        return tuple(a % x.ndim for a in axes)

    def _weights(self, x):
        axes = self._axes(x)
        norms = tuple(n for a, n in enumerate(x.shape) if a not in axes)
        lam = values_for(self, self.lam, x, norms)
        return jnp.expand_dims(jnp.broadcast_to(lam, norms), axes) if lam.ndim else lam
