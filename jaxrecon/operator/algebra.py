"""Operators made of operators: products, sums, multiples and stacks."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from ..value import describe, is_complex, value
from .base import LinearOperator, Measuring, SelfAdjoint, real_dtype, with_dtype
from .batched import batched


@value
class Composed(LinearOperator):
    """A B."""

    outer: LinearOperator
    inner: LinearOperator

    @property
    def domain(self):
        return _lifted(self.inner, is_complex(self.outer.domain))

    @property
    def real_domain(self):
        return self.inner.real_domain or (self.outer.real_domain and not is_complex(self.inner.domain))

    @property
    def orthogonal(self):
        return self.outer.orthogonal and self.inner.orthogonal

    @property
    def gram(self):
        if self.outer.orthogonal:
            return self.inner.gram
        return Sandwich(self.inner, self.outer.gram)

    def weighted_gram(self, w):
        outer = self.outer.weighted_gram(w)
        return None if outer is None else Sandwich(self.inner, outer)

    @property
    def locations(self):
        return self.outer.locations

    @property
    def frequencies(self):
        return self.outer.frequencies

    def kept(self, keep):
        return Composed(self.outer.kept(keep), self.inner)

    @property
    def sampled_energy(self):
        # M U C with C^H C diagonal: coil maps before a masked Fourier transform.
        energy, inside = self.outer.sampled_energy, getattr(self.inner.gram, "d", None)
        if energy is None or energy.ndim or inside is None:
            return super().sampled_energy
        return inside

    @property
    def prepared(self):
        return Composed(self.outer.prepared, self.inner.prepared)

    def apply(self, x):
        return self.outer.apply(self.inner.apply(x))

    def apply_adjoint(self, y):
        return self.inner.apply_adjoint(self.outer.apply_adjoint(y))


@value
class Sandwich(SelfAdjoint):
    """B^H M B with a self-adjoint M: the Gram operator of A B where M = A^H A."""

    inner: LinearOperator
    middle: LinearOperator

    @property
    def domain(self):
        return Composed(self.middle, self.inner).domain

    @property
    def real_domain(self):
        return Composed(self.middle, self.inner).real_domain

    @property
    def prepared(self):
        return Sandwich(self.inner.prepared, self.middle.prepared)

    def apply(self, x):
        return self.inner.apply_adjoint(self.middle.apply(self.inner.apply(x)))


@value
class Sum(LinearOperator):
    """A + B."""

    first: LinearOperator
    second: LinearOperator

    def check(self):
        for side in ("domain", "codomain"):
            a, b = getattr(self.first, side), getattr(self.second, side)
            if jax.tree.map(lambda s: s.shape, a) != jax.tree.map(lambda s: s.shape, b):
                raise ValueError(f"A + B needs equal shapes: {side} {describe(a)} and {describe(b)}")

    @property
    def domain(self):
        a, b = self.first, self.second
        if a.real_domain or b.real_domain:
            return a.domain if a.real_domain else b.domain
        return jax.tree.map(lambda s, t: jax.ShapeDtypeStruct(s.shape, jnp.promote_types(s.dtype, t.dtype)),
                            a.domain, b.domain)

    @property
    def real_domain(self):
        return self.first.real_domain or self.second.real_domain

    @property
    def spectrum(self):
        a, b = self.first.spectrum, self.second.spectrum
        return None if a is None or b is None else a + b

    @property
    def prepared(self):
        return Sum(self.first.prepared, self.second.prepared)

    def apply(self, x):
        return jax.tree.map(jnp.add, self.first.apply(x), self.second.apply(x))

    def apply_adjoint(self, y):
        return _real_if(self.real_domain, jax.tree.map(jnp.add, self.first.apply_adjoint(y),
                                                       self.second.apply_adjoint(y)))


@value
class Scaled(Measuring):
    """c A with a scalar c."""

    operator: LinearOperator
    factor: Any

    @property
    def domain(self):
        return _lifted(self.operator, is_complex(self.factor))

    @property
    def real_domain(self):
        return self.operator.real_domain

    def kept(self, keep):
        return Scaled(self.operator.kept(keep), self.factor)

    @property
    def sampled_energy(self):
        # M (c U) for A = M U.
        energy = self.operator.sampled_energy
        return None if energy is None else energy * jnp.real(self.factor * jnp.conj(self.factor))

    @property
    def prepared(self):
        return Scaled(self.operator.prepared, self.factor)

    @property
    def gram(self):
        return Scaled(self.operator.gram, jnp.real(self.factor * jnp.conj(self.factor)))

    def weighted_gram(self, w):
        inner = self.operator.weighted_gram(w)
        return None if inner is None else Scaled(inner, jnp.real(self.factor * jnp.conj(self.factor)))

    @property
    def spectrum(self):
        s = self.operator.spectrum
        return None if s is None else scalar_at(self.factor, s) * s

    def apply(self, x):
        return jax.tree.map(lambda y: scalar_at(self.factor, y) * y, self.operator.apply(x))

    def apply_adjoint(self, y):
        y = jax.tree.map(lambda v: jnp.conj(scalar_at(self.factor, v)) * v, y)
        return self.operator.apply_adjoint(y)


def scalar_at(factor: Any, y: Any) -> jax.Array:
    """A real or complex factor at the precision of y: in float64 it must not lift a float32 operator."""
    real = real_dtype(y)
    return jnp.asarray(factor).astype(jnp.promote_types(real, jnp.complex64) if is_complex(factor) else real)


@value
class Stacked(LinearOperator):
    """x -> (A_1 x, ..., A_n x)."""

    operators: tuple[LinearOperator, ...]

    def check(self):
        if not self.operators:
            raise ValueError("stack needs at least one operator")
        shapes = [A.domain.shape for A in self.operators]
        if any(s != shapes[0] for s in shapes):
            raise ValueError(f"stack needs operators on one domain, got shapes {shapes}")

    @property
    def domain(self):
        dtypes = [A.domain.dtype for A in self.operators]
        dtype = real_dtype(dtypes) if self.real_domain else jnp.result_type(*dtypes)
        return jax.ShapeDtypeStruct(self.operators[0].domain.shape, dtype)

    @property
    def real_domain(self):
        return any(A.real_domain for A in self.operators)

    @property
    def gram(self):
        return sum_operators([A.gram for A in self.operators])

    @property
    def prepared(self):
        return Stacked(tuple(A.prepared for A in self.operators))

    def apply(self, x):
        return tuple(A.apply(x) for A in self.operators)

    def apply_adjoint(self, y):
        parts = [A.apply_adjoint(v) for A, v in zip(self.operators, y, strict=True)]
        return _real_if(self.real_domain, sum(parts[1:], parts[0]))


def _lifted(A: LinearOperator, complex_after: bool) -> Any:
    """The domain of A, complex where A has real coefficients and what follows it has complex ones."""
    if complex_after and not is_complex(A.codomain) and not A.real_domain:
        return with_dtype(A.domain, real_dtype(A.domain), complex_kind=True)
    return A.domain


def _real_if(real: bool, x: Any) -> Any:
    return jax.tree.map(jnp.real, x) if real else x


# ---- verbs


def compose(A: LinearOperator, B: LinearOperator) -> LinearOperator:
    """A @ B, lifting A over the extra leading axes of B's output."""
    made, taken = B.codomain, A.domain
    if isinstance(made, jax.ShapeDtypeStruct) and isinstance(taken, jax.ShapeDtypeStruct):
        extra = len(made.shape) - len(taken.shape)
        if extra > 0 and made.shape[extra:] == taken.shape:
            A = batched(A, *made.shape[:extra])
            taken = A.domain
    if jax.tree.map(lambda s: s.shape, made) != jax.tree.map(lambda s: s.shape, taken):
        raise ValueError(f"A @ B does not fit: B = {type(B).__name__} gives {describe(made)}, "
                         f"A = {type(A).__name__} takes {describe(taken)}")
    if A.real_domain and is_complex(made):
        raise ValueError(f"A @ B does not fit: B = {type(B).__name__} gives {describe(made)}, A = {type(A).__name__} "
                         "takes real x only; use jr.real_part(A @ B) for a real unknown")
    return Composed(A, B)


def stack(operators: list[LinearOperator] | tuple[LinearOperator, ...]) -> Stacked:
    """The operator x -> (A_1 x, ..., A_n x), whose measurements are a tuple.

    Args:
        operators: at least one operator, all on one domain.

    Raises:
        ValueError: no operator, or domains of different shape.

    Example:
        >>> S = jr.stack([jr.Diagonal(jnp.array([1.0, 2.0])), jr.Matrix(jnp.ones((1, 2)))])
        >>> [y.tolist() for y in S(jnp.array([1.0, 1.0]))]
        [[1.0, 2.0], [2.0]]
    """
    return Stacked(tuple(operators))


def sum_operators(operators: list[LinearOperator]) -> LinearOperator:
    """A_1 + ... + A_n."""
    total = operators[0]
    for A in operators[1:]:
        total = Sum(total, A)
    return total
