"""How the lecture's networks are trained, whatever the data."""

from __future__ import annotations

from typing import Any

import jax
import optax
import runs

import jaxrecon as jr

SCRIPT = "lecture"


def examples(scan: Any, seed: int, count: int, batched: tuple[str, ...]) -> jr.Examples:
    """So many scans, the same for ever."""
    return jr.Examples(*jr.Simulated(scan, count, batched=batched).batch(jax.random.key(seed), 0), batch_size=8,
                       batched=batched)


def train(name: str, reconstructor: Any, data: Any, validation: Any, steps: int, args: Any) -> runs.Run:
    """The weights of the best of twenty validations, by Adam."""
    every = max(1, steps // 20)
    schedule = optax.warmup_cosine_decay_schedule(1e-5, 1e-3, steps // 20, steps, 1e-5)
    return runs.train(SCRIPT, name, reconstructor, data, steps, minutes=args.minutes, resume=args.resume,
                      optimizer=optax.adam(schedule), clip=1.0, validation=validation, validate_every=every)
