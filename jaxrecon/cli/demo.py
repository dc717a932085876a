"""jaxrecon demo: a simulated multi-coil scan, reconstructed with every classical method."""

from __future__ import annotations

import csv
import io
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table

from .. import metrics, plots
from ..calibration import espirit
from ..consistency import ProximalStep, SampleReplacement
from ..io import atomic_write
from ..io.atomic import check_writable
from ..operator import LinearOperator, dense
from ..operators import Matrix, sense
from ..priors import TV
from ..reconstruct import Iterative, ZeroFilled
from ..simulate import add_noise, coil_maps, shepp_logan, variable_density_mask
from ..solvers import ADMM, CGNR, FISTA, ISTA, PDHG, POGM, Alternating, CondatVu, Kaczmarz, Landweber, svd, tikhonov
from .errors import Failure, of_the_input
from .methods import extended, make_prior

COILS, ACCELERATION, SNR = 8, 4, 25
SMALL = 32  # pixels of the problem whose matrix fits in memory

# Each found once by scanning for the best PSNR of this scan.
LAM_L2, LAM_WAVELET, LAM_TV, LAM_REPLACEMENT, LAM_SPLIT = 3e-2, 4e-3, 4e-3, 4e-3, 0.5
LAM_SMALL, RANK_SMALL = 3e-2, 500


class Scan(NamedTuple):
    truth: jax.Array
    A: LinearOperator
    b: jax.Array


class Row(NamedTuple):
    method: str
    size: int
    psnr: float
    ssim: float
    seconds: float
    compiling: float
    iterations: int | None


class Svd:
    """A reconstructor like the others: x = r(A, b)."""

    def __init__(self, solve):
        self.solve = jax.jit(solve)

    def __call__(self, A, b):
        return self.solve(A, b)


def run(output: Path, size: int, seed: int) -> None:
    if not SMALL <= size <= 1024:
        raise Failure(f"--size must lie between {SMALL} and 1024, got {size}")
    if output.suffix.lower() != ".png":
        raise Failure(f"--output must end in .png, got {output}")
    table_path = output.with_suffix(".csv")
    with of_the_input():
        import matplotlib.figure  # noqa: F401

        check_writable(output)
        check_writable(table_path)
    console = Console(highlight=False)
    lines = f"{COILS} coils, {ACCELERATION}-fold line sampling of variable density, SNR {SNR} dB"
    console.print(f"Shepp-Logan phantom, {size} x {size}, {lines}, coil maps by ESPIRiT")

    rows: list[Row] = []
    big, small = simulate(size, seed), simulate_dense(seed)
    images = {name: _measure(rows, name, r, big, iterations) for name, (r, iterations) in methods(big.A).items()}
    dense_images = {name: _measure(rows, name, r, small, iterations)
                    for name, (r, iterations) in dense_methods().items()}

    console.print(_table(rows))
    with of_the_input():
        _write_picture(output, [
            plots.compare(images, reference=big.truth, title=f"{size} x {size}, {lines}", data_range=1.0, columns=7),
            plots.compare(dense_images, reference=small.truth, data_range=1.0, columns=7,
                          title=f"{SMALL} x {SMALL}: methods that need the matrix itself"),
        ])
        _write_csv(table_path, rows)
    console.print(f"wrote {output} and {table_path}", markup=False)


def simulate(size: int, seed: int, coils: int = COILS) -> Scan:
    """A phantom with smooth phase, seen by `coils` coils through a line mask with noise; maps from the data themselves."""
    mask_key, noise_key = jax.random.split(jax.random.key(seed))
    truth = _phantom(size)
    mask = variable_density_mask(mask_key, (size, size), ACCELERATION, calibration=max(6, round(size / 6.4)))
    b = sense(coil_maps(truth.shape, coils, dtype=truth.dtype), mask)(truth)
    b = add_noise(noise_key, b, snr=SNR, mask=mask)
    return Scan(truth, sense(espirit(b, calibration=None, crop=0.8), mask), b)


def simulate_dense(seed: int) -> Scan:
    """A small scan as one matrix, measured rows only: what Kaczmarz and the direct methods take."""
    mask_key, noise_key = jax.random.split(jax.random.key(seed))
    truth = _phantom(SMALL)
    mask = variable_density_mask(mask_key, truth.shape, 2, calibration=6)
    A = sense(coil_maps(truth.shape, 4, dtype=truth.dtype), mask)
    rows = np.flatnonzero(np.broadcast_to(np.asarray(mask), A.codomain.shape))
    matrix = Matrix(dense(A)[rows])
    b = add_noise(noise_key, matrix(truth.ravel()), snr=SNR)
    return Scan(truth, matrix, b)


def methods(A: LinearOperator) -> dict[str, tuple[Any, int | None]]:
    """Every classical method that takes an operator: name -> (reconstructor, iterations)."""
    wide = extended(A, "wavelet").A.domain
    wavelet, tv = make_prior("wavelet", LAM_WAVELET, wide), TV(LAM_TV)
    replacement = Alternating(SampleReplacement(), make_prior("wavelet", LAM_REPLACEMENT, A.domain))
    splitting = Alternating(ProximalStep(LAM_SPLIT, iterations=6), TV(LAM_TV))
    solvers = {
        "Landweber": (Landweber(), 20),
        "Tikhonov, CG-SENSE": (CGNR(LAM_L2), 15),
        "wavelet, ISTA": (ISTA(wavelet), 50),
        "wavelet, FISTA": (FISTA(wavelet), 50),
        "wavelet, POGM": (POGM(wavelet), 50),
        "wavelet, sample replacement": (replacement, 50),
        "TV, FISTA": (FISTA(tv), 50),
        "TV, half-quadratic splitting": (splitting, 50),
        "TV, ADMM": (ADMM(tv, rho=0.1), 30),
        "TV, PDHG": (PDHG(tv), 200),
        "TV, Condat-Vu": (CondatVu(tv), 100),
    }
    return {"zero-filled": (ZeroFilled(), None)} | {k: (Iterative(s, n), n) for k, (s, n) in solvers.items()}


def dense_methods() -> dict[str, tuple[Any, int | None]]:
    """Those that need rows or factors of a matrix."""
    return {
        "zero-filled": (ZeroFilled(), None),
        "Kaczmarz": (Iterative(Kaczmarz(LAM_SMALL), 20), 20),
        "Tikhonov, Cholesky": (Svd(lambda A, b: tikhonov(A, b, LAM_SMALL, method="cholesky")), None),
        "Tikhonov, SVD": (Svd(lambda A, b: svd(A).tikhonov(b, LAM_SMALL)), None),
        "truncated SVD": (Svd(lambda A, b: svd(A).truncated(b, RANK_SMALL)), None),
        "pseudo-inverse": (Svd(lambda A, b: svd(A).pseudo_inverse(b)), None),
    }


def _phantom(size: int) -> jax.Array:
    y, x = np.meshgrid(*2 * [(np.arange(size) + 0.5) / size * 2 - 1], indexing="ij")
    phase = np.exp(1j * (0.8 * x - 0.5 * y + 0.6 * x * y))
    return (shepp_logan((size, size)) * phase).astype(jnp.complex64)


def _measure(rows: list[Row], name: str, reconstructor: Any, scan: Scan, iterations: int | None) -> jax.Array:
    """The image, and a row of the table with its time; the first call compiles."""
    times = []
    for _ in range(2):
        started = time.perf_counter()
        image = jax.block_until_ready(reconstructor(scan.A, scan.b))
        times.append(time.perf_counter() - started)
    image = image.reshape(scan.truth.shape)
    psnr, ssim = (float(m(image, scan.truth, data_range=1.0)) for m in (metrics.psnr, metrics.ssim))
    rows.append(Row(name, scan.truth.shape[0], psnr, ssim, times[1], max(times[0] - times[1], 0.0), iterations))
    return image


def _table(rows: list[Row]) -> Table:
    table = Table("method")
    for heading in ("pixels", "PSNR / dB", "SSIM", "iterations", "seconds", "+ compiling"):
        table.add_column(heading, justify="right")
    for i, r in enumerate(rows):
        if i and r.size != rows[i - 1].size:
            table.add_section()
        table.add_row(r.method, f"{r.size} x {r.size}", f"{r.psnr:.2f}", f"{r.ssim:.3f}",
                      "" if r.iterations is None else str(r.iterations), f"{r.seconds:.3f}", f"{r.compiling:.1f}")
    return table


def _write_picture(path: Path, figures: list[Any]) -> None:
    """Figures one above the other, on white."""
    from matplotlib.image import imsave

    pictures = []
    for figure in figures:
        figure.canvas.draw()
        pictures.append(np.asarray(figure.canvas.buffer_rgba())[..., :3])
    width = max(p.shape[1] for p in pictures)
    pictures = [np.pad(p, ((0, 0), (0, width - p.shape[1]), (0, 0)), constant_values=255) for p in pictures]
    with atomic_write(path) as file:
        imsave(file, np.concatenate(pictures), format="png")


def _write_csv(path: Path, rows: list[Row]) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["method", "pixels", "psnr_db", "ssim", "iterations", "seconds", "compile_seconds"])
    for r in rows:
        writer.writerow([r.method, f"{r.size}x{r.size}", f"{r.psnr:.3f}", f"{r.ssim:.4f}",
                         "" if r.iterations is None else r.iterations, f"{r.seconds:.4f}", f"{r.compiling:.2f}"])
    with atomic_write(path) as file:
        file.write(text.getvalue().encode())
