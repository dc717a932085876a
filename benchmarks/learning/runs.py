"""What these scripts share: trainings with a name, which end on time, go on where they were stopped, and say so.

Training NAME of a script lives in benchmarks/.runs/SCRIPT/NAME: its checkpoints and log.csv. What a table and its
curves need of it stays with the project, in docs/learning/rows/SCRIPT/NAME.json: so a table shows every training that
was ever run, whichever of them this call was for and whichever machine did it.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from rich.console import Console
from rich.table import Table

import jaxrecon as jr

ROOT = Path(__file__).resolve().parents[2]
RUNS = ROOT / "benchmarks" / ".runs"
DOCS = ROOT / "docs" / "learning"
ROWS = DOCS / "rows"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#444444")  # Okabe and Ito


class Run(NamedTuple):
    reconstructor: Any
    log: Any
    steps: int  # asked for

    @property
    def seconds(self) -> float:
        return float(self.log.seconds[-1])

    @property
    def note(self) -> str:
        """For the table: how many steps, and whether that was all of them."""
        if self.log.finished:
            return f"{self.steps} steps"
        return f"ended early after {int(self.log.step[-1])} of {self.steps} steps ({self.log.reason})"


def parser(doc: str | None, names: Sequence[str]) -> argparse.ArgumentParser:
    """--only, --minutes, --resume and --steps, which every script takes."""
    parser = argparse.ArgumentParser(description=(doc or "").splitlines()[0])
    parser.add_argument("--only", nargs="*", choices=names, default=list(names), help="trainings of this call")
    parser.add_argument("--minutes", type=float, help="end each training after so long")
    parser.add_argument("--resume", action="store_true", help="go on where the last call was stopped")
    parser.add_argument("--steps", type=int, help="of each training")
    return parser


def train(script: str, name: str, reconstructor: Any, data: Any, steps: int, *, minutes: float | None = None,
          resume: bool = False, checkpoints: int = 20, **options: Any) -> Run:
    """`jr.fit` with a folder, a time limit and a log; without resume, what an earlier call left there is removed.

    Args:
        checkpoints: how many, over all steps.
        options: others of jr.fit.
    """
    folder = RUNS / script / name
    if not resume:
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    options = {"key": jax.random.key(0), "checkpoint_every": max(1, steps // checkpoints)} | options
    Console().print(f"{script} / {name}: {steps} steps" + (f", at most {minutes:g} minutes" if minutes else ""))
    trained, log = jr.fit(reconstructor, data, steps=steps, checkpoint=folder / "checkpoint", resume=resume,
                          time_limit=None if minutes is None else 60 * minutes, **options)
    log.write_csv(folder / "log.csv")
    return Run(trained, log, steps)


def keep(script: str, name: str, row: dict[str, Any]) -> None:
    """A row of the script's table; with the validated steps of its log, where this machine trained it."""
    log = RUNS / script / name / "log.csv"
    path = ROWS / script / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"row": row} | ({"log": _validated(log)} if log.exists() else {}), indent=1) + "\n")


def kept(script: str, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The rows of those trainings that were run, in the order of `names`."""
    paths = {name: ROWS / script / f"{name}.json" for name in names}
    return {name: json.loads(path.read_text())["row"] for name, path in paths.items() if path.exists()}


def kept_log(script: str, name: str) -> dict[str, list[float]]:
    """The columns of the training's log, where it was validated."""
    return json.loads((ROWS / script / f"{name}.json").read_text())["log"]


def keep_image(script: str, name: str, image: Any) -> None:
    """What `kept_images` finds: its magnitude."""
    np.save(ROWS / script / f"{name}.npy", np.abs(np.asarray(image)).astype("float16"))


def kept_images(script: str, names: Mapping[str, str]) -> dict[str, np.ndarray]:
    """label -> image, in the order of `names` (label -> training); those that there are."""
    paths = {label: ROWS / script / f"{name}.npy" for label, name in names.items()}
    return {label: np.load(path, allow_pickle=False).astype("float32") for label, path in paths.items()
            if path.exists()}


def _validated(path: Path) -> dict[str, list[float]]:
    with open(path, newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["validation"]]
    return {column: [float(row[column]) for row in rows] for column in (rows[0] if rows else ()) if rows[0][column]}


def show(script: str, title: str, rows: Sequence[dict[str, Any]], path: Path | None = None) -> None:
    """Prints the rows (their keys are the columns) and writes them as docs/learning/SCRIPT.csv, or to `path`."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    table = Table(*columns, title=title)
    for row in rows:
        table.add_row(*(_text(row.get(column)) for column in columns))
    Console(width=130).print(table)
    path = DOCS / f"{script}.csv" if path is None else path
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="-", lineterminator="\n")
        writer.writeheader()
        writer.writerows({k: _text(v) for k, v in row.items()} for row in rows)


def draw_curves(path: Path, curves: Mapping[str, tuple[Any, Any]], levels: Mapping[str, float] | None = None, *,
                title: str, xlabel: str, ylabel: str, log_x: bool = False) -> None:
    """Curves (x, y) and horizontal lines, with linear y, as a small picture."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.6, 3.6), layout="constrained")
    axes = figure.add_subplot()
    if log_x:
        axes.set_xscale("log")
    for i, (name, (x, y)) in enumerate(curves.items()):
        axes.plot(x, y, label=name, color=COLOURS[i % len(COLOURS)], marker="o", markersize=3, linewidth=1.5)
    for i, (name, level) in enumerate((levels or {}).items()):
        axes.axhline(level, label=name, color="#777777", linestyle=("--", ":", "-.")[i % 3], linewidth=1.2)
    axes.set(title=title, xlabel=xlabel, ylabel=ylabel)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.legend(frameon=False, fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    jr.plots.save_figure(figure, path, dpi=100)


def _text(v: Any) -> str:
    if v is None:
        return "-"
    return f"{v:.4g}" if isinstance(v, float) else str(v)
