"""The exact solve of (A^H A + rho K^H K) x = rhs inside ADMM, by what A is."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.scipy.linalg import cho_factor, cho_solve, solve_triangular

from ..fidelity import LeastSquaresProblem
from ..operator import LinearOperator, Stacked, dense
from ..operator.algebra import Sandwich
from ..operator.base import Gram
from ..operator.inverse import implicit_solve
from ..operators import Diagonal, Matrix, SystemMatrix
from ..value import is_complex, safe_divide, value

LARGEST_DENSE = 4096


class NormalInverse:
    """(rho, rhs, start) -> x with (A^H A + rho K^H K) x = rhs."""

    def solve(self, rho: jax.Array, rhs: jax.Array, start: jax.Array) -> jax.Array:
        raise NotImplementedError


@value
class FourierInverse(NormalInverse):
    """Both sides diagonal under the FFT: their eigenvalues."""

    data: jax.Array
    penalty: jax.Array

    def solve(self, rho, rhs, start):
        # A frequency that neither side sees (no sample at DC, and TV) is left at 0.
        x = jnp.fft.ifftn(safe_divide(jnp.fft.fftn(rhs), self.data + rho * self.penalty))
        return x if is_complex(rhs) else x.real


@value
class CholeskyInverse(NormalInverse):
    """One fixed rho: the Cholesky factor, made once."""

    factor: jax.Array

    def solve(self, rho, rhs, start):
        return cho_solve((self.factor, True), rhs.ravel()).reshape(rhs.shape)


@value
class PencilInverse(NormalInverse):
    """Every rho: G + rho M = W^{-H} (e + rho / c (1 - e)) W^{-1}, from the eigenvalues e of the pencil (G, G + c M)."""

    data: jax.Array
    penalty: jax.Array
    basis: jax.Array
    eigenvalues: jax.Array
    scale: jax.Array  # c

    def solve(self, rho, rhs, start):
        W = self.basis

        def by_factors(_, y):
            return W @ ((jnp.conj(W.T) @ y) / (self.eigenvalues + rho / self.scale * (1 - self.eigenvalues)))

        # The gradient of an eigenbasis is infinite where eigenvalues coincide; that of the solve is not.
        x = lax.custom_linear_solve(lambda v: self.data @ v + rho * (self.penalty @ v), rhs.ravel(), by_factors,
                                    lambda f, y: jnp.conj(by_factors(f, jnp.conj(y))))
        return x.reshape(rhs.shape)


@value
class CGInverse(NormalInverse):
    """Anything else: CG run to rounding from the last x."""

    data: LinearOperator
    penalty: LinearOperator

    def solve(self, rho, rhs, start):
        return implicit_solve(lambda v: self.data.apply(v) + rho * self.penalty.apply(v), rhs, start)


def normal_inverse(problem: LeastSquaresProblem, transforms: Stacked, rho: Any) -> NormalInverse:
    """The cheapest exact inverse for a problem; rho None where it changes between solves."""
    data, penalty = problem.gram, transforms.gram
    shape = problem.rhs.shape
    data_spectrum, penalty_spectrum = data.spectrum, penalty.spectrum
    if data_spectrum is not None and penalty_spectrum is not None:
        return FourierInverse(data_spectrum, penalty_spectrum)
    if isinstance(problem.A, Matrix | SystemMatrix) and math.prod(shape) <= LARGEST_DENSE:
        G = _normal_matrix(data).astype(problem.rhs.dtype)
        M = dense(penalty).astype(problem.rhs.dtype)
        if rho is not None:
            return CholeskyInverse(cho_factor(G + rho * M, lower=True)[0])
        # Of one size: G + M itself would be singular to rounding in float32 where A is large and ill conditioned.
        size = lax.stop_gradient(jnp.trace(G).real)
        scale = jnp.where(size > 0, size, 1) / lax.stop_gradient(jnp.trace(M).real)
        L = jnp.linalg.cholesky(lax.stop_gradient(G + scale * M))
        C = solve_triangular(L, lax.stop_gradient(G), lower=True)
        C = solve_triangular(L, jnp.conj(C.T), lower=True)
        eigenvalues, Q = jnp.linalg.eigh((C + jnp.conj(C.T)) / 2)
        return PencilInverse(G, M, solve_triangular(L, Q, lower=True, trans="C"), jnp.clip(eigenvalues, 0, 1), scale)
    return CGInverse(data, penalty)


def _normal_matrix(gram):
    """a^H a or a^H W a in one product, where the matrix is at hand."""
    if isinstance(gram, Gram) and (a := gram.operator.matrix) is not None:
        return jnp.matmul(jnp.conj(a.T), a, precision="highest")
    if isinstance(gram, Sandwich) and isinstance(gram.middle, Diagonal) and (a := gram.inner.matrix) is not None:
        return jnp.matmul(jnp.conj(a.T), gram.middle.d[:, None] * a, precision="highest")
    return dense(gram)
