"""Spiral and radial MRI, with and without off-resonance correction.

    python benchmarks/real_data/noncartesian.py [--png docs/noncartesian.png]

1. Spiral, 15 interleaves (mri_spiral15_jemris_sim.npz, a JEMRIS simulation, matrix 220): from 10 of them, by gridding,
   CG and TV. There is no truth: what counts is how well the other 5 are predicted.
2. The same with susceptibility and without a field map: one is found from the data, as the map that makes the image
   sharpest (least total variation of the conjugate phase reconstruction, by gradient descent through the operator).
   Frequencies are in turns per read-out, as the file gives no dwell time. What counts is that total variation, relative
   to no correction, and what CG leaves of the data as its residual |A x - b| / |b|.
3. Radial, simulated from a measured brain (mri_brain16_cart128.npz: 16 coils, fully sampled): 50 golden-angle spokes of
   its coil-combined image, seen through ESPIRiT maps of 6 virtual coils, with a made field map and noise. The truth is
   that image.

Needs ../shared/data. Prints a table, and draws the images.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from rich.console import Console
from rich.table import Table

import jaxrecon as jr
from jaxrecon.value import norm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from timing import timed

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / ".." / "shared" / "data"
SIZE = 220  # matrix of the spiral scans
COILS = 6  # virtual, of the radial scan
KNOTS = 12  # of the field map, along each side


@jax.jit
def gridded(density, A, b):
    return jr.Gridding(density)(A, b)


def misfit(A, x, b):
    return float(norm(A(x) - b) / norm(b))


def regularised(A, b, weights, lam, iterations):
    """TV with the weights of the density, which make the steps of a first-order method effective."""
    lam = lam * jnp.max(jnp.abs(A.H(weights * b)))
    return jr.solve(A, b, jr.CondatVu(jr.TV(lam)), iterations, data=jr.LeastSquares(weights)).x


def spiral_scan(name):
    scan = np.load(DATA / "mri_spiral15_jemris_sim.npz", allow_pickle=False)
    nodes = jnp.asarray(scan[f"traj_{name}"] / SIZE, "float32")
    return nodes, jnp.asarray(scan[f"data_{name}"])


def clean_spiral(table):
    nodes, b = spiral_scan("clean")
    kept = np.arange(len(nodes)) % 3 != 2
    A, hidden = (jr.NUFFT(nodes[part], (SIZE, SIZE)) for part in (kept, ~kept))
    w = jr.pipe_menon(A)
    methods = {
        "gridding": ("", lambda: gridded(w, A, b[kept])),
        "CG, lam = 0": ("10", lambda: jr.solve(A, b[kept], jr.CGNR(), 10, data=jr.LeastSquares(w)).x),
        "TV": ("200", lambda: regularised(A, b[kept], w, 3e-2, 200)),
    }
    images = {"all 15, gridding": gridded(None, jr.NUFFT(nodes, (SIZE, SIZE)), b)}
    for method, (iterations, run) in methods.items():
        x, seconds = timed(run)
        table.add_row("spiral, 10 of 15", method, iterations, f"{seconds:.2f}",
                      f"{misfit(hidden, x, b[~kept]):.3f} hidden NRMSE")
        images[f"10 of 15, {method}"] = x
    return images


def sharpest_map(A, b, times, density, steps=60, segments=7):
    """The field map, cubic between KNOTS x KNOTS knots, of the sharpest conjugate phase reconstruction.

    Sharpness is the total variation (Noll et al. 1992 and Man et al. 1997 use others): off-resonance spreads every
    edge. A single frequency for all pixels is tried first; from there the slope leads to the map.
    """
    A = A.prepared
    plain = jr.Gridding(density)(A, b)
    size, real = plain.shape, plain.real.dtype
    # Outside the head are only artefacts, whose total variation no field map should lower.
    blurred = jax.scipy.signal.convolve(jnp.abs(plain), jnp.ones((9, 9), real) / 81, mode="same")
    y, x = jnp.meshgrid(*[jnp.linspace(-1, 1, n) for n in size], indexing="ij")
    head = (blurred > 0.2 * jnp.percentile(blurred, 95)) & (x**2 + y**2 < 1)
    floor = 1e-12 * jnp.max(jnp.abs(plain)) ** 2

    def field(knots):
        return jax.image.resize(knots, size, "cubic")

    @jax.jit
    def variation(field_map, A, b):
        x = jr.Gridding(density)(jr.OffResonance(A, field_map, times, segments), b)
        dy, dx = x[1:, :-1] - x[:-1, :-1], x[:-1, 1:] - x[:-1, :-1]
        return jnp.sum(jnp.sqrt(jnp.abs(dy) ** 2 + jnp.abs(dx) ** 2 + floor) * head[1:, 1:])

    optimiser = optax.adam(optax.cosine_decay_schedule(0.05, steps))

    @jax.jit
    def step(knots, state, A, b):
        def loss(knots):
            bends = jnp.mean(jnp.diff(knots, axis=0) ** 2) + jnp.mean(jnp.diff(knots, axis=1) ** 2)
            return variation(field(knots), A, b) / unfocused + 1e-3 * bends

        change, state = optimiser.update(jax.grad(loss)(knots), state)
        return optax.apply_updates(knots, change), state

    unfocused = variation(jnp.zeros(size, real), A, b)
    candidates = np.linspace(-2, 2, 17)
    best = candidates[np.argmin([float(variation(jnp.full(size, f, real), A, b)) for f in candidates])]
    knots = jnp.full((KNOTS, KNOTS), best, real)
    state = optimiser.init(knots)
    for _ in range(steps):
        knots, state = step(knots, state, A, b)
    return best, field(knots), head, lambda f: float(variation(f, A, b) / unfocused)


def susceptible_spiral(table):
    nodes, b = spiral_scan("susc")
    times = jnp.linspace(0, 1, nodes.shape[1], endpoint=False, dtype=nodes.dtype)
    A = jr.NUFFT(nodes, (SIZE, SIZE))
    density = jr.pipe_menon(nodes, (SIZE, SIZE))
    start = time.perf_counter()
    constant, field_map, head, variation = sharpest_map(A, b, times, density)
    seconds = time.perf_counter() - start
    images = {}
    for name, f in {"no correction": 0 * field_map, f"f = {constant:+.2f}": constant + 0 * field_map,
                    "map from the data": field_map}.items():
        model = jr.OffResonance(A, f, times)
        images[f"gridding, {name}"], s = timed(lambda model=model: gridded(density, model, b))
        table.add_row("spiral, off-resonance", f"gridding, {name}", "", f"{s:.2f}", f"{variation(f):.3f} variation")
        x, s = timed(lambda model=model: jr.solve(model, b, jr.CGNR(), 10, data=jr.LeastSquares(density)).x)
        table.add_row("spiral, off-resonance", f"CG, {name}", "10", f"{s:.2f}", f"{misfit(model, x, b):.4f} residual")
    table.add_row("spiral, off-resonance", "finding the map", "60", f"{seconds:.1f}", "")
    images["field map, turns per read-out"] = jnp.where(head, field_map, jnp.nan)
    return images


def radial_brain(table, spokes=50, peak=120.0, dwell=2e-5, echo=4e-3):
    scan = np.load(DATA / "mri_brain16_cart128.npz", allow_pickle=False)
    kspace = jr.compress_coils(jnp.asarray(scan["ksp"]), COILS).kspace
    maps = jr.espirit(kspace)
    truth = jr.sense(maps).H(kspace)
    truth = truth / jnp.max(jnp.abs(truth))
    n = truth.shape[0]
    y, x = np.meshgrid(np.linspace(-1, 1, n), np.linspace(-1, 1, n), indexing="ij")
    # A bump such as sinuses make, on a slope such as a bad shim leaves.
    field_map = jnp.asarray(peak * np.exp(-((x / 0.4) ** 2 + ((y + 0.5) / 0.3) ** 2)) - 40 * y, "float32")
    nodes = jr.simulate.radial(spokes, 2 * n, "golden", dtype="float32")
    times = jnp.asarray(echo + dwell * (np.arange(2 * n) - n), "float32")
    b = summed(nodes, times, field_map, maps * truth)
    b = jr.simulate.add_noise(jax.random.key(0), b, snr=30)
    plain = jr.NUFFT(nodes, (n, n)) @ jr.CoilMaps(maps)
    corrected = jr.OffResonance(plain, field_map, times)
    w = jr.pipe_menon(nodes, (n, n))
    images = {"measured, Cartesian": truth}
    for name, A in {"no correction": plain, "corrected": corrected}.items():
        for method, iterations, run in [
                ("gridding", "", lambda A: gridded(w, A, b)),
                ("CG, lam = 0", "8", lambda A: jr.solve(A, b, jr.CGNR(), 8, data=jr.LeastSquares(w)).x),
                ("TV", "40", lambda A: regularised(A, b, w, 2e-3, 40))]:
            x, seconds = timed(lambda A=A, run=run: run(A))
            psnr = float(jr.metrics.psnr(truth, x, data_range=1.0))
            table.add_row(f"radial, {spokes} spokes, {COILS} coils", f"{method}, {name}", iterations, f"{seconds:.2f}",
                          f"{psnr:.1f} dB")
            images[f"{method}, {name}"] = x
    return {k: v for k, v in images.items() if not k.startswith("CG") and k != "gridding, corrected"}


def summed(nodes, times, field_map, coils, chunk=512):
    """The samples of all coils by the sum itself, not by the operator that is tried."""
    n = field_map.shape[0]
    grid = np.stack(np.meshgrid(*(np.arange(n) - n // 2,) * 2, indexing="ij"), -1).reshape(-1, 2)
    seconds = np.broadcast_to(times, nodes.shape[:-1]).ravel()
    pixels = jnp.asarray(coils).reshape(len(coils), -1).T

    @jax.jit
    def part(k, t):
        turns = k @ jnp.asarray(grid.T, k.dtype) + t[:, None] * field_map.ravel()
        return jnp.exp(-2j * jnp.pi * turns) @ pixels / n

    k = nodes.reshape(-1, 2)
    parts = [part(k[i: i + chunk], jnp.asarray(seconds[i: i + chunk])) for i in range(0, len(k), chunk)]
    return jnp.concatenate(parts).T.reshape(len(coils), *nodes.shape[:-1])


def draw(rows, path):
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt
    from PIL import Image

    columns = max(map(len, rows))
    figure, axes = plt.subplots(len(rows), columns, figsize=(2.6 * columns, 2.75 * len(rows)), dpi=70,
                                layout="constrained")
    for axis in axes.ravel():
        axis.axis("off")
    for line, images in zip(axes, rows, strict=True):
        top = 0.9 * max(float(np.nanpercentile(np.abs(v), 99.5)) for k, v in images.items() if "map," not in k)
        for axis, (title, image) in zip(line, images.items(), strict=False):
            axis.set_title(title, fontsize=8)
            if "map," in title:
                figure.colorbar(axis.imshow(image, cmap="viridis"), ax=axis, shrink=0.7)
            else:
                axis.imshow(np.abs(image), cmap="gray", vmin=0, vmax=top)
    figure.canvas.draw()
    drawn = Image.fromarray(np.asarray(figure.canvas.buffer_rgba())[..., :3])  # pyright: ignore
    drawn.quantize(64, dither=Image.Dither.NONE).save(path, optimize=True)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--png", type=Path, default=ROOT / "docs" / "noncartesian.png")
    args = parser.parse_args()
    table = Table("scan", "method", title="Non-Cartesian MRI")
    for heading in ("iterations", "seconds", "quality"):
        table.add_column(heading, justify="right")
    rows = [clean_spiral(table), susceptible_spiral(table), radial_brain(table)]
    Console(highlight=False, width=120).print(table)
    draw(rows, args.png)


if __name__ == "__main__":
    main()
