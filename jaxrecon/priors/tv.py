"""Total variation."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from ..operators.gradient import BOUNDARIES, Gradient
from ..value import static, value
from ._arithmetic import check_weights
from ._dual import dual_prox, warm_dual_prox, zero_dual
from .base import Prior
from .combined import PartsApart
from .l1 import L1
from .l21 import L21


@value
class TV(Prior):
    """lam sum over pixels of |grad x|, over all axes of x (1 to 3).

    Args:
        lam: weight >= 0, or an array of them for each pixel.
        isotropic: |grad x| is the l2 norm over the directions, else their l1 norm.
        boundary: "symmetric" or "circular", as for `Gradient`.
        complex: "joint", one magnitude over real and imaginary parts, or "separate", the TV of each part.
        inner: steps on the dual that `warm_prox` makes for each outer iteration of a solver.

    Raises:
        ValueError: negative lam, or a name that is none of these.

    `prox` runs the fast projected gradient of Beck and Teboulle 2009 until a step changes the dual by no more than
    1e-10 of it (1e-6 in float32), at most 10,000 steps, and is differentiated implicitly, through the equation of its
    limit.
    Anisotropic and 1-D TV get there; isotropic TV of a 128 x 128 image is within 1e-7 of its limit after 5000 steps.

    Example:
        >>> prior, x = jr.TV(1.0), jnp.array([0.0, 0.0, 1.0, 1.0])
        >>> float(prior(x)), prior.prox(x, 0.2).round(8).tolist()
        (1.0, [0.1, 0.1, 0.9, 0.9])

    Source: Rudin, Osher and Fatemi 1992.
    """

    lam: Any
    isotropic: bool = static(default=True)
    boundary: str = static(default="symmetric")
    complex: str = static(default="joint")
    inner: int = static(default=10)

    def check(self):
        check_weights(self, lam=self.lam)
        if self.boundary not in BOUNDARIES:
            raise ValueError(f"TV: boundary must be one of {BOUNDARIES}, got {self.boundary!r}")
        if self.complex not in ("joint", "separate"):
            raise ValueError(f"TV: complex must be 'joint' or 'separate', got {self.complex!r}")
        if self.inner < 1:
            raise ValueError(f"TV: inner must be at least 1 step, got {self.inner}")

    def __call__(self, x):
        K, penalty = self.split(x)
        return penalty(K(x))

    def prox(self, v, t=1.0):
        def one(v):
            K, penalty = self._real_split(v)
            return dual_prox(K, penalty, self.bound(v), v, t)

        return _from_parts(jax.vmap(one)(_to_parts(v))) if self._apart(v) else one(v)

    def start(self, x):
        K = Gradient(x.shape, self.boundary, x.dtype)
        return jax.vmap(lambda p: zero_dual(K, p))(_to_parts(x)) if self._apart(x) else zero_dual(K, x)

    def warm_prox(self, v, t, state):
        def one(v, q):
            K, penalty = self._real_split(v)
            return warm_dual_prox(K, penalty, self.bound(v), v, t, q, self.inner)

        if not self._apart(v):
            return one(v, state)
        u, q = jax.vmap(one)(_to_parts(v), state)
        return _from_parts(u), q

    def bound(self, domain: Any) -> float:
        """Of |K|^2, K as in `split`."""
        return 4.0 * domain.ndim

    def split(self, domain: Any):
        K, penalty = self._real_split(domain)
        return K, PartsApart(penalty) if self.complex == "separate" else penalty

    def _real_split(self, domain):
        K = Gradient(domain.shape, self.boundary, domain.dtype)
        return K, L21(self.lam, axis=0) if self.isotropic else L1(self.lam)

    def _apart(self, x):
        return self.complex == "separate" and jnp.iscomplexobj(x)


def _to_parts(x):
    return jnp.stack([x.real, x.imag])


def _from_parts(x):
    return lax.complex(x[0], x[1])
