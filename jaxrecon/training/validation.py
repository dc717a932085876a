"""The validation set: the loss on examples that are not trained on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from ..operator import LinearOperator
from .data import Examples, check_example
from .feed import Feed
from .step import Fixed, evaluate

BATCHES = 8  # of a stream without end, drawn once


class Validation:
    """Mean loss and PSNR over a set of examples, compiled once.

    Args:
        examples: (A, b, x) with a leading axis on b and x; `jr.Examples`, of which all count; another stream, of which
            8 batches, drawn once, make the set; or an iterable of batches.
        feed: makes arguments of batches.
        size: examples evaluated at once, if there is a choice.
        batched: names of the leaves of A that carry the batch axis, of (A, b, x).
    """

    def __init__(self, examples: Any, feed: Feed, size: int, batched: Any, key: jax.Array | None):
        self.feed, self.size = feed, size
        self.batches: list[Any] = []
        self.examples: Examples | None = None
        if isinstance(examples, Examples):
            self.examples = examples
        elif isinstance(examples, tuple) and len(examples) == 3 and isinstance(examples[0], LinearOperator):
            self.examples = Examples(*examples, batch_size=1, batched=batched)
        elif hasattr(examples, "batch"):
            if key is None:
                raise ValueError("fit needs key=jax.random.key(...) for the validation set of "
                                 f"{type(examples).__name__}")
            stream: Any = examples
            self.batches = [stream.batch(jax.random.fold_in(key, 2**31), k) for k in range(BATCHES)]
        else:
            try:
                self.batches = list(examples)
            except TypeError:
                raise TypeError("validation must be (A, b, x), a stream such as jr.Examples(...), or a list of "
                                f"batches (A, b, x), got {type(examples).__name__}") from None
            for k, batch in enumerate(self.batches):
                check_example(batch, f"batch {k} of validation")
        if not self.batches and self.examples is None:
            raise ValueError("validation is empty")

    def __call__(self, parameters: dict[str, jax.Array], fixed: Fixed) -> tuple[float, float]:
        """(mean loss, mean PSNR in dB)."""
        values = []
        for part, (batch, count) in enumerate(self._parts()):
            program, shared, batch = self.feed(*batch)
            values.append(np.asarray(evaluate(program, parameters, fixed, shared, batch, part), float)[:count])
        loss, psnr = np.concatenate(values).T
        return float(np.mean(loss)), float(np.mean(psnr[~np.isnan(psnr)])) if not np.isnan(psnr).all() else float("nan")

    def _parts(self) -> Iterator[tuple[Any, int | None]]:
        if self.examples is None:
            yield from ((batch, None) for batch in self.batches)
            return
        n = len(self.examples)
        for first in range(0, n, self.size):
            # The last part is filled up with examples that do not count, so that one compiled program serves all.
            yield self.examples.rows(np.arange(first, first + self.size) % n), min(self.size, n - first)
