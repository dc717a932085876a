"""Total variation or the fused lasso of an image that must lie in a set."""

from __future__ import annotations

from typing import Any

from ..operator import stack
from ..operators.elementary import Identity
from ..value import value
from ._dual import ByDual
from .base import Prior
from .combined import Separable
from .constraints import Constraint
from .fused_lasso import FusedLasso
from .tv import TV


@value
class Constrained(ByDual):
    """prior(x) where x is in a set, infinite elsewhere: both in one prox, so that FISTA takes them together.

    Args:
        prior: `jr.TV` or `jr.FusedLasso`.
        constraint: `jr.NonNegative()`, `jr.Box(lo, hi)` or `jr.RealValued()`.

    Raises:
        TypeError: another prior or constraint; others stand beside each other in a list, in ADMM, PDHG or CondatVu.

    The prox is that of the prior alone with one projection more in each step on the dual.

    Example:
        >>> prior = jr.Constrained(jr.TV(0.1), jr.NonNegative())
        >>> print(prior.prox(jnp.array([-1.0, -1.0, 1.0, 1.0])).round(6))
        [0.   0.   0.95 0.95]

    Source: Beck and Teboulle 2009.
    """

    prior: TV | FusedLasso
    constraint: Prior

    def check(self):
        if not isinstance(self.prior, TV | FusedLasso):
            raise TypeError(f"Constrained takes jr.TV or jr.FusedLasso, got {self.prior!r}; give others and the "
                            "constraint as a list to jr.ADMM, jr.PDHG or jr.CondatVu")
        if not isinstance(self.constraint, Constraint):
            raise TypeError("Constrained takes a constraint, jr.NonNegative(), jr.Box(lo, hi) or jr.RealValued(), got "
                            f"{self.constraint!r}")

    def __call__(self, x):
        return self.prior(x) + self.constraint(x)

    @property
    def inner(self):
        return self.prior.inner

    def dual_form(self, domain: Any):
        return self.prior.dual_form(domain)._replace(constraint=self.constraint)

    def split(self, domain: Any):
        K, penalty = self.prior.split(domain)
        return stack([Identity(domain), K]), Separable((self.constraint, penalty))
