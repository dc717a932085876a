"""Sparse-view CT of random ellipses: learned reconstruction against filtered back-projection and exact total variation.

    python benchmarks/learning/ellipses_ct.py                     # everything, some hours on two cores
    python benchmarks/learning/ellipses_ct.py --only lpd_filtered --minutes 45 [--resume]
    python benchmarks/learning/ellipses_ct.py --features 32 --iterations 10 --batch 32 --steps 50000   # a GPU
    python benchmarks/learning/ellipses_ct.py --only lpd --images 320 ...         # trained with 320 images

The "ellipses" protocol of DIVal (Leuschner et al.; Baguer et al. 2020): 128 x 128 pixels, 30 parallel views, 183
detectors that cover the diagonal; the truth is enlarged to 400 x 400 before it is projected, white noise of 2.5 % of
mean |y|; mean PSNR over the test images, each with its own range. Training data are simulated on the fly, unless
--images says how many to make once. Filter, lam and checkpoint are the best on validation images, as are the curves.
"lpd" is learned primal-dual as published, "lpd_filtered" a variant that learns faster: see primal_dual.py.
Published: FBP 24.18, TV 27.96, FBP + U-Net 29.36, learned primal-dual 32.27 dB (30.11 from 320 training images).
"""

from __future__ import annotations

import csv
import functools
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import primal_dual
import runs

import jaxrecon as jr
from jaxrecon.metrics import psnr, ssim

SCRIPT = "ellipses_ct"
PIXELS, FINE, VIEWS, DETECTORS = 128, 400, 30, 183
CLASSICAL = ("fbp", "tv", "tv_box")
TRAINED = ("lpd_filtered", "lpd", "unrolled", "unet")
LABELS = {"fbp": "FBP", "tv": "exact TV", "tv_box": "exact TV, x in [0, 1]", "lpd": "learned primal-dual",
          "lpd_filtered": "learned primal-dual, filtered", "unrolled": "unrolled gradient", "unet": "FBP + U-Net"}
CUTOFFS = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
LAMS = (1.4, 1.7, 2.0, 2.4, 2.8)
# Of one kind of random numbers each: training, validation, test.
TRAINING, VALIDATION, TEST = (jax.random.key(seed) for seed in (0, 1, 2))
FILTER = jr.FBP("hann", 0.7)  # the best of CUTOFFS on the validation images
# A network that sees nothing but this image wants it sharper: after 600 steps .39 dB more than with FILTER.
SHARPER = jr.FBP("hann", 1.0)


def operators() -> tuple[jr.XRay, jr.XRay]:
    """Of the reconstruction, and of the simulation. A pixel of the former has the length 1."""
    angles = (np.arange(VIEWS) + 0.5) * np.pi / VIEWS
    geometry = jr.ParallelBeam(angles, DETECTORS, PIXELS * np.sqrt(2) / DETECTORS)
    return jr.XRay(geometry, (PIXELS, PIXELS)), jr.XRay(geometry, (FINE, FINE), PIXELS / FINE)


def example(upscale: str, A: Any, fine: Any, key: jax.Array) -> tuple[Any, jax.Array, jax.Array]:
    """(A, b, x) of one random image."""
    image, noise = jax.random.split(key)
    x = jr.simulate.random_ellipses(image, (PIXELS, PIXELS))
    y = fine(jax.image.resize(x, (FINE, FINE), upscale))
    return A, y + 0.025 * jnp.mean(jnp.abs(y)) * jax.random.normal(noise, y.shape, y.dtype), x


def examples(A: Any, fine: Any, key: jax.Array, count: int, upscale: str = "linear") -> tuple[jax.Array, jax.Array]:
    """(b, x) of `count` images."""
    many = jax.jit(jax.vmap(lambda fine, key: example(upscale, None, fine, key)[1:], (None, 0)))
    keys = jax.random.split(key, count)
    parts = [many(fine, keys[k : k + 40]) for k in range(0, count, 40)]
    b, x = (jnp.concatenate(v) for v in zip(*parts, strict=True))
    return b, x


def reconstruct(r: Callable, A: Any, b: jax.Array, at_once: int = 20) -> tuple[jax.Array, float]:
    """Images, and seconds for each of them."""
    many = jax.jit(jax.vmap(lambda r, A, b: r(A, b), (None, None, 0)))
    jax.block_until_ready(many(r, A, b[:at_once]))
    start = time.perf_counter()
    x = jnp.concatenate([many(r, A, b[k : k + at_once]) for k in range(0, len(b), at_once)])
    return jax.block_until_ready(x), (time.perf_counter() - start) / len(b)


@jax.jit
@jax.vmap
def scores(x: jax.Array, truth: jax.Array) -> jax.Array:
    span = jnp.max(truth) - jnp.min(truth)
    return jnp.stack([psnr(x, truth, data_range=span), ssim(x, truth, data_range=span)])


class Scene:
    """The operators, and the images that count."""

    def __init__(self, test: int, validation: int = 40, upscale: str = "linear"):
        self.A, self.fine = operators()
        self.validation = examples(self.A, self.fine, VALIDATION, validation, upscale)
        self.test = examples(self.A, self.fine, TEST, test, upscale)

    def decibels(self, r: Callable) -> float:
        """On the validation images."""
        b, x = self.validation
        return float(scores(reconstruct(r, self.A, b)[0], x)[:, 0].mean())

    def row(self, name: str, r: Callable, validated: float, note: str, **more: Any) -> dict[str, Any]:
        b, x = self.test
        found, seconds = reconstruct(r, self.A, b)
        decibels, similarity = np.asarray(scores(found, x), float).T
        return {"method": LABELS[name], "validation dB": f"{validated:.2f}", "test dB": f"{decibels.mean():.2f}",
                "+-": f"{decibels.std() / len(b) ** 0.5:.2f}", "SSIM": f"{similarity.mean():.3f}",
                "s/image": f"{seconds:.3f}", "trained for": "-", "parameters": "-", "note": note} | more


def total_variation(lam: float, box: bool, iterations: int = 300) -> jr.Iterative:
    """Enough iterations: twice as many change the PSNR by less than .01 dB (`classical` measures it)."""
    prior = jr.TV(lam)
    return jr.Iterative(jr.FISTA(jr.Constrained(prior, jr.Box(0, 1)) if box else prior), iterations)


def classical(name: str, scene: Scene) -> dict[str, Any]:
    """The row of a classical method with what is best on the validation images."""
    if name == "fbp":
        tries = {c: scene.decibels(jr.FBP("hann", c)) for c in CUTOFFS}
        cutoff = max(tries, key=tries.__getitem__)
        return scene.row(name, jr.FBP("hann", cutoff), tries[cutoff], f"hann, cutoff {cutoff:g}")
    box = name == "tv_box"
    tries = {lam: scene.decibels(total_variation(lam, box)) for lam in LAMS}
    lam = max(tries, key=tries.__getitem__)
    b, x = (v[:10] for v in scene.validation)
    once, twice = (scores(reconstruct(total_variation(lam, box, n), scene.A, b, 10)[0], x)[:, 0].mean()
                   for n in (300, 600))
    return scene.row(name, total_variation(lam, box), tries[lam],
                     f"lam {lam:g}; twice the iterations: {float(twice - once):+.3f} dB")


def untrained(name: str, features: int | None, iterations: int | None) -> Any:
    features, key = features or 16, jax.random.key(0)
    if name == "unet":
        return jr.PostProcessed(SHARPER, jr.networks.UNet(features=features, levels=4), key=key)
    if name == "lpd_filtered":
        return primal_dual.reconstructor(iterations or 6, features, FILTER, key)
    if name == "lpd":
        return jr.LearnedPrimalDual(iterations or 6, features, initial=FILTER, key=key)
    # After 300 steps, 6 networks of 3 layers reach 26.41 dB (validation), 6 of 5 layers 26.74, 10 of 3 layers 26.79.
    return jr.Unrolled(jr.networks.ConvNet(features=features, depth=5), iterations or 10, initial=FILTER, key=key)


def training_data(scene: Scene, images: int, batch: int, upscale: str) -> Any:
    if not images:
        return jr.Simulated(jr.Partial(functools.partial(example, upscale), scene.A, scene.fine), batch)
    b, x = (np.asarray(v) for v in examples(scene.A, scene.fine, TRAINING, images, upscale))
    return jr.Examples(scene.A, b, x, batch)


def learned(name: str, scene: Scene, arguments: Any) -> dict[str, Any]:
    steps = arguments.steps or (12000 if name == "unet" else 3000)
    peak = arguments.rate or (4e-3 if name == "unet" else 2e-3)
    rate = optax.warmup_cosine_decay_schedule(0.0, peak, min(100, steps // 10), steps)
    r = untrained(name, arguments.features, arguments.iterations)
    data = training_data(scene, arguments.images, arguments.batch, arguments.upscale)
    run = runs.train(arguments.script, name, r, data, steps, minutes=arguments.minutes, resume=arguments.resume,
                     key=TRAINING, optimizer=optax.adam(rate, b1=0.9, b2=0.99), clip=1.0,
                     validation=(scene.A, *scene.validation), validate_every=max(1, steps // 30))
    source = f"{arguments.images} images" if arguments.images else "images simulated on the fly"
    return scene.row(name, run.reconstructor, float(run.log.psnr[run.log.best_step - 1]),
                     f"{run.note}, batch {arguments.batch}, {source}",
                     **{"trained for": f"{run.seconds / 60:.0f} min",
                        "parameters": f"{sum(np.size(v) for v in jax.tree.leaves(trained_part(r))):,}"})


def trained_part(r: Any) -> list[Any]:
    return [v for v, mine in zip(jax.tree.leaves(r), jax.tree.leaves(jr.learned.trainable(r)), strict=True) if mine]


def draw(script: str, rows: dict[str, dict[str, Any]]) -> None:
    """dB on the validation images against minutes of training, and the lines of the classical methods."""
    curves = {}
    for name in (n for n in TRAINED if n in rows):
        log = runs.kept_log(script, name)
        step, minutes, decibels = np.array(log["step"]), np.array(log["seconds"]) / 60, np.array(log["psnr"])
        seen = ~np.isnan(decibels)
        curves[name] = np.stack([step[seen], minutes[seen], decibels[seen]], 1)
    if not curves:
        return
    with open(runs.DOCS / f"{script}_curves.csv", "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["method", "step", "minutes", "validation dB"])
        for name, curve in curves.items():
            writer.writerows([LABELS[name], int(k), f"{m:.2f}", f"{d:.3f}"] for k, m, d in curve)
    lines = {LABELS[name]: float(rows[name]["validation dB"]) for name in CLASSICAL if name in rows}
    runs.draw_curves(runs.DOCS / f"{script}.png", {LABELS[n]: curve[:, 1:].T for n, curve in curves.items()}, lines,
                     title="Ellipses CT, 30 views", xlabel="minutes of training", ylabel="validation PSNR (dB)")


def main() -> None:
    names = (*CLASSICAL, *TRAINED)
    parser = runs.parser(__doc__, names)
    parser.add_argument("--features", type=int, help="default: 16 (published: 32)")
    parser.add_argument("--iterations", type=int, help="default: 6 (published: 10); unrolled: 10")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rate", type=float, help="of Adam, at the beginning (2e-3; U-Net: 4e-3)")
    parser.add_argument("--images", type=int, default=0, help="training images made once; 0: new ones for every step")
    parser.add_argument("--test", type=int, default=200, help="test images")
    parser.add_argument("--upscale", choices=("linear", "nearest"), default="linear", help="how the truth is enlarged")
    arguments = parser.parse_args()
    arguments.script = SCRIPT if arguments.upscale == "linear" else f"{SCRIPT}_nearest"
    scene = Scene(arguments.test, upscale=arguments.upscale)
    for name in arguments.only:
        row = classical(name, scene) if name in CLASSICAL else learned(name, scene, arguments)
        runs.keep(arguments.script, name, row)
    rows = runs.kept(arguments.script, names)
    runs.show(arguments.script, f"Ellipses CT, {VIEWS} views, {arguments.test} test images", list(rows.values()))
    draw(arguments.script, rows)


if __name__ == "__main__":
    main()
