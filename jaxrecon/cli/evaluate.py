"""jaxrecon evaluate: a trained reconstructor beside the classical ones, on simulated scans that it has not seen."""

from __future__ import annotations

import csv
import io
import math
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from .. import metrics, plots
from ..io.atomic import atomic_write, check_writable
from ..operator import operator_norm
from ..priors import TV, Constrained, NonNegative
from ..solvers import FISTA, solve
from ..value import static, value
from .config import Config, read_config
from .errors import Failure, of_the_input
from .models import direct, read_model
from .tasks import TEST, VALIDATION, Images, load_images, make_simulation, read_images, scans

TV_ITERATIONS = 200
# lam is sought in units of |A|^2: from here by half decades, then by eighths of a decade.
TV_START, TV_STEPS = 1e-3, (10**0.5, 10**0.125)
TV_RANGE = (1e-7, 1e1)


class Row(NamedTuple):
    image: int
    method: str
    psnr: float
    ssim: float
    seconds: float


def run(model: Path, config: Path | None, images: Path | None, output: Path | None, png: Path | None) -> None:
    reconstructor, c = read_model(model)
    if config is not None:
        c = read_config(config)
    if c is None:
        raise Failure(f"{model} holds no configuration, as one that `jaxrecon train` wrote does: give one, "
                      "jaxrecon evaluate MODEL CONFIG")
    output = Path(f"{model.stem}-evaluation.csv") if output is None else output
    with of_the_input():
        _check_outputs(output, png)
        held = _held_out(c, images)
        test = held.test if images is None else load_images(images, c.size)
        simulation = make_simulation(c)
    console = Console(soft_wrap=True, highlight=False)
    waiting = Console(stderr=True)
    with waiting.status("finding the lam of TV") as status:
        best = best_tv(list(scans(simulation, c, VALIDATION, held.validation)), c)
        named: dict[str, Any] = {"FBP" if c.task == "ct" else "zero-filled": direct(c), "TV": best,
                                 c.method["name"]: reconstructor}
        programs = {name: jax.jit(lambda r, A, b: r(A, b)) for name in named}
        rows, first = [], {}
        for i, (A, b, x) in enumerate(scans(simulation, c, TEST, test)):
            status.update(f"image {i + 1}")
            for name, r in named.items():
                image, row = _scored(i, name, programs[name], r, A, b, x)
                rows.append(row)
                if i == 0:
                    first[name], first[""] = image, x
    console.print(_table(rows, f"{len({r.image for r in rows})} {c.task} scans of {c.size} x {c.size} pixels"))
    console.print(f"TV: lam = {best.lam:.3g} |A|², the best on scans of "
                  f"{'random ellipses' if held.validation is None else 'other images'}; {TV_ITERATIONS} iterations")
    with of_the_input():
        _write_csv(output, rows)
        if png is not None:
            plots.compare({k: v for k, v in first.items() if k}, reference=first[""], data_range=1.0, path=png)
    for written in (output, png):
        if written is not None:
            console.print(f"wrote {written}", markup=False)


@value
class BestTV:
    """TV with lam in units of |A|^2."""

    lam: Any
    positive: bool = static()

    def __call__(self, A: Any, b: Any) -> jax.Array:
        prior = TV(self.lam * operator_norm(A) ** 2)
        return solve(A, b, FISTA(Constrained(prior, NonNegative()) if self.positive else prior), TV_ITERATIONS).x


def best_tv(examples: list[tuple[Any, Any, Any]], c: Config) -> BestTV:
    """TV with the lam of best mean PSNR, found by climbing on a logarithmic grid that becomes finer."""
    program = jax.jit(lambda r, A, b, x: metrics.psnr(r(A, b), x, data_range=1.0))
    known: dict[int, float] = {}
    fine = TV_STEPS[-1]

    def at_step(k: int) -> BestTV:
        return BestTV(np.float32(TV_START * fine**k), c.task == "ct")

    def score(k: int) -> float:
        if k not in known:
            r = at_step(k)
            inside = TV_RANGE[0] <= r.lam <= TV_RANGE[1]
            known[k] = float(np.mean([program(r, *e) for e in examples])) if inside else -math.inf
        return known[k]

    at = 0
    for factor in TV_STEPS:
        step = round(math.log(factor) / math.log(fine))
        while (better := max((at, at - step, at + step), key=score)) != at:
            at = better
    return at_step(at)


def _scored(i: int, name: str, program: Any, r: Any, A: Any, b: Any, x: Any) -> tuple[np.ndarray, Row]:
    try:
        if i == 0:
            jax.block_until_ready(program(r, A, b))  # compiles
        started = time.perf_counter()
        image = jax.block_until_ready(program(r, A, b))
    except (ValueError, TypeError) as error:
        raise Failure(f"{name} does not take these scans: {error}") from error
    seconds = time.perf_counter() - started
    if image.shape != x.shape:
        raise Failure(f"{name} gives images of shape {image.shape}, the scans are of {x.shape}")
    psnr, ssim = (float(m(image, x, data_range=1.0)) for m in (metrics.psnr, metrics.ssim))
    if not np.isfinite(image).all():
        raise Failure(f"{name} gives an image with values that are not finite", 1)
    return np.asarray(image), Row(i, name, psnr, ssim, seconds)


def _held_out(c: Config, images: Path | None) -> Images:
    """The images of the configuration; ellipses in their place where they are not here and others are given."""
    try:
        return read_images(c)
    except (Failure, OSError, ValueError):
        if images is None:
            raise
        return Images(None, None, None)


def _check_outputs(output: Path, png: Path | None) -> None:
    for option, given, suffix in (("--output", output, ".csv"), ("--png", png, ".png")):
        if given is not None:
            if given.suffix.lower() != suffix:
                raise ValueError(f"{option} {given}: the name must end in {suffix}")
            check_writable(given)
    if png is not None:
        import matplotlib.figure  # noqa: F401


def _table(rows: list[Row], title: str) -> Table:
    table = Table("method", box=box.SIMPLE_HEAD, title=title, title_justify="left")
    for heading in ("PSNR/dB", "± over images", "SSIM", "seconds"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name in dict.fromkeys(r.method for r in rows):
        psnr, ssim, seconds = (np.array([getattr(r, f) for r in rows if r.method == name])
                               for f in ("psnr", "ssim", "seconds"))
        table.add_row(name, f"{psnr.mean():.2f}", f"{psnr.std():.2f}", f"{ssim.mean():.3f}",
                      f"{np.median(seconds):.3f}")
    return table


def _write_csv(path: Path, rows: list[Row]) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["image", "method", "psnr_db", "ssim", "seconds"])
    for name in dict.fromkeys(r.method for r in rows):
        mine = [r for r in rows if r.method == name]
        for r in mine:
            writer.writerow([r.image, name, f"{r.psnr:.3f}", f"{r.ssim:.4f}", f"{r.seconds:.4f}"])
        psnr, ssim, seconds = (float(np.mean([getattr(r, f) for r in mine])) for f in ("psnr", "ssim", "seconds"))
        writer.writerow(["mean", name, f"{psnr:.3f}", f"{ssim:.4f}", f"{seconds:.4f}"])
    with atomic_write(path) as file:
        file.write(text.getvalue().encode())
