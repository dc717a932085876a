"""A stack of solvers, one step of each."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ..operator import LinearOperator
from ..value import describe
from .arguments import bind, check_kinds, is_traced
from .base import Solver, changed_on_the_way


def unroll(A: LinearOperator, b: Any, solvers: Solver, iterations: int, x0: Any = None, data: Any = None,
           checkpoint: bool = False, shared: bool = False, rolled: bool = True) -> jax.Array:
    """x after one step of each of `iterations` solvers, stacked in one value: an unrolled network if trained.

    Args:
        A, b, x0, data: as for `solve`.
        solvers: one solver value whose leaves carry a leading axis of length `iterations`.
        checkpoint: recompute each step in the backward pass: a fraction of the memory for little more time.
        shared: `solvers` is one solver without a leading axis, used in every step.
        rolled: one compiled step in a loop; False writes the steps out one after the other: longer to compile, and much
            faster on CPU where a step holds convolutions.

    Raises:
        ValueError: leaves whose leading axis is not `iterations`; iterations < 1; a lam that would differ between steps
            of a solver that remembers it (CGNR, Kaczmarz), or might: inside jit, say shared=True.

    Example:
        >>> A, b = jr.Matrix(jnp.eye(2)), jnp.array([2.0, 3.0])
        >>> jr.unroll(A, b, jr.Landweber(step_size=jnp.array([0.5, 1.0])), iterations=2).tolist()
        [2.0, 3.0]
    """
    data = check_kinds(A, b, solvers, data)
    if iterations < 1:
        raise ValueError(f"unroll needs iterations >= 1, got {iterations}")
    for leaf in [] if shared else jax.tree.leaves(solvers):
        if jnp.ndim(leaf) < 1 or jnp.shape(leaf)[0] != iterations:
            raise ValueError(f"unroll needs a leading axis of length iterations={iterations} on every leaf of solvers, "
                             f"got {describe(leaf)}; stack them with jax.tree.map(lambda *v: jnp.stack(v), *solvers), "
                             "or say shared=True")
    if not shared and iterations > 1:
        _check_remembered(solvers)
    return _unroll(A, b, solvers, x0, data, iterations=iterations, checkpoint=checkpoint, shared=shared, rolled=rolled)


def _check_remembered(solvers: Solver) -> None:
    """That what a solver remembers is the same in all steps, which a trained stack of it would not remain."""
    for name in solvers.remembered:
        leaf = operator.attrgetter(name)(solvers)
        if is_traced(leaf):
            raise ValueError(f"{changed_on_the_way(solvers, name)}, or say shared=True, with one {name} for all steps "
                             "(inside jit and grad nobody can see that a stack of them is all the same)")
        if np.any(np.asarray(leaf) != np.asarray(leaf)[0]):
            raise ValueError(changed_on_the_way(solvers, name))


@functools.partial(jax.jit, static_argnames=("iterations", "checkpoint", "shared", "rolled"))
def _unroll(A, b, solvers, x0, data, *, iterations, checkpoint, shared, rolled):
    problem, x0, solvers = bind(A, b, solvers, x0, data)
    if shared:
        first, first_aux, items = solvers, solvers.setup(problem), None
    else:
        # The problem is shared: only what depends on a solver's own leaves is made once per solver.
        aux = jax.vmap(lambda s: s.setup(problem), axis_size=iterations)(solvers)
        first, first_aux = jax.tree.map(lambda v: v[0], (solvers, aux))
        items = (solvers, aux)

    def step(state, item):
        solver, aux = (first, first_aux) if shared else item
        return solver.step(problem, state, aux)

    state = scan_steps(step, first.init(problem, x0, first_aux), items, iterations, checkpoint, rolled)
    return first.solution(state)


def scan_steps(step: Callable, state: Any, items: Any, length: int, checkpoint: bool, rolled: bool) -> Any:
    """state <- step(state, item) over the leading axis of `items`, as a loop or written out."""
    if checkpoint:
        # Written out, the recomputed steps would be merged with the first ones, and their memory be taken after all.
        step = jax.checkpoint(step, prevent_cse=not rolled)
    return lax.scan(lambda s, item: (step(s, item), None), state, items, length=length,
                    unroll=1 if rolled else length)[0]
