"""How well does each method predict samples that it was not shown?

    python benchmarks/heldout.py [SCAN.npz] [--fraction 0.1] [--seed 0]

Hides a part of the samples outside the calibration region of a real undersampled scan (by default
../shared/data/mri_brain8_poisson.npz: 8 coils, 8-fold Poisson-disc), reconstructs from the rest with coil maps by
ESPIRiT, and compares the predicted samples of all coils with the measured ones: NRMSE = |prediction - measurement| /
|measurement|. There is no other truth for such a scan. Data are scaled as `jaxrecon reconstruct` does.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table

from jaxrecon.calibration import calibration_size, espirit
from jaxrecon.cli.methods import DEFAULT_LAM, extended, make_solver, scale_of
from jaxrecon.io import read_npz
from jaxrecon.operators import sense
from jaxrecon.solvers import CGNR, solve
from jaxrecon.value import norm

SCAN = Path(__file__).resolve().parents[2] / "shared" / "data" / "mri_brain8_poisson.npz"
CASES = {("cg", "l2"): 60, ("fista", "wavelet"): 100, ("condat-vu", "tv"): 100}  # iterations
LAMS = np.geomspace(3e-4, 1e-1, 11)
PLAIN = 30  # iterations of CG without lam, of which the best counts


def hide(kspace: np.ndarray, mask: np.ndarray, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(mask of the samples kept, mask of those hidden): a random part of those outside the calibration region."""
    size = calibration_size(jnp.asarray(kspace), largest=32)
    centre = np.zeros(mask.shape, bool)
    centre[tuple(slice(n // 2 - s // 2, n // 2 - s // 2 + s) for n, s in zip(mask.shape, size, strict=True))] = True
    outer = np.flatnonzero(mask & ~centre)
    hidden = np.zeros(mask.shape, bool)
    hidden.flat[np.random.default_rng(seed).choice(outer, round(fraction * outer.size), replace=False)] = True
    return mask & ~hidden, hidden


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scan", nargs="?", default=SCAN, type=Path)
    parser.add_argument("--fraction", default=0.1, type=float)
    parser.add_argument("--seed", default=0, type=int)
    parser.add_argument("--full", action="store_true", help="print the whole grid of lam")
    args = parser.parse_args()

    scan = read_npz(args.scan)
    mask = np.broadcast_to(scan.mask, scan.kspace.shape[1:])
    kept, hidden = hide(scan.kspace, mask, args.fraction, args.seed)
    b = jnp.where(kept, scan.kspace, 0)
    maps = espirit(b, calibration=None)
    A, whole = sense(maps, kept), sense(maps, hidden)
    scale = scale_of(A.H(b))
    measured = jnp.where(hidden, scan.kspace, 0) / scale

    def score(x):
        return float(norm(whole(x) - measured) / norm(measured))

    console = Console(highlight=False, soft_wrap=True)
    console.print(f"{args.scan.name}: {hidden.sum()} of {mask.sum()} sampled positions hidden, {scan.kspace.shape[0]} "
                  f"coils, seed {args.seed}")
    table = Table("method", title="NRMSE of the hidden samples")
    for heading in ("best", "at", "default lam", "there"):
        table.add_column(heading, justify="right")
    table.add_row("zero image", "1.0000", "", "", "")
    path = solve(A, b / scale, CGNR(), PLAIN, record="x").history
    plain = [score(x) for x in path]
    best = int(np.argmin(plain))
    table.add_row("cg without lam", f"{plain[best]:.4f}", f"{best + 1} iterations", "", "")
    for (method, prior), iterations in CASES.items():
        wide, crop = extended(A, prior)

        def predict(lam, method=method, prior=prior, iterations=iterations, wide=wide, crop=crop):
            solution = solve(wide, b / scale, make_solver(method, prior, lam, wide.domain), iterations)
            return score(crop(solution.x))

        found = {float(lam): predict(float(lam)) for lam in LAMS}
        best, default = min(found, key=lambda lam: found[lam]), DEFAULT_LAM[prior]
        table.add_row(f"{method}, {prior}, {iterations} iterations", f"{found[best]:.4f}", f"lam {best:.2g}",
                      f"{default:g}", f"{predict(default):.4f}")
        if args.full:
            console.print(f"{method}, {prior}:", "  ".join(f"{lam:.2g}: {v:.4f}" for lam, v in found.items()))
    console.print(table)


if __name__ == "__main__":
    main()
