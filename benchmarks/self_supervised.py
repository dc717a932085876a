"""Training without ground truth against training with it: the same examples, networks and steps.

    python benchmarks/self_supervised.py                                  # everything, hours on two cores
    python benchmarks/self_supervised.py --only denoise-sure --minutes 40 # one row, its training ended on time
    python benchmarks/self_supervised.py --only denoise-sure --resume     # ... and gone on with
    python benchmarks/self_supervised.py --only                           # the table of the rows kept

denoise   Patches of photographs (nat_skimage_cc0_gray) with noise of 25/255, drawn once and for all. A DnCNN, by SURE
          and supervised; tested on four photographs never trained on. Target: within .5 dB.
mri       600 images of one coil at 128 x 128 (chests and an average brain, see learning/mri_data.py), each measured
          once: a quarter of the lines, a mask of its own, noise of .01. An unrolled network that ends with data
          consistency, by SSDU, by SSDU and SURE with equivariance, and supervised; tested on heads of another scanner.
          Target: within 1 dB.
fixed     The same with one mask for all. SURE sees nothing of what that mask leaves out, and fails; equivariance and
          truth tell of it. mri-sure, with a mask of its own for each image, stands beside it.

The trainings without truth see none in validation either: their checkpoints are chosen by their own loss. What they
know besides is the noise level (SURE). PSNR: of photographs with range 1, of MR magnitudes with the range of the
reference. Needs ../shared/data. Trainings live in benchmarks/.runs, the table in docs/learning/self_supervised.csv.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxrecon as jr
from jaxrecon.training import SSDU, SURE, Equivariant

sys.path.insert(0, str(Path(__file__).resolve().parent / "learning"))
import mri_data
import runs

SCRIPT = "self_supervised"

# ---- denoising

# SURE fits the noise of the patches where they are few: of 8000, each seen 16 times, its loss was 1.9 % too low.
SIGMA, PATCH, PATCHES, HELD_OUT, BATCH = 25 / 255, 40, 32000, 200, 32
TRAIN_PHOTOGRAPHS = ("astronaut", "coffee", "grass", "gravel", "brick", "horse", "retina", "cell")
TEST_PHOTOGRAPHS = ("camera", "chelsea", "clock_motion", "rocket")


def photographs(names: tuple[str, ...]) -> list[np.ndarray]:
    return [v.astype("float32") / 255 for v in mri_data.load("nat_skimage_cc0_gray.npz", *names)]


def patches() -> tuple[np.ndarray, np.ndarray]:
    """(noisy, clean), each patch with the one noise that it has for ever."""
    rng, images = np.random.default_rng(0), photographs(TRAIN_PHOTOGRAPHS)
    clean = np.empty((PATCHES + HELD_OUT, PATCH, PATCH), "float32")
    for k in range(len(clean)):
        image = images[k % len(images)]
        i, j = (rng.integers(n - PATCH + 1) for n in image.shape)
        patch = np.rot90(image[i : i + PATCH, j : j + PATCH], rng.integers(4))
        clean[k] = patch.T if rng.random() < 0.5 else patch
    return clean + SIGMA * rng.standard_normal(clean.shape).astype("float32"), clean


def identity(shape: tuple[int, ...]) -> Any:
    return jr.Identity(jax.ShapeDtypeStruct(shape, "float32"))


def denoise_data(truth: bool) -> tuple[Any, Any]:
    """(stream, validation)."""
    b, x = patches()
    A, x = identity((PATCH, PATCH)), x if truth else None
    first, last = slice(0, PATCHES), slice(PATCHES, None)
    return (jr.Examples(A, b[first], x if x is None else x[first], batch_size=BATCH),
            jr.Examples(A, b[last], x if x is None else x[last], batch_size=8))


def denoiser(key: jax.Array) -> Any:
    return jr.PostProcessed(jr.ZeroFilled(), jr.networks.DnCNN(depth=7, features=32, bias=False), key=key)


def denoise_quality(r: Any) -> float:
    found = []
    for k, x in enumerate(photographs(TEST_PHOTOGRAPHS)):
        noisy = x + SIGMA * np.random.default_rng(k).standard_normal(x.shape).astype("float32")
        found.append(jr.metrics.psnr(r(identity(x.shape), noisy), x, data_range=1.0))
    return float(np.mean(found))


# ---- MRI

MRI_SIGMA, EXAMPLES, VALIDATED = 0.01, 600, 28
FIXED_MASK = mri_data.line_mask(jax.random.key(77))


def measured(images: jax.Array, fixed: bool, key: jax.Array) -> tuple[Any, jax.Array, jax.Array]:
    """(A, b, x) of one example: an image in a random orientation, with contrast and phase of its own."""
    keys = jax.random.split(key, 6)
    return with_mask(mri_data.drawn_image(images, keys[:4]), fixed, *keys[4:])


def with_mask(x: jax.Array, fixed: bool, masking: jax.Array, noise: jax.Array) -> tuple[Any, jax.Array, jax.Array]:
    mask = FIXED_MASK if fixed else mri_data.line_mask(masking)
    A = jr.Fourier(mri_data.SHAPE, mask=mask, dtype="complex64")
    return A, jr.simulate.add_noise(noise, A(x), sigma=MRI_SIGMA, mask=mask), x


def drawn(images: np.ndarray, count: int, fixed: bool, seed: int) -> Any:
    keys = jax.random.split(jax.random.key(seed), count)
    return jax.jit(jax.vmap(partial(measured, jnp.asarray(images), fixed)))(keys)


def mri_data_sets(fixed: bool, truth: bool) -> tuple[Any, Any]:
    """(stream, validation)."""
    sets = []
    for images, count, seed in zip(mri_data.training_images(), (EXAMPLES, VALIDATED), (1, 2), strict=True):
        A, b, x = drawn(images, count, fixed, seed)
        sets.append(jr.Examples(A, b, x if truth else None, batch_size=2, batched=("mask",)))
    return sets[0], sets[1]


def unrolled(key: jax.Array) -> Any:
    net = jr.networks.DRUNet(channels=2, features=(24, 48, 72), blocks=1, shuffle=2, bias=True, conditional=False)
    return jr.Consistent(jr.Unrolled(net, 4, shared=True, dc=jr.ProximalStep(0.05, iterations=3), key=key))


def mri_quality(r: Any, fixed: bool) -> float:
    """On 20 heads, compiled once."""
    run, found = jax.jit(lambda r, A, b: r(A, b)), []
    for i, image in enumerate(mri_data.load("mr_pd20_axial256.npz", "images")[0]):
        phase, masking, noise = jax.random.split(jax.random.fold_in(jax.random.key(2026), i), 3)
        x = mri_data.at_128(jnp.asarray(image, "float32") * mri_data.smooth_phase(phase, image.shape))
        A, b, x = with_mask(x, fixed, masking, noise)
        found.append(jr.metrics.psnr(run(r, A, b), x, data_range=jnp.max(jnp.abs(x))))
    return float(np.mean(found))


# ---- trainings


class Training(NamedTuple):
    task: str
    loss: Any
    label: str


SURE_MRI = SURE(MRI_SIGMA)
# Few samples, and none of the brightest: what is left then looks like the whole scan, which the network will be given.
# With the paper's 40 %, most of them near the centre, it learned to make up for missing energy: 18.9 dB, 600 steps.
HIDE = SSDU(share=0.2, calibration=10, spread=np.inf)
TRAININGS = {
    "denoise-supervised": Training("denoise", "mse", "supervised"),
    "denoise-sure": Training("denoise", SURE(SIGMA), "SURE"),
    "mri-supervised": Training("mri", "mse", "supervised"),
    "mri-ssdu": Training("mri", HIDE, "SSDU"),
    "mri-ssdu-ei": Training("mri", Equivariant(HIDE), "SSDU, equivariant"),
    "mri-sure-ei": Training("mri", Equivariant(SURE_MRI), "SURE, equivariant"),
    "mri-sure": Training("mri", SURE_MRI, "SURE"),
    "fixed-supervised": Training("fixed", "mse", "supervised"),
    "fixed-sure": Training("fixed", SURE_MRI, "SURE: cannot see the null space"),
    "fixed-sure-ei": Training("fixed", Equivariant(SURE_MRI), "SURE, equivariant"),
}
STEPS = {"denoise": 4000, "mri": 1000, "fixed": 600}
RATES = {"denoise": 2e-3, "mri": 1e-3, "fixed": 1e-3}  # of Adam, at most
TARGETS = {"denoise-sure": 0.5, "mri-ssdu": 1.0, "mri-ssdu-ei": 1.0, "mri-sure-ei": 1.0}  # dB from supervised
MAKE: dict[str, Callable] = {"denoise": denoiser, "mri": unrolled, "fixed": unrolled}
DATA: dict[str, Callable] = {"denoise": denoise_data, "mri": partial(mri_data_sets, False),
                             "fixed": partial(mri_data_sets, True)}
QUALITY: dict[str, Callable] = {"denoise": denoise_quality, "mri": partial(mri_quality, fixed=False),
                                "fixed": partial(mri_quality, fixed=True)}


def learn(name: str, args: Any) -> None:
    task, loss, label = TRAININGS[name]
    data, validation = DATA[task](loss == "mse")
    steps = args.steps or STEPS[task]
    schedule = optax.warmup_cosine_decay_schedule(1e-5, RATES[task], max(1, steps // 20), steps, 1e-5)
    fresh = MAKE[task](jax.random.key(3))
    run = runs.train(SCRIPT, name, fresh, data, steps, minutes=args.minutes, resume=args.resume, loss=loss, clip=1.0,
                     optimizer=optax.adam(schedule), validation=validation)
    row = {"task": task, "training": label, "PSNR": QUALITY[task](run.reconstructor),
           "untrained": QUALITY[task](jr.ZeroFilled()), "minutes": run.seconds / 60,
           "note": f"{run.note}, best {run.log.best_step}"}
    runs.keep(SCRIPT, name, row)


def main() -> None:
    args = runs.parser(__doc__, tuple(TRAININGS)).parse_args()
    for name in args.only:
        learn(name, args)
    rows = runs.kept(SCRIPT, tuple(TRAININGS))
    for name, row in rows.items():
        reference = rows.get(f"{TRAININGS[name].task}-supervised")
        if reference is not None and row is not reference:
            row["against supervised"] = f"{row['PSNR'] - reference['PSNR']:+.2f}"
        if name in TARGETS:
            row["target"] = f"-{TARGETS[name]:g} dB"
    runs.show(SCRIPT, "Without ground truth: PSNR in dB on unseen images", list(rows.values()))


if __name__ == "__main__":
    main()
