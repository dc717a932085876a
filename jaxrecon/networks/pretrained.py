"""Trained networks that come with the package."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from ..saving import load, read_about, save
from .base import Network

FOLDER = Path(__file__).resolve().parent / "weights"


def pretrained(name: str) -> Network:
    """A trained network that comes with the package, with float32 weights.

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
    return _with_weights(load(_path(name)), jnp.float32)


def card(name: str) -> dict[str, Any]:
    """What is known of a trained network: its `licence` and `figures`.

    Example:
        >>> print(jr.networks.card("denoiser")["licence"][:7])
        CC0-1.0
    """
    return read_about(_path(name))


def store(path: str | os.PathLike, network: Network, **about: str) -> None:
    """Writes a network with float16 weights, and texts such as its licence and figures."""
    save(path, _with_weights(network, jnp.float16), about)


def _with_weights(network: Network, dtype: Any) -> Network:
    return dataclasses.replace(network, parameters=jax.tree.map(lambda v: v.astype(dtype), network.parameters))


def _path(name: str) -> Path:
    path = FOLDER / f"{name}.jr"
    if not path.exists():
        there = sorted(p.stem for p in FOLDER.glob("*.jr"))
        raise ValueError(f"there is no pretrained network {name!r}; there are: {', '.join(there) or 'none'}")
    return path
