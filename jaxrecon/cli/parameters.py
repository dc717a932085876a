"""--lam: a number, or a rule that finds it."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from rich.console import Console

from .. import parameters
from ..operator import LinearOperator
from .errors import Failure
from .methods import DEFAULT_LAM, make_solver

RULES: dict[str, Callable] = {
    "crossvalidate": parameters.crossvalidate, "sure": parameters.sure, "gcv": parameters.gcv,
    "lcurve": parameters.lcurve, "discrepancy": parameters.discrepancy,
}
AUTO = "auto"  # crossvalidate where samples are missing, else sure
# Around what is best for a typical scan: a step of half a decade, then two or three more solves.
RANGE = tuple(float(f) for f in np.geomspace(1e-2, 10**1.5, 8))
OPTIONS: dict[str, dict[str, Any]] = {
    "crossvalidate": {"refine": 1}, "sure": {"refine": 2}, "gcv": {"refine": 2}, "lcurve": {},
    "discrepancy": {"refine": 8},
}


class Chosen(NamedTuple):
    lam: float
    how: str  # for the user


def checked_lam(method: str, prior: str, lam: str | None) -> float | str:
    """The number, or the name of a rule."""
    if lam is None:
        return 0.0 if prior == "none" else AUTO
    if lam in RULES:
        if prior == "none":
            raise Failure(f"--lam {lam} has nothing to choose with --method {method} and no prior; leave it out")
        return lam
    try:
        number = float(lam)
    except ValueError:
        raise Failure(f"--lam must be a number or one of {', '.join(RULES)}, got {lam}") from None
    if prior == "none" and number != 0:
        raise Failure(f"--lam {number:g} has no effect with --method {method} and no prior; leave it out"
                      + (", or use --prior l2" if method == "cg" else ""))
    if not (math.isfinite(number) and number >= 0):
        raise Failure(f"--lam must be a number >= 0, got {number:g}")
    return number


def choose_lam(rule: str, A: LinearOperator, b: Any, method: str, prior: str, iterations: int) -> Chosen:
    """By a rule of `jr.parameters`, over a range around the usual lam of the prior."""
    if rule == AUTO:
        rule = "crossvalidate" if bool(jnp.any(parameters.measured(A) == 0)) else "sure"
    lams = DEFAULT_LAM[prior] * np.array(RANGE)
    console = Console(stderr=True)
    with console.status(f"choosing lam by {rule}") if console.is_terminal else contextlib.nullcontext():
        found = RULES[rule](A, b, lams, lambda lam: make_solver(method, prior, lam, A.domain), iterations=iterations,
                            **OPTIONS[rule])
        lam = float(found.lam)
    if not math.isfinite(lam):
        raise Failure(f"--lam {rule}: no lam between {lams[0]:.1g} and {lams[-1]:.1g} gives a finite image", 1)
    unsure = "" if bool(found.ok) else f" (not to be trusted: no optimum between {lams[0]:.1g} and {lams[-1]:.1g})"
    return Chosen(lam, f"lam by {rule}{unsure}")

