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
        name: "denoiser", a DRUNet for real images of any scale (one channel; complex images go through it part by
            part), told the noise level; `jr.PlugAndPlay` tells it, `jr.parameters.noise_level` finds that of an image.
            Trained by benchmarks/learning/denoiser.py on public-domain photographs, up to 55/255 of their range.

    Raises:
        ValueError: there is no such network.

    Example:
        >>> noisy = 0.1 * jax.random.normal(jax.random.key(0), (16, 16))
        >>> denoiser = jr.Denoiser(jr.networks.pretrained("denoiser"), sigma=jr.parameters.noise_level(noisy))
        >>> bool(jnp.std(denoiser.prox(noisy)) < 0.05)
        True
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
