"""The same work in jaxrecon, SigPy, SCICO and numba: answers compared first, then clocked in turns, medians of ratios.

    python benchmarks/neighbours.py --setup     # once: an environment for each neighbour, under benchmarks/.venvs
    python benchmarks/neighbours.py             # all works, 9 rounds
    python benchmarks/neighbours.py --only cg tv --masks line --repeats 5

Each package runs in a process and an environment of its own (neighbours/*_side.py) and waits while another runs. A
round asks every side for one run, in rotating order; a ratio is formed within its round, so that a slow spell of the
machine hits both.
Problems (neighbours/problems.py): 8 coils, 320 x 320, complex64, 4-fold: 80 lines, or a quarter of the samples in 2-D.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
from sides import HERE, Side, clock, difference, limit_threads, setup, start, versions, write_report

SCRIPTS = HERE / "neighbours"
sys.path.insert(0, str(SCRIPTS))

import problems  # noqa: E402


class Rival(NamedTuple):
    side: str
    work: str
    label: str


class Task(NamedTuple):
    title: str
    rivals: tuple[Rival, ...]
    tolerance: float | None  # largest relative difference of the answers; None: the objective reached is compared
    targets: dict[tuple[str, str], float]  # (mask, rival's label) -> least theirs/ours; for FLOORS largest ours/theirs
    masks: tuple[str, ...] = problems.MASKS


def neighbours(work: str) -> tuple[Rival, ...]:
    forms = [Rival("scico", f"{work}_{form}", f"SCICO {form}") for form in ("tuned", "centred")]
    return Rival("sigpy", work, "SigPy"), Rival("scico", work, "SCICO"), *forms


def targets(line: tuple[float, float], plane: tuple[float, float]) -> dict[tuple[str, str], float]:
    # Of SCICO's three forms the target is held against the centred one: it applies the same operator, centred k-space
    # included, as jaxrecon and SigPy. It is also the slowest of the three; the other two are printed beside it.
    keys = [(mask, name) for mask in problems.MASKS for name in ("SigPy", "SCICO centred")]
    return dict(zip(keys, line + plane, strict=True))


TASKS = {
    "normal": Task("SENSE normal operator", (Rival("jaxrecon", "floor", "FFT+IFFT"), *neighbours("normal")), 1e-5,
                   {(mask, "FFT+IFFT"): 1.35 for mask in problems.MASKS}),
    "cg": Task("CG-SENSE, 30 iterations", neighbours("cg"), 1e-3, targets((4, 3), (2.5, 1.8))),
    "wavelet": Task("wavelet-l1 FISTA, 100 iterations", neighbours("wavelet"), 1e-3, targets((4.5, 7), (2.5, 4))),
    "tv": Task("TV, 100 iterations", neighbours("tv"), None, targets((5, 8), (3, 5))),
    "kaczmarz": Task("Kaczmarz, one sweep of 2000 x 1000", (Rival("numba", "kaczmarz", "numba"),), 1e-3,
                     {("float32", "numba"): 1.3, ("complex64", "numba"): 2.0}, ("float32", "complex64")),
}  # fmt: skip
FLOORS = ("FFT+IFFT", "numba")  # quoted the other way round: ours / theirs, to be at most the target
OBJECTIVE_SLACK = 1e-3  # ours may end this much above the neighbour's objective and still count as the same


def measure(
    work: str, mask: str, sides: dict[str, Side], problem: dict[str, np.ndarray], repeats: int
) -> dict[str, Any]:
    """Answers, then times. A side that cannot do the work is left out, with a note."""
    task, entries, answers, notes = TASKS[work], {}, {}, []
    candidates = [("jaxrecon", "jaxrecon", work), *((rival.label, rival.side, rival.work) for rival in task.rivals)]
    if work == "kaczmarz":
        candidates.append(("jaxrecon, many", "jaxrecon", "kaczmarz_many"))
    for label, name, its_work in candidates:
        if name not in sides:
            continue
        reply = sides[name].ask(work=its_work, case=mask, repeat=0)
        if "answer" not in reply:
            notes.append(f"{label}: {reply.get('error', reply.get('absent'))}")
            continue
        entries[label], answers[label] = (sides[name], its_work), reply["answer"]
    row: dict[str, Any] = {"work": work, "mask": mask, "notes": notes, "differences": {}, "objectives": {}}
    compared = [label for label in answers if label not in ("FFT+IFFT", "jaxrecon, many")]
    reference = "jaxrecon" if "jaxrecon" in answers else compared[0] if compared else None
    if task.tolerance is None:
        row["objectives"] = {c: problems.tv_objective(np.load(answers[c]), problem, mask) for c in compared}
    for label in compared:
        if label != reference:
            row["differences"][label] = difference(answers[label], answers[reference])
    row["seconds"] = seconds = clock(entries, mask, repeats)
    if {"jaxrecon", "jaxrecon, many"} <= set(seconds):  # a sweep without its preparation
        one, many = seconds.pop("jaxrecon"), seconds.pop("jaxrecon, many")
        seconds["jaxrecon"] = [(m - o) / (problems.MANY_SWEEPS - 1) for m, o in zip(many, one, strict=True)]
        seconds["jaxrecon, with preparation"] = one
    row["ratios"], row["verdicts"] = {}, {}
    if "jaxrecon" not in seconds:
        return row
    for label in seconds:
        if label.startswith("jaxrecon"):
            continue
        pairs = zip(seconds[label], seconds["jaxrecon"], strict=True)
        ratio = median(ours / theirs if label in FLOORS else theirs / ours for theirs, ours in pairs)
        row["ratios"][label] = ratio
        same = label == "FFT+IFFT" or (
            row["objectives"]["jaxrecon"] <= row["objectives"][label] * (1 + OBJECTIVE_SLACK)
            if task.tolerance is None
            else row["differences"][label] <= task.tolerance
        )
        target = task.targets.get((mask, label))
        met = target is None or (0 < ratio <= target if label in FLOORS else ratio >= target)  # < 0: noise
        row["verdicts"][label] = {"target": target, "met": met, "same_answer": same}
    return row


def show(row: dict[str, Any]) -> None:
    suffix = " mask" if row["mask"] in problems.MASKS else ""
    print(f"\n{TASKS[row['work']].title}, {row['mask']}{suffix}", flush=True)
    for label, seconds in row["seconds"].items():
        line = f"  {label:32s}{1e3 * median(seconds):10.2f} ms"
        if label in row["ratios"]:
            verdict = row["verdicts"][label]
            quoted = "ours/theirs" if label in FLOORS else "theirs/ours"
            line += f"   {quoted} {row['ratios'][label]:6.2f}"
            if verdict["target"] is not None:
                sign, outcome = "<=" if label in FLOORS else ">=", "met" if verdict["met"] else "MISSED"
                line += f"  (target {sign} {verdict['target']:g}: {outcome})"
        if label in row["differences"]:
            line += f"   difference {row['differences'][label]:.1e}"
        if label in row["objectives"]:
            line += f"   objective {row['objectives'][label]:.4f}"
        if label in row["verdicts"] and not row["verdicts"][label]["same_answer"]:
            line += "   NOT THE SAME ANSWER"
        print(line)
    for note in row["notes"]:
        print(f"  {note}")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--setup", action="store_true", help="create the neighbours' environments and stop")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--only", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--masks", nargs="+", choices=problems.MASKS, default=list(problems.MASKS))
    parser.add_argument("--threads", type=int, default=2, help="cores that each side may use")
    parser.add_argument("--output", type=Path, default=HERE / "results" / "neighbours.json")
    arguments = parser.parse_args()
    if arguments.setup:
        setup(("sigpy", "scico"), SCRIPTS)
        return 0
    line = limit_threads(arguments.threads)
    print(line)

    with tempfile.TemporaryDirectory() as folder:
        problem, stored = problems.make(), Path(folder) / "problem.npz"
        np.savez(stored, **problem)  # type: ignore[arg-type]
        environments = {"jaxrecon": None, "sigpy": "sigpy", "scico": "scico", "numba": "sigpy"}
        sides = start(environments, SCRIPTS, stored, Path(folder))
        rows = []
        try:
            found = versions(sides)
            for work in arguments.only:
                for mask in TASKS[work].masks:
                    if mask in problems.MASKS and mask not in arguments.masks:
                        continue
                    rows.append(measure(work, mask, sides, problem, arguments.repeats))
                    show(rows[-1])
        finally:
            for side in sides.values():
                side.close()

    write_report(arguments.output, line, arguments.repeats, found, rows)
    verdicts = [verdict for row in rows for verdict in row["verdicts"].values() if verdict["target"] is not None]
    good = sum(verdict["met"] and verdict["same_answer"] for verdict in verdicts)
    print(f"\n{good} of {len(verdicts)} targets met with the same answer; {arguments.output}")
    return 0 if good == len(verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
