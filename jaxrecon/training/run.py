"""The loop of a training: steps, validation, checkpoints, and what may end it."""

from __future__ import annotations

import contextlib
import math
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .checkpoint import Checkpoints
from .feed import Feed, Source
from .log import COLUMNS, Log
from .progress import Progress
from .sharding import replicate
from .step import Fixed, State, train_step
from .validation import Validation

HOPELESS = 50  # steps in a row that are not finite


class Plan(NamedTuple):
    """What does not change while it runs."""

    steps: int
    validate_every: int
    checkpoint_every: int
    patience: int | None
    time_limit: float | None
    mesh: Any
    fixed: Fixed
    source: Source
    feed: Feed
    validation: Validation | None
    checkpoints: Checkpoints | None
    about: dict[str, Any]
    progress: bool


class Run:
    """A training at some step: its state, its best parameters, the rows of its log."""

    def __init__(self, plan: Plan, state: State, begin: float):
        self.plan, self.begin = plan, begin
        self.rows: list[list[float]] = []
        self.best: Any = None
        self.best_step, self.best_loss = 0, math.inf
        self.saved, self.before, self.reason = -1, 0.0, ""
        found = None
        if plan.checkpoints is not None:
            found = plan.checkpoints.restore(self._tree(state), plan.about)
        if found is not None:
            step, tree, about = found
            state = State(tree["parameters"], tree["optimizer"])
            self.rows = tree["log"].tolist()
            self.saved, self.before, self.best_step = step, self.rows[-1][1], about["best_step"]
            if self.best_step:
                self.best, self.best_loss = tree["best"], self.rows[self.best_step - 1][3]
            plan.source.skip(step)
        self.state = replicate(state, plan.mesh)

    @property
    def step(self) -> int:
        return len(self.rows)

    def go(self, first: Any) -> None:
        """Makes the steps that are missing; `first` is the first batch, drawn already."""
        plan = self.plan
        batch = first if self.step == 0 else None
        with _interruption(plan.checkpoints is not None) as interrupted, Progress(plan.steps, plan.progress) as bar:
            pending = None
            step = self.step
            if step < plan.steps and self.out_of_patience():  # a training that had ended so, and was resumed
                self.reason = self._patience_text()
            while not self.reason and step < plan.steps:
                try:
                    batch = plan.source.next() if batch is None else batch
                except KeyboardInterrupt:
                    interrupted.set()
                if interrupted.is_set() or batch is None:
                    self.reason = "interrupted" if interrupted.is_set() else f"the data ended after {step} batches"
                    break
                program, shared, arguments = plan.feed(*batch)
                self.state, report = train_step(program, self.state, plan.fixed, shared, arguments, step)
                step, batch = step + 1, None
                # The report of the step before: reading it waits for that step alone, so that the next batch is made
                # while this one is computed.
                if pending is not None:
                    self._take(pending, bar)
                pending = report
                if self._due(step, interrupted):
                    self._take(pending, bar)
                    pending = None
                    self._after_step(interrupted)
            if pending is not None:
                self._take(pending, bar)
        if plan.checkpoints is not None:
            self.save()
        if interrupted.is_set():
            raise KeyboardInterrupt
        if self.rows and all(math.isnan(row[2]) for row in self.rows):
            self._give_up(self.step)
        # For what is returned only: a training that goes on from here validates when it would have done anyway.
        if plan.validation is not None and self.rows and math.isnan(self.rows[-1][3]):
            self._validate()

    def _due(self, step: int, interrupted: threading.Event) -> bool:
        plan = self.plan
        return (step == plan.steps or step % plan.validate_every == 0 or step % plan.checkpoint_every == 0
                or interrupted.is_set() or self._timed_out())

    def _timed_out(self) -> bool:
        return self.plan.time_limit is not None and time.monotonic() - self.begin >= self.plan.time_limit

    def _after_step(self, interrupted: threading.Event) -> None:
        plan = self.plan
        if plan.validation is not None and self.step % plan.validate_every == 0:
            self._validate()
        if plan.checkpoints is not None and self.step % plan.checkpoint_every == 0:
            self.save()
        if self.step < plan.steps:
            if interrupted.is_set():
                self.reason = "interrupted"
            elif self.out_of_patience():
                self.reason = self._patience_text()
            elif self._timed_out():
                self.reason = f"time limit of {plan.time_limit:g} s"

    def out_of_patience(self) -> bool:
        if self.plan.patience is None:
            return False
        return sum(not math.isnan(row[3]) for row in self.rows[self.best_step :]) >= self.plan.patience

    def _patience_text(self) -> str:
        return f"no better validation in {self.plan.patience} validations"

    def _take(self, report: jax.Array, bar: Progress) -> None:
        loss, rate = np.asarray(report, float).tolist()
        self.rows.append([self.step + 1, self.before + time.monotonic() - self.begin, loss, math.nan, math.nan, rate])
        last = self.rows[-HOPELESS:]
        if len(last) == HOPELESS and all(math.isnan(row[2]) for row in last):
            self._give_up(HOPELESS)
        bar(self.step, loss=loss, best=self.best_loss if self.best_step else math.nan)

    def _give_up(self, count: int) -> None:
        raise FloatingPointError(f"loss or gradient was not finite in {count} steps in a row, from step "
                                 f"{self.step - count + 1} on: is the data finite? Otherwise lower the learning rate, "
                                 "or pass clip=1.0")

    def _validate(self) -> None:
        assert self.plan.validation is not None
        loss, psnr = self.plan.validation(self.state.parameters, self.plan.fixed)
        self.rows[-1][3:5] = [loss if math.isfinite(loss) else math.inf, psnr]
        if loss < self.best_loss:
            # A copy: the next step takes the memory of the parameters.
            self.best = jax.tree.map(jnp.copy, self.state.parameters)
            self.best_step, self.best_loss = self.step, loss

    def _tree(self, state: State) -> dict[str, Any]:
        tree = {"parameters": state.parameters, "optimizer": state.optimizer,
                "log": np.asarray(self.rows, float).reshape(-1, len(COLUMNS))}
        if self.plan.validation is not None:
            tree["best"] = state.parameters if self.best is None else self.best
        return tree

    def save(self) -> None:
        if self.step and self.step != self.saved:
            assert self.plan.checkpoints is not None
            self.plan.checkpoints.save(self.step, self._tree(self.state), self.plan.about, self.best_step)
            self.saved = self.step

    def log(self) -> Log:
        columns = np.asarray(self.rows, float).reshape(-1, len(COLUMNS)).T
        named: dict[str, Any] = dict(zip(COLUMNS, columns, strict=True))
        if self.plan.validation is None:
            named["validation"] = named["psnr"] = None
        if np.isnan(named["learning_rate"]).all():
            named["learning_rate"] = None
        return Log(**named, best_step=self.best_step or self.step, finished=self.step >= self.plan.steps,
                   reason=self.reason)


@contextlib.contextmanager
def _interruption(wanted: bool) -> Iterator[threading.Event]:
    """An event set by the first Ctrl-C, so that the step is finished and saved; the second one interrupts at once."""
    event = threading.Event()
    if not wanted or threading.current_thread() is not threading.main_thread() \
            or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield event
        return

    def on_interrupt(*_):
        event.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield event
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
