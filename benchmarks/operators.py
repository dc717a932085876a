"""NUFFT and X-ray transform beside jax-finufft, finufft, torchkbnufft, ASTRA and SCICO: accuracy first, then time.

    python benchmarks/operators.py --setup      # once: an environment for each neighbour, under benchmarks/.venvs
    python benchmarks/operators.py              # everything, 7 rounds; the same on a GPU
    python benchmarks/operators.py --only xray --repeats 5

Sides (operators/*_side.py) run in processes of their own and wait while another runs; ratios are formed within a round.
NUFFT: errors against finufft at 1e-12 for the same float32 nodes; X-ray: against jaxrecon in double precision.
jaxrecon and finufft make their plan beforehand, as `solve` does, jax-finufft cannot; the time with the plan is in
a line of its own. The two kinds of CG differ by what float32 does to 10 iterations on noise: in double precision they
agree to 1e-10.
Temporaries: XLA's own figure for the compiled program, beyond arguments and result.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
from sides import HERE, Side, clock, difference, limit_threads, setup, start, versions, write_report

SCRIPTS = HERE / "operators"
sys.path.insert(0, str(SCRIPTS))

import problems  # noqa: E402

ENVIRONMENTS = {
    "jaxrecon": None, "jax_finufft": "finufft", "finufft": "finufft", "torchkbnufft": "torchkbnufft", "astra": "astra",
    "scico": "scico",
}  # fmt: skip
ACCURACY = 1e-5  # the error that jaxrecon may have, by its defaults, in float32
AGREEMENT = 1e-4  # with ASTRA's linear kernel, which has the same weights
TEMPORARIES = 20e6  # bytes, X-ray at 512^2 x 360 views


class Target(NamedTuple):
    work: str
    rival: str
    largest: float  # ours / theirs


TARGETS = (
    Target("nufft pair", "jax_finufft", 1.5),
    Target("xray forward", "astra", 0.35),
    Target("xray adjoint", "astra", 0.35),
)


def measure(sides: dict[str, Side], work: str, case: str, repeats: int) -> dict[str, Any]:
    """Answers of every side that has the work, their differences from the reference, then times in turns."""
    entries, answers, notes = {}, {}, []
    names = dict.fromkeys(sides, work) | ({"jaxrecon": work} if "jaxrecon" in sides else {})
    wanted = [(name, name, works) for name, works in names.items()]
    if work.endswith("pair") and "jaxrecon" in sides:
        wanted.append(("jaxrecon, with plan", "jaxrecon", f"{work} with plan"))
    for label, name, its_work in wanted:
        reply = sides[name].ask(work=its_work, case=case, repeat=0)
        if "answer" in reply:
            entries[label], answers[label] = (sides[name], its_work), reply["answer"]
        elif "error" in reply and "NotImplementedError" not in reply["error"]:
            notes.append(f"{label}: {reply['error']}")
    exact = "finufft" if work.startswith("nufft") else "jaxrecon"
    reference = sides[exact].ask(work=f"{work} exact", case=case, repeat=0)["answer"]
    row: dict[str, Any] = {"work": work, "case": case, "notes": notes}
    row["differences"] = {label: difference(answer, reference) for label, answer in answers.items()}
    if "astra" in answers:
        row["from astra"] = difference(answers["jaxrecon"], answers["astra"])
    row["seconds"] = seconds = clock(entries, case, repeats)
    row["ratios"] = {
        label: median(ours / theirs for ours, theirs in zip(seconds["jaxrecon"], times, strict=True))
        for label, times in seconds.items() if label != "jaxrecon"
    }  # fmt: skip
    if work.split()[1] in ("forward", "adjoint"):
        reply = sides["jaxrecon"].ask(work=f"{work} memory", case=case, repeat=0)
        row["temporaries"] = int(np.load(reply["answer"])) if "answer" in reply else None
    return row


def measure_toeplitz(side: Side, case: str, repeats: int) -> dict[str, Any]:
    works = {"jaxrecon, Toeplitz": "cg toeplitz", "jaxrecon, gridded": "cg gridded"}
    answers = {label: side.ask(work=work, case=case, repeat=0)["answer"] for label, work in works.items()}
    seconds = clock({label: (side, work) for label, work in works.items()}, case, repeats)
    toeplitz, gridded = seconds.values()
    ratio = median(t / g for t, g in zip(toeplitz, gridded, strict=True))
    first, second = answers.values()
    return {
        "work": f"{problems.CG_ITERATIONS} CG iterations", "case": case, "notes": [], "seconds": seconds,
        "differences": {"jaxrecon, Toeplitz": difference(first, second)}, "ratios": {"jaxrecon, gridded": ratio},
    }  # fmt: skip


def verdicts(row: dict[str, Any]) -> list[tuple[str, bool]]:
    """What had to hold of a row, and whether it did."""
    work, case, found = row["work"], row["case"], []
    if "CG" not in work:
        error = row["differences"]["jaxrecon"]
        found.append((f"error {error:.1e} <= {ACCURACY:g}", error <= ACCURACY))
    if case.startswith("parallel") and "from astra" in row:
        error = row["from astra"]
        found.append((f"difference from ASTRA {error:.1e} <= {AGREEMENT:g}", error <= AGREEMENT))
    if work.startswith("xray") and row.get("temporaries") is not None:
        size = row["temporaries"]
        found.append((f"temporaries {size / 1e6:.1f} MB <= {TEMPORARIES / 1e6:g} MB", size <= TEMPORARIES))
    if "CG" in work and case.startswith("radial"):
        ratio = row["ratios"]["jaxrecon, gridded"]
        found.append((f"Toeplitz / gridded {ratio:.2f} <= 0.25", ratio <= 0.25))
    for target in TARGETS:
        if work == target.work and target.rival in row["ratios"] and not case.startswith(("fan", "coarse")):
            ratio = row["ratios"][target.rival]
            found.append((f"ours / {target.rival} {ratio:.2f} <= {target.largest:g}", ratio <= target.largest))
    return found


def show(row: dict[str, Any]) -> list[bool]:
    print(f"\n{row['work']}, {row['case']}")
    for label, seconds in row["seconds"].items():
        line = f"  {label:22s}{1e3 * median(seconds):10.2f} ms"
        if label in row["ratios"]:
            line += f"   ours/this {row['ratios'][label]:6.2f}"
        if label in row["differences"]:
            line += f"   error {row['differences'][label]:.1e}"
        print(line)
    results = verdicts(row)
    for text, good in results:
        print(f"  {'met   ' if good else 'MISSED'} {text}")
    for note in row["notes"]:
        print(f"  {note}")
    sys.stdout.flush()
    return [good for _, good in results]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--setup", action="store_true", help="create the neighbours' environments and stop")
    parser.add_argument("--only", nargs="+", choices=("nufft", "cg", "xray"), default=["nufft", "cg", "xray"])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2, help="cores that each side may use")
    parser.add_argument("--output", type=Path, default=HERE / "results" / "operators.json")
    arguments = parser.parse_args()
    if arguments.setup:
        setup(("finufft", "torchkbnufft", "astra", "scico"), SCRIPTS)
        return 0
    line = limit_threads(arguments.threads)
    print(line)
    rows, good = [], []
    with tempfile.TemporaryDirectory() as folder:
        stored = Path(folder) / "problem.npz"
        np.savez(stored, **problems.make())
        sides = start(ENVIRONMENTS, SCRIPTS, stored, Path(folder))
        try:
            found = versions(sides)
            for kind, cases in (("nufft", problems.NUFFT), ("cg", problems.NUFFT), ("xray", problems.XRAY)):
                for case in cases if kind in arguments.only else ():
                    if kind == "cg":
                        rows.append(measure_toeplitz(sides["jaxrecon"], case, arguments.repeats))
                        good += show(rows[-1])
                        continue
                    for direction in ("forward", "adjoint", "pair"):
                        rows.append(measure(sides, f"{kind} {direction}", case, arguments.repeats))
                        good += show(rows[-1])
        finally:
            for side in sides.values():
                side.close()
    write_report(arguments.output, line, arguments.repeats, found, rows)
    print(f"\n{sum(good)} of {len(good)} met; {arguments.output}")
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
