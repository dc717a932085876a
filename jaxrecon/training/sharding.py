"""A batch over several devices: the mesh, and what moves to and from it."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec


def check_mesh(mesh: Any) -> Mesh | None:
    if mesh is not None and (not isinstance(mesh, Mesh) or len(mesh.axis_names) != 1):
        got = f"axes {mesh.axis_names}" if isinstance(mesh, Mesh) else repr(mesh)
        raise ValueError("mesh must have one axis, over which a batch is divided: jax.make_mesh((8,), ('batch',)), "
                         f"got {got}")
    return mesh


def replicate(tree: Any, mesh: Mesh | None) -> Any:
    """A copy of every array, on every device of the mesh. Copies, as the compiled step takes the memory of its state
    for the next one; without weak types, which would make it compile twice.
    """
    tree = jax.tree.map(lambda v: jnp.array(v, dtype=jnp.result_type(v), copy=True), tree)
    return tree if mesh is None else jax.device_put(tree, NamedSharding(mesh, PartitionSpec()))


def on_one_device(tree: Any, mesh: Mesh | None) -> Any:
    """The arrays as users expect them: on the default device."""
    return tree if mesh is None else jax.tree.map(lambda v: jnp.asarray(np.asarray(v)), tree)
