"""Packages side by side: each in a process and an environment of its own, waiting while another runs."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
VENVS = HERE / ".venvs"


class Side:
    """A worker process (worker.py): `scripts`/`name`_side.py."""

    def __init__(self, name: str, python: Path, scripts: Path, problem: Path, answers: Path):
        command = [str(python), str(scripts / f"{name}_side.py"), str(problem), str(answers)]
        env = os.environ | {"PYTHONPATH": os.pathsep.join([str(scripts), str(HERE), str(HERE.parent)])}
        self.name = name
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)

    def ask(self, **request: Any) -> dict[str, Any]:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the {self.name} side ended with code {self.process.wait()} at {request}")
        return json.loads(line)

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def start(environments: dict[str, str | None], scripts: Path, problem: Path, answers: Path) -> dict[str, Side]:
    """The sides whose environment is there: side -> name under .venvs, None for this interpreter."""
    sides = {}
    for name, environment in environments.items():
        python = Path(sys.executable) if environment is None else VENVS / environment / "bin" / "python"
        if python.exists():
            sides[name] = Side(name, python, scripts, problem, answers)
        else:
            print(f"{name}: no environment, left out; run with --setup first")
    return sides


def setup(names: tuple[str, ...], scripts: Path) -> None:
    """An environment under .venvs for each name, from scripts/requirements-NAME.txt."""
    for name in names:
        subprocess.run([sys.executable, "-m", "venv", str(VENVS / name)], check=True)
        pip = [str(VENVS / name / "bin" / "python"), "-m", "pip", "install", "-q"]
        subprocess.run([*pip, "-r", str(scripts / f"requirements-{name}.txt")], check=True)
    print(f"environments in {VENVS}")


def limit_threads(threads: int) -> str:
    """Keep this process, and the sides that it starts, on so many cores; a line on the machine."""
    if hasattr(os, "sched_setaffinity"):  # children inherit it
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        models = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    except OSError:
        models = []
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return f"{models[0] if models else platform.processor()}, {threads} of {os.cpu_count()} cores, load {load} at start"


def clock(entries: dict[str, tuple[Side, str]], case: str, repeats: int) -> dict[str, list[float]]:
    """Seconds of each entry (a side and its work): one run of every entry a round, in rotating order."""
    seconds: dict[str, list[float]] = {label: [] for label in entries}
    labels = list(entries)
    for r in range(repeats):
        for label in labels[r % len(labels) :] + labels[: r % len(labels)]:
            side, work = entries[label]
            seconds[label] += side.ask(work=work, case=case, repeat=1)["seconds"]
    return seconds


def versions(sides: dict[str, Side]) -> dict[str, dict[str, str]]:
    """What each side runs, printed too."""
    found = {name: side.ask(work="about")["versions"] for name, side in sides.items()}
    for name, packages in found.items():
        print(f"{name:14s}" + ", ".join(f"{package} {number}" for package, number in packages.items()), flush=True)
    return found


def difference(a: str, b: str) -> float:
    """Relative difference of two stored answers."""
    x, y = np.load(a), np.load(b)
    return float(np.linalg.norm(x - y) / np.linalg.norm(y))


def write_report(path: Path, line: str, repeats: int, versions: dict[str, dict[str, str]], rows: list[dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    report = {"machine": line, "platform": platform.platform(), "repeats": repeats, "versions": versions, "rows": rows}
    path.write_text(json.dumps(report, indent=1))
