"""A linear operator is a value with a forward map; adjoint and Gram operator follow from it."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp

from ..value import describe, is_complex, shape_dtype, value


class LinearOperator:
    """A linear map y = A x between arrays (or tuples of arrays, on the side of the measurements).

    A subclass gives `domain` and `apply`. It overrides `apply_adjoint` or `gram` only where it knows a cheaper form
    than transposing the forward map.
    """

    @property
    def domain(self) -> Any:
        """`jax.ShapeDtypeStruct` of x. An operator with real coefficients takes complex x as well."""
        raise NotImplementedError(f"{type(self).__name__} must define `domain`")

    def apply(self, x: Any) -> Any:
        """The forward map itself, without checks."""
        raise NotImplementedError(f"{type(self).__name__} must define `apply`")

    def apply_adjoint(self, y: Any) -> Any:
        """The adjoint map itself, by transposing the forward map: A^H y = conj(A^T conj(y))."""
        domain, codomain = matching_domain(self, y)
        y = jax.tree.map(lambda v, s: v.astype(s.dtype), y, codomain)
        try:
            (x,) = jax.linear_transpose(self.apply, domain)(jax.tree.map(jnp.conj, y))
        except jax.errors.JaxRuntimeError:  # memory and the like
            raise
        except (NotImplementedError, AssertionError, TypeError, RuntimeError) as error:
            raise ValueError(f"{type(self).__name__} has no adjoint because it is not linear in x: "
                             "build operators from linear functions of x only") from error
        return jax.tree.map(jnp.conj, x)

    def __call__(self, x: Any) -> Any:
        """A x. Raises ValueError where the shape of x is not that of `domain`."""
        return self.apply(_checked_argument(self, x))

    @property
    def codomain(self) -> Any:
        """Shape and dtype of y = A(x) for an x as in `domain`."""
        return _codomain(self, self.domain)

    @property
    def H(self) -> LinearOperator:
        """The adjoint: <A x, y> = <x, A^H y>."""
        return Adjoint(self)

    @property
    def gram(self) -> LinearOperator:
        """A^H A as an operator."""
        return Gram(self)

    @property
    def prepared(self) -> LinearOperator:
        """The same map with what it computes from its leaves (plans, folded masks) made once; `solve` takes it
        before its loop."""
        return self

    @property
    def real_domain(self) -> bool:
        """True where x must be real, as for `real_part(A)`."""
        return False

    @property
    def orthogonal(self) -> bool:
        """True where A^H A is the identity."""
        return False

    @property
    def one_by_one(self) -> bool:
        """True where a batch is faster one after the other than by vmap: FFTs on CPU, while each fits the cache."""
        return False

    @property
    def spectrum(self) -> jax.Array | None:
        """The eigenvalues of an operator that is diagonal under the (uncentred) FFT over all axes, else None."""
        return None

    @property
    def known_norm(self) -> jax.Array | None:
        """|A|_2, where A knows it without iterating, else None; `with_norm` finds it for any other."""
        return None if self.spectrum is None else jnp.max(jnp.abs(self.spectrum))

    @property
    def matrix(self) -> jax.Array | None:
        """The matrix, where the operator holds it already; `dense(A)` makes it for any other."""
        return None

    @property
    def sampled_energy(self) -> jax.Array | None:
        """For A = M U, where M selects samples (0 or 1) and U^H U is diagonal: that diagonal, else None."""
        return jnp.ones(()) if self.orthogonal else None

    @property
    def locations(self) -> tuple[int, ...]:
        """A shape that broadcasts to the measurements: those that it shares are made together, by one excitation or
        one view (k-space locations over all coils, views over all detectors)."""
        codomain = self.codomain
        if not isinstance(codomain, jax.ShapeDtypeStruct):
            raise ValueError(f"{type(self).__name__} gives several arrays of measurements; treat each operator of a "
                             "stack by itself")
        return codomain.shape

    @property
    def frequencies(self) -> jax.Array | None:
        """|k| in cycles per pixel, which broadcasts to the measurements; None where these are not of k-space."""
        return None

    def kept(self, keep: jax.Array) -> LinearOperator:
        """diag(keep) A, as an operator of the same kind where there is one. keep: 1 or 0, real, and
        broadcasts to the measurements."""
        from .kept import Kept

        return Kept(self, jnp.broadcast_to(jnp.asarray(keep, real_dtype(self.codomain.dtype)), self.codomain.shape))

    def scaled_by(self, factor: Any) -> LinearOperator:
        """c A for a scalar c."""
        from .algebra import Scaled

        return Scaled(self, factor)

    def weighted_gram(self, w: jax.Array) -> LinearOperator | None:
        """A^H diag(w) A where A knows a cheaper form than applying both, else None.

        w is real and broadcasts to the measurements: over an axis that it lacks, or where it has length 1, values are
        shared.
        """
        return None

    def __matmul__(self, other: LinearOperator) -> LinearOperator:
        """A @ B: x -> A(B x). A is lifted over extra leading axes that B makes (coils, frames)."""
        from .algebra import compose

        return compose(self, other) if isinstance(other, LinearOperator) else NotImplemented

    def __add__(self, other: LinearOperator) -> LinearOperator:
        from .algebra import Sum

        return Sum(self, other) if isinstance(other, LinearOperator) else NotImplemented

    def __sub__(self, other: LinearOperator) -> LinearOperator:
        return self + (-1.0) * other if isinstance(other, LinearOperator) else NotImplemented

    def __rmul__(self, factor: Any) -> LinearOperator:
        if isinstance(factor, LinearOperator) or jnp.ndim(factor):
            raise TypeError("c * A needs a scalar c; use jr.Diagonal(c) @ A for an array, A @ B for a product")
        return self.scaled_by(factor)

    __mul__ = __rmul__

    def __truediv__(self, divisor: Any) -> LinearOperator:
        return self.__rmul__(1.0 / divisor)

    def __neg__(self) -> LinearOperator:
        return (-1.0) * self


class SelfAdjoint(LinearOperator):
    """An operator that is its own adjoint, as every Gram operator is."""

    @property
    def H(self):
        return self

    def apply_adjoint(self, y):
        return self.apply(y)


class Measuring(LinearOperator):
    """An operator made of another one, `operator`, which makes its measurements."""

    operator: LinearOperator

    @property
    def locations(self):
        return self.operator.locations

    @property
    def frequencies(self):
        return self.operator.frequencies


class Wrapper(Measuring):
    """An operator made of another one that shares its character."""

    @property
    def real_domain(self):
        return self.operator.real_domain

    @property
    def orthogonal(self):
        return self.operator.orthogonal

    @property
    def one_by_one(self):
        return self.operator.one_by_one

    @property
    def sampled_energy(self):
        return self.operator.sampled_energy


@value
class Adjoint(LinearOperator):
    """A^H."""

    operator: LinearOperator

    @property
    def domain(self):
        return self.operator.codomain

    @property
    def codomain(self):
        return self.operator.domain

    @property
    def H(self):
        return self.operator

    def apply(self, x):
        return self.operator.apply_adjoint(x)

    def apply_adjoint(self, y):
        return self.operator.apply(y)


@value
class Gram(SelfAdjoint):
    """A^H A."""

    operator: LinearOperator

    @property
    def domain(self):
        return self.operator.domain

    @property
    def real_domain(self):
        return self.operator.real_domain

    @property
    def prepared(self):
        return Gram(self.operator.prepared)

    def apply(self, x):
        return self.operator.apply_adjoint(self.operator.apply(x))


# ---- dtypes: an operator with real coefficients takes real and complex x, at either precision


def real_dtype(*trees: Any) -> jnp.dtype:
    """The real floating dtype at the precision of all leaves: float64 if any is float64 or complex128.

    Integers count as JAX's default float.
    """
    kinds = [jnp.result_type(v) for v in jax.tree.leaves(trees)]
    floats = [jnp.finfo(k).dtype for k in kinds if jnp.issubdtype(k, jnp.inexact)]
    return functools.reduce(jnp.promote_types, floats) if floats else jnp.result_type(float)


def with_dtype(tree: Any, real: Any, complex_kind: bool | None = None) -> Any:
    """The tree of shapes at another precision; `complex_kind` None keeps real real and complex complex."""
    def change(s):
        make_complex = jnp.issubdtype(s.dtype, jnp.complexfloating) if complex_kind is None else complex_kind
        return jax.ShapeDtypeStruct(s.shape, jnp.promote_types(real, jnp.complex64) if make_complex else real)
    return jax.tree.map(change, tree)


def matching_domain(A: LinearOperator, y: Any) -> tuple[Any, Any]:
    """The domain and codomain of A at the dtype that y implies.

    Real coefficients map real to real and complex to complex: a complex y means a complex x. The precision is that of
    y, or of A where A is finer.
    """
    floats = [v for v in jax.tree.leaves(y) if jnp.issubdtype(jnp.result_type(v), jnp.inexact)]
    domain = with_dtype(A.domain, real_dtype(floats or A.domain))
    codomain = _codomain(A, domain)
    if is_complex(y) and not is_complex(codomain):
        if not A.real_domain:
            domain = with_dtype(domain, real_dtype(domain), complex_kind=True)
            codomain = _codomain(A, domain)
        if not is_complex(codomain):
            raise ValueError(f"{type(A).__name__} gives real measurements, got complex ones ({describe(y)}); "
                             "pass b.real, or drop the step that makes A real")
    return domain, codomain


def _codomain(A, domain):
    return shape_dtype(jax.eval_shape(lambda A, x: A.apply(x), A, domain))


def need_operator(A: Any) -> None:
    """Raises TypeError for what is no operator, such as an array."""
    if not isinstance(A, LinearOperator):
        raise TypeError(f"A must be an operator, got {type(A).__name__}; wrap an array in jr.Matrix, "
                        "a function in jr.linear")


def arrays_like(want: Any, x: Any) -> Any:
    """x as an array, or as a tuple of arrays, whichever `want` is; lists stand for either."""
    if isinstance(x, list):
        x = jnp.asarray(x) if isinstance(want, jax.ShapeDtypeStruct) else tuple(x)
    return jax.tree.map(jnp.asarray, x)


def _checked_argument(A: LinearOperator, x: Any) -> Any:
    want = A.domain
    name = f"{type(A.operator).__name__}.H" if isinstance(A, Adjoint) else type(A).__name__
    x = arrays_like(want, x)
    if jax.tree.structure(x) != jax.tree.structure(want):
        raise ValueError(f"{name} takes {describe(want)}, got {describe(x)}: the number of arrays differs")
    for got, s in zip(jax.tree.leaves(x), jax.tree.leaves(want), strict=True):
        if got.shape != s.shape:
            extra = got.shape[: len(got.shape) - len(s.shape)]
            is_batch = len(got.shape) > len(s.shape) and got.shape[len(extra):] == s.shape
            hint = f"; for a batch use jax.vmap(A) or jr.batched(A, {extra[0]})" if is_batch else ""
            raise ValueError(f"{name} takes shape {tuple(s.shape)}, got {tuple(got.shape)}{hint}")
        if not (jnp.issubdtype(got.dtype, jnp.number) or got.dtype == bool):
            raise ValueError(f"{name} takes numbers, got dtype {got.dtype}")
        if A.real_domain and jnp.issubdtype(got.dtype, jnp.complexfloating):
            raise ValueError(f"{name} takes a real x, got {got.dtype}; pass x.real or drop jr.real_part")
    return jax.tree.map(lambda v, s: v if jnp.issubdtype(v.dtype, jnp.inexact) else v.astype(s.dtype), x, want)
