"""jaxrecon reconstruct: from a file of samples to a file with the image."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from .. import plots
from ..io import NonCartesianScan, Scan, middle, write_npz
from ..io.atomic import check_writable
from ..solvers import solve
from .errors import Failure, of_the_input
from .info import installed
from .methods import METHODS, choose, extended, make_solver, scale_of
from .parameters import checked_lam, choose_lam
from .scans import problem, read


def run(path: Path, method: str, prior: str | None, lam: str | None, iterations: int | None, maps: str,
        output: Path | None, png: Path | None, slice: int | None = None) -> None:
    method, prior = choose(method, prior)
    weight = checked_lam(method, prior, lam)
    if method == "zero-filled" and iterations is not None:
        raise Failure(f"--iterations {iterations} has no effect with --method zero-filled; leave one of them out")
    iterations = METHODS[method].iterations if iterations is None else iterations
    if iterations < (method != "zero-filled"):
        raise Failure(f"--iterations must be 1 or more, got {iterations}")
    with of_the_input():
        check_outputs(path, output, png)
        scan = read(path, maps, slice)
        if output is None and png is None:
            output = default_output(path, scan, method if prior == "none" else f"{method}-{prior}")
            check_outputs(path, output, png)
        A, b, direct, name, window, about = problem(scan, maps)
        scale = scale_of(direct)
        if not jnp.isfinite(scale):
            largest = np.abs(np.asarray(b)).max()
            raise ValueError(f"{path}: values up to {largest:.3g} overflow {b.dtype}; divide the samples by that first")
        if not scale > 0:
            raise ValueError(f"{path}: the image is zero everywhere: the coil maps do not fit the data")
    started = time.perf_counter()
    image, objective = direct, None
    if method != "zero-filled":
        A, crop = extended(A, prior)
        if isinstance(weight, str):
            weight = choose_lam(weight, A, b / scale, method, prior, iterations)
            about.append(weight.how)
            weight = weight.lam
        solver = make_solver(method, prior, weight, A.domain)
        with _progress(f"{method} {prior}", iterations) as progress:
            solution = solve(A, b / scale, solver, iterations, record="objective", progress=progress)
            image, objective = crop(solution.x) * scale, solution.history
            image.block_until_ready()
        if not bool(solution.ok):
            raise Failure(f"{method} diverged: the image holds values that are not finite; nothing was written", 1)
    seconds = time.perf_counter() - started
    image, direct = middle(image, window), middle(direct, window)
    write(output, png, path, image, {name: direct}, {
        "method": method, "prior": prior, "lam": np.float64(weight), "iterations": iterations,
        "scale": np.float64(scale), "objective": np.zeros(0) if objective is None else np.asarray(objective),
        "version": installed("jaxrecon"), "slice": scan.slice, "slices": scan.slices})
    console = Console(soft_wrap=True, highlight=False)
    parts = [f"{' x '.join(map(str, image.shape))} pixels", f"{b.shape[0]} coil{'s' if b.shape[0] > 1 else ''}", *about,
             method if prior == "none" else f"{method}, {prior}, lam {weight:.3g}"]
    if method != "zero-filled":
        parts += [f"{iterations} iterations", f"{seconds:.1f} s"]
    console.print("; ".join(parts))
    for written in (output, png):
        if written is not None:
            console.print(f"wrote {written}", markup=False)


def default_output(path: Path, scan: Scan | NonCartesianScan, how: str) -> Path:
    """SCAN-HOW.npz in this folder; with the slice in its name, where there are several."""
    slice = f"-slice{scan.slice}" if scan.slices > 1 else ""
    return Path(f"{path.stem.removesuffix('.nii')}{slice}-{how}.npz")


def check_outputs(path: Path, output: Path | None, png: Path | None) -> None:
    """Before minutes of work: can the results be written at all?"""
    for option, given, suffix in (("--output", output, ".npz"), ("--png", png, ".png")):
        if given is None:
            continue
        if given.suffix.lower() != suffix:
            raise ValueError(f"{option} {given}: the name must end in {suffix}")
        real = check_writable(given)
        if path.exists() and real.exists() and real.samefile(path):
            raise ValueError(f"{option} {given} is the scan itself, which would be lost")
    if png is not None:
        import matplotlib.figure  # noqa: F401


def write(output: Path | None, png: Path | None, path: Path, image: Any, direct: dict[str, Any],
           about: dict[str, Any]) -> None:
    image = np.asarray(image).astype(np.complex64)
    with of_the_input():
        if output is not None:
            write_npz(output, {"image": image, **about})
        if png is not None:
            # Both by one window: the prior takes away peaks, never adds them.
            top = float(np.percentile(np.abs(image), 99.8)) or 1.0
            panels = {name: np.asarray(x) for name, x in direct.items()}
            if about["method"] != "zero-filled":
                name = about["method"]
                panels[name if about["prior"] == "none" else f"{name}, {about['prior']} {about['lam']:g}"] = image
            panels = {name: x[len(x) // 2] if x.ndim > 2 else x for name, x in panels.items()}
            plots.compare(panels, title=path.stem, window=(0.0, top), path=png)


@contextlib.contextmanager
def _progress(label: str, iterations: int) -> Iterator[Callable[[int], None]]:
    """A bar on stderr, where that is a terminal, fed from inside the compiled loop."""
    console = Console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(label, total=iterations)

        def advance(done):
            # Callbacks may come out of order.
            if int(done) > bar.tasks[task].completed:
                bar.update(task, completed=int(done))

        yield advance
