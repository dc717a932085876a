"""What a training step costs: jr.fit against hand-written flax and optax, against PyTorch, and its memory.

    python benchmarks/learning/training_cost.py                       # all of it, about 15 minutes
    python benchmarks/learning/training_cost.py --only hand --repeats 5

hand     a step of jr.fit against the same computation written out in plain flax and optax (plain_steps.py): an unrolled
         network for MRI (P = 5, 128 x 128, two images a step, a mask each) and a small learned primal-dual for CT. Same
         weights, batch and data; the losses are compared first; in turns, medians. Target: 1.10.
torch    the unrolled network in PyTorch (torch_side.py, in an environment of its own with the same cores), same weights
         and batch: the losses are compared first. To report, without a target.
memory   temporaries and time of a gradient at P = 10, rolled into a loop and written out, with and without checkpoint.
         Target: with checkpoint a third of the memory, rolled. On CPU convolutions inside a loop are slow.

Writes docs/learning/training_cost.csv.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxrecon as jr
from jaxrecon.learned import trainable

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import mri_data
import plain_steps
import runs
from sides import limit_threads, start
from timing import compile_and_median

SCRIPT = "training_cost"
HERE = Path(__file__).resolve().parent
OPTIMIZER = optax.adam(1e-3)  # one object: a second call of jr.fit does not compile again
STEPS = 8  # of one turn


class Feed:
    """The same batch at every step, as jr.fit wants its streams."""

    def __init__(self, batch, batched):
        self.examples, self.batched = batch, batched

    def batch(self, key, step):
        return self.examples


def mri():
    """(reconstructor, batch, leaves of A with a batch axis, hand-written loss)."""
    training, _ = mri_data.training_images()
    A, b, x = mri_data.fixed_examples(training, 2)
    net = jr.networks.ConvNet(channels=2, features=32, depth=4)
    r = jr.Unrolled(net, 5, dc=jr.SampleReplacement(0.02), key=jax.random.key(0))
    return livened(r), (A, b, x), ("mask",), plain_steps.unrolled_loss


def primal_dual():
    n = 64
    A = jr.XRay(jr.ParallelBeam(np.linspace(0, np.pi, 30, endpoint=False), 91), (n, n))
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.uniform(size=(2, n // 8, n // 8)).repeat(8, 1).repeat(8, 2), "float32")
    b = jax.vmap(A)(x)
    r = jr.LearnedPrimalDual(iterations=4, features=16, memory=3, key=jax.random.key(0))
    A = r.prepare(A)
    return livened(r), (A, b, x), (), plain_steps.primal_dual_loss


def livened(r):
    """With last layers that are not zero: all gradients are numbers like any other."""
    keys = iter(jax.random.split(jax.random.key(1), 1000))
    return jax.tree.map(lambda v, t: v + 0.02 * jax.random.normal(next(keys), v.shape, v.dtype)
                        if t and v.ndim > 1 else v, r, trainable(r))


# ---- jr.fit and the hand


def hand() -> list[dict[str, Any]]:
    return [against_hand("unrolled MRI, P = 5", *mri()), against_hand("learned primal-dual, P = 4", *primal_dual())]


def fitted(r, batch, batched) -> tuple[list[float], float]:
    """Seconds of the steps of one call of jr.fit but the first, which compiles; the first loss."""
    _, log = jr.fit(r, Feed(batch, batched), steps=STEPS + 1, optimizer=OPTIMIZER, key=jax.random.key(0),
                    progress=False)
    return list(np.diff(log.seconds)), float(log.loss[0])


def against_hand(label, r, batch, batched, loss) -> dict[str, Any]:
    step, state = plain_steps.stepper(loss, plain_steps.weights_of(r), batch, OPTIMIZER)
    _, first = step(state)
    times: dict[str, list[float]] = {"fit": [], "hand": []}
    losses = []
    for _ in range(ARGS.repeats):
        seconds, theirs = fitted(r, batch, batched)
        times["fit"].append(median(seconds))
        losses.append(theirs)
        each = []
        for _ in range(STEPS):
            begin = time.perf_counter()
            jax.block_until_ready(step(state))
            each.append(time.perf_counter() - begin)
        times["hand"].append(median(each))
    ratios = [a / b for a, b in zip(times["fit"], times["hand"], strict=True)]
    difference = abs(losses[0] - float(first)) / float(first)
    return {"what": label, "jr.fit s": median(times["fit"]), "other s": median(times["hand"]),
            "against": "hand-written", "ratio": median(ratios), "loss differs by": difference, "target": "<= 1.10"}


# ---- PyTorch


def torch() -> list[dict[str, Any]]:
    r, (A, b, x), _, loss = mri()
    with tempfile.TemporaryDirectory() as folder:
        problem = Path(folder) / "problem.npz"
        weights = {f"w{i:02d}": np.asarray(v) for i, v in enumerate(plain_steps.layers_of(r))}
        np.savez(problem, mask=np.asarray(A.mask), b=np.asarray(b), x=np.asarray(x), noise=np.asarray(r.dc.noise),
                 depth=r.net.factory.depth, **weights)
        sides = start({"torch": "torchkbnufft"}, HERE, problem, Path(folder))
        if not sides:
            return []
        side = sides["torch"]
        reply = side.ask(work="unrolled", repeat=0)
        if "answer" not in reply:
            print(f"torch: {reply.get('error', reply.get('absent'))}")
            return []
        theirs = float(np.load(reply["answer"]))
        step, state = plain_steps.stepper(loss, plain_steps.weights_of(r), (A, b, x), OPTIMIZER)
        first = float(step(state)[1])
        times: dict[str, list[float]] = {"fit": [], "torch": []}
        for _ in range(ARGS.repeats):
            times["fit"].append(median(fitted(r, (A, b, x), ("mask",))[0]))
            times["torch"].append(median(side.ask(work="unrolled", repeat=STEPS)["seconds"]))
        side.close()
    ratios = [a / b for a, b in zip(times["fit"], times["torch"], strict=True)]
    return [{"what": "unrolled MRI, P = 5", "jr.fit s": median(times["fit"]), "other s": median(times["torch"]),
             "against": "PyTorch", "ratio": median(ratios), "loss differs by": abs(theirs - first) / first,
             "target": "report"}]


# ---- memory


def memory() -> list[dict[str, Any]]:
    training, _ = mri_data.training_images()
    A, b, x = jax.tree.map(lambda v: v[0], mri_data.fixed_examples(training, 1))
    rows = []
    for rolled in (True, False):
        found = {}
        for checkpoint in (False, True):
            r = livened(jr.Unrolled(jr.networks.ConvNet(channels=2, features=32, depth=4), 10, rolled=rolled,
                                    dc=jr.SampleReplacement(0.02), checkpoint=checkpoint, key=jax.random.key(0)))

            def loss(parameters, r=r):
                net = dataclasses.replace(r.net, parameters=parameters)
                return jnp.mean(jnp.abs(dataclasses.replace(r, net=net)(A, b) - x) ** 2)

            compiled = jax.jit(jax.grad(loss)).lower(r.net.parameters).compile()
            seconds = compile_and_median(lambda c=compiled, r=r: c(r.net.parameters), repeats=3, budget=30)[1]
            found[checkpoint] = compiled.memory_analysis().temp_size_in_bytes / 2**20, seconds
        (without, slow), (with_, fast) = found[False], found[True]
        rows.append({"what": f"gradient at P = 10, {'rolled' if rolled else 'written out'}",
                     "MiB": f"{without:.1f} -> {with_:.1f}", "against": "checkpoint", "ratio": with_ / without,
                     "seconds": f"{slow:.3f} -> {fast:.3f}", "target": "<= 0.333" if rolled else "report"})
    return rows


WORKS = {"hand": hand, "torch": torch, "memory": memory}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=tuple(WORKS), default=list(WORKS))
    parser.add_argument("--repeats", type=int, default=9, help="turns")
    parser.add_argument("--threads", type=int, default=2, help="cores, of the other sides too")
    global ARGS
    ARGS = parser.parse_args()
    print(limit_threads(ARGS.threads))
    for name in ARGS.only:
        for i, row in enumerate(WORKS[name]()):
            runs.keep(SCRIPT, f"{name}-{i}", row)
    names = [f"{name}-{i}" for name in WORKS for i in range(2)]
    runs.show(SCRIPT, "The cost of a training step", list(runs.kept(SCRIPT, names).values()))


if __name__ == "__main__":
    main()
