"""One network for all noise: trained over a range of levels, against a specialist for each, and TV with one lam.

    python benchmarks/learning/noise_adaptation.py [--only range sigma-0.04 ...] [--minutes 8] [--resume] [--steps N]

levels    MRI 64^2, 2-fold: white noise of five levels, .02 to .08 of the image's maximum per real component. One
          unrolled network is trained over a range a little wider (what is at the end of a range is learned worst), five
          at one level each, all six for the same number of steps. TV with the best lam at each level, and with one lam,
          the best in the middle.
          All networks estimate the level from the image that they start from, and set the scale of their channels by
          it; nobody tells them.
kinds     CT 64^2, 60 views: white noise, counts (Poisson), noise correlated between neighbouring detectors, and
          detectors that are dead or hot. One network for all four, and a specialist for each.
factors   MRI 64^2, sigma .02, 2- to 6-fold: one network for all, and specialists at 2, 4 and 6.

Train      mr_chest100 and mr_mni152 but every tenth image, at 64^2: flips, a random contrast curve, for MRI a random
           smooth phase; a mask and noise of its own for every example. Validate on the images left out.
Test       MRI: mr_pd20 (20 slices, another organ, contrast and scanner) with a smooth phase, mri_sag256 and mri_brain16
           (measured k-space, complex as measured). CT: ct_head28 (28 slices of a head). Masks and noise are the same
           for all methods.

Score: mean PSNR over the test images, of complex values, the truth's maximum being 1. Trainings minimise the mean of
10 log10 |x - truth|^2, that score itself: with the squared error alone the noisiest examples would be all that counts.
"Plateaued" is the gain on the validation set over the last fifth of the steps. lam is chosen on the test images
themselves, in favour of TV. Needs ../shared/data.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from noise_problems import KINDS, at_64, ct_test, mri_test, projector, simulate_ct, simulate_mri
from runs import DOCS, RUNS, keep, kept, parser, show, train

import jaxrecon as jr

SCRIPT = "noise_adaptation"
LEVELS = (0.02, 0.028, 0.04, 0.057, 0.08)
RANGE = (0.013, 0.09)
MIDDLE = LEVELS[2]
FACTORS = (2, 3, 4, 5, 6)
SIGMA = 0.02  # of the factors
STEPS = {"levels": 8000, "kinds": 2000, "factors": 4000}
BATCH, RATE = 4, 2e-3
LAMS = tuple(float(v) for v in np.geomspace(5e-4, 0.5, 19))


# ---- trainings


@jr.networks.architecture
class Modulated:
    """x + convolutions, channels scaled and shifted by functions of the noise level (FiLM: Perez et al. 2018)."""

    channels: int = 2
    features: int = 24
    depth: int = 3
    width: int = 16
    conditional: ClassVar[bool] = True

    def __call__(self, rngs: nnx.Rngs) -> nnx.Module:
        return _Modulated(self, rngs)


class _Modulated(nnx.Module):
    def __init__(self, a: Modulated, rngs: nnx.Rngs):
        widths = (a.channels, *[a.features] * (a.depth - 1), a.channels)
        zeros = nnx.initializers.zeros
        first, last = nnx.initializers.he_normal(), zeros  # a fresh network is the identity
        self.convs = nnx.List([nnx.Conv(i, o, (3, 3), kernel_init=last if k == a.depth - 1 else first, rngs=rngs)
                               for k, (i, o) in enumerate(pairwise(widths))])
        self.level = nnx.Linear(1, a.width, rngs=rngs)
        self.modulate = nnx.List([nnx.Linear(a.width, 2 * o, kernel_init=zeros, rngs=rngs) for o in widths[1:]])

    def __call__(self, x, sigma):
        level = jnp.tanh(self.level(jnp.log(sigma + 1e-3)[None]))
        y = x
        for k, (conv, modulate) in enumerate(zip(self.convs, self.modulate, strict=True)):
            scale, shift = jnp.split(modulate(level), 2)
            y = conv(y if k == 0 else jax.nn.relu(y)) * (1 + scale) + shift
        return x + y


class Training(NamedTuple):
    group: str
    noise: Any
    factors: tuple[int, ...] = (2,)


def trainings() -> dict[str, Training]:
    gaussian = jr.simulate.GaussianNoise
    found = {"range": Training("levels", gaussian(RANGE))}
    found |= {f"sigma-{s:g}": Training("levels", gaussian(s)) for s in LEVELS}
    found |= {"all-kinds": Training("kinds", jr.simulate.MixedNoise(list(KINDS.values())))}
    found |= {f"kind-{name}": Training("kinds", noise) for name, noise in KINDS.items()}
    found |= {"all-factors": Training("factors", gaussian(SIGMA), FACTORS)}
    found |= {f"factor-{f}": Training("factors", gaussian(SIGMA), (f,)) for f in (2, 4, 6)}
    return found


TRAININGS = trainings()


def decibel(x: jax.Array, ref: jax.Array) -> jax.Array:
    """Minus the PSNR of complex values, for a truth whose maximum is 1."""
    e = x - ref
    return 10 * jnp.log10(jnp.mean(e.real**2 + e.imag**2) + 1e-10)


def untrained(group: str):
    """The same for all trainings of a group."""
    net = Modulated(channels=1 if group == "kinds" else 2)
    initial = jr.FBP() if group == "kinds" else None
    return jr.Unrolled(net, iterations=4, dc=jr.GradientStep(), initial=initial, key=jax.random.key(0))


def simulation(training: Training, images: jax.Array) -> Callable:
    """key -> (A, b, x) of one example."""
    if training.group == "kinds":
        return jr.Partial(simulate_ct, images, training.noise, projector())
    return jr.Partial(functools.partial(simulate_mri, factors=training.factors), images, training.noise)


def learn(name: str, args: Any) -> None:
    training = TRAININGS[name]
    steps = args.steps or STEPS[training.group]
    images, held_out = at_64()
    batched = () if training.group == "kinds" else ("mask",)
    stream = jr.Simulated(simulation(training, images), BATCH, batched=batched)
    fixed = jr.Simulated(simulation(training, held_out), 32, batched=batched)
    validation = [fixed.batch(jax.random.key(1), step) for step in range(4)]
    schedule = optax.warmup_cosine_decay_schedule(0.0, RATE, steps // 40, steps, 0.01 * RATE)
    run = train(SCRIPT, name, untrained(training.group), stream, steps, minutes=args.minutes, resume=args.resume,
                loss=decibel, optimizer=optax.adam(schedule), clip=1.0, validation=validation,
                validate_every=max(1, steps // 20))
    jr.save(RUNS / SCRIPT / name / "model.jr", run.reconstructor)
    keep(SCRIPT, name, {"training": name, "steps": run.note, "minutes": run.seconds / 60,
                        "gain over the last fifth, dB": plateau(run.log, steps)} | judged(training, run.reconstructor))


def plateau(log: Any, steps: int) -> float:
    """How much the best validation score so far rose over the last fifth of the steps; nan where it ended early."""
    step, score = np.asarray(log.step), -np.asarray(log.validation)
    found = np.isfinite(score)
    step, score = step[found], score[found]
    before = score[step <= 0.8 * steps]
    if not before.size or step[-1] < 0.98 * steps:
        return math.nan
    return float(score.max() - before.max())


# ---- judging


def test_problems(group: str) -> dict[str, tuple[Any, jax.Array, jax.Array, Any]]:
    """label -> (A, b, x, axes of A for vmap)."""
    if group == "kinds":
        return {kind: (*ct_test(kind), None) for kind in KINDS}
    if group == "levels":
        return {f"{s:g}": (*mri_test(s, 2), 0) for s in LEVELS}
    return {f"{f}-fold": (*mri_test(SIGMA, f), 0) for f in FACTORS}


def judged(training: Training, reconstructor: Any) -> dict[str, float]:
    """Mean PSNR in dB over the test images of every problem of the group."""
    return {label: score(reconstructor, *problem) for label, problem in test_problems(training.group).items()}


def score(reconstructor: Any, A: Any, b: jax.Array, x: jax.Array, axis: int | None) -> float:
    return -float(jnp.mean(_scores(reconstructor, A, b, x, axis)))


@functools.partial(jax.jit, static_argnames="axis")
def _scores(reconstructor, A, b, x, axis):
    return jax.vmap(lambda A, b, x: decibel(reconstructor(A, b), x), (axis, 0, 0))(A, b, x)


def tv(lam: Any, group: str) -> Any:
    """Run to convergence: the residuals balance rho."""
    if group == "kinds":
        return jr.Iterative(jr.FISTA(jr.TV(lam)), 300)
    return jr.Iterative(jr.ADMM(jr.TV(lam, boundary="circular"), rho=1.0, balance=True), 150)


def total_variation(group: str) -> None:
    """Rows of TV: with the best lam at each problem, and with the one that is best in the middle."""
    problems = test_problems(group)
    table = {label: [score(tv(lam, group), *problem) for lam in LAMS] for label, problem in problems.items()}
    labels = list(table)
    middle = {"levels": f"{MIDDLE:g}", "kinds": None, "factors": labels[len(labels) // 2]}[group]
    # Kinds have no middle: there the lam with the best mean.
    chosen = int(np.argmax(table[middle] if middle else np.mean(list(table.values()), 0)))
    keep(SCRIPT, f"tv-fixed-{group}", {"training": f"TV, lam {LAMS[chosen]:.2g}"}
         | {label: v[chosen] for label, v in table.items()})
    lams = [LAMS[int(np.argmax(v))] for v in table.values()]
    keep(SCRIPT, f"tv-best-{group}", {"training": "TV, best lam each", "lam": lams}
         | {label: max(v) for label, v in table.items()})


# ---- tables and figure


def columns(group: str, rows: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """One row per problem: the specialist, the network for all, what it lacks, TV with one and with the best lam."""
    general = {"levels": "range", "kinds": "all-kinds", "factors": "all-factors"}[group]
    special = {"levels": "sigma-{}", "kinds": "kind-{}", "factors": "factor-{}"}[group]
    labels = {"levels": [f"{s:g}" for s in LEVELS], "kinds": list(KINDS), "factors": [f"{f}-fold" for f in FACTORS]}
    table = []
    for label in labels[group]:
        one = rows.get(general, {}).get(label)
        own = rows.get(special.format(label.removesuffix("-fold")), {}).get(label)
        fixed, best = (rows.get(f"tv-{kind}-{group}", {}).get(label) for kind in ("fixed", "best"))
        table.append({group: label, "specialist": own, "one network": one, "one - specialist": minus(one, own),
                      "TV, fixed lam": fixed, "TV, best lam": best, "fixed - best": minus(fixed, best)})
    return table


def minus(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a - b


def verdict(table: list[dict[str, Any]], rows: dict[str, dict[str, Any]]) -> str:
    lacks = [row["one - specialist"] for row in table]
    if None in lacks or any(row["fixed - best"] is None for row in table):
        return "levels: rows are missing"
    levels = [name for name, training in TRAININGS.items() if training.group == "levels"]
    gains = [rows[name]["gain over the last fifth, dB"] for name in levels]
    settled = all(g < 0.05 for g in gains)  # False for nan
    within = "within" if min(lacks) >= -0.3 else "NOT within"
    worst = min(row["fixed - best"] for row in table)
    return (f"one network: {min(lacks):+.2f} dB against the specialist at worst ({within} .3 dB); TV with one lam: "
            f"{worst:+.2f} dB against its best lam at worst; gain over the last fifth of training: {max(gains):.3f} dB "
            f"at most ({'plateaued' if settled else 'NOT plateaued'})")


def picture(table: list[dict[str, Any]]) -> None:
    methods = ("specialist", "one network", "TV, best lam", "TV, fixed lam")
    curves = {name: [row[name] for row in table] for name in methods}
    if any(v is None for curve in curves.values() for v in curve):
        return
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(5.6, 3.6), layout="constrained")
    styles = {"specialist": ("#444444", "o", "none"), "one network": ("#0072b2", "o", "-"),
              "TV, best lam": ("#e69f00", "s", "none"), "TV, fixed lam": ("#d55e00", "s", "-")}
    for name, curve in curves.items():
        colour, marker, line = styles[name]
        axes.plot(LEVELS, curve, label=name, color=colour, marker=marker, linestyle=line, markersize=5,
                  markerfacecolor=colour if line != "none" else "none")
    axes.set_xscale("log")
    axes.set_xticks(LEVELS, [f"{s:g}" for s in LEVELS])
    axes.minorticks_off()
    axes.set_xlabel("noise per real component, of the image's maximum")
    axes.set_ylabel("PSNR, dB")
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.legend(frameon=False)
    axes.set_title("2-fold MRI: one network for all noise levels", loc="left", fontsize=10)
    DOCS.mkdir(parents=True, exist_ok=True)
    figure.savefig(DOCS / f"{SCRIPT}.png", dpi=110)
    plt.close(figure)


def main() -> None:
    groups = ("levels", "kinds", "factors")
    baselines = tuple(f"tv-{group}" for group in groups)
    args = parser(__doc__, (*TRAININGS, *baselines)).parse_args()
    for name in args.only:
        if name in baselines:
            total_variation(name.removeprefix("tv-"))
        else:
            learn(name, args)
    rows = kept(SCRIPT, (*TRAININGS, *(f"tv-{kind}-{group}" for kind in ("fixed", "best") for group in groups)))
    titles = {"levels": "MRI 64 x 64, 2-fold, by noise level: PSNR in dB",
              "kinds": "CT 64 x 64, 60 views, by kind of noise: PSNR in dB",
              "factors": f"MRI 64 x 64, sigma {SIGMA:g}, by undersampling: PSNR in dB"}
    for group in groups:
        table = columns(group, rows)
        if any(v is not None for row in table for k, v in row.items() if k != group):
            show(SCRIPT, titles[group], table, DOCS / f"{SCRIPT}_{group}.csv")
        if group == "levels":
            print(verdict(table, rows))
            picture(table)
    trained = [{k: rows[n].get(k) for k in ("training", "steps", "minutes", "gain over the last fifth, dB")}
               for n in TRAININGS if n in rows]
    if trained:
        show(SCRIPT, "Trainings", trained, DOCS / f"{SCRIPT}_trainings.csv")


if __name__ == "__main__":
    main()
