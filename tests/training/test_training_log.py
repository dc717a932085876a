"""The log as a table, a CSV file and a figure."""

import csv
import io

import numpy as np
import pytest
from rich.console import Console

from jaxrecon.training import Log
from jaxrecon.training.progress import Progress

NAN = float("nan")


def log(**options):
    step = np.arange(1, 101)
    validation = np.where(step % 10 == 0, 1 / step, NAN)
    loss = 2.0 / step
    loss[4] = NAN
    columns = {"step": step, "seconds": 0.1 * step, "loss": loss, "validation": validation}
    return Log(**columns | {"best_step": 100} | options)


def shown(table):
    console = Console(width=150, file=io.StringIO())
    console.print(table)
    return console.file.getvalue()


def test_the_table_has_a_line_for_validations_and_the_mean_loss_between():
    text = shown(log(finished=False, reason="time limit of 3 s").table(rows=5))
    assert "100 steps, ended early: time limit of 3 s; 1 not made (not finite)" in " ".join(text.split())
    lines = [line for line in text.splitlines() if line.startswith("│")]
    assert len(lines) == 5
    mean = np.nanmean(2.0 / np.delete(np.arange(1, 11.0), 4))
    assert [c.strip() for c in lines[0].strip("│").split("│")] == ["10", "1.0", f"{mean:.4g}", "0.1"]
    assert "learning" not in text
    assert len(shown(Log([1], [0.1], [2.0]).table()).splitlines()) > 4
    shown(Log([], [], []).table())


def test_csv_reads_back_to_the_same_numbers(tmp_path):
    full = log(learning_rate=np.full(100, 0.1))
    full.write_csv(tmp_path / "log.csv")
    with open(tmp_path / "log.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["step", "seconds", "loss", "validation", "learning_rate"]
    for name in rows[0]:
        np.testing.assert_array_equal([float(row[name] or "nan") for row in rows], getattr(full, name))


def test_the_figure_draws_running_loss_and_validation(tmp_path):
    full = log(loss=2 / np.arange(1.0, 101))
    figure = full.plot(against="seconds", path=tmp_path / "log.png")
    training, validation = figure.axes[0].get_lines()
    np.testing.assert_allclose(validation.get_xydata()[:, 0], np.arange(1, 11))
    np.testing.assert_allclose(training.get_ydata()[[0, 1, 50]], [2.0, 1.5, (2 / 50 + 2 / 51) / 2])
    assert (tmp_path / "log.png").stat().st_size > 0
    with pytest.raises(ValueError, match="'step' or 'seconds', got 'epoch'"):
        log().plot(against="epoch")
    with pytest.raises(ValueError, match="no step was made"):
        Log([1], [0.1], [NAN]).plot()


def test_ok_and_skipped():
    assert log().skipped == 1 and not log().ok
    assert Log([1], [0.1], [2.0]).ok and not Log([], [], []).ok


def test_the_bar_is_silent_off_a_terminal(capfd):
    with Progress(3, True) as bar:
        bar(1, loss=2.0)
    with Progress(3, False) as bar:
        bar(1, loss=2.0)
    assert capfd.readouterr() == ("", "")


def test_the_bar_on_a_terminal(monkeypatch, capfd):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    with Progress(3, True) as bar:
        assert bar.bar is not None
        bar(3, loss=2.0, best=NAN)
    assert "loss 2" in capfd.readouterr().err
