"""jaxrecon demo: a simulated multi-coil scan, reconstructed with every classical method."""

from __future__ import annotations

import csv
import functools
import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

import jaxrecon as jr

from ..io.atomic import check_writable
from .errors import Failure, of_the_input
from .methods import levels_for

COILS, ACCELERATION, SNR = 8, 4, 20
SMALL = 32  # pixels along each side of the problem whose matrix is made

# Each found once by scanning for the best PSNR of this scan.
LAM_L2, LAM_WAVELET, LAM_TV = 1e-2, 5e-3, 4e-3
LAM_SPLIT, LAM_SPLIT_TV = 0.2, 2e-3  # half-quadratic splitting: of |z - x|^2, and of TV
LAM_SMALL, RANK_SMALL = 1e-2, 800


class Scan(NamedTuple):
    truth: jax.Array
    A: jr.LinearOperator
    b: jax.Array


Reconstructor = Callable[[jr.LinearOperator, jax.Array], jax.Array]


class Row(NamedTuple):
    method: str
    size: int
    psnr: float
    ssim: float
    seconds: float
    compiling: float
    iterations: int | None


def run(output: Path, size: int, seed: int) -> None:
    if not SMALL <= size <= 1024 or size % 16:
        raise Failure(f"--size must be a multiple of 16 from {SMALL} to 1024, got {size}")
    if output.suffix.lower() != ".png":
        raise Failure(f"--output must end in .png, got {output}")
    table_path = output.with_suffix(".csv")
    with of_the_input():
        import matplotlib.figure  # noqa: F401

        check_writable(output)
        check_writable(table_path)
    console = Console(highlight=False, soft_wrap=True)
    sampling = f"{COILS} coils, {ACCELERATION}-fold undersampled, SNR {SNR} dB"
    console.print(f"Shepp-Logan phantom, {size} x {size}, {sampling}, coil maps by ESPIRiT from the same data")

    rows: list[Row] = []
    big, small = simulate(size, seed), simulate_dense(seed)
    with console.status("compiling and running") as status:
        def images(scan, methods):
            found = {}
            for name, (reconstruct, iterations) in methods.items():
                status.update(f"{name}: compiling and running")
                found[name], row = measure(name, reconstruct, scan, iterations)
                rows.append(row)
            return found

        compare = functools.partial(jr.plots.compare, data_range=1.0, columns=7)
        pictures = [
            compare(images(big, methods(big.A)), reference=big.truth, title=f"{size} x {size}, {sampling}"),
            compare(images(small, dense_methods()), reference=small.truth,
                    title=f"{SMALL} x {SMALL}: methods that need the matrix itself"),
        ]
    console.print(_table(rows))
    with of_the_input():
        _write_picture(output, pictures)
        _write_csv(table_path, rows)
    console.print(f"wrote {output} and {table_path}", markup=False)


def simulate(size: int, seed: int, coils: int = COILS) -> Scan:
    """A phantom with smooth phase, seen by coils at scattered points of k-space, with noise; maps from the data."""
    mask_key, noise_key = jax.random.split(jax.random.key(seed))
    truth = _phantom(size)
    centre = max(8, 3 * size // 16)
    mask = jr.simulate.variable_density_mask(mask_key, truth.shape, ACCELERATION, calibration=centre, axis=None)
    b = jr.sense(jr.simulate.coil_maps(truth.shape, coils, dtype=truth.dtype), mask)(truth)
    b = jr.simulate.add_noise(noise_key, b, snr=SNR, mask=mask)
    return Scan(truth, jr.sense(jr.espirit(b, calibration=None, crop=0.8), mask), b)


def simulate_dense(seed: int) -> Scan:
    """A small scan as one matrix, measured rows only: what Kaczmarz and the direct methods take."""
    mask_key, noise_key = jax.random.split(jax.random.key(seed))
    truth = _phantom(SMALL)
    mask = jr.simulate.variable_density_mask(mask_key, truth.shape, 2, calibration=6, axis=None)
    A = jr.sense(jr.simulate.coil_maps(truth.shape, 3, dtype=truth.dtype), mask)
    rows = np.flatnonzero(np.broadcast_to(np.asarray(mask), A.codomain.shape))
    matrix = jr.Matrix(jr.dense(A)[rows])
    b = jr.simulate.add_noise(noise_key, matrix(truth.ravel()), snr=SNR)
    return Scan(truth, matrix, b)


def methods(A: jr.LinearOperator) -> dict[str, tuple[Reconstructor, int | None]]:
    """Every classical method that takes an operator: name -> (reconstructor, iterations)."""
    shape, dtype = A.domain.shape, A.domain.dtype
    # Haar: the phantom is constant in pieces.
    sparse = jr.L1(LAM_WAVELET, transform=jr.Wavelet(shape, "haar", levels_for(shape), dtype))
    smooth = jr.TV(LAM_TV)
    splitting = jr.Alternating(jr.ProximalStep(LAM_SPLIT, iterations=6), jr.TV(LAM_SPLIT_TV))
    solvers = {
        "Landweber": (jr.Landweber(), 20),
        "Tikhonov (CG-SENSE)": (jr.CGNR(LAM_L2), 15),
        "wavelet, ISTA": (jr.ISTA(sparse), 30),
        "wavelet, FISTA": (jr.FISTA(sparse), 30),
        "wavelet, POGM": (jr.POGM(sparse), 30),
        "wavelet, replacement": (jr.Alternating(jr.SampleReplacement(), sparse), 60),
        "TV, FISTA": (jr.FISTA(smooth), 50),
        "TV, quadratic splitting": (splitting, 40),
        "TV, ADMM": (jr.ADMM(smooth, rho=0.05), 20),
        "TV, PDHG": (jr.PDHG(smooth), 200),
        "TV, Condat-Vu": (jr.CondatVu(smooth), 100),
    }
    found: dict[str, tuple[Reconstructor, int | None]] = {"zero-filled": (jr.ZeroFilled(), None)}
    return found | {name: (jr.Iterative(s, n), n) for name, (s, n) in solvers.items()}


def dense_methods() -> dict[str, tuple[Reconstructor, int | None]]:
    """Those that need the rows or the factors of a matrix."""
    return {
        "zero-filled": (jr.ZeroFilled(), None),
        "Kaczmarz": (jr.Iterative(jr.Kaczmarz(LAM_SMALL), 20), 20),
        "Tikhonov, Cholesky": (lambda A, b: jr.tikhonov(A, b, LAM_SMALL, method="cholesky"), None),
        "Tikhonov, SVD": (lambda A, b: jr.svd(A).tikhonov(b, LAM_SMALL), None),
        "truncated SVD": (lambda A, b: jr.svd(A).truncated(b, RANK_SMALL), None),
    }


def _phantom(size: int) -> jax.Array:
    y, x = np.meshgrid(*2 * [(np.arange(size) + 0.5) / size * 2 - 1], indexing="ij")
    phase = np.exp(1j * (0.8 * x - 0.5 * y + 0.6 * x * y))
    return (jr.simulate.shepp_logan((size, size)) * phase).astype(jnp.complex64)


def measure(name: str, reconstruct: Reconstructor, scan: Scan, iterations: int | None) -> tuple[jax.Array, Row]:
    """The image, and its row of the table; compiling is timed apart."""
    jax.block_until_ready(scan)
    started = time.perf_counter()
    # The reconstructor's own numbers are structure here, since every program runs once.
    program = jax.jit(reconstruct).lower(scan.A, scan.b).compile()
    compiled = time.perf_counter()
    image = jax.block_until_ready(program(scan.A, scan.b)).reshape(scan.truth.shape)
    seconds = time.perf_counter() - compiled
    psnr, ssim = (float(m(image, scan.truth, data_range=1.0)) for m in (jr.metrics.psnr, jr.metrics.ssim))
    return image, Row(name, scan.truth.shape[0], psnr, ssim, seconds, compiled - started, iterations)


def _table(rows: list[Row]) -> Table:
    table = Table("method", box=box.SIMPLE_HEAD)
    for heading in ("PSNR/dB", "SSIM", "steps", "seconds", "compiling"):
        table.add_column(heading, justify="right", no_wrap=True)
    large = rows[0].size
    for i, r in enumerate(rows):
        if i and r.size != rows[i - 1].size:
            table.add_section()
        name = r.method if r.size == large else f"{r.method}, {r.size} x {r.size}"
        table.add_row(name, f"{r.psnr:.2f}", f"{r.ssim:.3f}", str(r.iterations or ""), f"{r.seconds:.3f}",
                      f"{r.compiling:.1f}")
    return table


def _write_picture(path: Path, figures: list[Any]) -> None:
    """Figures one above the other, on white."""
    from matplotlib import colormaps
    from PIL import Image  # comes with matplotlib

    pictures = []
    for figure in figures:
        figure.canvas.draw()
        pictures.append(np.asarray(figure.canvas.buffer_rgba())[..., :3])
    width = max(p.shape[1] for p in pictures)
    pictures = [np.pad(p, ((0, 0), (0, width - p.shape[1]), (0, 0)), constant_values=255) for p in pictures]
    # One palette of the grey scale and the error scale: a third of the bytes.
    errors = colormaps["inferno"](np.linspace(0, 1, 128))[:, :3] * 255
    palette = np.concatenate([np.repeat(np.linspace(0, 255, 128)[:, None], 3, axis=1), errors]).round().astype(np.uint8)
    whole = np.concatenate(pictures)
    packed, places = np.unique(whole @ np.array([1, 256, 65536]), return_inverse=True)
    colours = np.stack([packed % 256, packed // 256 % 256, packed // 65536], axis=-1)
    nearest = np.argmin(np.sum((colours[:, None] - palette.astype(int)) ** 2, axis=-1), axis=1)
    indexed = Image.fromarray(nearest[places].reshape(whole.shape[:2]).astype(np.uint8))
    indexed.putpalette(palette.tobytes())
    with jr.io.atomic_write(path) as file:
        indexed.save(file, format="png", optimize=True)


def _write_csv(path: Path, rows: list[Row]) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["method", "pixels", "psnr_db", "ssim", "iterations", "seconds", "compile_seconds"])
    for r in rows:
        writer.writerow([r.method, f"{r.size}x{r.size}", f"{r.psnr:.3f}", f"{r.ssim:.4f}",
                         r.iterations or "", f"{r.seconds:.4f}", f"{r.compiling:.2f}"])
    with jr.io.atomic_write(path) as file:
        file.write(text.getvalue().encode())
