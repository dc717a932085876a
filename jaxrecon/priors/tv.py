"""Total variation."""

from __future__ import annotations

from typing import Any

from ..checks import check_weights
from ..operators.gradient import BOUNDARIES, Gradient
from ..value import is_count, static, value
from ._dual import ByDual, DualForm
from .combined import PartsApart
from .l1 import L1
from .l21 import L21


@value
class TV(ByDual):
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
        if not is_count(self.inner):
            raise ValueError(f"TV: inner must be at least 1 step, got {self.inner!r}")

    def __call__(self, x):
        K, penalty = self.split(x)
        return penalty(K(x))

    def split(self, domain: Any):
        K = Gradient(domain.shape, self.boundary, domain.dtype)
        penalty = L21(self.lam, axis=0) if self.isotropic else L1(self.lam)
        return K, PartsApart(penalty) if self.complex == "separate" else penalty

    def dual_form(self, domain: Any):
        return DualForm(*self.split(domain), norm2=4.0 * domain.ndim)
