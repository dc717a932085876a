"""What trains: a reconstructor as a dict of parameters by name, and the leaves that stay as they are."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..learned.trainable import path_names, trainable
from ..networks.base import Network


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
    weights = jax.tree.leaves(_in_network(reconstructor))
    if train is None:
        chosen = jax.tree.leaves(trainable(reconstructor))
    else:
        chosen = [bool(train(name, leaf)) for name, leaf in zip(names, leaves, strict=True)]

    parameters, frozen, kept, zeros = {}, [], [], []
    for name, leaf, is_weight, wanted in zip(names, leaves, weights, chosen, strict=True):
        wanted = wanted and jnp.issubdtype(jnp.result_type(leaf), jnp.inexact)
        zero = None
        if wanted and not is_weight and jnp.ndim(leaf) <= 1 and jnp.isrealobj(leaf) and np.all(np.asarray(leaf) >= 0):
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


def _in_network(tree: Any) -> Any:
    def mark(node):
        return jax.tree.map(lambda _: True, node) if isinstance(node, Network) else False
    return jax.tree.map(mark, tree, is_leaf=lambda node: isinstance(node, Network))


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
