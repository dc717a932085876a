"""AUTOMAP at 32 x 32: what a dense network learns that no model tells it, and how many examples that takes.

    python benchmarks/learning/automap.py [--only full-automap data-1000-unet ...] [--minutes 3] [--resume] [--steps N]

full            All of k-space without noise: the network has to find the inverse FFT.
trajectory      The same, but the lines of k-space lie elsewhere than the scanner reports: each is shifted by up to .8
                of their distance, and every second one along the read-out.
off-resonance   The same, but a frequency map, seen as in echo-planar imaging, shifts columns by up to 2.5 pixels.
data            A quarter of the lines and noise (2 % of the image's root mean square), for training sets of 100 to
                3,000 patches: AUTOMAP, U-Net post-processing of the zero-filled image, and an unrolled network.

Where the model is wrong, data are made by the true operator, and everyone is told the nominal one: a full Cartesian
grid. AUTOMAP never looks at it. "CG, true model" is what knowing the truth would give.

Images are real (patches.py: patches of MR images and photographs, >= 0, other images for training and test), and
every method but AUTOMAP is told so. The mean NRMSE over 200 test patches; lam of TV is the best on them. Networks are
those of the best validation score. Needs ../shared/data.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from patches import SIZE, patches
from runs import DOCS, keep, keep_image, kept, kept_images, parser, show, train

import jaxrecon as jr

SCRIPT = "automap"
SHAPE = (SIZE, SIZE)
PROBLEMS = ("full", "trajectory", "off-resonance", "data")
METHODS = ("automap", "unet", "unrolled")
SIZES = (100, 300, 1000, 3000)
MOST = 20000  # patches, where the size of the training set is not the question
STEPS = {"automap": 2000, "unet": 1000, "unrolled": 1000}
LONGER = {"full": 3}  # times as many steps
BATCH = {"automap": 64, "unet": 32, "unrolled": 32}
RATE = 1e-3
SIGMA = 0.02  # per real component, of the root mean square of the image
LAMS = tuple(float(v) for v in np.geomspace(1e-3, 0.3, 8))
COUNTS = {"validation": 200, "test": 200}


class Problem(NamedTuple):
    true: Any
    nominal: Any
    sigma: float


# ---- problems


def cartesian(mask: Any = None) -> Any:
    return jr.real_part(jr.Fourier(SHAPE, mask=mask, dtype="complex64"))


@functools.cache
def problem(name: str) -> Problem:
    """The operators. real_part: of x; the measurements stay complex."""
    if name == "full":
        return Problem(cartesian(), cartesian(), 0.0)
    if name == "data":
        mask = jr.simulate.variable_density_mask(jax.random.key(5), SHAPE, 4, calibration=3, dtype="float32")
        return Problem(cartesian(mask), cartesian(mask), SIGMA)
    true = wrong_trajectory() if name == "trajectory" else off_resonance()
    return Problem(jr.real_part(true), cartesian(), 0.0)


def wrong_trajectory() -> Any:
    """Every line is displaced by an unknown, fixed part of the distance between lines; odd ones are read out late."""
    rng = np.random.default_rng(3)
    k = (np.arange(SIZE) - SIZE // 2) / SIZE
    ky = k + rng.uniform(-0.8, 0.8, SIZE) / SIZE
    kx = k + 0.4 / SIZE * (np.arange(SIZE) % 2)[:, None]
    nodes = np.stack(np.broadcast_arrays(ky[:, None], kx), -1)
    return jr.NUFFT(jnp.asarray((nodes + 0.5) % 1 - 0.5, "float32"), SHAPE)


def off_resonance() -> Any:
    """A frequency that varies along the read-out: at 1 ms per line 80 Hz shift a column by 2.5 pixels."""
    hertz = jnp.asarray(np.broadcast_to(80 * np.sin(np.pi * np.linspace(-1, 1, SIZE)), SHAPE), "float32")
    times = jnp.asarray(1e-3 * (np.arange(SIZE) - SIZE // 2)[:, None], "float32")
    return jr.OffResonance(jr.Fourier(SHAPE, dtype="complex64"), hertz, times)


@functools.cache
def examples(name: str, split: str, count: int) -> tuple[jax.Array, jax.Array]:
    """(b, x); the first n of more are the same as n of them."""
    A, _, sigma = problem(name)
    x = jnp.asarray(patches(split, count))
    keys = jax.vmap(functools.partial(jax.random.fold_in, jax.random.key(11)))(jnp.arange(count))

    @jax.jit
    def measure(A, x, keys):
        return jax.vmap(lambda x, k: noisy(A, A(x), k, sigma))(x, keys)

    parts = [measure(A, x[i : i + 1000], keys[i : i + 1000]) for i in range(0, count, 1000)]
    return jnp.concatenate(parts), x


def noisy(A: Any, b: jax.Array, key: jax.Array, sigma: float) -> jax.Array:
    if not sigma:
        return b
    return jr.simulate.GaussianNoise(sigma)(key, b, A.operator.mask)


# ---- methods


def untrained(method: str) -> Any:
    key = jax.random.key(0)
    if method == "automap":
        net = jr.networks.AUTOMAP(inputs=2 * SIZE**2, shape=SHAPE, hidden=(SIZE**2,), features=16, depth=3, size=3)
        return jr.LearnedInverse(net, key=key)
    if method == "unet":
        return jr.PostProcessed(jr.ZeroFilled(), jr.networks.UNet(channels=1, features=16, levels=2), key=key)
    return jr.Unrolled(jr.networks.ConvNet(channels=1, features=16, depth=3), iterations=5, key=key)


def scores(reconstructor: Any, name: str, true_model: bool = False) -> float:
    """Mean NRMSE over the test patches."""
    b, x = examples(name, "test", COUNTS["test"])
    A = problem(name).true if true_model else problem(name).nominal
    return float(jnp.mean(_scores(reconstructor, A, b, x)))


@jax.jit
def _scores(reconstructor, A, b, x):
    return jax.vmap(lambda b, x: jr.metrics.nrmse(reconstructor(A, b), x))(b, x)


def tv(lam: Any) -> Any:
    return jr.Iterative(jr.FISTA(jr.TV(lam)), 200)


def classical(name: str) -> None:
    """Rows of the methods that need no training."""
    best = min(LAMS, key=lambda lam: scores(tv(lam), name))
    cg = jr.Iterative(jr.CGNR(1e-4), 60)
    rows = {"zero-filled": scores(jr.ZeroFilled(), name), "CG": scores(cg, name), "TV": scores(tv(best), name),
            "CG, true model": scores(cg, name, True)}
    keep(SCRIPT, f"{name}-classical", {"problem": name, "lam": best} | rows)
    keep_image(SCRIPT, f"{name}-classical", picture_of(tv(best), name))


def learn(training: str, args: Any) -> None:
    name, method, count = parsed(training)
    steps = args.steps or STEPS[method] * LONGER.get(name, 1)
    A = problem(name).nominal
    b, x = (v[:count] for v in examples(name, "train", SIZES[-1] if name == "data" else MOST))
    held_out = (A, *examples(name, "validation", COUNTS["validation"]))
    schedule = optax.warmup_cosine_decay_schedule(0.0, RATE, steps // 20, steps)
    run = train(SCRIPT, training, untrained(method), jr.Examples(A, b, x, BATCH[method]), steps, minutes=args.minutes,
                resume=args.resume, optimizer=optax.adam(schedule), clip=1.0, validation=held_out,
                validate_every=max(1, steps // 20))
    row = {"training": training, "problem": name, "method": method, "examples": count, "steps": run.note,
           "minutes": run.seconds / 60, "best step": int(run.log.best_step), "NRMSE": scores(run.reconstructor, name)}
    keep(SCRIPT, training, row | {"weights": jr.networks.count_parameters(run.reconstructor.net)})
    keep_image(SCRIPT, training, picture_of(run.reconstructor, name))


def parsed(training: str) -> tuple[str, str, int]:
    """(problem, method, size of the training set)"""
    name, method = training.rsplit("-", 1)
    if name.startswith("data-"):
        return "data", method, int(name.removeprefix("data-"))
    return name, method, MOST


TRAININGS = ("full-automap", *(f"{p}-{m}" for p in PROBLEMS[1:3] for m in METHODS),
             *(f"data-{n}-{m}" for n in SIZES for m in METHODS))
CLASSICAL = tuple(f"{p}-classical" for p in PROBLEMS)


# ---- tables and figures


LABELS = {"automap": "AUTOMAP", "unet": "zero-filled + U-Net", "unrolled": "unrolled"}
SHOWN = 0  # the test patch that is drawn


def picture_of(reconstructor: Any, name: str) -> jax.Array:
    b, _ = examples(name, "test", COUNTS["test"])
    return jax.jit(lambda r, A, b: r(A, b))(reconstructor, problem(name).nominal, b[SHOWN])


def by_problem(rows: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    table = []
    for name in PROBLEMS[:3]:
        known = rows.get(f"{name}-classical", {})
        table.append({"problem": name} | {m: known.get(m) for m in ("zero-filled", "CG", "TV")}
                     | {LABELS[m]: rows.get(f"{name}-{m}", {}).get("NRMSE") for m in reversed(METHODS)}
                     | {"CG, true model": known.get("CG, true model")})
    return table


def by_size(rows: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    known = rows.get("data-classical", {})
    return [{"training patches": n} | {LABELS[m]: rows.get(f"data-{n}-{m}", {}).get("NRMSE") for m in METHODS}
            | {m: known.get(m) for m in ("TV", "zero-filled")} for n in SIZES]


def draw(rows: dict[str, dict[str, Any]], table: list[dict[str, Any]]) -> None:
    curves = {label: [row[label] for row in table] for label in (*LABELS.values(), "TV")}
    whole = {label: (np.array(SIZES), np.array(v)) for label, v in curves.items() if None not in v}
    if whole:
        jr.plots.convergence(whole, log_x=True, xlabel="training patches", ylabel="NRMSE on unseen images",
                             title="A quarter of the lines, 32 x 32", path=DOCS / f"{SCRIPT}_data.png")
    for name in PROBLEMS[1:3]:
        files = {"TV": f"{name}-classical"} | {LABELS[m]: f"{name}-{m}" for m in reversed(METHODS)}
        panels = kept_images(SCRIPT, files)
        if len(panels) == len(files):
            figure = jr.plots.compare(panels,
                                      examples(name, "test", COUNTS["test"])[1][SHOWN],
                                      title=f"The model is wrong: {name}")
            jr.plots.save_figure(figure, DOCS / f"{SCRIPT}_{name}.png", dpi=70)


def verdict(rows: dict[str, dict[str, Any]]) -> str:
    if "full-automap" not in rows:
        return "full: not run"
    error = rows["full-automap"]["NRMSE"]
    return f"AUTOMAP, inverse FFT: NRMSE {error:.4f}, {'<=' if error <= 0.05 else 'NOT <='} .05"


def main() -> None:
    args = parser(__doc__, (*CLASSICAL, *TRAININGS)).parse_args()
    for name in args.only:
        if name in CLASSICAL:
            classical(name.removesuffix("-classical"))
        else:
            learn(name, args)
    rows = kept(SCRIPT, (*CLASSICAL, *TRAININGS))
    show(SCRIPT, "AUTOMAP 32 x 32: NRMSE where the model is right (full) and wrong", by_problem(rows))
    table = by_size(rows)
    show(SCRIPT, "AUTOMAP 32 x 32, a quarter of the lines: NRMSE by size of the training set", table,
         DOCS / f"{SCRIPT}_data.csv")
    columns = ("training", "examples", "steps", "best step", "minutes", "weights", "NRMSE")
    trained = [{c: rows[n].get(c) for c in columns} for n in TRAININGS if n in rows]
    if trained:
        show(SCRIPT, "Trainings", trained, DOCS / f"{SCRIPT}_trainings.csv")
    print(verdict(rows))
    draw(rows, table)


if __name__ == "__main__":
    main()
