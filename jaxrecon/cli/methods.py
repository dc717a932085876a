"""The names that the command line knows, as solvers and priors."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ..operator import LinearOperator
from ..operators import Wavelet, linear
from ..priors import L1, L2, TV
from ..solvers import ADMM, CGNR, FISTA, ISTA, PDHG, POGM, CondatVu, Landweber
from .errors import Failure

PROXIMAL = ("wavelet", "tv", "l1", "l2")
SPLITTING = ("tv", "wavelet", "l1", "l2")

# Those that best predict hidden samples of a real scan (8-coil brain, 8-fold Poisson-disc, scaled as `reconstruct`
# does): benchmarks/heldout.py.
DEFAULT_LAM = {"wavelet": 4e-3, "tv": 3e-3, "l1": 2e-3, "l2": 1e-2, "none": 0.0}


class Method(NamedTuple):
    solver: Callable[[Any], Any] | None  # prior (for cg: lam) -> solver; None: the adjoint only
    priors: tuple[str, ...]  # the first is the default
    iterations: int = 100


METHODS = {
    "fista": Method(FISTA, PROXIMAL),
    "pogm": Method(POGM, PROXIMAL),
    "ista": Method(ISTA, PROXIMAL),
    "condat-vu": Method(CondatVu, SPLITTING),
    "pdhg": Method(PDHG, SPLITTING),
    "admm": Method(lambda prior: ADMM(prior, rho=0.1, balance=True), SPLITTING),
    "cg": Method(CGNR, ("l2", "none"), 15),
    "landweber": Method(lambda prior: Landweber(), ("none",), 30),
    "zero-filled": Method(None, ("none",), 0),
}


def choose(method: str, prior: str | None) -> tuple[str, str]:
    """The method and its prior, refused where they do not exist or do not go together."""
    if method not in METHODS:
        raise Failure(f"unknown method {method!r}; known are {', '.join(METHODS)}")
    known = METHODS[method].priors
    if prior is None:
        return method, known[0]
    if prior not in DEFAULT_LAM:
        raise Failure(f"unknown prior {prior!r}; known are {', '.join(DEFAULT_LAM)}")
    if prior not in known:
        able = [name for name, m in METHODS.items() if prior in m.priors]
        raise Failure(f"--method {method} does not take --prior {prior}: it takes {' or '.join(known)}; "
                      f"--prior {prior} goes with {', '.join(able)}")
    return method, prior


def levels_for(shape: tuple[int, ...]) -> int:
    """Wavelet levels that leave the coarsest band 8 pixels or more."""
    return max(1, min(4, int(math.log2(max(min(shape), 16) / 8))))


def padded(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The next shape that the wavelet transform divides evenly."""
    step = 2 ** levels_for(shape)
    return tuple(-(-n // step) * step for n in shape)


def make_prior(name: str, lam: Any, domain: jax.ShapeDtypeStruct) -> Any:
    """A prior by name, for images of `domain`; for "l2" and "none" of cg see `make_solver`."""
    if name == "wavelet":
        return L1(lam, transform=Wavelet(domain.shape, "db4", levels=levels_for(domain.shape), dtype=domain.dtype))
    return {"tv": TV, "l1": L1, "l2": L2}[name](lam)


def make_solver(method: str, prior: str, lam: Any, domain: jax.ShapeDtypeStruct) -> Any:
    """A solver by name."""
    make = METHODS[method].solver
    assert make is not None, f"{method} has no solver"
    if method == "cg":
        return make(lam)
    return make(None if prior == "none" else make_prior(prior, lam, domain))


class Extended(NamedTuple):
    """A on a larger field of view where the wavelet transform needs one."""

    A: LinearOperator
    crop: Callable[[jax.Array], jax.Array]


def extended(A: LinearOperator, prior: str) -> Extended:
    """A itself, or A of the middle of a larger image: its margin is seen by no sample, and the prior alone fills it."""
    shape, larger = A.domain.shape, padded(A.domain.shape)
    if prior != "wavelet" or larger == shape:
        return Extended(A, lambda x: x)
    window = tuple(slice((m - n) // 2, (m - n) // 2 + n) for n, m in zip(shape, larger, strict=True))

    def crop(x):
        return x[window]

    return Extended(A @ linear(crop, jax.ShapeDtypeStruct(larger, A.domain.dtype)), crop)


def scale_of(zero_filled: jax.Array) -> jax.Array:
    """The magnitude below which 99 % of the pixels lie, or the largest where that is zero."""
    magnitude = jnp.abs(zero_filled)
    quantile = jnp.quantile(magnitude, 0.99)
    return jnp.where(quantile > 0, quantile, jnp.max(magnitude))
