"""Measured CT with few views: filtered back-projection, SIRT, TV and non-negative TV.

    python benchmarks/real_data/ct.py [--png docs/ct.png] [--only disc tooth]

1. Acrylic disc with holes, fan beam (Helsinki Tomography Challenge 2022, CC BY 4.0: Meaney, Silva de Moura and
   Siltanen, Zenodo 7418878): 60 of 720 views. Quality: Dice score of the holes, found by Otsu's threshold, with the
   published truth.
2. Tooth, parallel beam from counts (TomoPy's tooth.h5, synchrotron): 46 of 181 views.

There is no true image of either. What is measured for all: how well the views left out are predicted,
|A' x - b'| / |b'|. lam is the best of a grid by that same measure, on every 10th of the views left out only.
Needs ../shared/data. Prints a table, and draws the images.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table
from skimage.filters import threshold_otsu

import jaxrecon as jr
from jaxrecon.value import norm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from timing import timed

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / ".." / "shared" / "data"
LAMS = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)  # of |A^H b|_inf


class Scan(NamedTuple):
    geometry: Any
    sinogram: np.ndarray
    shape: tuple[int, int]
    pixel_size: float
    used: np.ndarray  # indices of the views
    truth: np.ndarray | None


class Result(NamedTuple):
    method: str
    iterations: int
    applications: str
    seconds: float
    unseen: float
    dice: float | None
    image: np.ndarray


def disc() -> Scan:
    f = np.load(DATA / "ct_htc2022_ta_full.npz", allow_pickle=False)
    views = slice(0, 720)  # the last view is the first
    source, detector = float(f["DSO_mm"]), float(f["DSD_mm"]) - float(f["DSO_mm"])
    geometry = jr.FanBeam(np.deg2rad(f["angle_deg"][views]), f["sino"].shape[1], source, detector, 0.2)
    return Scan(geometry, f["sino"][views], (512, 512), 0.14831, np.arange(0, 720, 12), f["gt"])


def tooth() -> Scan:
    f = np.load(DATA / "ct_tooth_slice0.npz", allow_pickle=False)
    counts, white, dark = f["data"], f["white"].mean(0), f["dark"].mean(0)
    centre = (counts.shape[1] - 1) / 2
    geometry = jr.ParallelBeam(np.deg2rad(f["theta_deg"]), counts.shape[1], 1.0, centre - float(f["cor"]))
    sinogram = np.asarray(jr.line_integrals(counts, white, dark))
    return Scan(geometry, sinogram, (592, 592), 1.0, np.arange(0, 181, 4), None)


def dice(image: np.ndarray, truth: np.ndarray) -> float:
    image = np.maximum(image, 0)
    found = image > threshold_otsu(image)
    return float(2 * np.sum(found & truth) / (np.sum(found) + np.sum(truth)))


def reconstruct(scan: Scan) -> list[Result]:
    A = jr.XRay(scan.geometry.subset(scan.used), scan.shape, scan.pixel_size)
    b = jnp.asarray(scan.sinogram[scan.used], "float32")
    left_out = np.setdiff1d(np.arange(scan.geometry.num_views), scan.used)
    tuning, testing = left_out[::10], np.delete(left_out, np.s_[::10])
    others = {name: (jr.XRay(scan.geometry.subset(v), scan.shape, scan.pixel_size), jnp.asarray(scan.sinogram[v]))
              for name, v in (("tuning", tuning), ("testing", testing))}

    def misfit(x, name):
        other, measured = others[name]
        return float(norm(other(x) - measured) / norm(measured))

    scale, start = jnp.max(jnp.abs(A.H(b))), jnp.maximum(jr.FBP("hann")(A, b), 0)

    def tv(lam, *constraints):
        prior = jr.TV(lam * scale)
        return jr.FISTA(jr.Constrained(prior, *constraints) if constraints else prior)

    def best(*constraints):
        """By fewer iterations than the picture gets."""
        tries = {lam: misfit(jr.solve(A, b, tv(lam, *constraints), 60, x0=start).x, "tuning") for lam in LAMS}
        return min(tries, key=tries.__getitem__)

    sirt, sart = jr.SIRT(jr.NonNegative()), jr.SART(prior=jr.NonNegative())
    methods = [
        ("FBP, ram-lak", 0, "0+1", lambda: jr.FBP()(A, b)),
        ("FBP, hann", 0, "0+1", lambda: jr.FBP("hann")(A, b)),
        ("SIRT, x >= 0, 50", 50, "50+50", lambda: jr.solve(A, b, sirt, 50).x),
        ("SIRT, x >= 0, 200", 200, "200+200", lambda: jr.solve(A, b, sirt, 200).x),
        ("SART, x >= 0, 5", 5, "5+5", lambda: jr.solve(A, b, sart, 5).x),
    ]
    for label, constraints in (("TV", ()), ("TV, x >= 0", (jr.NonNegative(),))):
        lam = best(*constraints)
        methods.append((f"{label}, lam {lam:g}", 200, "200+200",
                        lambda lam=lam, c=constraints: jr.solve(A, b, tv(lam, *c), 200, x0=start).x))

    found = []
    for method, iterations, applications, run in methods:
        x, seconds = timed(run)
        image = np.asarray(x)
        score = None if scan.truth is None else dice(image, scan.truth)
        found.append(Result(method, iterations, applications, seconds, misfit(x, "testing"), score, image))
    return found


def show(name: str, scan: Scan, results: list[Result]) -> None:
    table = Table("method", "iterations", "A + A^H", "seconds", "views left out", "Dice", title=(
        f"{name}: {len(scan.used)} of {scan.geometry.num_views} views, {scan.shape[0]} x {scan.shape[1]}"))
    for r in results:
        table.add_row(r.method, str(r.iterations or "-"), r.applications, f"{r.seconds:.2f}", f"{r.unseen:.4f}",
                      "-" if r.dice is None else f"{r.dice:.4f}")
    Console(width=110).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--png", type=Path, default=ROOT / "docs" / "ct.png")
    parser.add_argument("--only", nargs="+", choices=("disc", "tooth"), default=["disc", "tooth"])
    arguments = parser.parse_args()
    panels: dict[str, np.ndarray] = {}
    for name in arguments.only:
        scan = {"disc": disc, "tooth": tooth}[name]()
        results = reconstruct(scan)
        show(name, scan, results)
        chosen = [r for r in results if not r.method.startswith(("FBP, hann", "SIRT, x >= 0, 50", "SART"))]
        top = np.quantile(chosen[-1].image, 0.999)
        # One grey scale for both objects, and every second pixel: the figure is small.
        panels |= {f"{name}: {r.method}": np.clip(r.image[::2, ::2] / top, 0, 1) for r in chosen}
    figure = jr.plots.compare(panels, columns=4, window=(0, 1), title="Measured CT, few views")
    jr.plots.save_figure(figure, arguments.png, dpi=70)


if __name__ == "__main__":
    main()
