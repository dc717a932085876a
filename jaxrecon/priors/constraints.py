"""Constraints: 0 where x fulfils them, infinite elsewhere; the prox is the projection."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..operator import real_dtype
from ..value import is_concrete, value
from ._fitted import values_for
from .base import Prior


class Constraint(Prior):
    """The indicator of a set."""

    @property
    def projection(self):
        return True


@value
class NonNegative(Constraint):
    """x real and x >= 0.

    The projection of a complex x is its real part, set to 0 where negative; it stays complex in dtype.

    Example:
        >>> jr.NonNegative().prox(jnp.array([-1.0, 2.0])).tolist(), float(jr.NonNegative()(jnp.array([-1.0])))
        ([0.0, 2.0], inf)
    """

    def __call__(self, x):
        return _indicator(x, x.real >= 0)

    def prox(self, v, t=1.0):
        return jnp.maximum(v.real, 0).astype(v.dtype)


@value
class Box(Constraint):
    """x real and lo <= x <= hi.

    Args:
        lo, hi: bounds, numbers or arrays that broadcast against x.

    Raises:
        ValueError: lo > hi anywhere; bounds that do not fit x.

    Example:
        >>> jr.Box(0.0, 1.0).prox(jnp.array([-1.0, 0.5, 2.0])).tolist()
        [0.0, 0.5, 1.0]
    """

    lo: Any
    hi: Any

    def check(self):
        if is_concrete(self.lo, self.hi) and not np.all(np.asarray(self.lo) <= np.asarray(self.hi)):
            raise ValueError(f"Box needs lo <= hi, got lo = {self.lo}, hi = {self.hi}")

    def __call__(self, x):
        return _indicator(x, (x.real >= values_for(self, self.lo, x)) & (x.real <= values_for(self, self.hi, x)))

    def in_units(self, units: Any) -> Box:
        """Its bounds are in the units of the image, whatever those of lam."""
        return Box(self.lo / units.image, self.hi / units.image)

    def prox(self, v, t=1.0):
        return jnp.clip(v.real, values_for(self, self.lo, v), values_for(self, self.hi, v)).astype(v.dtype)


@value
class RealValued(Constraint):
    """x real: the projection of a complex x is its real part (complex in dtype).

    Example:
        >>> jr.RealValued().prox(jnp.array([1 + 2j])).tolist()
        [(1+0j)]
    """

    def __call__(self, x):
        return _indicator(x, jnp.ones(x.shape, bool))

    def prox(self, v, t=1.0):
        return v.real.astype(v.dtype)


def _indicator(x: jax.Array, inside: jax.Array) -> jax.Array:
    inside = inside & (x.imag == 0) if jnp.iscomplexobj(x) else inside
    return jnp.where(jnp.all(inside), 0, jnp.inf).astype(real_dtype(x))
