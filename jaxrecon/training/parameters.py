"""What trains: a reconstructor as a dict of parameters by name, and the leaves that stay as they are."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..consistency import ConsistencyStep
from ..learned.trainable import path_names, trainable
from ..networks.base import Network
from ..operator import LinearOperator
from ..priors import Prior
from ..solvers import Solver


@dataclasses.dataclass(frozen=True)
class Partition:
    """How the leaves of a reconstructor divide; hashable, so that it is a static argument of the compiled step.

    Attributes:
        structure: of the reconstructor.
        names: of its leaves, None where they are frozen.
        zeros: of its leaves that train as their log: which entries are 0 and stay it (a bool, or one for each entry);
            None for all others.
    """

    structure: Any
    names: tuple[str | None, ...]
    zeros: tuple[bool | tuple[bool, ...] | None, ...]

    def join(self, parameters: dict[str, jax.Array], frozen: list[Any]) -> Any:
        """The reconstructor."""
        rest = iter(frozen)
        leaves = []
        for name, zeros in zip(self.names, self.zeros, strict=True):
            leaf = next(rest) if name is None else parameters[name]
            leaves.append(leaf if zeros is None else jnp.where(np.asarray(zeros), 0, jnp.exp(leaf)))
        return jax.tree.unflatten(self.structure, leaves)


def split(reconstructor: Any, train: Callable[[str, Any], bool] | None = None) \
        -> tuple[Partition, dict[str, jax.Array], list[Any]]:
    """(partition, parameters, frozen leaves).

    Positive real scalars, also one for each iteration, that are no weights of a network train as their log.

    Args:
        train: predicate (name, leaf) -> bool in place of what the classes declare. Only real and complex numbers of
            floating point can train, whatever it says.

    Raises:
        ValueError: nothing trains.
    """
    if train is not None and not callable(train):
        raise TypeError(f"train is a predicate (path, leaf) -> bool, got {train!r}")
    leaves, structure = jax.tree.flatten(reconstructor)
    names = jax.tree.leaves(path_names(reconstructor))
    scalars = jax.tree.leaves(_scalars(reconstructor, (), False))
    if train is None:
        chosen = jax.tree.leaves(trainable(reconstructor))
    else:
        chosen = [bool(train(name, leaf)) for name, leaf in zip(names, leaves, strict=True)]

    parameters, frozen, kept, zeros = {}, [], [], []
    for name, leaf, is_scalar, wanted in zip(names, leaves, scalars, chosen, strict=True):
        wanted = wanted and jnp.issubdtype(jnp.result_type(leaf), jnp.inexact)
        zero = None
        if wanted and is_scalar and jnp.isrealobj(leaf) and np.all(np.asarray(leaf) >= 0):
            zero = np.asarray(leaf) == 0
            wanted = not zero.all()
        if not wanted:
            frozen.append(leaf)
            kept.append(None)
            zeros.append(None)
            continue
        # A copy: the compiled step gives the memory of its parameters to the next ones.
        value = jnp.array(leaf, dtype=jnp.result_type(leaf), copy=True)
        parameters[name] = value if zero is None else jnp.log(jnp.where(zero, 1, value))
        kept.append(name)
        zeros.append(None if zero is None else _as_tuple(zero))
    if not parameters:
        raise ValueError(_nothing(reconstructor, names, train, any(chosen)))
    return Partition(structure, tuple(kept), tuple(zeros)), parameters, frozen


def _scalars(node: Any, counts: tuple[int, ...], stacks: bool) -> Any:
    """The tree that is True where a leaf is one number, or one for each iteration, and no weight of a network.

    What has one axis is taken for the latter in a solver, a step or a prior (but not in an operator there, whose
    filters may have any sign: `stacks`), and where its length is the number of iterations of a value around it.
    """
    if isinstance(node, Network):
        return jax.tree.map(lambda _: False, node)
    children, structure = jax.tree.flatten(node, is_leaf=lambda v: v is not node)
    if len(children) == 1 and children[0] is node:
        return jnp.ndim(node) == 0 or (jnp.ndim(node) == 1 and (stacks or len(node) in counts))
    stacks = (stacks or isinstance(node, Solver | ConsistencyStep | Prior)) and not isinstance(node, LinearOperator)
    own = getattr(node, "iterations", None)
    counts = counts if own is None else (*counts, own)
    return jax.tree.unflatten(structure, [_scalars(v, counts, stacks) for v in children])


def _as_tuple(zero: np.ndarray) -> bool | tuple[bool, ...]:
    return zero.tolist() if zero.ndim == 0 else tuple(zero.tolist())


def _nothing(reconstructor, names, train, any_chosen) -> str:
    kind = type(reconstructor).__name__
    if not names:
        return f"nothing trains in {kind}: it has no leaves"
    listed = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
    if any_chosen:
        return (f"nothing trains in {kind}: what is chosen is 0 or no floating-point number; a parameter that trains "
                f"as its log must start above 0 (leaves: {listed})")
    if train is None:
        return (f"nothing trains in {kind} by itself: choose among its leaves ({listed}) by a predicate, such as "
                f"train=lambda path, leaf: path == {names[0]!r}")
    return f"train(path, leaf) is True for no leaf of {kind}; its leaves are {listed}"
