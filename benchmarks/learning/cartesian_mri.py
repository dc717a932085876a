"""Cartesian MRI, 4-fold undersampled, 128 x 128: classical, post-processing, plug-and-play and unrolled methods.

    python benchmarks/learning/cartesian_mri.py                                  # everything, over an hour
    python benchmarks/learning/cartesian_mri.py --only unrolled --minutes 25     # one row, its training ended on time
    python benchmarks/learning/cartesian_mri.py --only unrolled --resume         # ... and gone on with
    python benchmarks/learning/cartesian_mri.py --only                           # table and picture of the rows kept

The data are described in mri_data.py: learned methods train on chests and an average brain with simulated phase, a mask
of its own for every example, and are tested on heads from other scanners, three of the four sets from measured k-space.
They train on one coil and see eight for the first time in the last set.

PSNR is of magnitudes, data_range the maximum of the reference, the mean over the set (over four masks where there is
one image). TV, wavelet-l1 and plug-and-play have the lam that is best on each test set itself: the hardest opponents of
their kind. A + A^H counts applications for one image of the first set; no step size is searched for (|A| = 1). Stopped
TV is FISTA that ends as soon as it is within .1 dB of its limit. Seconds: median for one image, compiled before.
Writes docs/learning/cartesian_mri.csv and .png.
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
from jaxrecon.value import value

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import mri_data
import runs
from solver_cost import COUNTS, Counted
from timing import compile_and_median

SCRIPT = "cartesian_mri"
FIRST = "pd20"  # the set whose counts, times and picture are shown
SLICE = 9  # of it, in the picture
CONVERGED, SCANNED = 800, 400  # iterations of FISTA: of what is shown, and while looking for lam
LAMS = (3e-4, 6e-4, 1e-3, 2e-3, 4e-3, 8e-3, 1.6e-2, 3e-2)
PNP_LAMS = (0.06, 0.23, 1.0)
BATCH = 2
ITERATIONS = 5  # P


class Training(NamedTuple):
    make: Callable[[jax.Array], Any]  # key -> reconstructor to begin with
    steps: int
    rate: float


def block():
    """The network of an iteration: on the four sub-images of every second pixel, cheaper and further-sighted."""
    return jr.networks.DRUNet(channels=2, features=(32, 64, 96), blocks=1, shuffle=2, bias=True, conditional=False)


def post_processed(key: jax.Array) -> Any:
    return jr.PostProcessed(jr.ZeroFilled(), jr.networks.UNet(channels=2, features=24), key=key)


def modl(key: jax.Array) -> Any:
    return jr.Unrolled(block(), ITERATIONS, shared=True, dc=jr.ProximalStep(0.05, iterations=3), key=key)


def unrolled(key: jax.Array) -> Any:
    """With MoDL's trained network in every iteration to begin with: shared weights learn faster at first."""
    start = runs.RUNS / SCRIPT / "modl" / "model.jr"
    net = jr.load(start).net if start.exists() else block()
    return jr.Unrolled(net, ITERATIONS, dc=jr.SampleReplacement(0.02), key=key)


TRAININGS = {"unet": Training(post_processed, 6000, 1e-3), "modl": Training(modl, 7000, 1e-3),
             "unrolled": Training(unrolled, 7000, 1e-3)}
NAMES = ("zero-filled", "wavelet", "tv", "pnp", *TRAININGS)
LABELS = {"zero-filled": "zero-filled", "wavelet": "wavelet-l1, FISTA", "tv": "TV, FISTA, converged",
          "stopped tv": "TV, FISTA, to .1 dB of its limit", "pnp": "plug-and-play, DnCNN",
          "unet": "U-Net post-processing", "modl": "MoDL, shared", "unrolled": "unrolled, separate"}


# ---- judging


def psnr(reference, x):
    return jr.metrics.psnr(x, reference, data_range=jnp.max(jnp.abs(reference)))


def one_by_one(f: Callable, *stacks: Any) -> Any:
    """f over the leading axis of everything in `stacks`: one image at a time on CPU, which is faster there."""
    stacked = jax.tree.leaves(stacks)[0].shape[0]
    compiled = jax.jit(f if jax.default_backend() == "cpu" else jax.vmap(f))
    if jax.default_backend() != "cpu":
        return compiled(*stacks)
    results = [compiled(*jax.tree.map(lambda v, i=i: v[i], stacks)) for i in range(stacked)]
    return jax.tree.map(lambda *v: jnp.stack(v), *results)


def stacked(scans: list[mri_data.Scan]) -> mri_data.Scan:
    return jax.tree.map(lambda *v: jnp.stack(v), *scans)


def images(reconstructor: Any, scans: mri_data.Scan) -> jax.Array:
    return one_by_one(lambda A, b: reconstructor(A, b), scans.A, scans.b)


def quality(reconstructor: Any, scans: mri_data.Scan) -> float:
    return float(jnp.mean(jax.vmap(psnr)(scans.x, images(reconstructor, scans))))


@value
class Counting(Counted):
    """Counted, for sample replacement too."""

    @property
    def prepared(self):
        return Counting(self.operator.prepared)

    @property
    def sampled_energy(self):
        return self.operator.sampled_energy


def applications(reconstructor: Any, scan: mri_data.Scan) -> int:
    COUNTS.update(forward=0, adjoint=0)
    jax.block_until_ready(reconstructor(Counting(scan.A), scan.b))
    jax.effects_barrier()
    return sum(COUNTS.values())


def judge(name: str, sets: dict[str, mri_data.Scan], chosen: dict[str, Any], setting: str, training: str = "-") -> None:
    """The row of a method, and its image for the picture. chosen: the reconstructor for each set."""
    one = jax.tree.map(lambda v: v[SLICE], sets[FIRST])
    r = chosen[FIRST]
    run = jax.jit(lambda r, A, b: r(A, b))
    compiling, seconds = compile_and_median(lambda: run(r, one.A, one.b), repeats=9)
    row = {"method": LABELS[name], "setting": setting, "A + A^H": applications(r, one), "seconds": seconds,
           "compile": compiling} | {s: round(quality(chosen[s], scans), 2) for s, scans in sets.items()}
    runs.keep(SCRIPT, name, row | {"training": training})
    runs.keep_image(SCRIPT, name, run(r, one.A, one.b))


# ---- methods without training


def fista(prior: Callable[[float], Any], lam: float, iterations: int = CONVERGED) -> Any:
    # |A| = 1: a masked unitary transform, and ESPIRiT maps whose squares add up to 1.
    return jr.Iterative(jr.FISTA(prior(lam), step_size=1.0), iterations)


def zero_filled(sets: dict[str, mri_data.Scan]) -> None:
    judge("zero-filled", sets, dict.fromkeys(sets, jr.ZeroFilled()), "-")


def wavelet(lam):
    return jr.L1(lam, transform=jr.Wavelet(mri_data.SHAPE, "db4", levels=4))


def best(make: Callable[[float], Any], lams: tuple[float, ...], scans: mri_data.Scan) -> float:
    """The lam of the highest PSNR. lam is a leaf: one compilation for all of them."""
    def score(lam, A, b, x):
        return psnr(x, make(lam)(A, b))

    score = jax.jit(score)
    items = [jax.tree.map(lambda v, i=i: v[i], scans) for i in range(scans.x.shape[0])]
    return max(lams, key=lambda lam: float(np.mean([score(lam, *s) for s in items])))


def best_lams(prior: Callable[[float], Any], sets: dict[str, mri_data.Scan]) -> dict[str, float]:
    return {s: best(lambda lam: fista(prior, lam, SCANNED), LAMS, scans) for s, scans in sets.items()}


def wavelets(sets: dict[str, mri_data.Scan]) -> None:
    lams = best_lams(wavelet, sets)
    judge("wavelet", sets, {s: fista(wavelet, lam) for s, lam in lams.items()}, f"lam {described(lams)}")


def total_variation(sets: dict[str, mri_data.Scan]) -> None:
    """FISTA to its limit, and for as many iterations as its mean PSNR needs to come within .1 dB of it."""
    lams, counts = best_lams(jr.TV, sets), {}
    for s, scans in sets.items():

        def path(A, b, x, lam=lams[s]):
            near = jr.Partial(lambda reference, A, b, x: psnr(reference, x), x)
            return jr.solve(A, b, fista(jr.TV, lam).solver, CONVERGED, record=near).history

        mean = np.asarray(one_by_one(path, *scans)).mean(0)
        counts[s] = int(np.flatnonzero(mean >= mean[-1] - 0.1)[0]) + 1
    judge("tv", sets, {s: fista(jr.TV, lam) for s, lam in lams.items()}, f"lam {described(lams)}")
    judge("stopped tv", sets, {s: fista(jr.TV, lams[s], counts[s]) for s in sets}, f"{described(counts)} iterations")


def described(found: dict[str, Any]) -> str:
    return " / ".join(f"{v:g}" for v in found.values())


def plug_and_play(sets: dict[str, mri_data.Scan]) -> None:
    with np.load(mri_data.DATA / "w_dncnn17_sigma25_kair.npz") as weights:
        net = jr.networks.from_torch(jr.networks.DnCNN(depth=17, features=64), weights)

    def make(lam):
        return jr.PlugAndPlay(jr.Denoiser(net), iterations=24, lam=lam, trained_at=25 / 255)

    # By every fourth image: an image takes seconds.
    lams = {s: best(make, PNP_LAMS, jax.tree.map(lambda v: v[::4], scans)) for s, scans in sets.items()}
    judge("pnp", sets, {s: make(lam) for s, lam in lams.items()}, f"24 iterations, lam {described(lams)}")


# ---- methods that train


def learn(name: str, args: Any, sets: dict[str, mri_data.Scan]) -> None:
    images, held_out = mri_data.training_images()
    training, folder = TRAININGS[name], runs.RUNS / SCRIPT / name
    steps = args.steps or training.steps
    schedule = optax.warmup_cosine_decay_schedule(0.01 * training.rate, training.rate, steps // 20, steps,
                                                  0.01 * training.rate)
    run = runs.train(SCRIPT, name, training.make(jax.random.key(3)), mri_data.examples(images, BATCH), steps,
                     minutes=args.minutes, resume=args.resume, optimizer=optax.adam(schedule), clip=1.0, loss="nmse",
                     validation=mri_data.fixed_examples(held_out, 28))
    jr.save(folder / "model.jr", run.reconstructor)
    setting = f"{jr.networks.count_parameters(run.reconstructor.net) / 1e3:.0f}k weights"
    if name != "unet":
        setting = f"P = {ITERATIONS}, {setting}"
    if name == "unrolled" and (runs.RUNS / SCRIPT / "modl" / "model.jr").exists():
        setting += ", begun from MoDL's"
    note = f"{run.seconds / 60:.0f} min, {run.note}, best {run.log.best_step}"
    judge(name, sets, dict.fromkeys(sets, run.reconstructor), setting, note)


# ---- the table and the picture


def verdict(rows: dict[str, dict[str, Any]]) -> str:
    """The two figures that matter, where their rows are there."""
    classical_rows = [rows[n][FIRST] for n in ("tv", "wavelet") if n in rows]
    if "unrolled" not in rows or "stopped tv" not in rows or not classical_rows:
        return "unrolled against TV: rows are missing"
    gain = rows["unrolled"][FIRST] - max(classical_rows)
    ratio = rows["stopped tv"]["A + A^H"] / rows["unrolled"]["A + A^H"]
    return f"unrolled, {FIRST}: {gain:+.2f} dB above the best classical method, 1/{ratio:.1f} of stopped TV's A + A^H"


def picture(sets: dict[str, mri_data.Scan]) -> None:
    shown = runs.kept_images(SCRIPT, {LABELS[n]: n for n in NAMES})
    if shown:
        figure = jr.plots.compare(shown, sets[FIRST].x[SLICE], columns=4, data_range=1.0,
                                  title="A quarter of the lines, one coil, a scanner never trained on")
        jr.plots.save_figure(figure, runs.DOCS / f"{SCRIPT}.png", dpi=70)


def main() -> None:
    args = runs.parser(__doc__, NAMES).parse_args()
    sets = {name: stacked(scans) for name, scans in mri_data.test_sets().items()}
    works = {"zero-filled": zero_filled, "wavelet": wavelets, "tv": total_variation, "pnp": plug_and_play}
    for name in args.only:
        works.get(name, partial(learn, name, args))(sets)
    rows = runs.kept(SCRIPT, tuple(LABELS))
    runs.show(SCRIPT, "Cartesian MRI, 4-fold, 128 x 128: PSNR in dB", list(rows.values()))
    runs.Console(highlight=False).print(verdict(rows))
    picture(sets)


if __name__ == "__main__":
    main()
