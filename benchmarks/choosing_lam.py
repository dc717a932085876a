"""How good are the lams that the rules choose, and what does a sweep cost?

    python benchmarks/choosing_lam.py [dense] [scans] [pictures] [sweep]      # all of them, some 15 minutes

dense     Five small ill-posed problems (n = 64) with Tikhonov, noise of 10, 1 and .1 % of |A x| and 200 seeds: the
          error |x(lam) - x| over that of the best lam, median / 90 % quantile; ok: the share that the rule trusts.
scans     Measured k-space, undersampled afterwards, with TV and wavelet-l1: PSNR at the automatic lam less that of the
          best lam of a fine grid. The rule is that of the command line: cross-validation.
pictures  Where there is no truth: brain8 (8-fold Poisson-disc) and the sinogram of a tooth, by cross-validation.
sweep     32 lams of a 256 x 256 MRI-TV problem, 30 iterations: one call, against 32 calls that are compiled
          already.

Writes docs/parameters/*.csv and *.png. All but "dense" and "sweep" need ../shared/data.
"""

from __future__ import annotations

import functools
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxrecon as jr
from jaxrecon.cli.methods import extended, scale_of

sys.path.insert(0, str(Path(__file__).resolve().parent / "learning"))
import runs
from timing import interleaved

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / ".." / "shared" / "data"
DOCS = ROOT / "docs" / "parameters"
PROBLEMS = ("shaw", "phillips", "deriv2", "heat", "baart")
NOISE = (1e-1, 1e-2, 1e-3)
SEEDS = 200
FACTOR = 1 + 2 / (2 * 64) ** 0.5  # of the discrepancy: above the noise in 98 % of all cases
RULES = {"GCV": lambda A, b, sigma: jr.gcv(A, b), "robust GCV": lambda A, b, sigma: jr.gcv(A, b, robust=0.1),
         "SURE": lambda A, b, sigma: jr.sure(A, b, sigma=sigma),
         "discrepancy": lambda A, b, sigma: jr.discrepancy(A, b, sigma=sigma, factor=FACTOR),
         "L-curve": lambda A, b, sigma: jr.lcurve(A, b),
         "L-curve, triangle": lambda A, b, sigma: jr.lcurve(A, b, rule="triangle")}


def show(name: str, title: str, rows: list[dict[str, Any]]) -> None:
    runs.show(name, title, rows, DOCS / f"{name}.csv")


# ---- dense


def errors(rule: str, A: Any, b: jax.Array, x: jax.Array, sigma: Any) -> tuple[np.ndarray, np.ndarray]:
    """(|x(lam) - x|, ok) over the seeds."""
    def one(A, b, x, sigma):
        found = RULES[rule](A, b, sigma)
        image = found.x[found.corner] if isinstance(found, jr.parameters.LCurve) else found.x
        return jnp.linalg.norm(image - x), found.ok

    error, ok = jax.jit(jax.vmap(one, (None, 0, None, None)))(A, b, x, sigma)
    return np.asarray(error), np.asarray(ok)


def best_errors(A: Any, b: jax.Array, x: jax.Array) -> np.ndarray:
    factors = jr.svd(A)
    lams = factors.s[0] ** 2 * jnp.geomspace(1e-18, 10, 800)
    per_seed = jax.jit(lambda F, b: jnp.min(jax.lax.map(lambda lam: jnp.linalg.norm(F.tikhonov(b, lam) - x), lams)))
    return np.asarray(jax.lax.map(functools.partial(per_seed, factors), b))


def dense() -> None:
    rows, ratios = [], {rule: [] for rule in RULES}
    for name in PROBLEMS:
        A, x = jr.simulate.ill_posed(name, 64)
        y = A(x)
        for level in NOISE:
            sigma = level * jnp.linalg.norm(y) / y.size**0.5
            b = y + sigma * jax.random.normal(jax.random.key(1), (SEEDS, y.size))
            best, row = best_errors(A, b, x), {"problem": name, "noise": level}
            for rule in RULES:
                error, ok = errors(rule, A, b, x, sigma)
                ratio = error / best
                ratios[rule].append(ratio)
                row[rule] = f"{np.median(ratio):.2f} / {np.quantile(ratio, 0.9):.3g}" + (
                    "" if ok.all() else f" (ok {ok.mean():.0%})")
            rows.append(row)
    every = {rule: np.concatenate(v) for rule, v in ratios.items()}
    rows.append({"problem": "all", "noise": "-"} | {
        rule: f"{np.median(v):.2f} / {np.quantile(v, 0.9):.3g}" for rule, v in every.items()})
    show("dense", f"Error over that of the best lam, median / 90 % of {SEEDS} seeds", rows)


# ---- scans


GRID = np.geomspace(1e-5, 1e-1, 33)
LAMS = np.geomspace(3e-5, 3e-2, 7)


def solvers(shape: tuple[int, ...]) -> dict[str, Any]:
    def wavelet(lam):
        W = jr.Wavelet(shape, "db4", levels=3, dtype="complex64")
        return jr.FISTA(jr.L1(lam, transform=W), step_size=1.0)

    return {"TV": lambda lam: jr.FISTA(jr.TV(lam), step_size=1.0), "wavelet-l1": wavelet}


def scans() -> None:
    import mri_data

    one, many = mri_data.brain()
    sets = {"mouse, 1 coil": mouse(), "sag256, 1 coil": mri_data.sagittal()[0], "brain16, combined": one[0],
            "brain16, 8 coils": many[0]}
    rows = []
    for name, scan in sets.items():
        for prior, make in solvers(scan.x.shape).items():
            chosen = jr.crossvalidate(scan.A, scan.b, LAMS, make, iterations=100, refine=2)
            span = float(jnp.max(jnp.abs(scan.x)))

            def psnr(x, truth=scan.x, span=span):
                return float(jr.metrics.psnr(x, truth, data_range=span))

            solve = jax.jit(lambda A, b, lam, make=make: jr.solve(A, b, make(lam), 100).x)
            grid = [psnr(solve(scan.A, scan.b, lam)) for lam in GRID]
            best = int(np.argmax(grid))
            rows.append({"scan": name, "prior": prior, "lam": f"{float(chosen.lam):.2e}", "ok": bool(chosen.ok),
                         "dB": f"{psnr(chosen.x):.2f}", "best lam": f"{GRID[best]:.2e}", "best dB": f"{grid[best]:.2f}",
                         "lost dB": f"{grid[best] - psnr(chosen.x):.2f}"})
    show("scans", "Measured k-space, 4-fold: lam by cross-validation against the best lam", rows)


def mouse() -> Any:
    """The middle slice, half of its lines."""
    import mri_data

    k, = mri_data.load("mri_mouse15_rare96.npz", "ksp")
    k = jnp.asarray(k[7])
    x = jr.Fourier(k.shape, dtype="complex64").H(k)
    scale = jnp.max(jnp.abs(x))
    mask = jr.simulate.variable_density_mask(jax.random.key(0), k.shape, 2, calibration=12, dtype="float32")
    A = jr.Fourier(k.shape, mask=mask, dtype="complex64")
    return mri_data.Scan(A, A.mask * k / scale, x / scale)


# ---- pictures


def pictures() -> None:
    from jaxrecon.io import read_npz

    scan = read_npz(DATA / "mri_brain8_poisson.npz")
    k = jnp.asarray(scan.kspace)
    A = jr.sense(jr.espirit(k, calibration=None), scan.mask)
    scale = scale_of(A.H(k))
    found, panels = {}, {"zero-filled": jnp.abs(A.H(k) / scale)}
    for prior in ("TV", "wavelet-l1"):
        # The wavelet transform needs a larger field of view here.
        larger, crop = extended(A, "wavelet") if prior == "wavelet-l1" else (A, lambda x: x)
        found[prior] = jr.crossvalidate(larger, k / scale, np.geomspace(1e-4, 1e-1, 7),
                                        solvers(larger.domain.shape)[prior], iterations=100)
        panels[f"{prior}, lam {float(found[prior].lam):.2g}"] = jnp.abs(crop(found[prior].x))
    jr.plots.compare(panels, window=(0, 1.2), title="brain8: lam by cross-validation", path=DOCS / "brain8.png")
    jr.plots.choice(found["TV"], ylabel="hidden samples, mean |A x − b|²", title="brain8, TV",
                    path=DOCS / "brain8_score.png")
    tooth()


def tooth() -> None:
    """46 of its 181 views."""
    sys.path.insert(0, str(Path(__file__).resolve().parent / "real_data"))
    import ct

    scan = ct.tooth()
    A = jr.XRay(scan.geometry.subset(scan.used), scan.shape, scan.pixel_size)
    b = jnp.asarray(scan.sinogram[scan.used], "float32")
    fbp = jr.FBP()(A, b)
    top = float(jnp.quantile(fbp, 0.995))
    found = jr.crossvalidate(A, b, np.geomspace(3e-5, 3e-2, 7), lambda lam: jr.FISTA(jr.TV(lam)), iterations=60,
                             scale="system", refine=3)
    jr.plots.compare({"FBP": fbp, f"TV, lam {float(found.lam):.2g} of the system": found.x}, window=(0, top),
                     title="Tooth: lam by cross-validation over views", path=DOCS / "tooth.png")
    jr.plots.choice(found, ylabel="hidden views, mean |A x − b|²", title="Tooth, TV", path=DOCS / "tooth_score.png")


# ---- the cost of a sweep


def sweep() -> None:
    n, iterations = 256, 30
    mask = jr.simulate.variable_density_mask(jax.random.key(0), (n, n), 4, calibration=16, dtype="float32")
    A = jr.Fourier((n, n), mask=mask, dtype="complex64")
    b = jr.simulate.add_noise(jax.random.key(1), A(jr.simulate.shepp_logan((n, n))), sigma=0.01, mask=mask)
    lams = jnp.geomspace(1e-4, 1e-1, 32).astype("float32")

    def make(lam):
        return jr.FISTA(jr.TV(lam), step_size=1.0)

    def separate():
        return [jr.solve(A, b, make(lam), iterations).x for lam in lams]

    def curve(iterations=iterations, **options):
        return jr.lcurve(A, b, lams, make, iterations=iterations, **options)

    runs = {"32 calls of solve": separate, "lcurve": curve, "lcurve, 8 at a time": lambda: curve(chunk=8),
            f"lcurve, continuation, {iterations // 2} iterations": lambda: curve(iterations // 2, continuation=True)}
    times = interleaved(runs, repeats=1)
    whole = np.median(times["32 calls of solve"])
    rows = [{"run": name, "seconds": f"{np.median(v):.2f}", "of 32 calls": f"{np.median(v) / whole:.2f}"}
            for name, v in times.items()]
    show("sweep", f"32 lams of MRI-TV, {n} x {n}, {iterations} iterations each", rows)


def main() -> None:
    parts = {"dense": dense, "scans": scans, "pictures": pictures, "sweep": sweep}
    asked = sys.argv[1:] or list(parts)
    for name in asked:
        if name not in parts:
            raise SystemExit(f"unknown part {name}; known are {', '.join(parts)}")
        if name == "dense":
            with jax.enable_x64(True):
                dense()
        else:
            parts[name]()


if __name__ == "__main__":
    main()
