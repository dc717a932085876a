"""The lecture's figures: pictures side by side, quality against time and against iterations."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import methods
import numpy as np
import runs
from trainings import SCRIPT

import jaxrecon as jr

SHOWN, LEVEL = 3, 30  # the test image and the noise in dB that are drawn
TITLES = {"mri": "Cartesian MRI, a quarter of the lines", "ct": "CT, 30 views"}


def tidy(axes: Any) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#dddddd", linewidth=0.6)


def truth(task: str) -> jax.Array:
    return methods.scans(task, LEVEL)(methods.keys("test")[SHOWN])[2]


def pictures(task: str, rows: Mapping[str, dict[str, Any]]) -> None:
    files = {f"{row['method']} ({row[f'{LEVEL} dB']:.1f})": name for name, row in rows.items() if row["task"] == task}
    shown = runs.kept_images(SCRIPT, files)
    if shown:
        figure = jr.plots.compare(shown, truth(task), columns=5, data_range=1.0,
                                  title=f"{TITLES[task]}, {LEVEL} dB (in brackets: PSNR over {methods.TEST} images)")
        jr.plots.save_figure(figure, runs.DOCS / f"{SCRIPT}_{task}.png", dpi=60)


def against_time(rows: Mapping[str, dict[str, Any]]) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.8), layout="constrained")
    for axes, task in zip(figure.subplots(1, 2), TITLES, strict=True):
        for i, row in enumerate(r for r in rows.values() if r["task"] == task):
            trained = row["trained parameters"] > 0
            axes.semilogx(row["ms per image"], row[f"{LEVEL} dB"], "s" if trained else "o",
                          color=runs.COLOURS[int(trained)])
            axes.annotate(row["method"], (row["ms per image"], row[f"{LEVEL} dB"]), fontsize=7,
                          xytext=(5, 4 if i % 2 else -9), textcoords="offset points")
        axes.set(title=TITLES[task], xlabel="ms per image", ylabel=f"PSNR at {LEVEL} dB of noise")
        axes.margins(x=0.25, y=0.12)
        tidy(axes)
    jr.plots.save_figure(figure, runs.DOCS / f"{SCRIPT}_time.png", dpi=90)


def against_iterations(rows: Mapping[str, dict[str, Any]]) -> None:
    """PSNR of the iterates of classical solvers for the images at LEVEL, and of the unrolled networks at their P."""
    key = methods.keys("test")[SHOWN]
    for task in TITLES:
        lams = {m: rows[f"{task}-{m}"]["settings"][methods.LEVELS.index(LEVEL)] for m in ("tikhonov", "wavelet", "tv")
                if f"{task}-{m}" in rows}
        if len(lams) < 3:
            continue
        solvers = {"Landweber": jr.Landweber(), "CG": jr.CGNR(lams["tikhonov"]),
                   "ISTA, wavelets": jr.ISTA(methods.wavelet(lams["wavelet"])),
                   "FISTA, wavelets": jr.FISTA(methods.wavelet(lams["wavelet"])),
                   "ISTA, TV": jr.ISTA(jr.TV(lams["tv"])), "FISTA, TV": jr.FISTA(jr.TV(lams["tv"]))}
        A, b, x = methods.scans(task, LEVEL)(key)
        near = jr.Partial(lambda truth, A, b, x: methods.psnr(x, truth), x)
        curves = {name: jr.solve(A, b, solver, 300, record=near).history for name, solver in solvers.items()}
        points = {row["method"]: float(methods.psnr(jnp.asarray(image), jnp.abs(x))) for name, image, row in
                  ((n, runs.kept_images(SCRIPT, {n: n}).get(n), rows[n]) for n in rows
                   if n in (f"{task}-shared", f"{task}-separate")) if image is not None}
        draw_iterations(runs.DOCS / f"{SCRIPT}_iterations_{task}.png", task, curves, points)


def draw_iterations(path: Path, task: str, curves: Mapping[str, Any], points: Mapping[str, float]) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.6, 3.8), layout="constrained")
    axes = figure.add_subplot()
    for i, (name, curve) in enumerate(curves.items()):
        axes.semilogx(np.arange(1, len(curve) + 1), curve, label=name, color=runs.COLOURS[i % len(runs.COLOURS)])
    for marker, (name, value) in zip("s*", points.items(), strict=False):
        axes.plot(methods.ITERATIONS, value, marker, color="black", label=name, linestyle="none")
    axes.set(title=TITLES[task], xlabel="iterations", ylabel="PSNR in dB")
    tidy(axes)
    axes.legend(frameon=False, fontsize=7)
    jr.plots.save_figure(figure, path, dpi=90)


def draw(rows: Mapping[str, dict[str, Any]]) -> None:
    for task in TITLES:
        pictures(task, rows)
    against_time(rows)
    against_iterations(rows)
