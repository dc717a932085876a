"""jaxrecon reconstruct --model: the image of a trained reconstructor."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console

from ..io import middle
from ..io.npz import list_npz, read_arrays
from .errors import Failure, of_the_input
from .info import installed
from .models import direct, read_model, unlike_training
from .reconstruct import check_outputs, default_output, write
from .scans import Problem, problem, read
from .tasks import scanner


def run(path: Path, model: Path, maps: str, output: Path | None, png: Path | None, slice: int | None = None) -> None:
    reconstructor, c = read_model(model)
    ct = c is not None and c.task == "ct"
    for option, v in (("--slice", slice), ("--maps", None if maps == "auto" else maps)):
        if ct and v is not None:
            raise Failure(f"{option} {v} has no effect with a model for CT; leave it out")
    with of_the_input():
        check_outputs(path, output, png)
        scan = None if ct else read(path, maps, slice)
        if output is None and png is None:
            output = Path(f"{path.stem}-{model.stem}.npz") if scan is None else default_output(path, scan, model.stem)
            check_outputs(path, output, png)
        found = sinogram(path, c) if scan is None else problem(scan, maps)
        A, b, first, name, window, about = found
        if not bool(jnp.all(jnp.isfinite(first))) or not bool(jnp.any(first != 0)):
            raise ValueError(f"{path}: the {name} image is zero everywhere, or not finite")
    started = time.perf_counter()
    try:
        image = jax.block_until_ready(jax.jit(lambda r, A, b: r(A, b))(reconstructor, A, b))
    except (ValueError, TypeError) as error:
        raise Failure(f"{model} does not take this scan: {error}") from error
    if not bool(jnp.all(jnp.isfinite(image))):
        raise Failure(f"{model} gives an image with values that are not finite; nothing was written", 1)
    seconds = time.perf_counter() - started
    image, first = middle(image, window), middle(first, window)
    write(output, png, path, image, {name: first}, {
        "method": model.stem, "prior": "none", "lam": np.float64(0), "iterations": 0, "scale": np.float64(1),
        "objective": np.zeros(0), "version": installed("jaxrecon"), "model": str(model)}
        | ({} if scan is None else {"slice": scan.slice, "slices": scan.slices}))
    console = Console(soft_wrap=True, highlight=False)
    what = type(reconstructor).__name__ if c is None else c.method["name"]
    parts = [f"{' x '.join(map(str, image.shape))} pixels", *about, f"{what} of {model}", f"{seconds:.1f} s"]
    console.print("; ".join(parts), markup=False)
    unlike = None if c is None or ct else unlike_training(c, A)
    if unlike is not None:
        console.print(f"{model} was {unlike}", markup=False)
    for written in (output, png):
        if written is not None:
            console.print(f"wrote {written}", markup=False)


def sinogram(path: Path, c: Any) -> Problem:
    """A sinogram for the scanner that a model was trained for: an .npz file with `sinogram` (views, detectors)."""
    names = list_npz(path)
    if "sinogram" not in names:
        raise ValueError(f"{path} holds no array named sinogram, only {', '.join(names) or 'nothing'}")
    b = read_arrays(path, ["sinogram"])["sinogram"]
    A = scanner(c)
    if b.dtype.kind not in "iuf" or b.shape != A.codomain.shape:
        raise ValueError(f"{path}: sinogram is {b.dtype} of {b.shape}, the model was trained for real ones of "
                         f"{A.codomain.shape} (views, detectors)")
    if not np.isfinite(b).all():
        raise ValueError(f"{path}: sinogram holds values that are not finite")
    b = jnp.asarray(b, A.codomain.dtype)
    return Problem(A, b, direct(c)(A, b), "FBP", None, [f"{b.shape[0]} views"])
