"""Trained networks that come with the package."""

from __future__ import annotations

import dataclasses
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .base import ARCHITECTURES, Network, build

FOLDER = Path(__file__).resolve().parent / "weights"


def pretrained(name: str) -> Network:
    """A trained network that comes with the package.

    Args:
        name: "denoiser", a blind denoiser for real images of any scale and noise level (one channel; complex images go
            through it part by part), trained by benchmarks/learning/denoiser.py on public-domain photographs.

    Raises:
        ValueError: there is no such network.

    Example:
        >>> denoiser = jr.Denoiser(jr.networks.pretrained("denoiser"))
        >>> denoiser.prox(jnp.ones((16, 16))).shape
        (16, 16)
    """
    return load(_path(name))


def card(name: str) -> dict[str, str]:
    """What is known of a trained network: its `architecture`, `licence` and `figures`.

    Example:
        >>> print(jr.networks.card("denoiser")["licence"][:7])
        CC0-1.0
    """
    with np.load(_path(name), allow_pickle=False) as file:
        return {k: str(file[k]) for k in file.files if not k.startswith("parameters/")}


def _path(name: str) -> Path:
    path = FOLDER / f"{name}.npz"
    if not path.exists():
        there = sorted(p.stem for p in FOLDER.glob("*.npz"))
        raise ValueError(f"there is no pretrained network {name!r}; there are: {', '.join(there) or 'none'}")
    return path


def load(path: str | os.PathLike) -> Network:
    """The network of a file made by `store`, with float32 weights."""
    with np.load(path, allow_pickle=False) as file:
        recipe = json.loads(str(file["architecture"]))
        arrays = {k.removeprefix("parameters/"): file[k] for k in file.files if k.startswith("parameters/")}
    factory = ARCHITECTURES[recipe["name"]](**recipe["fields"])
    network = jax.eval_shape(lambda: build(factory, jax.random.key(0)))
    names, structure = _names(network.parameters)
    if sorted(names) != sorted(arrays):
        raise ValueError(f"{path} holds {len(arrays)} arrays, but {factory} has {len(names)} parameters, of other "
                         "names: the package and its weights are of different versions")
    leaves = [jnp.asarray(arrays[n], jnp.float32) for n in names]
    return dataclasses.replace(network, parameters=jax.tree.unflatten(structure, leaves))


def store(path: str | os.PathLike, network: Network, dtype: Any = "float16", **strings: str) -> None:
    """Writes a network as plain arrays, with its architecture and other strings such as its licence and figures."""
    if jax.tree.leaves(network.rest):
        raise ValueError(f"{network} has variables other than parameters, which a weight file does not hold")
    names, _ = _names(network.parameters)
    arrays = {f"parameters/{n}": np.asarray(v, dtype)
              for n, v in zip(names, jax.tree.leaves(network.parameters), strict=True)}
    recipe = {"name": type(network.factory).__name__, "fields": dataclasses.asdict(network.factory)}
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=Path(path).parent, suffix=".npz", delete=False) as file:
        np.savez_compressed(file, allow_pickle=False, architecture=json.dumps(recipe), **strings, **arrays)
    os.chmod(file.name, 0o644)
    os.replace(file.name, path)


def _names(parameters: Any) -> tuple[list[str], Any]:
    paths, structure = jax.tree_util.tree_flatten_with_path(parameters)
    return [jax.tree_util.keystr(path, simple=True, separator=".") for path, _ in paths], structure
