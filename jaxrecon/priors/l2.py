"""The quadratic prior: Tikhonov's, with one weight, one for each unknown, or through an operator."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from ..checks import check_weights
from ..operator import LinearOperator, SelfAdjoint, real_dtype
from ..operator.inverse import solve_positive
from ..value import is_complex, value
from ._arithmetic import absolute_squared
from ._fitted import operator_for, values_for
from .base import Prior, scalar_like


@value
class L2(Prior):
    """lam/2 |W x|^2.

    Args:
        lam: weight >= 0, or an array of weights that broadcasts against W x.
        operator: W; the identity if None. The prox is then a linear solve: by FFT where W^H W is circulant and lam a
            number, by conjugate gradients run to rounding otherwise.

    Raises:
        ValueError: negative lam; weights or a W that do not fit the image.

    Example:
        >>> prior = jr.L2(2.0)
        >>> float(prior(jnp.array([3.0, 4.0]))), prior.prox(jnp.array([3.0, 6.0])).tolist()
        (25.0, [1.0, 2.0])
    """

    lam: Any
    operator: LinearOperator | None = None

    def check(self):
        check_weights(self, lam=self.lam)
        if self.operator is not None and not isinstance(self.operator, LinearOperator):
            raise TypeError(f"L2: operator must be a linear operator, got {type(self.operator).__name__}")

    def __call__(self, x):
        y = x if self.operator is None else self.operator(x)
        terms = [jnp.sum(values_for(self, self.lam, v) * absolute_squared(v)) for v in jax.tree.leaves(y)]
        return (sum(terms[1:], terms[0]) / 2).astype(real_dtype(x))

    def prox(self, v, t=1.0):
        return self._solve(v, t, None)

    def start(self, x):
        return () if self.operator is None else jnp.zeros_like(x)

    def warm_prox(self, v, t, state):
        if self.operator is None:
            return self.prox(v, t), state
        u = self._solve(v, t, state)
        return u, u

    def split(self, domain):
        if self.operator is None:
            return None, self
        return operator_for(self, self.operator, domain), L2(self.lam)

    def _solve(self, v, t, x0):
        if self.operator is None:
            return jax.tree.map(lambda v: v / (1 + scalar_like(t, v) * values_for(self, self.lam, v)), v)
        W = operator_for(self, self.operator, v)
        weight = scalar_like(t, v) * scalar_like(self.lam, v)
        if weight.ndim:
            jax.tree.map(lambda y: values_for(self, weight, y), W.codomain)
        spectrum = W.gram.spectrum
        if spectrum is None or weight.ndim:
            u = solve_positive(Regulariser(W, weight), v, x0)
            # An operator in double precision must not lift a single-precision image.
            return u.astype(jnp.promote_types(real_dtype(v), jnp.complex64) if is_complex(u) else real_dtype(v))
        u = jnp.fft.ifftn(jnp.fft.fftn(v) / (1 + weight * spectrum.astype(weight.dtype)))
        return u if jnp.iscomplexobj(v) else u.real


@value
class Regulariser(SelfAdjoint):
    """1 + W^H diag(w) W."""

    operator: LinearOperator
    weight: Any

    @property
    def domain(self):
        return self.operator.domain

    @property
    def real_domain(self):
        return self.operator.real_domain

    def apply(self, x):
        if jnp.ndim(self.weight) == 0:
            return x + self.weight * self.operator.gram.apply(x)
        return x + self.operator.apply_adjoint(jax.tree.map(lambda y: self.weight * y, self.operator.apply(x)))
