"""A progress bar on a terminal, nothing elsewhere."""

from __future__ import annotations

import time
from typing import Any


class Progress:
    """with Progress(total, shown) as bar: bar(step, loss=...)."""

    def __init__(self, total: int, shown: bool):
        self.total, self.shown, self.bar = total, shown, None
        self.drawn = 0.0

    def __enter__(self) -> Progress:
        if self.shown:
            from rich.console import Console

            console = Console(stderr=True)
            if console.is_terminal:
                self.bar, self.task = self._make(console)
                self.bar.start()
        return self

    def _make(self, console: Any) -> tuple[Any, Any]:
        from rich import progress

        bar = progress.Progress(progress.TextColumn("fit"), progress.BarColumn(), progress.MofNCompleteColumn(),
                                progress.TimeElapsedColumn(), progress.TimeRemainingColumn(),
                                progress.TextColumn("{task.fields[told]}"), console=console, transient=True)
        return bar, bar.add_task("fit", total=self.total, told="compiling")

    def __call__(self, step: int, **told: float) -> None:
        # Drawn by a thread of its own; telling it every step would cost more than small steps do.
        if self.bar is None or (time.monotonic() - self.drawn < 0.1 and step < self.total):
            return
        self.drawn = time.monotonic()
        text = "  ".join(f"{name} {v:.3g}" for name, v in told.items() if v == v)
        self.bar.update(self.task, completed=step, told=text)

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.stop()
