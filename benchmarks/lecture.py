"""The lecture in one table: every method, one protocol for MRI and one for CT, three noise levels.

    python benchmarks/lecture.py                                # everything, about two hours on two cores
    python benchmarks/lecture.py --only mri-tv ct-post          # some rows; trainings go on with --resume
    python benchmarks/lecture.py --only size-mri-post-300       # a point of quality against training images
    python benchmarks/lecture.py --only                         # table, JSON, figures and README of the rows kept
    python benchmarks/lecture.py --times                        # ... with their times measured again

The protocols and methods are in lecture_parts/methods.py. A row is a stage: it is kept in docs/learning/rows/lecture
when it is done, so that a run that was stopped loses at most the row it was at (and of that, with --resume, at most a
twentieth of its training). Writes docs/learning/lecture.csv, .json and lecture_*.png, and the table in README.md.

PSNR and SSIM of magnitudes, data_range 1, means over 40 test images. A + A^H: applications for one image, step sizes by
power iteration included. ms: median for one image, compiled before. "Set by hand": numbers that somebody has to choose
for each noise level; here they are the best on validation images.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent / "learning"))
sys.path.insert(0, str(Path(__file__).resolve().parent / "lecture_parts"))

import figures
import jax
import methods
import runs
import sizes
import trainings
from cartesian_mri import applications
from mri_data import Scan
from timing import compile_and_median
from trainings import SCRIPT

import jaxrecon as jr

README = Path(__file__).resolve().parents[1] / "README.md"
MARKS = ("<!-- lecture: benchmarks/lecture.py -->", "<!-- /lecture -->")


def learn(name: str, method: methods.Method, args: Any) -> tuple[Any, dict[str, Any]]:
    steps = args.steps or method.steps
    scan = methods.scans(method.task, (min(methods.LEVELS), max(methods.LEVELS)))
    batched = ("mask",) if method.task == "mri" else ()
    validation = trainings.examples(scan, 1, 4 * methods.VALIDATION, batched)
    stream = jr.Simulated(scan, method.batch, batched=batched)
    run = trainings.train(name, method.make(), stream, validation, steps, args)
    jr.save(runs.RUNS / SCRIPT / name / "model.jr", run.reconstructor)
    return run.reconstructor, {"training images": int(run.log.step[-1]) * method.batch,
                               "training minutes": run.seconds / 60, "steps": run.note}


def judge(name: str, args: Any) -> None:
    """The row of a method: trained or set, judged at each level, timed."""
    method = methods.METHODS[name]
    row: dict[str, Any] = {"task": method.task, "method": method.label, "set by hand": int(bool(method.settings)),
                           "settings": [], "trained parameters": 0, "training images": 0, "training minutes": 0.0}
    trained = None
    if method.steps:
        trained, training = learn(name, method, args)
        row |= training | {"trained parameters": methods.parameters(trained)}
    for level in methods.LEVELS:
        scan = methods.scans(method.task, level)
        if method.settings:
            row["settings"].append(methods.best_setting(method, scan))
        r = trained or method.make(*row["settings"][-1:])
        row[f"{level} dB"], row[f"SSIM at {level} dB"] = methods.quality(r, scan, "test")
        if level == figures.LEVEL:
            row |= cost(r, method, scan)
            runs.keep(SCRIPT, name, row)
            runs.keep_image(SCRIPT, name, picture(r, scan))
    runs.keep(SCRIPT, name, row)


def time_again(name: str, _: Any) -> None:
    """The cost of a row that is kept, of the model that was trained here."""
    method, row, model = methods.METHODS[name], runs.kept(SCRIPT, (name,)).get(name), runs.RUNS / SCRIPT / name
    if row is None or (method.steps and not (model / "model.jr").exists()):
        return
    setting = row["settings"][methods.LEVELS.index(figures.LEVEL):][:1]
    r = jr.load(model / "model.jr", like=method.make()) if method.steps else method.make(*setting)
    runs.keep(SCRIPT, name, row | cost(r, method, methods.scans(method.task, figures.LEVEL)))


def picture(r: Any, scan: Any) -> jax.Array:
    return jax.jit(lambda r, key: r(*scan(key)[:2]))(r, methods.keys("test")[figures.SHOWN])


def cost(r: Any, method: methods.Method, scan: Any) -> dict[str, Any]:
    A, b, x = scan(methods.keys("test")[figures.SHOWN])
    run = jax.jit(lambda r, b: r(A, b))  # A is closed over: FBP looks at the numbers of its geometry
    compiling, seconds = compile_and_median(lambda: run(r, b), repeats=15, budget=10)
    count = method.applications if method.applications is not None else applications(r, Scan(A, b, x))
    return {"A + A^H": count, "ms per image": 1e3 * seconds, "compile s": compiling}


def readme_table(rows: dict[str, dict[str, Any]]) -> str:
    levels = " | ".join(f"{level} dB" for level in methods.LEVELS)
    lines = []
    for task, title in figures.TITLES.items():
        mine = [row for row in rows.values() if row["task"] == task]
        if not mine:
            continue
        lines += [f"| {title} | set by hand | A + Aᴴ | ms | weights | training images | minutes | {levels} |",
                  "|" + "---|" * (7 + len(methods.LEVELS))]
        for row in mine:
            scores = " | ".join(f"{row[f'{level} dB']:.1f} ({row[f'SSIM at {level} dB']:.2f})"
                                for level in methods.LEVELS)
            training = (f"{row['trained parameters']:,} | {row['training images']:,} | {row['training minutes']:.0f}"
                        if row["trained parameters"] else " | | ")
            milliseconds = float(f"{row['ms per image']:.2g}")
            lines.append(f"| {row['method']} | {row['set by hand'] or ''} | {row['A + A^H']} | "
                         f"{milliseconds:g} | {training} | {scores} |")
        lines.append("")
    return "\n".join(lines)


def write_readme(rows: dict[str, dict[str, Any]]) -> None:
    """Between the two marks, which must be there."""
    text = README.read_text()
    before, rest = text.split(MARKS[0])
    _, after = rest.split(MARKS[1])
    README.write_text(f"{before}{MARKS[0]}\n\n{readme_table(rows)}\n{MARKS[1]}{after}")


def main() -> None:
    parser = runs.parser(__doc__, (*methods.METHODS, *sizes.TRAININGS))
    parser.add_argument("--times", action="store_true", help="of the rows kept, and nothing else")
    args = parser.parse_args()
    for name in args.only:
        if name in sizes.TRAININGS and not args.times:
            sizes.learn(name, args)
        elif name in methods.METHODS:
            (time_again if args.times else judge)(name, args)
    rows = runs.kept(SCRIPT, tuple(methods.METHODS))
    columns = ("task", "method", "set by hand", "A + A^H", "ms per image", "trained parameters", "training images",
               "training minutes", *(f"{level} dB" for level in methods.LEVELS),
               *(f"SSIM at {level} dB" for level in methods.LEVELS))
    runs.show(SCRIPT, "The lecture: PSNR in dB and SSIM at three noise levels",
              [{c: row[c] for c in columns} for row in rows.values()])
    (runs.DOCS / f"{SCRIPT}.json").write_text(json.dumps(rows, indent=1) + "\n")
    write_readme(rows)
    figures.draw(rows)
    sizes.draw(rows)


if __name__ == "__main__":
    main()
