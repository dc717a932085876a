"""What every data-consistency step is."""

from __future__ import annotations

from typing import Any

import jax

from ..fidelity import Problem
from ..operator import LinearOperator


class ConsistencyStep:
    """x -> (x nearer to A x = b, the weight t at which a prior follows: x <- prior.prox(x, t))."""

    def prepare(self, A: LinearOperator) -> LinearOperator:
        """A with what the step asks of it for every image: done once where A is the same for many."""
        return A

    def setup(self, problem: Problem) -> Any:
        """What does not change over iterations; may depend on the leaves of the step."""
        return ()

    def numbered(self, aux: Any, k: jax.Array) -> Any:
        """What `setup` gave, for iteration k of a solve: for steps that draw something new each time."""
        return aux

    def __call__(self, problem: Problem, x: jax.Array, aux: Any) -> tuple[jax.Array, Any]:
        raise NotImplementedError(f"{type(self).__name__} must define `__call__`")


def check_step(dc: Any) -> None:
    """Raises TypeError where dc is no data-consistency step."""
    if not isinstance(dc, ConsistencyStep):
        raise TypeError(f"dc must be a data-consistency step such as jr.GradientStep(), got {dc!r}")
