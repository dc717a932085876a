"""The system matrix of magnetic particle imaging: one measured or simulated row per frequency component and channel."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp

from ..operator import LinearOperator, SelfAdjoint, real_dtype
from ..operator.algebra import scalar_at
from ..value import as_sizes, is_complex, static, value
from .elementary import product, times

# Up to this many voxels the Gram matrix is made once: an iteration then costs N^2 real products instead of 4 M N.
LARGEST_GRAM = 2048


@value
class SystemMatrix(LinearOperator):
    """y_k = sum_r s_k(r) x(r): real concentrations x to the complex spectrum y of the received voltage.

    Adjoint under Re <., .>: A^H y = Re(S^H y). Its rows serve `jr.Kaczmarz(lam, prior=jr.NonNegative())`; many frames
    at once are `jax.vmap(lambda b: jr.solve(A, b, solver, ...))(frames)`, one program that shares the matrix.

    Args:
        s: complex (or real) array (rows, *shape), rows = selected frequency components of all receive channels; or
            (rows, voxels) with `shape` given.
        shape: of the image x, such as (ny, nx).

    Raises:
        ValueError: fewer than two axes, or voxels that do not make up `shape`.

    Example:
        >>> A = jr.SystemMatrix(jnp.array([[[1.0, 2j], [0.0, 0.0]], [[0.0, 0.0], [1j, 1.0]]]))
        >>> A(jnp.array([[1.0, 1.0], [0.0, 2.0]])).tolist(), A.H(jnp.array([1j, 0.0])).tolist()
        ([(1+2j), (2+0j)], [[0.0, 2.0], [0.0, 0.0]])

    Rahmer et al., "Signal encoding in magnetic particle imaging: properties of the system function", 2009.
    """

    s: Any
    shape: Any = static(default=None)

    def check(self):
        s = jnp.asarray(self.s)
        shape = s.shape[1:] if self.shape is None else self.shape
        shape = as_sizes("SystemMatrix", shape)
        if s.ndim < 2 or not shape or s.shape[1:] not in (shape, (math.prod(shape),)):
            raise ValueError(f"SystemMatrix takes s of shape (rows, *shape) or (rows, voxels), got {s.shape} for an "
                             f"image of shape {shape}; select rows first, s[mask], mask (channels, frequencies)")
        s = s if jnp.issubdtype(s.dtype, jnp.inexact) else s.astype(float)
        object.__setattr__(self, "s", s.reshape(s.shape[0], -1))
        object.__setattr__(self, "shape", shape)

    @property
    def domain(self):
        return jax.ShapeDtypeStruct(self.shape, real_dtype(self.s))

    @property
    def real_domain(self):
        return True

    @property
    def matrix(self):
        return self.s

    def views(self, index: Any) -> SystemMatrix:
        """The rows `index` only, which may be traced."""
        return SystemMatrix(self.s[index], self.shape)

    def weighted(self, w: Any) -> SystemMatrix:
        """diag(w) A, which keeps its rows."""
        return SystemMatrix(w[:, None] * self.s, self.shape)

    def kept(self, keep):
        return self.weighted(keep)

    def scaled_by(self, factor):
        if is_complex(factor):
            return super().scaled_by(factor)
        return SystemMatrix(scalar_at(factor, self.s) * self.s, self.shape)

    @property
    def gram(self):
        return SystemGram(self.s, None, self.shape)

    def weighted_gram(self, w: Any) -> SystemGram:
        """A^H diag(w) A."""
        return SystemGram(self.s, w, self.shape)

    def apply(self, x):
        return times(self.s, x.reshape(-1))

    def apply_adjoint(self, y):
        x = product(y.real, self.s.real)
        if is_complex(self.s) and is_complex(y):
            x = x + product(y.imag, self.s.imag)
        return x.reshape(self.shape)


@value
class SystemGram(SelfAdjoint):
    """x -> Re(S^H W S x), W = diag(weights)."""

    s: Any
    weights: Any
    shape: Any = static()

    @property
    def domain(self):
        return jax.ShapeDtypeStruct(self.shape, real_dtype(self.s))

    @property
    def real_domain(self):
        return True

    @property
    def prepared(self):
        if self.s.shape[1] > LARGEST_GRAM or 4 * self.s.shape[0] < self.s.shape[1]:
            return self
        planes = [self.s.real, self.s.imag] if is_complex(self.s) else [self.s]
        gram = [jnp.matmul(p.T, self._weighted(p.T).T, precision="highest") for p in planes]
        return DenseGram(gram[0] + gram[1] if len(gram) == 2 else gram[0], self.shape)

    def apply(self, x):
        A = SystemMatrix(self.s, self.shape)
        return A.apply_adjoint(self._weighted(A.apply(x)))

    def _weighted(self, y):
        return y if self.weights is None else self.weights * y


@value
class DenseGram(SelfAdjoint):
    """x -> G x with the real symmetric matrix G = Re(S^H S)."""

    a: Any
    shape: Any = static()

    @property
    def domain(self):
        return jax.ShapeDtypeStruct(self.shape, self.a.dtype)

    @property
    def real_domain(self):
        return True

    @property
    def matrix(self):
        return self.a

    def apply(self, x):
        return times(self.a, x.reshape(-1)).reshape(self.shape)
