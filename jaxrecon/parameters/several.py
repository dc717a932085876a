"""Several parameters at once: the best of the candidates, then one parameter after the other, by golden section."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from .search import Minimum, golden_section, sweep

ROUNDS = (4.0, 4.0, 2.0, 2.0, 1.4)  # in every round each parameter is sought within this factor of its last value


def minimise_several(score: Callable, lams: Any, steps: int, chunk: int | None) -> Minimum:
    """lams: a tree of arrays of one length, candidates side by side. No derivatives: scores have kinks and steps."""
    scores = sweep(score, lams, chunk)
    best = jnp.argmin(jnp.where(jnp.isfinite(scores), scores, jnp.inf))
    leaves, tree = jax.tree.flatten(lams)
    logs = jnp.stack([jnp.log(v[best]) for v in leaves])
    value = scores[best]

    def of_logs(t):
        return score(tree.unflatten(list(jnp.exp(t))))

    for factor in ROUNDS if steps else ():
        for d in range(len(leaves)):
            reach = jnp.log(jnp.asarray(factor, logs.dtype))

            def along(t, d=d, logs=logs):
                return of_logs(logs.at[d].set(t))

            logs = logs.at[d].set(golden_section(along, logs[d] - reach, logs[d] + reach, logs[d], value, steps))
            value = of_logs(logs)
    found = list(jnp.exp(logs))
    # A parameter that runs away from all that was tried has no optimum.
    inside = jnp.stack([(v > jnp.min(g) / 4) & (v < 4 * jnp.max(g)) for v, g in zip(found, leaves, strict=True)])
    return Minimum(tree.unflatten(found), jnp.all(inside) & jnp.isfinite(value), scores)
