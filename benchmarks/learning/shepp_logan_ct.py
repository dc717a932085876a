"""The Shepp-Logan phantom from 30 views: learned primal-dual, trained on other phantoms, against exact TV.

    python benchmarks/learning/shepp_logan_ct.py [--minutes 30] [--resume] [--steps 2500]

The protocol of deepinv's learned primal-dual demo: 64 x 64 pixels, its dense operator (30 views, 91 detectors) divided
by its norm, noise .01; its published network reaches 19.07 dB. Training and validation see random phantoms only, made
on the fly: an oval body with a rim and a random number of ellipses in it; sizes, places and values are drawn from wide
ranges. The test is the Shepp-Logan phantom with 20 noise seeds, and the stored sinogram. lam of TV is the best on the
test itself, in its favour. Needs ../shared/data. PSNR for the range [0, 1], as it comes and clipped to that range.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import primal_dual
import runs

import jaxrecon as jr
from jaxrecon.analytic.filters import ramp_filter

SCRIPT, NAMES = "shepp_logan_ct", ("classical", "lpd")
DATA = runs.ROOT / ".." / "shared" / "data" / "ct_deepinv_shepp64.npz"
SHAPE, VIEWS, DETECTORS, SIGMA, SEEDS = (64, 64), 30, 91, 0.01, 20
LAMS = (3e-4, 6e-4, 1e-3)
MOST = 16  # ellipses in a body
TRAINING, VALIDATION, TEST = (jax.random.key(seed) for seed in (0, 1, 2))


@jr.value
class Tomography(jr.LinearOperator):
    """deepinv's operator, rows by detector and view, as one of images and sinograms (views, detectors).

    Both the matrix and its transpose, and the batch as their last axis: else XLA transposes 45 MB at every use.
    """

    forward: Any
    backward: Any

    @property
    def domain(self):
        return jax.ShapeDtypeStruct(SHAPE, self.forward.dtype)

    def apply(self, x):
        y = jr.matched_pair(_forward, _backward, self, x.ravel()[:, None], batch_last=True)
        return y.reshape(DETECTORS, VIEWS).T

    def apply_adjoint(self, y):
        x = jr.matched_pair(_backward, _forward, self, y.T.ravel()[:, None], batch_last=True)
        return x.reshape(SHAPE)


def _forward(A: Tomography, x: jax.Array) -> jax.Array:
    return A.forward @ x


def _backward(A: Tomography, y: jax.Array) -> jax.Array:
    return A.backward @ y


def inside(half: jax.Array, centre: jax.Array, angle: jax.Array) -> jax.Array:
    """Where an ellipse is, on [-1, 1]^2."""
    t = (jnp.arange(SHAPE[0]) + 0.5) / SHAPE[0] * 2 - 1
    dx, dy = t[None, :] - centre[0], t[:, None] - centre[1]
    u, v = jnp.cos(angle) * dx + jnp.sin(angle) * dy, jnp.cos(angle) * dy - jnp.sin(angle) * dx
    return (u / half[0]) ** 2 + (v / half[1]) ** 2 <= 1


def phantom(key: jax.Array) -> jax.Array:
    """An oval body with a rim; ellipses in it add to its value or take from it. Piecewise constant, in [0, 1]."""
    keys = jax.random.split(key, 11)
    between = jax.random.uniform
    half, centre = between(keys[0], (2,), minval=0.4, maxval=0.95), between(keys[1], (2,), minval=-0.15, maxval=0.15)
    angle, rim = between(keys[2], maxval=np.pi), between(keys[3], maxval=0.25)
    outer, body = inside(half, centre, angle), inside((1 - rim) * half, centre, angle)
    values = between(keys[4], (2,))
    start = jnp.where(body, values[0], jnp.where(outer, values[1], 0))

    def add(x, ellipse):
        return x + jnp.where(inside(*ellipse[:3]) & body, ellipse[3], 0), None

    count = jax.random.randint(keys[5], (), 1, MOST + 1)
    halves = 0.02 + 0.5 * between(keys[6], (MOST, 2)) ** 2
    offsets = 0.8 * half * between(keys[7], (MOST, 2), minval=-1.0)
    contrasts = between(keys[8], (MOST,), minval=0.05, maxval=0.5) * jax.random.rademacher(keys[9], (MOST,), float)
    contrasts = jnp.where(jnp.arange(MOST) < count, contrasts, 0)
    angles = between(keys[10], (MOST,), maxval=np.pi)
    return jnp.clip(jax.lax.scan(add, start, (halves, centre + offsets, angles, contrasts))[0], 0, 1)


def measure(A: Any, x: jax.Array, key: jax.Array) -> jax.Array:
    return A(x) + SIGMA * jax.random.normal(key, A.codomain.shape, x.dtype)


def example(A: Any, key: jax.Array) -> tuple[Any, jax.Array, jax.Array]:
    image, noise = jax.random.split(key)
    x = phantom(image)
    return A, measure(A, x, noise), x


def filtered_backprojection(norm: float):
    """By deepinv's scale: its operator counts lengths in pixels, divided by `norm`."""
    return lambda A, b: norm**2 * np.pi / VIEWS * A.H(ramp_filter(b, 1.0))


class Test:
    """The phantom, the stored sinogram and those of 20 noise seeds."""

    def __init__(self, A: Any, x: jax.Array, stored: jax.Array):
        self.A, self.x = A, x
        seeds = jax.vmap(lambda key: measure(A, x, key))(jax.random.split(TEST, SEEDS))
        self.b = jnp.concatenate([stored[None], seeds])

    def row(self, method: str, r: Any, note: str = "", **more: Any) -> dict[str, Any]:
        found = jax.jit(jax.vmap(lambda A, b: r(A, b), (None, 0)))(self.A, self.b)
        db, clipped = decibels(found, self.x), decibels(jnp.clip(found, 0, 1), self.x)
        return {"method": method, "stored dB": f"{db[0]:.2f}", "stored, clipped": f"{clipped[0]:.2f}",
                "20 seeds dB": f"{db[1:].mean():.2f}", "20 seeds, clipped": f"{clipped[1:].mean():.2f}",
                "lowest": f"{db[1:].min():.2f}", "trained for": "-", "note": note} | more


def decibels(images: jax.Array, x: jax.Array) -> np.ndarray:
    return -10 * np.log10(np.mean((np.asarray(images, float) - np.asarray(x, float)) ** 2, axis=(1, 2)))


def classical(norm: float) -> dict[str, tuple[Any, str]]:
    """Reconstructors and notes, by the labels of their rows."""
    found = {"adjoint": (jr.ZeroFilled(), ""), "FBP": (filtered_backprojection(norm), "deepinv's ramp")}
    found |= {f"CG, {n} iterations": (jr.Iterative(jr.CGNR(), n), "") for n in (5, 10, 20, 50)}
    return found | {f"exact TV, lam {lam:g}": (total_variation(lam), "1000 iterations") for lam in LAMS}


def total_variation(lam: float) -> jr.Iterative:
    return jr.Iterative(jr.FISTA(jr.TV(lam, inner=20)), 1000)


def learned(test: Test, arguments: Any) -> dict[str, Any]:
    steps = arguments.steps or 2500
    A = test.A
    initial = jr.Iterative(jr.CGNR(), 6)
    r = primal_dual.reconstructor(arguments.iterations, arguments.features, initial, jax.random.key(0))
    rate = optax.warmup_cosine_decay_schedule(0.0, arguments.rate, min(100, steps // 10), steps)
    validation = jax.jit(jax.vmap(lambda A, key: example(A, key)[1:], (None, 0)))(A, jax.random.split(VALIDATION, 128))
    data = jr.Simulated(jr.Partial(example, A), arguments.batch)
    run = runs.train(SCRIPT, "lpd", r, data, steps, minutes=arguments.minutes, resume=arguments.resume, key=TRAINING,
                     optimizer=optax.adam(rate, b1=0.9, b2=0.99), clip=1.0,
                     validation=(A, *validation))
    row = test.row("learned primal-dual", run.reconstructor, f"{run.note}, batch {arguments.batch}",
                   **{"trained for": f"{run.seconds / 60:.0f} min"})
    images = {"CG, 10 iterations": jr.Iterative(jr.CGNR(), 10),
              "exact TV": total_variation(LAMS[0]), "learned primal-dual": run.reconstructor}
    shown = {name: np.clip(r(A, test.b[0]), 0, 1) for name, r in images.items()}
    shown["a training phantom"] = np.asarray(validation[1][0])
    figure = jr.plots.compare(shown, reference=np.asarray(test.x), data_range=1.0, title="Shepp-Logan, 30 views")
    runs.DOCS.mkdir(parents=True, exist_ok=True)
    jr.plots.save_figure(figure, runs.DOCS / f"{SCRIPT}.png", dpi=70)
    return row


def main() -> None:
    parser = runs.parser(__doc__, NAMES)
    parser.add_argument("--features", type=int, default=24)
    parser.add_argument("--iterations", type=int, default=6)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rate", type=float, default=2e-3, help="of Adam, at the beginning")
    arguments = parser.parse_args()
    f = np.load(DATA, allow_pickle=False)
    A = Tomography(jnp.asarray(f["matrix"]), jnp.asarray(f["matrix"].T))
    test = Test(A, jnp.asarray(f["x"]), jnp.asarray(f["sino"]))
    if "classical" in arguments.only:
        runs.keep(SCRIPT, "classical", {label: test.row(label, *of)
                                        for label, of in classical(float(f["operator_norm"])).items()})
    if "lpd" in arguments.only:
        runs.keep(SCRIPT, "lpd", learned(test, arguments))
    kept = runs.kept(SCRIPT, NAMES)
    rows = [*kept.get("classical", {}).values(), *([kept["lpd"]] if "lpd" in kept else [])]
    rows.append({"method": "learned primal-dual, as deepinv publishes it", "stored dB": "19.07"})
    runs.show(SCRIPT, "Shepp-Logan CT-64, trained on random phantoms", rows)


if __name__ == "__main__":
    main()
