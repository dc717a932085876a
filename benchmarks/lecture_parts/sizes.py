"""Quality against the number of training images: the MRI protocol, with a few images for ever instead of new ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import methods
import runs
import trainings
from figures import LEVEL, SCRIPT, tidy

import jaxrecon as jr

STEPS = 400
NUMBERS = (30, 300, 3000)
LEARNED = ("mri-inverse", "mri-post", "mri-separate")
CLASSICAL = {"mri-zero-filled": ":", "mri-tv": "--"}
TRAININGS = {f"size-{name}-{n}": (name, n) for name in LEARNED for n in NUMBERS}


def learn(training: str, args: Any) -> None:
    """The row of one training; its checkpoint is that of the best validation, as in the large ones."""
    (name, n), scan = TRAININGS[training], methods.scans("mri", LEVEL)
    method, steps = methods.METHODS[name], args.steps or STEPS
    data, validation = (trainings.examples(scan, seed, count, ("mask",))
                        for seed, count in ((4, n), (1, 4 * methods.VALIDATION)))
    run = trainings.train(training, method.make(), data, validation, steps, args)
    found = methods.quality(run.reconstructor, scan, "test")
    runs.keep(SCRIPT, training, {"method": method.label, "training images": n, "training minutes": run.seconds / 60,
                                 "steps": run.note, f"{LEVEL} dB": found[0], f"SSIM at {LEVEL} dB": found[1]})


def draw(rows: Mapping[str, dict[str, Any]]) -> None:
    from matplotlib.figure import Figure

    found = runs.kept(SCRIPT, tuple(TRAININGS))
    figure = Figure(figsize=(5.6, 3.8), layout="constrained")
    axes = figure.add_subplot()
    for name, colour in zip(LEARNED, runs.COLOURS, strict=False):
        mine = [row for training, row in found.items() if TRAININGS[training][0] == name]
        if not mine:
            continue
        axes.semilogx([row["training images"] for row in mine], [row[f"{LEVEL} dB"] for row in mine], "o-",
                      color=colour, label=methods.METHODS[name].label)
    for name, style in CLASSICAL.items():
        if name in rows:
            axes.axhline(rows[name][f"{LEVEL} dB"], color="black", linestyle=style, label=methods.METHODS[name].label)
    axes.set_xticks(NUMBERS, [str(n) for n in NUMBERS])
    axes.minorticks_off()
    axes.set(title=f"MRI, {LEVEL} dB: {STEPS} steps with some images for ever", xlabel="training images",
             ylabel="PSNR in dB")
    tidy(axes)
    axes.legend(frameon=False, fontsize=8)
    jr.plots.save_figure(figure, runs.DOCS / f"{SCRIPT}_sizes.png", dpi=90)
