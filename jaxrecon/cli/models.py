"""Reconstructors by name, and the files that trained ones are kept in."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from ..analytic import FBP
from ..consistency import GradientStep, ProximalStep, SampleReplacement
from ..learned import LearnedInverse, LearnedPrimalDual, PostProcessed, Unrolled
from ..networks import ARCHITECTURES
from ..operator import LinearOperator, operator_norm
from ..parameters import measured
from ..reconstruct import ZeroFilled
from ..saving import load, read_about
from ..value import is_complex
from .config import Config, parse_config
from .errors import Failure, of_the_input

PROXIMAL_LAM, PROXIMAL_STEPS = 0.05, 6


def direct(c: Config) -> Any:
    """The classical reconstructor in one step, which the learned ones start from or are compared with."""
    return FBP() if c.task == "ct" else ZeroFilled()


def make_reconstructor(c: Config, A: LinearOperator, key: jax.Array) -> Any:
    """The untrained reconstructor of a configuration, for scans like A.

    Raises:
        ValueError, TypeError: arguments that the network refuses.
    """
    m = dict(c.method)
    name, channels = m.pop("name"), 2 if is_complex(A.domain) else 1
    if name == "primal-dual":
        data_channels = 2 if is_complex(A.codomain) else 1
        return LearnedPrimalDual(**m, image_channels=channels, data_channels=data_channels, key=key)
    net = _network(c, A, channels)
    if name == "post-processed":
        return PostProcessed(direct(c), net, key=key)
    if name == "learned-inverse":
        return LearnedInverse(net, key=key)
    squared = operator_norm(A) ** 2  # lam is in its units: one default for every scanner
    if name == "modl":
        step = ProximalStep(m.pop("lam") * squared, m.pop("cg_iterations"))
        return Unrolled(net, dc=step, shared=True, initial=direct(c), key=key, **m)
    steps = {"gradient": GradientStep(), "proximal": ProximalStep(PROXIMAL_LAM * squared, PROXIMAL_STEPS),
             "replacement": SampleReplacement()}
    return Unrolled(net, dc=steps[m.pop("dc")], initial=direct(c), key=key, **m)


def _network(c: Config, A: LinearOperator, channels: int) -> Any:
    arguments = dict(c.network)
    architecture = ARCHITECTURES[arguments.pop("name")]
    pixels, data = math.prod(A.domain.shape), math.prod(A.codomain.shape)
    derived = {"channels": channels, "shape": A.domain.shape, "inputs": data * (2 if is_complex(A.codomain) else 1),
               "outputs": pixels * channels}
    fields = {f.name for f in dataclasses.fields(architecture)}
    return architecture(**arguments, **{name: v for name, v in derived.items() if name in fields})


def unlike_training(c: Config, A: LinearOperator) -> str | None:
    """In words: what of an MR scan is not as in the training, where it is to be seen."""
    trained, coils, shape = c.scan["acceleration"], A.codomain.shape[0], A.domain.shape
    fraction = float(jnp.mean(measured(A)))
    found = []
    if shape != (c.size, c.size):
        found.append((f"{c.size} x {c.size} pixels", " x ".join(map(str, shape))))
    if (coils > 1) != (c.scan["coils"] > 1):
        found.append((f"{c.scan['coils']} coil{'s' if c.scan['coils'] > 1 else ''}", str(coils)))
    if A.codomain.shape[1:] != shape:
        found.append(("Cartesian k-space", "a trajectory"))
    elif not 1 / 1.5 < fraction * trained < 1.5:
        found.append((f"{trained:g}-fold undersampling", f"{1 / fraction:.3g}-fold"))
    return "; ".join(f"trained on {there}, the scan has {here}" for there, here in found) or None


def read_model(path: Path) -> tuple[Any, Config | None]:
    """A trained reconstructor, and the configuration that it was trained by, where the file has it.

    Raises:
        Failure: no such file, damaged, not a reconstructor.
    """
    with of_the_input():
        reconstructor, about = load(path), read_about(path)
    if not callable(reconstructor) or isinstance(reconstructor, LinearOperator):
        raise Failure(f"{path} holds a {type(reconstructor).__name__}, and not a reconstructor")
    text = about.get("config")
    return reconstructor, parse_config(text, f"the configuration in {path}") if isinstance(text, str) else None
