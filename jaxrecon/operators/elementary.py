"""Identity, diagonal and dense matrices."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from ..operator import LinearOperator, matched_pair
from ..operator.algebra import scalar_at
from ..value import as_sizes, is_complex, static, value


def as_domain(domain: Any) -> jax.ShapeDtypeStruct:
    """A shape, an array or a ShapeDtypeStruct as a ShapeDtypeStruct.

    JAX's default float where no dtype is given, or that of whole numbers; 64 bits only where JAX has them enabled.
    """
    if isinstance(domain, int | float | tuple | list):
        return jax.ShapeDtypeStruct(as_sizes("a domain", domain), jnp.result_type(float))
    if not hasattr(domain, "shape") or not hasattr(domain, "dtype"):
        raise TypeError(f"a domain is a shape, an array or a jax.ShapeDtypeStruct, got {domain!r}")
    dtype = jax.dtypes.canonicalize_dtype(domain.dtype)
    return jax.ShapeDtypeStruct(tuple(domain.shape), dtype if jnp.issubdtype(dtype, jnp.inexact) else
                                jnp.result_type(float))


def floating(owner: str, dtype: Any) -> jnp.dtype:
    """A real or complex floating dtype as JAX has it, in 64 bits only where they are enabled.

    Raises:
        TypeError: another dtype.
    """
    dtype = jax.dtypes.canonicalize_dtype(dtype)
    if not jnp.issubdtype(dtype, jnp.inexact):
        raise TypeError(f"{owner} needs a floating or complex dtype, got {dtype}; cast x to float32")
    return dtype


@value
class Identity(LinearOperator):
    """y = x.

    Args:
        shape: of x, or an array or `jax.ShapeDtypeStruct` of its shape and dtype.
        dtype: of x. None: that of `shape`, JAX's default float where it has none.

    Example:
        >>> jr.Identity((2,))(jnp.array([1.0, 2.0])).tolist()
        [1.0, 2.0]
    """

    shape: Any = static()
    dtype: Any = static(default=None)

    def check(self):
        s = as_domain(self.shape)
        object.__setattr__(self, "shape", s.shape)
        object.__setattr__(self, "dtype", floating("Identity", s.dtype if self.dtype is None else self.dtype))

    @property
    def domain(self):
        return jax.ShapeDtypeStruct(self.shape, self.dtype)

    @property
    def orthogonal(self):
        return True

    @property
    def gram(self):
        return self

    @property
    def H(self):
        return self

    @property
    def spectrum(self):
        return jnp.ones(self.shape, jnp.finfo(self.dtype).dtype)

    def apply(self, x):
        return x

    def apply_adjoint(self, y):
        return y


@value
class Diagonal(LinearOperator):
    """y = d * x, elementwise.

    Args:
        d: real or complex array of the shape of x.

    Example:
        >>> jr.Diagonal(jnp.array([1.0, 3.0]))(jnp.array([1.0, 2.0])).tolist()
        [1.0, 6.0]
    """

    d: Any

    def check(self):
        d = jnp.asarray(self.d)
        object.__setattr__(self, "d", d if jnp.issubdtype(d.dtype, jnp.inexact) else d.astype(float))

    @property
    def domain(self):
        return jax.ShapeDtypeStruct(self.d.shape, self.d.dtype)

    @property
    def gram(self):
        return Diagonal((jnp.conj(self.d) * self.d).real)

    def apply(self, x):
        return self.d * x

    def apply_adjoint(self, y):
        return jnp.conj(self.d) * y


@value
class Matrix(LinearOperator):
    """y = a @ x.

    Args:
        a: real or complex array (measurements, unknowns).

    Raises:
        ValueError: `a` is not two-dimensional.

    Example:
        >>> jr.Matrix(jnp.array([[1.0, 2.0]])).H(jnp.array([1.0])).tolist()
        [1.0, 2.0]
    """

    a: Any

    def check(self):
        a = jnp.asarray(self.a)
        if a.ndim != 2:
            raise ValueError(f"Matrix needs a 2-D array (measurements, unknowns), got shape {a.shape}; "
                             "flatten the axes of each side into one")
        object.__setattr__(self, "a", a if jnp.issubdtype(a.dtype, jnp.inexact) else a.astype(float))

    @property
    def domain(self):
        return jax.ShapeDtypeStruct(self.a.shape[1:], self.a.dtype)

    @property
    def matrix(self):
        return self.a

    def views(self, index: Any) -> Matrix:
        """The rows `index` only, which may be traced."""
        return Matrix(self.a[index])

    def weighted(self, w: Any) -> Matrix:
        """diag(w) A, which keeps its rows."""
        return Matrix(w[:, None] * self.a)

    def kept(self, keep):
        return self.weighted(keep)

    def scaled_by(self, factor):
        return Matrix(scalar_at(factor, self.a) * self.a)

    def apply(self, x):
        return times(self.a, x)

    def apply_adjoint(self, y):
        return jnp.conj(product(jnp.conj(y), self.a))


def times(a: jax.Array, x: jax.Array) -> jax.Array:
    """a @ x for one vector, of which vmap makes columns.

    Left to itself it makes a product of rows with rows, which takes XLA:CPU 20 times as long.
    """
    def forward(a, columns):
        if columns.shape[-1] == 1:
            return product(a, columns[:, 0])[:, None]
        # Times a 1 that the compiler does not know of: the columns are then laid out in memory as such.
        return product(a, columns * lax.optimization_barrier(jnp.ones((), columns.real.dtype)))

    def adjoint(a, columns):
        y = jnp.conj(product(jnp.conj(columns).T, a)).T
        return (y if is_complex(x) else y.real).astype(x.dtype)

    return matched_pair(forward, adjoint, a, x[:, None], batch_last=True)[:, 0]


def product(a: jax.Array, b: jax.Array) -> jax.Array:
    """a @ b at full precision; real times complex as two real products.

    XLA's complex matrix-vector product on CPU costs nine real ones.
    """
    if is_complex(a) == is_complex(b):
        return jnp.matmul(a, b, precision="highest")
    if is_complex(a):
        return jax.lax.complex(product(a.real, b), product(a.imag, b))
    return jax.lax.complex(product(a, b.real), product(a, b.imag))
