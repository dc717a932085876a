"""Honest timing: compile time apart, medians of warm runs, results waited for."""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax


def compile_and_median(run: Callable[[], Any], repeats: int = 5, budget: float = 20.0) -> tuple[float, float]:
    """(seconds of the first call less a warm one, median seconds of the warm calls), within about `budget` seconds."""
    start = time.perf_counter()
    jax.block_until_ready(run())
    first = time.perf_counter() - start
    times: list[float] = []
    while len(times) < repeats and (not times or sum(times) < budget):
        start = time.perf_counter()
        jax.block_until_ready(run())
        times.append(time.perf_counter() - start)
    median = statistics.median(times)
    return max(first - median, 0.0), median


def timed(run: Callable[[], Any]) -> tuple[Any, float]:
    """(result, seconds) of a second call: compiled before."""
    jax.block_until_ready(run())
    start = time.perf_counter()
    result = jax.block_until_ready(run())
    return result, time.perf_counter() - start


def interleaved(runs: dict[str, Callable[[], Any]], repeats: int = 7) -> dict[str, list[float]]:
    """Seconds of each run, taken in turn (A B C A B C ...), so that a ratio holds when the machine's speed drifts."""
    for run in runs.values():
        jax.block_until_ready(run())
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            start = time.perf_counter()
            jax.block_until_ready(run())
            times[name].append(time.perf_counter() - start)
    return times


def machine() -> dict[str, Any]:
    """What the numbers were measured on."""
    return {"python": platform.python_version(), "jax": jax.__version__, "machine": platform.machine(),
            "devices": [str(d) for d in jax.devices()], "processor": platform.processor() or "unknown"}
