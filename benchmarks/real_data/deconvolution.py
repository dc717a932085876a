"""Deconvolution and counting statistics on measured data.

    python benchmarks/real_data/deconvolution.py [lensless microscopy shake pet] [--docs docs]

lensless    a lensless camera (deconv_diffusercam_hand.npz): the sensor sees the crop of a scene of twice its size,
            convolved with a kernel as large as the sensor. There is no truth: the residual is given.
microscopy  3-D fluorescence microscopy, simulated hollow bars (deconv_flowdec_bars3d.npz), blurred over 32 x 64 x 64.
shake       a photograph with measured camera-shake kernels (deconv_kernels_levin8.npz) and simulated noise; each method
            with the best lam of a grid.
pet         a measured PET transmission scan of a thorax phantom, 30 counts per detector (ct_pet_transmission.npz). The
            counts are split at random into two independent halves, one to reconstruct from and one to judge by: the
            deviance of the second half from the means that the image predicts, which is about 1 for the true image.

Needs ../shared/data. Prints a table each (pairs: applications of A and A^H, those of the power iteration among them)
and writes docs/NAME.png.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
from rich.console import Console
from rich.table import Table

import jaxrecon as jr
from jaxrecon.value import norm

matplotlib.use("agg")
import matplotlib.pyplot as plt

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from timing import timed

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / ".." / "shared" / "data"
TV_LENSLESS = 1e-5
POWER = 100  # applications that a solver makes to find its step


class Report:
    """A table and a picture, row by row; names that differ by a blank only are two rows."""

    def __init__(self, title, qualities):
        self.table, self.images = Table("method", "iterations", "pairs", "seconds", *qualities, title=title), {}

    def add(self, name, x, iterations="-", pairs="-", seconds="-", quality=()):
        numbers = ["" if np.isnan(q) else f"{q:.4g}" for q in quality]
        self.table.add_row(name, str(iterations), str(pairs), seconds, *numbers)
        self.images[name] = np.asarray(x)

    def run(self, name, call, iterations, quality, pairs=None):
        x, seconds = timed(call)
        pairs = iterations + POWER if pairs is None else pairs
        self.add(name, x, iterations or "-", pairs, f"{seconds:.2f}", quality(x))
        return x

    def draw(self, path, show=lambda x: x, dpi=100, **style):
        images = {name: show(x) for name, x in self.images.items()}
        height = max(x.shape[0] / x.shape[1] for x in images.values()) * style.get("aspect", 1)
        fig, axes = plt.subplots(1, len(images), figsize=(2.4 * len(images), 2.4 * height + 0.35), squeeze=False)
        for ax, (name, x) in zip(axes[0], images.items(), strict=True):
            ax.imshow(x, **{"cmap": "gray", **style})
            ax.set_title(name, fontsize=8)
            ax.axis("off")
        fig.tight_layout(pad=0.3, rect=(0, 0, 1, 0.98))
        fig.savefig(path, dpi=dpi, pil_kwargs={"optimize": True})
        plt.close(fig)


def load(name):
    return np.load(DATA / name, allow_pickle=False)


def sensor(x):
    """The middle half of the scene: what of the convolution falls on the sensor."""
    return x[150:450, 200:600]


def lensless(docs):
    f = load("deconv_diffusercam_hand.npz")
    dark = f["psf"][5:15, 5:15].mean()
    psf, b = np.maximum(f["psf"] - dark, 0), np.maximum(f["raw"] - dark, 0)
    psf, b = psf / np.linalg.norm(psf), b / np.linalg.norm(b)
    report = Report("lensless camera, 300 x 400", ["|Ax - b| / |b|"])
    # The kernel reaches half a sensor, which is where the scene ends: nothing wraps around onto the sensor.
    scene = jr.linear(sensor, (600, 800)) @ jr.Convolution(psf, (600, 800))
    # As if nothing outside of the sensor's own field sent light onto it.
    field = jr.Convolution(psf, (300, 400), boundary="zero")

    def residual(A):
        return lambda x: (float(norm(A(x) - b) / norm(b)),)

    def fista(A):
        return lambda: jr.solve(A, b, jr.FISTA(jr.NonNegative()), 150).x

    def tv(A, x0):
        return lambda: jr.solve(A, b, jr.CondatVu([jr.NonNegative(), jr.TV(TV_LENSLESS)]), 100, x0=x0).x

    report.add("measured", b)
    x = report.run("FISTA, x >= 0", fista(scene), 150, residual(scene))
    y = report.run("then TV, x >= 0", tv(scene, x), 100, residual(scene))
    z = report.run("FISTA, field = sensor", fista(field), 150, residual(field))
    report.images |= {"FISTA, x >= 0": sensor(x), "then TV, x >= 0": sensor(y), "FISTA, field = sensor": z}
    report.draw(docs / "lensless.png", lambda x: np.clip(x / np.quantile(x, 0.999), 0, 1) ** 0.7)
    return report.table


def microscopy(docs):
    f = load("deconv_flowdec_bars3d.npz")
    truth, kernel = f["actual"] / 65535, f["kernel"] / f["kernel"].sum()
    A = jr.Convolution(kernel, truth.shape)
    report = Report("3-D microscopy, 32 x 64 x 64", ["lam", "NRMSE", "correlation"])

    def quality(x, truth=truth):
        # The data came on a scale of their own.
        x = jnp.asarray(x)
        x = x * (jnp.vdot(x, truth) / jnp.vdot(x, x))
        return norm(x - truth) / norm(truth), jnp.corrcoef(x.ravel(), truth.ravel())[0, 1]

    def lucy(b, n, data=None):
        return lambda: jr.solve(A, b, jr.RichardsonLucy(), n, data=data).x

    report.add("truth", truth)
    b = f["data"] * (1e4 / f["data"].max())
    report.add("given", b, quality=(np.nan, *quality(b)))
    report.run("Wiener", lambda: jr.Wiener(1e-4)(A, b), 0, lambda x: (1e-4, *quality(x)), pairs=1)
    report.run("Richardson-Lucy", lucy(b, 300), 300, lambda x: (np.nan, *quality(x)), 300)

    # The given data are not quite the convolution of the truth with the kernel (15 % apart): counts that are.
    dim, background = A(truth) * (200 / A(truth).max()), 5.0
    y = jr.simulate.poisson_counts(jax.random.key(0), jnp.maximum(dim, 0), background=background)
    data = jr.PoissonLikelihood("emission", background=background)
    report.add("200 counts", y, quality=(np.nan, *quality(y - background)))

    distance = jr.Partial(lambda truth, A, b, x: quality(x, truth)[0], truth)
    stops = jr.solve(A, y, jr.RichardsonLucy(), 400, data=data, record=distance).history
    n = int(np.argmin(stops)) + 1
    report.run("Richardson-Lucy ", lucy(y, n, data), n, lambda x: (np.nan, *quality(x)), n)
    start = lucy(y, 100, data)()

    def tv(lam):
        return jr.solve(A, y - background, jr.CondatVu([jr.NonNegative(), jr.TV(lam)]), 400, x0=start).x

    def poisson_tv(lam):
        # The steps found are for voxels of the mean count; these hold thousands.
        solver = jr.PDHG([jr.NonNegative(), jr.TV(lam)], tau=1000.0, sigma=0.98 / 13 / 1000)
        return jr.solve(A, y, solver, 400, x0=start, data=data).x

    for name, run, lams, n in (("Wiener ", lambda s: jr.Wiener(s)(A, y - background), np.geomspace(1e-4, 1e-2, 5), 0),
                               ("then TV, x >= 0", tv, np.geomspace(1e-3, 1e-1, 5), 400),
                               ("then Poisson, TV, x >= 0", poisson_tv, np.geomspace(1e-5, 1e-3, 5), 400)):
        scores = [quality(run(lam))[0] for lam in lams]
        best = float(lams[int(np.argmin(scores))])
        report.run(name, lambda run=run, v=best: run(v), n, lambda x, v=best: (v, *quality(x)), None if n else 1)
    # Along the axis of the microscope, where the blur is worst.
    report.draw(docs / "microscopy.png", lambda x: np.clip(x[:, :, 24] / np.quantile(x, 0.998), 0, 1), aspect=2)
    return report.table


def shake(docs):
    images, kernels = load("nat_skimage_cc0_gray.npz"), load("deconv_kernels_levin8.npz")
    truth = images["camera"][:, :].astype("float32").reshape(256, 2, 256, 2).mean((1, 3)) / 255
    report = Report("camera shake, 256 x 256, noise .01", ["lam", "PSNR k3", "PSNR k6"])
    noise = 0.01
    spectrum = np.abs(np.fft.fft2(truth)) ** 2
    frequency = np.sqrt(np.add.outer(np.fft.fftfreq(256) ** 2, np.fft.fftfreq(256) ** 2))
    # Photographs have power spectra near c / f^2.
    c = np.mean(spectrum[frequency > 0] * frequency[frequency > 0] ** 2)
    natural = noise**2 * truth.size * np.maximum(frequency, 1 / 256) ** 2 / c
    scans = []
    for i, k in enumerate(("k3", "k6")):
        A = jr.Convolution(kernels[k], truth.shape)
        scans.append((A, jr.simulate.add_noise(jax.random.key(i), A(truth), sigma=noise)))
    W = jr.Wavelet(truth.shape, "db4", levels=4, dtype="float32")
    methods = {
        "Wiener, flat spectrum": (lambda lam, A, b: jr.Wiener(lam)(A, b), np.geomspace(1e-3, 1e-1, 9), 0),
        "Wiener, 1/f^2 spectrum": (lambda lam, A, b: jr.Wiener(lam * natural)(A, b), np.geomspace(0.1, 10, 9), 0),
        "wavelets": (lambda lam, A, b: jr.solve(A, b, jr.FISTA(jr.L1(lam, W)), 100).x,
                     np.geomspace(1e-4, 1e-2, 9), 100),
        "TV": (lambda lam, A, b: jr.solve(A, b, jr.ADMM(jr.TV(lam, boundary="circular"), rho=20 * lam), 100).x,
               np.geomspace(1e-4, 1e-2, 9), 100),
    }
    report.add("truth", truth)
    report.add("blurred", scans[0][1], quality=(np.nan, *(psnr(b, truth) for _, b in scans)))
    for name, (run, lams, iterations) in methods.items():
        scores = np.array([[psnr(run(lam, A, b), truth) for A, b in scans] for lam in lams])
        best = int(np.argmax(scores.mean(1)))
        pairs = 1 if iterations == 0 else iterations + (POWER if name == "wavelets" else 0)
        report.run(name, lambda run=run, lam=lams[best]: run(lam, *scans[0]), iterations,
                   lambda x, best=best, lams=lams, scores=scores: (lams[best], *scores[best]), pairs)
    report.draw(docs / "camera_shake.png", lambda x: np.clip(x[30:158, 60:188], 0, 1), dpi=64, vmin=0, vmax=1)
    return report.table


def psnr(x, truth):
    return float(jr.metrics.psnr(jnp.asarray(x), jnp.asarray(truth), data_range=1.0))


def pet(docs):
    f = load("ct_pet_transmission.npz")
    y, blank = f["trans"].T, f["blank"].T
    views, detectors = y.shape
    A = jr.XRay(jr.ParallelBeam(np.arange(views) * np.pi / views, detectors), (detectors, detectors))
    half = np.random.default_rng(0).binomial(y.astype(int), 0.5).astype("float32")
    other = y - half
    beam = blank / 2
    p, w = jr.line_integrals(half, beam), jr.transmission_weights(half, beam)
    report = Report(f"PET transmission scan, {views} x {detectors}, mean of {half.mean():.0f} counts in each half",
                    ["lam", "deviance, half shown", "deviance, half held out"])

    def deviance(x, y):
        z = jax.vmap(A)(x) if x.ndim == 3 else A(x)
        return 2 * jnp.mean(beam * jnp.exp(-z) - y + jax.scipy.special.xlogy(y, y / beam) + y * z, (-2, -1))

    start = jnp.maximum(jr.FBP("hann", 0.4)(A, p), 0)

    def solver(b, data, n=200):
        return lambda lam: jr.solve(A, b, jr.CondatVu([jr.NonNegative(), jr.TV(lam)]), n, x0=start, data=data).x

    poisson = jr.PoissonLikelihood("transmission", beam)
    methods = {
        "FBP, Hann": (lambda cut: jr.FBP("hann", cut)(A, p), np.linspace(0.1, 1, 10), 0),
        "least squares, TV": (solver(p, None), np.geomspace(1, 100, 9), 200),
        "weighted, TV": (solver(p, jr.LeastSquares(w)), np.geomspace(1, 100, 9), 200),
        "Poisson, TV": (solver(half, poisson), np.geomspace(1, 100, 9), 200),
    }
    for name, (make, lams, iterations) in methods.items():
        if iterations:
            found = jax.jit(jax.vmap(make))(jnp.asarray(lams, "float32"))
        else:
            found = jnp.stack([make(v) for v in lams])
        best = lams[int(np.argmin(deviance(found, other)))]
        report.run(name, lambda make=make, v=best: make(v), iterations,
                   lambda x, v=best: (v, deviance(x, half), deviance(x, other)), None if iterations else 1)
    # Twice the counts, twice the likelihood.
    whole = solver(y, jr.PoissonLikelihood("transmission", blank))(2 * best)
    report.images["Poisson, TV, all counts"] = np.asarray(whole)
    report.draw(docs / "pet_transmission.png", vmin=0, vmax=float(np.quantile(report.images["Poisson, TV"], 0.999)))
    return report.table


SCANS = {"lensless": lensless, "microscopy": microscopy, "shake": shake, "pet": pet}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scans", nargs="*", default=list(SCANS), help=f"of {', '.join(SCANS)}")
    parser.add_argument("--docs", default=ROOT / "docs", type=Path)
    args = parser.parse_args()
    for name in args.scans:
        Console(width=140).print(SCANS[name](args.docs))


if __name__ == "__main__":
    main()
