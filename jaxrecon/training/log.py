"""The log of a training: columns by step, as a table, a CSV file and a figure."""

from __future__ import annotations

import csv
import io
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from ..io.atomic import atomic_write
from ..value import static, value

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.table import Table

COLUMNS = ("step", "seconds", "loss", "validation", "psnr", "learning_rate")


@value
class Log:
    """What `fit` reports, one row for each step.

    Attributes:
        step: 1, 2, ...
        seconds: since the training began, those of earlier calls that it resumes included.
        loss: of the batch; NaN where loss or gradient was not finite and the step was therefore not made.
        validation: the loss over the validation set after that step; NaN where there was no validation.
        psnr: the mean over the validation set in dB, each image with the range of its own reference.
        learning_rate: where the optimiser tells it (`optax.inject_hyperparams(optax.adam)(learning_rate=schedule)`),
            else None.
        best_step: the step whose parameters are returned.
        finished: True where all steps were made; otherwise `reason` says what ended it.

    Example:
        >>> log = jr.training.Log(step=[1, 2], seconds=[0.1, 0.2], loss=[3.0, 1.0], validation=[float("nan"), 2.0])
        >>> log.ok, len(log)
        (True, 2)
    """

    step: Any
    seconds: Any
    loss: Any
    validation: Any = None
    psnr: Any = None
    learning_rate: Any = None
    best_step: int = static(default=0)
    finished: bool = static(default=True)
    reason: str = static(default="")

    def check(self):
        for name in COLUMNS:
            column = getattr(self, name)
            if column is not None:
                object.__setattr__(self, name, np.asarray(column, int if name == "step" else float))

    def __len__(self) -> int:
        return len(self.step)

    @property
    def skipped(self) -> int:
        """Steps that were not made, because loss or gradient was not finite."""
        return int(np.isnan(self.loss).sum())

    @property
    def ok(self) -> bool:
        """True where every step was made."""
        return len(self) > 0 and not self.skipped

    def columns(self) -> dict[str, np.ndarray]:
        """The columns there are, by name."""
        found = {name: getattr(self, name) for name in COLUMNS}
        return {name: v for name, v in found.items() if v is not None and not (name != "loss" and np.isnan(v).all())}

    def table(self, rows: int = 15) -> Table:
        """A rich table of some `rows` lines; `loss` is the mean since the line above."""
        from rich.table import Table

        columns = self.columns()
        title = f"{len(self)} steps" + ("" if self.finished else f", ended early: {self.reason}")
        if self.skipped:
            title += f"; {self.skipped} not made (not finite)"
        table = Table(title=title)
        for name in columns:
            table.add_column(name.replace("_", " "), justify="right")
        shown = self._shown(rows)
        for last, k in zip([0, *(shown[:-1] + 1)], shown, strict=False):
            row = {name: v[k] for name, v in columns.items()} | {"loss": _mean(self.loss[last : k + 1])}
            table.add_row(*(_text(name, v) for name, v in row.items()))
        return table

    def _shown(self, rows: int) -> np.ndarray:
        validated = np.zeros(0, int) if self.validation is None else np.flatnonzero(~np.isnan(self.validation))
        lines = validated if len(validated) >= 2 else np.arange(len(self))
        if not len(lines):
            return lines
        lines = lines[np.unique(np.linspace(0, len(lines) - 1, min(rows, len(lines))).round().astype(int))]
        return np.unique([*lines, len(self) - 1])

    def write_csv(self, path: str | os.PathLike) -> None:
        """All rows, whole or not at all; what there is not is left empty."""
        columns = self.columns()
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(columns)
        # repr: the shortest text that reads back as the same number.
        writer.writerows(["" if v != v else repr(v) for v in row]
                         for row in zip(*(v.tolist() for v in columns.values()), strict=True))
        with atomic_write(path) as file:
            file.write(text.getvalue().encode())

    def plot(self, *, against: str = "step", title: str | None = None, path: str | os.PathLike | None = None) -> Figure:
        """Loss (a running mean over a fiftieth of the steps) and validation against "step" or "seconds".

        Raises:
            ImportError: matplotlib is missing. ValueError: an unknown axis, or no step was made.
        """
        from ..plots import convergence

        if against not in ("step", "seconds"):
            raise ValueError(f"plot against 'step' or 'seconds', got {against!r}")
        x = np.asarray(getattr(self, against), float)
        good = ~np.isnan(self.loss)
        if not good.any():
            raise ValueError("plot: no step was made, so there is nothing to draw")
        curves = {"training": (x[good], _running_mean(self.loss[good], max(1, good.sum() // 50)))}
        if self.validation is not None and not np.isnan(self.validation).all():
            seen = ~np.isnan(self.validation)
            curves["validation"] = (x[seen], self.validation[seen])
        return convergence(curves, title=title, xlabel=against, ylabel="loss", path=path)


def _mean(v: np.ndarray) -> float:
    return float(np.nanmean(v)) if not np.isnan(v).all() else float("nan")


def _running_mean(v: np.ndarray, width: int) -> np.ndarray:
    total = np.cumsum(v)
    total[width:] = total[width:] - total[:-width]
    return total / np.minimum(np.arange(1, len(v) + 1), width)


def _text(name: str, v: Any) -> str:
    if v != v:
        return "-"
    if name == "step":
        return f"{v}"
    return f"{v:.1f}" if name == "seconds" else f"{v:.2f}" if name == "psnr" else f"{v:.4g}"
