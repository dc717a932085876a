"""An operator over extra leading axes."""

from __future__ import annotations

import functools

import jax

from ..value import static, value
from .base import LinearOperator, Wrapper


@value
class Batched(Wrapper):
    """A over extra leading axes, with the same leaves for each."""

    operator: LinearOperator
    lead: tuple[int, ...] = static()

    @property
    def domain(self):
        return jax.tree.map(lambda s: jax.ShapeDtypeStruct(self.lead + s.shape, s.dtype), self.operator.domain)

    @property
    def gram(self):
        return Batched(self.operator.gram, self.lead)

    def weighted_gram(self, w):
        own = len(self.operator.codomain.shape)
        lead = w.shape[:max(0, w.ndim - own)]
        if any(n != 1 for n in lead):
            return None  # another Gram operator for each
        inner = self.operator.weighted_gram(w.reshape(w.shape[len(lead):]))
        return None if inner is None else Batched(inner, self.lead)

    def kept(self, keep):
        own = len(self.operator.codomain.shape)
        lead = keep.shape[:max(0, keep.ndim - own)]
        if any(n != 1 for n in lead):
            return super().kept(keep)  # another one for each
        return Batched(self.operator.kept(keep.reshape(keep.shape[len(lead):])), self.lead)

    @property
    def prepared(self):
        return Batched(self.operator.prepared, self.lead)

    def apply(self, x):
        return self._over_lead(self.operator.apply)(x)

    def apply_adjoint(self, y):
        return self._over_lead(self.operator.apply_adjoint)(y)

    def _over_lead(self, f):
        for _ in self.lead:
            f = functools.partial(jax.lax.map, f) if self.operator.one_by_one else jax.vmap(f)
        return f


def batched(A: LinearOperator, *lead: int) -> LinearOperator:
    """A applied to every slice along new leading axes of sizes `lead`: y_n = A x_n.

    Raises:
        ValueError: no size, or a size below 1.

    Example:
        >>> jr.batched(jr.Diagonal(jnp.array([1.0, 2.0])), 3).domain.shape
        (3, 2)
    """
    if not lead or any(int(n) != n or n < 1 for n in lead):
        raise ValueError(f"batched(A, n) needs sizes n >= 1, got {lead}")
    return Batched(A, tuple(int(n) for n in lead))
