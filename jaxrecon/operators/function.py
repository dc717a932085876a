"""Any pure linear function as an operator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from ..operator import LinearOperator
from ..operator.pair import WrongAdjoint
from ..value import describe, is_concrete, static, value
from .elementary import as_domain


@value
class Function(LinearOperator):
    """y = fn(params, x)."""

    params: Any
    fn: Callable = static()
    argument: jax.ShapeDtypeStruct = static()

    @property
    def domain(self):
        return self.argument

    def apply(self, x):
        return self.fn(x) if self.params is None else self.fn(self.params, x)


def linear(fn: Callable, domain: Any, params: Any = None) -> LinearOperator:
    """y = fn(x), or y = fn(params, x): any pure JAX function that is linear in x, with its adjoint for free.

    Args:
        fn: the function. It is structure: pass a named function, not a fresh lambda each time, so that compiled
            solvers are used again.
        domain: shape of x, or an array or `jax.ShapeDtypeStruct` of its shape and dtype.
        params: arrays that fn depends on, as leaves: new values do not compile again, and gradients reach them.

    Raises:
        TypeError: fn is not a function.
        ValueError: fn is not linear in x (as far as JAX sees), or fn(0) is not 0; a `jr.matched_pair` in it whose
            adjoint does not fit.

    Example:
        >>> A = jr.linear(jnp.cumsum, (3,))
        >>> A.H(jnp.array([1.0, 1.0, 1.0])).tolist()
        [3.0, 2.0, 1.0]
    """
    if not callable(fn):
        # Before it becomes structure: an array there would break the comparison with every later function.
        raise TypeError(f"linear takes a function of x, got {describe(fn) if hasattr(fn, 'shape') else repr(fn)}; wrap "
                        "an array in jr.Matrix")
    A, name = Function(params, fn, as_domain(domain)), getattr(fn, "__name__", fn)
    try:
        y = A.codomain
    except (jax.errors.TracerArrayConversionError, jax.errors.TracerBoolConversionError) as error:
        raise ValueError(f"fn is not a JAX function of x: it hands x of {describe(A.domain)} to NumPy, or branches on "
                         "its values; write it with jax.numpy, without if or while on x") from error
    except TypeError as error:
        raise ValueError(f"fn does not take x of {describe(A.domain)}"
                         f"{'' if params is None else ' after params'}: {error}") from error
    if not jax.tree.leaves(y):
        raise ValueError(f"{name} returns no array for x of {describe(A.domain)}; does it lack its return?")
    # Abstract: finds x * x and the like without computing anything.
    try:
        jax.eval_shape(A.apply_adjoint, y)
    except WrongAdjoint:
        raise
    except ValueError as error:
        raise ValueError(f"{name} is not linear in x of {describe(A.domain)}: JAX finds no transpose; at a point x0, "
                         "jax.linearize(fn, x0)[1] is a linear function") from error
    if is_concrete(params):
        zero = A.apply(jnp.zeros(A.domain.shape, A.domain.dtype))
        if is_concrete(zero) and any(bool(jnp.any(v != 0)) for v in jax.tree.leaves(zero)):
            if any(bool(jnp.any(jnp.isnan(v))) for v in jax.tree.leaves(zero)):
                raise ValueError("fn(0) is not a number: are there NaN or infinite values in params?")
            raise ValueError("fn is affine, not linear: fn(0) is not 0; move the constant to the measurements, "
                             "b - fn(0)")
    return A
