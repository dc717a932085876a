"""What trains: which leaves of a value are its parameters."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax

from ..networks.base import Network


def trainable(tree: Any) -> Any:
    """The tree of booleans that is True where a leaf trains.

    These are the parameters of every network, and the fields that a class names in `trains` (the data-consistency steps
    of an unrolled network). Everything else is frozen.

    Example:
        >>> jr.learned.trainable(jr.CGNR(0.1)).lam
        False
    """
    return _mark(tree, False)


def _mark(node: Any, inherited: bool) -> Any:
    if isinstance(node, Network):
        same = jax.tree.map(lambda _: False, node)
        return dataclasses.replace(same, parameters=jax.tree.map(lambda _: True, node.parameters))
    children, structure = jax.tree_util.tree_flatten_with_path(node, is_leaf=lambda v: v is not node)
    if len(children) == 1 and children[0][1] is node:
        return inherited
    names = getattr(type(node), "trains", ())
    marked = [_mark(child, inherited or _name(path[0]) in names) for path, child in children]
    return jax.tree.unflatten(structure, marked)


def path_names(tree: Any) -> Any:
    """The tree of the names of its leaves, such as "net.parameters.layers.0.kernel" or "dc.step".

    Example:
        >>> jr.learned.path_names(jr.Iterative(jr.CGNR(0.1))).solver.lam
        'solver.lam'
    """
    return jax.tree_util.tree_map_with_path(lambda path, _: ".".join(map(_name, path)), tree)


def _name(entry: Any) -> str:
    for attribute in ("name", "key", "idx"):
        if hasattr(entry, attribute):
            return str(getattr(entry, attribute))
    return str(entry)
