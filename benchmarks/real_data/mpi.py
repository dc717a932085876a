"""Magnetic particle imaging, simulated: a bolus in a ring-shaped vessel, 64 frames at once.

    python benchmarks/real_data/mpi.py [--png docs/mpi.png] [--frames 64]

OpenMPI's 2-D sequence (24.5 and 26.0 kHz, 12 mT, 1 T/m, 652.8 us a frame), calibration on 19 x 19 voxels, particles of
25 nm in equilibrium. No system matrix was measured: the calibration is simulated with noise and 40 empty frames, and
the frames by another matrix, of voxels three times as fine, with noise ten times that of the (averaged) calibration.
Rows: snr >= 3 and f >= 80 kHz, whitened. lam is the best of a grid, for every method. Prints a table, draws a picture.
"""

from __future__ import annotations

import argparse
import functools
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table

import jaxrecon as jr

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from timing import compile_and_median

ROOT = Path(__file__).resolve().parents[2]
SHAPE, FINE = (19, 19), 3
NOISE = 3e-7  # V of a component of one frame, on the scale of rfft
SHOWN = (4, 20, 36, 52)


def phantom(frames: int) -> np.ndarray:
    """(frames, 57, 57) mol(Fe)/L: a bolus runs once around a ring of 7 mm, past two steady dots."""
    n = FINE * SHAPE[0]
    t = (np.arange(n) - (n - 1) / 2) * 24e-3 / n
    y, x = np.meshgrid(t, t, indexing="ij")
    ring = np.abs(np.hypot(x, y) - 7e-3) < 1.3e-3
    dots = 0.06 * ((np.hypot(x - 1.5e-3, y) < 1.3e-3) | (np.hypot(x + 1.9e-3, y) < 1.3e-3))
    turn = 2 * np.pi * np.arange(frames)[:, None, None] / frames
    lag = np.angle(np.exp(1j * (turn - np.arctan2(y, x))))
    # It arrives sharply and leaves slowly.
    bolus = np.where(lag < 0, np.exp(-((lag / 0.25) ** 2)), np.exp(-((lag / 0.9) ** 2)))
    return 0.1 * ring * bolus + dots


def scan(frames: int):
    """The calibrated operator, its weights, the frames' selected rows, and the true images."""
    sequence = jr.simulate.MPISequence()
    single = functools.partial(jr.simulate.mpi_system_matrix, sequence, dtype="float32")
    keys = jax.random.split(jax.random.key(0), 3)
    # The calibration sample holds 0.1 mol/L and each of its frames is the mean of 1000.
    noise = NOISE / 10
    s = jr.simulate.add_noise(keys[0], single(shape=SHAPE), sigma=noise / 0.1)
    empty = jr.simulate.add_noise(keys[1], jnp.zeros((40, *s.shape[:2]), "complex64"), sigma=noise / 0.1)
    rows = jr.select_frequencies(sequence.frequencies, jr.frequency_snr(s, empty), threshold=3)
    A = jr.SystemMatrix(s[rows])
    x = phantom(frames)
    fine = jr.SystemMatrix(single(shape=tuple(FINE * n for n in SHAPE))[rows])
    clean = jax.vmap(fine)(jnp.asarray(x, "float32"))
    b = jr.simulate.add_noise(keys[2], clean, sigma=NOISE)
    snr = 20 * np.log10(np.linalg.norm(clean) / np.linalg.norm(b - clean))
    truth = x.reshape(frames, SHAPE[0], FINE, SHAPE[1], FINE).mean((2, 4))
    return A, jr.row_weights(A, jnp.full(rows.sum(), NOISE, "float32")), b, truth, snr


def methods(unit):
    """Name -> (factor of lam -> solver, factors, iterations); the unit of lam is trace(S^H W S) / N.

    Of a 1-homogeneous penalty it is that times 0.1 mol/L. Plain least squares is stopped early: its limit is noisier.
    """
    quadratic, edges = np.geomspace(1e-6, 1e-1, 11), np.geomspace(1e-5, 1e-1, 9)
    positive = jr.NonNegative()

    def kaczmarz(factor):
        return jr.Kaczmarz(factor * unit, prior=positive)

    return {
        "Kaczmarz, x >= 0, 1 sweep": (kaczmarz, quadratic, 1),
        "Kaczmarz, x >= 0, 3 sweeps": (kaczmarz, quadratic, 3),
        "Kaczmarz, x >= 0, 20 sweeps": (kaczmarz, quadratic, 20),
        "CGNR, 30": (lambda factor: jr.CGNR(factor * unit), quadratic, 30),
        "FISTA, x >= 0, 200": (lambda factor: jr.FISTA(positive), (0.0,), 200),
        "ADMM, x >= 0, TV, 200": (lambda factor: jr.ADMM([positive, jr.TV(0.1 * factor * unit)], rho=0.01 * unit),
                                  edges, 200),
    }


@functools.partial(jax.jit, static_argnames="iterations")
def reconstruct(A, b, solver, weights, iterations):
    data = jr.LeastSquares(weights)
    return jax.vmap(lambda b: jr.solve(A, b, solver, iterations, data=data).x)(b)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--png", type=Path, default=ROOT / "docs" / "mpi.png")
    parser.add_argument("--frames", type=int, default=64)
    args = parser.parse_args()
    A, weights, b, truth, snr = scan(args.frames)
    table = Table(title=f"MPI, {args.frames} frames of 19 x 19, {A.s.shape[0]} complex rows, {snr:.0f} dB, "
                        f"{jax.devices()[0].device_kind}, float32")
    for column in ("method", "lam", "NRMSE", "ms / frame", "ms, one frame alone"):
        table.add_column(column, justify="left" if column == "method" else "right")
    images = {"truth": truth}
    unit = float(jr.relative_lam(A, 1.0, weights))
    for name, (make, factors, iterations) in methods(unit).items():
        best = (np.inf, 0.0, None)
        for factor in factors:
            x = np.asarray(reconstruct(A, b, make(float(factor)), weights, iterations))
            best = min(best, (np.linalg.norm(x - truth) / np.linalg.norm(truth), factor, x), key=lambda v: v[0])
        error, factor, images[name] = best
        solver = make(float(factor))
        _, seconds = compile_and_median(lambda s=solver, n=iterations: reconstruct(A, b, s, weights, n), 5, 10)
        _, alone = compile_and_median(lambda s=solver, n=iterations: reconstruct(A, b[:1], s, weights, n), 5, 5)
        table.add_row(name, f"{factor:.0e}" if factor else "-", f"{error:.3f}", f"{1e3 * seconds / len(b):.2f}",
                      f"{1e3 * alone:.1f}")
    Console(width=120).print(table)
    draw(images, args.png)


def draw(images, path):
    import matplotlib.pyplot as plt

    shown = [i for i in SHOWN if i < len(images["truth"])]
    fig, axes = plt.subplots(len(shown), len(images), figsize=(1.35 * len(images), 1.3 * len(shown) + 0.3))
    for column, (name, x) in zip(np.atleast_2d(axes).T, images.items(), strict=True):
        column[0].set_title(name.replace(", ", "\n", 1), fontsize=7)
        for ax, i in zip(column, shown, strict=True):
            ax.imshow(x[i], vmin=0, vmax=0.1, cmap="inferno", origin="lower")
            ax.axis("off")
    fig.tight_layout(pad=0.3)
    fig.savefig(path, dpi=100, pil_kwargs={"optimize": True})
    plt.close(fig)


if __name__ == "__main__":
    main()
