"""A linear map and its adjoint, each written by hand, as one JAX primitive.

The transpose of a gather is a scatter-add, 5 to 30 times the cost of the forward map on CPU. Where both directions
can be written as gathers with identical weights, `matched_pair` registers one as the other's transpose, and everything
else (jit, vmap, jvp, vjp, double transpose, scan, checkpoint, shard_map) composes. JAX's own tools do not:
`linear_call` has no batching rule, `custom_vjp` no linear transpose.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from ..value import describe, is_complex


class WrongAdjoint(ValueError):
    """Of a pair whose maps do not belong together."""


def matched_pair(forward: Callable, adjoint: Callable, data: Any, x: Any, *, batch_last: bool = False) -> Any:
    """y = A(data) x, whose transpose JAX takes from `adjoint` instead of transposing `forward`.

    Args:
        forward: (data, x) -> A x, linear in x.
        adjoint: (data, y) -> A^H y, its exact adjoint: the same weights, not merely a similar map.
        data: tree of arrays that A is made of (weights, indices). Differentiable through `forward`.
        x: array or tree of arrays.
        batch_last: the last axis of x and of y is a batch: both maps take any length of it, slice by slice. vmap then
            adds to that axis instead of mapping the maps themselves: a lookup is shared by neighbours in memory.

    Returns:
        forward(data, x).

    Raises:
        ValueError: where it is transposed, an adjoint whose values are not of the shape of x, or complex for real x.

    Example:
        >>> A = jnp.array([[1.0, 2.0], [3.0, 4.0]])
        >>> f = lambda x: matched_pair(lambda A, x: A @ x, lambda A, y: A.conj().T @ y, A, x)
        >>> jax.linear_transpose(f, jnp.ones(2))(jnp.array([1.0, 0.0]))[0].tolist()
        [1.0, 2.0]
    """
    # On first use: jax.extend adds 5 % to the time of `import jax`.
    from .pair_primitive import pair

    data_leaves, data_tree = jax.tree.flatten(data)
    x_leaves, x_tree = jax.tree.flatten(x)
    y_tree = jax.tree.structure(jax.eval_shape(forward, data, x))

    def flat_forward(d, v):
        return jax.tree.leaves(forward(jax.tree.unflatten(data_tree, d), jax.tree.unflatten(x_tree, v)))

    leaves = _equally_varying([*map(jnp.asarray, data_leaves), *map(jnp.asarray, x_leaves)])
    expected = jax.tree.unflatten(x_tree, [jax.typeof(a) for a in leaves[len(data_leaves):]])

    def flat_transpose(d, v):
        y = jax.tree.unflatten(y_tree, [jnp.conj(c) for c in v])
        x = adjoint(jax.tree.unflatten(data_tree, d), y)
        _check_adjoint(x, expected, batch_last)
        return [jnp.conj(c) for c in jax.tree.leaves(x)]

    y = pair.bind(*leaves, forward=flat_forward, transpose=flat_transpose, num_data=len(data_leaves),
                  batch_last=batch_last)
    return jax.tree.unflatten(y_tree, y)


def _check_adjoint(x, expected, batch_last):
    """Shapes, and real for real; JAX casts a precision. A batch in the last axis may have any length."""
    def kind(a):
        return a.shape[:-1] if batch_last else a.shape, is_complex(a)

    if jax.tree.structure(x) != jax.tree.structure(expected) or any(
            kind(a) != kind(e) for a, e in zip(jax.tree.leaves(x), jax.tree.leaves(expected), strict=True)):
        raise WrongAdjoint(f"matched_pair: the adjoint gives {describe(x)}, and x is {describe(expected)}; it must map "
                           "y back to where x lies")


def _equally_varying(leaves):
    """Under shard_map, marks every operand as varying over the axes that any of them varies over."""
    varying = frozenset().union(*[jax.typeof(a).manual_axis_type.varying for a in leaves])

    def raised(a):
        missing = varying - jax.typeof(a).manual_axis_type.varying
        return lax.pcast(a, tuple(missing), to="varying") if missing else a

    return [raised(a) for a in leaves]
