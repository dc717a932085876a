"""Quality against the number of training images: the MRI protocol, with a few images for ever instead of new ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import methods
import optax
import runs

import jaxrecon as jr

SCRIPT, LEVEL, STEPS = "lecture", 30, 400
NUMBERS = (30, 300, 3000)
LEARNED = ("mri-inverse", "mri-post", "mri-separate")
CLASSICAL = {"mri-zero-filled": ":", "mri-tv": "--"}
TRAININGS = {f"size-{name}-{n}": (name, n) for name in LEARNED for n in NUMBERS}


def learn(training: str, args: Any) -> None:
    """The row of one training; its checkpoint is that of the best validation, as in the large ones."""
    (name, n), scan = TRAININGS[training], methods.scans("mri", LEVEL)
    method, steps = methods.METHODS[name], args.steps or STEPS

    def examples(seed: int, count: int) -> jr.Examples:
        drawn = jr.Simulated(scan, count, batched=("mask",)).batch(jax.random.key(seed), 0)
        return jr.Examples(*drawn, batch_size=8, batched=("mask",))

    schedule = optax.warmup_cosine_decay_schedule(1e-5, 1e-3, steps // 20, steps, 1e-5)
    run = runs.train(SCRIPT, training, method.make(), examples(4, n), steps, minutes=args.minutes, resume=args.resume,
                     optimizer=optax.adam(schedule), clip=1.0, validation=examples(1, 4 * methods.VALIDATION),
                     validate_every=max(1, steps // 20))
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
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.legend(frameon=False, fontsize=8)
    jr.plots.save_figure(figure, runs.DOCS / f"{SCRIPT}_sizes.png", dpi=90)
