"""The restriction of an operator to real x."""

from __future__ import annotations

import jax.numpy as jnp

from ..value import is_complex, value
from .base import LinearOperator, Measuring, SelfAdjoint, real_dtype, with_dtype


@value
class RealPart(Measuring):
    """A restricted to real x; its adjoint is Re(A^H y), adjoint under Re <., .>."""

    operator: LinearOperator

    @property
    def domain(self):
        return with_dtype(self.operator.domain, real_dtype(self.operator.domain), complex_kind=False)

    @property
    def real_domain(self):
        return True

    @property
    def matrix(self):
        return self.operator.matrix

    @property
    def gram(self):
        return RealPartGram(self.operator.gram)

    @property
    def sampled_energy(self):
        return self.operator.sampled_energy

    def kept(self, keep):
        return RealPart(self.operator.kept(keep))

    def scaled_by(self, factor):
        return super().scaled_by(factor) if is_complex(factor) else RealPart(self.operator.scaled_by(factor))

    def weighted_gram(self, w):
        inner = self.operator.weighted_gram(w)
        return None if inner is None else RealPartGram(inner)

    @property
    def prepared(self):
        return RealPart(self.operator.prepared)

    def apply(self, x):
        return self.operator.apply(x)

    def apply_adjoint(self, y):
        return self.operator.apply_adjoint(y).real


@value
class RealPartGram(SelfAdjoint):
    """x -> Re(A^H A x) for real x, given A^H A."""

    operator: LinearOperator

    @property
    def domain(self):
        return with_dtype(self.operator.domain, real_dtype(self.operator.domain), complex_kind=False)

    @property
    def real_domain(self):
        return True

    @property
    def prepared(self):
        return RealPartGram(self.operator.prepared)

    @property
    def spectrum(self):
        s = self.operator.spectrum
        if s is None:
            return None
        # The real part of a circulant matrix has the eigenvalues (s[k] + conj s[-k]) / 2.
        reversed_s = jnp.roll(jnp.flip(s), (1,) * s.ndim, tuple(range(s.ndim)))
        return (s + jnp.conj(reversed_s)) / 2

    def apply(self, x):
        return self.operator.apply(x).real


def real_part(A: LinearOperator) -> LinearOperator:
    """A for a real unknown: x real, A^H y = Re(A^H y). Adjoint under the real inner product Re <., .>.

    Example:
        >>> A = jr.real_part(jr.Fourier((4, 4), dtype="complex64"))
        >>> A.domain.dtype, A.H(A(jnp.ones((4, 4), "float32"))).dtype
        (dtype('float32'), dtype('float32'))
    """
    return A if A.real_domain else RealPart(A)
