"""Direct solves of dense systems: Tikhonov by SVD or Cholesky, truncated SVD, pseudo-inverse."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.linalg import cho_factor, cho_solve

from ..checks import check_weights
from ..fidelity import cast_measurements
from ..operator import LinearOperator, dense
from ..priors.base import scalar_like
from ..value import is_complex, is_concrete, safe_divide, static, value

METHODS = ("svd", "cholesky")


class Picard(NamedTuple):
    singular_values: jax.Array
    coefficients: jax.Array  # |u_i^H b|
    ratios: jax.Array  # |u_i^H b| / s_i, which must fall for a solution to exist


@value
class SVD:
    """A = U diag(s) V^H of a dense operator, and the regularised inverses that follow from it.

    Attributes:
        u: (measurements, r), s: (r,) falling, vh: (r, unknowns), with r = min(measurements, unknowns).
        shape: of x.
    """

    u: jax.Array
    s: jax.Array
    vh: jax.Array
    shape: tuple[int, ...] = static()

    def filter_factors(self, lam: Any) -> jax.Array:
        """s^2 / (s^2 + lam), what Tikhonov lets through of each singular component; 0 where s is 0 to rounding."""
        energy = jnp.where(self._kept(), self.s, 0) ** 2
        return safe_divide(energy, energy + scalar_like(lam, self.s))

    def picard(self, b: Any) -> Picard:
        """The data of a Picard plot (Hansen 1990)."""
        coefficients = jnp.abs(self._coefficients(b))
        return Picard(self.s, coefficients, safe_divide(coefficients, self.s))

    def tikhonov(self, b: Any, lam: Any) -> jax.Array:
        """argmin 1/2 |A x - b|^2 + lam/2 |x|^2."""
        return self._synthesis(safe_divide(self.filter_factors(lam), self.s) * self._coefficients(b))

    def truncated(self, b: Any, rank: Any) -> jax.Array:
        """The least-squares solution from the `rank` largest singular values (TSVD)."""
        if is_concrete(rank) and not 0 <= int(rank) <= self.s.shape[0]:
            raise ValueError(f"truncated SVD needs 0 <= rank <= {self.s.shape[0]}, got {rank}")
        keep = jnp.arange(self.s.shape[0]) < rank
        return self._synthesis(jnp.where(keep, safe_divide(self._coefficients(b), self.s), 0))

    def pseudo_inverse(self, b: Any, rcond: float | None = None) -> jax.Array:
        """A^+ b: the least-squares solution of least norm; singular values up to rcond * s_max count as zero.

        rcond None: eps * max(measurements, unknowns), as in numpy.linalg.lstsq.
        """
        return self._synthesis(jnp.where(self._kept(rcond), safe_divide(self._coefficients(b), self.s), 0))

    def _kept(self, rcond=None):
        if rcond is None:
            rcond = float(jnp.finfo(self.s.dtype).eps) * max(self.u.shape[0], self.vh.shape[1])
        return self.s > rcond * self.s[0]

    def _coefficients(self, b):
        b = jnp.concatenate([v.ravel() for v in map(jnp.asarray, jax.tree.leaves(b))])
        if self.u.shape[0] == 2 * b.size and is_complex(b) and not is_complex(self.u):
            b = jnp.concatenate([b.real, b.imag])
        if b.size != self.u.shape[0]:
            raise ValueError(f"b has {b.size} measurements, but the matrix has {self.u.shape[0]} rows")
        return jnp.matmul(jnp.conj(self.u.T), b, precision="highest")

    def _synthesis(self, c):
        return jnp.matmul(jnp.conj(self.vh.T), c, precision="highest").reshape(self.shape)


def svd(A: LinearOperator) -> SVD:
    """The singular value decomposition of the matrix of A.

    Example:
        >>> F = jr.svd(jr.Matrix(jnp.diag(jnp.array([2.0, 1.0]))))
        >>> F.s.tolist(), F.pseudo_inverse(jnp.array([2.0, 3.0])).tolist()
        ([2.0, 1.0], [1.0, 3.0])
    """
    u, s, vh = jnp.linalg.svd(_real_rows(A, dense(A)), full_matrices=False)
    return SVD(u, s, vh, A.domain.shape)


def _real_rows(A, a):
    """[Re; Im] of what is complex where the unknown is real, so that the solution is."""
    return jnp.concatenate([a.real, a.imag]) if A.real_domain and is_complex(a) else a


def tikhonov(A: LinearOperator, b: Any, lam: Any, method: str = "svd") -> jax.Array:
    """x = argmin 1/2 |A x - b|^2 + lam/2 |x|^2 (Tikhonov 1963), directly.

    Args:
        A: any operator whose matrix fits in memory.
        b: measurements.
        lam: scalar >= 0. For many, `jax.vmap(lambda lam: jr.tikhonov(A, b, lam))(lams)` makes one SVD. With lam = 0 the
            SVD gives the solution of least norm.
        method: "svd", or "cholesky" of the smaller of A^H A and A A^H, many times cheaper for a single lam.

    Returns:
        x, of the shape of A's domain. Differentiable with respect to A, b and lam, also where singular values coincide.

    Raises:
        ValueError: an unknown method, a lam that is negative or not a scalar.

    Example:
        >>> jr.tikhonov(jr.Matrix(jnp.eye(2)), jnp.array([1.0, 2.0]), 1.0).tolist()
        [0.5, 1.0]
    """
    if method not in METHODS:
        raise ValueError(f"method is one of {', '.join(METHODS)}, got {method!r}")
    if jnp.ndim(lam):
        raise ValueError(f"tikhonov takes one lam, got shape {jnp.shape(lam)}; use jax.vmap over lam")
    check_weights("tikhonov", lam=lam)
    return _tikhonov(A, b, lam, method)


@functools.partial(jax.jit, static_argnames="method")
def _tikhonov(A, b, lam, method):
    b, domain = cast_measurements(A, b)
    a, b = _real_rows(A, dense(A)), jnp.concatenate([v.ravel() for v in jax.tree.leaves(b)])
    b = _real_rows(A, b).astype(jnp.promote_types(a.dtype, domain.dtype))
    a, lam = a.astype(b.dtype), scalar_like(lam, b)
    x = (_by_svd if method == "svd" else _by_cholesky)(a, b, lam)
    return x.reshape(domain.shape)


def _by_cholesky(a, b, lam):
    wide = a.shape[0] < a.shape[1]
    left = a if wide else jnp.conj(a.T)
    gram = jnp.matmul(left, jnp.conj(left.T), precision="highest")
    factor = cho_factor(gram + lam * jnp.eye(gram.shape[0], dtype=a.dtype))
    return jnp.conj(a.T) @ cho_solve(factor, b) if wide else cho_solve(factor, left @ b)


@jax.custom_jvp
def _by_svd(a, b, lam):
    u, s, vh = jnp.linalg.svd(a, full_matrices=False)
    return SVD(u, s, vh, a.shape[1:]).tikhonov(b, lam)


@_by_svd.defjvp
def _by_svd_jvp(primals, tangents):
    # Of x itself, (A^H A + lam) x = A^H b, not of the factors, whose derivatives are infinite where singular values
    # meet.
    (a, b, lam), (a_dot, b_dot, lam_dot) = primals, tangents
    u, s, vh = jnp.linalg.svd(a, full_matrices=False)
    factors = SVD(u, s, vh, a.shape[1:])
    x, kept = factors.tikhonov(b, lam), factors._kept()
    inverse = jnp.where(kept, safe_divide(1, jnp.where(kept, s, 1) ** 2 + lam), 0)
    v, coefficients = jnp.conj(vh.T), jnp.conj(u.T) @ b
    g = jnp.conj(a_dot.T) @ (b - a @ x) + jnp.conj(a.T) @ (b_dot - a_dot @ x) - lam_dot * x
    x_dot = v @ (inverse * (vh @ g))
    # Outside the span of the kept v: A_dot^H (b - A x) / lam, with (b - A x) / lam in its form that has a limit at lam
    # = 0 (Golub and Pereyra 1973). What b has outside the span of the kept u counts for lam > 0 only.
    outside = b - u @ jnp.where(kept, coefficients, 0)
    h = jnp.conj(a_dot.T) @ (u @ (inverse * coefficients)) + safe_divide(jnp.conj(a_dot.T) @ outside, lam)
    h = h - v @ jnp.where(kept, vh @ h, 0)
    return x, x_dot + jnp.where(jnp.sum(kept) < a.shape[1], h, 0)
