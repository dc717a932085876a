"""An operator of which some measurements are left out."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from ..value import value
from .base import LinearOperator, Measuring


@value
class Kept(Measuring):
    """diag(keep) A, for operators that have no form of their own for it.

    Args:
        operator: A.
        keep: 1 or 0, real, of the shape of the measurements.
    """

    operator: LinearOperator
    keep: jax.Array

    @property
    def domain(self):
        return self.operator.domain

    @property
    def real_domain(self):
        return self.operator.real_domain

    @property
    def gram(self):
        found = self.operator.weighted_gram(self.keep)
        return super().gram if found is None else found

    def weighted_gram(self, w):
        return self.operator.weighted_gram(jnp.asarray(w) * self.keep)

    def kept(self, keep):
        return Kept(self.operator, self.keep * keep)

    @property
    def prepared(self):
        return Kept(self.operator.prepared, self.keep)

    def apply(self, x):
        return self.keep * self.operator.apply(x)

    def apply_adjoint(self, y):
        return self.operator.apply_adjoint(self.keep * y)
