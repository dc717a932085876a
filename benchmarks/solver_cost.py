"""What reconstruction costs: time and operator applications to come within 1e-2 and 1e-4 of the limit.

    python benchmarks/solver_cost.py                    # all of it: table, JSON and log-log figure, about 10 minutes
    python benchmarks/solver_cost.py --sizes 64 128     # smaller

1. Dense systems of growing N (2 N measurements, singular values falling from 1 to 1e-2): Tikhonov by direct SVD,
   Cholesky, CG, Kaczmarz, Landweber, FISTA and ADMM, every one on the objective 1/2 |Ax-b|^2 + lam/2 |x|^2, and the
   exponent p of time ~ N^p fitted to the sizes.
2. Multi-coil MRI, 4-fold undersampled: Tikhonov, wavelet-l1 and TV by every solver that fits.
"""

from __future__ import annotations

import argparse
import functools
import json
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from timing import compile_and_median, machine

import jaxrecon as jr
from jaxrecon.operator import LinearOperator
from jaxrecon.value import norm, value

TARGETS = (1e-2, 1e-4)
LAM = 1e-3
COUNTS = {"forward": 0, "adjoint": 0}


@value
class Counted(LinearOperator):
    """An operator that counts how often it runs, from inside compiled loops."""

    operator: LinearOperator

    @property
    def domain(self):
        return self.operator.domain

    @property
    def gram(self):
        return CountedGram(self.operator.gram)

    @property
    def prepared(self):
        return Counted(self.operator.prepared)

    def apply(self, x):
        _count("forward")
        return self.operator.apply(x)

    def apply_adjoint(self, y):
        _count("adjoint")
        return self.operator.apply_adjoint(y)


@value
class CountedGram(LinearOperator):
    operator: LinearOperator

    @property
    def domain(self):
        return self.operator.domain

    def apply(self, x):
        _count("forward")
        _count("adjoint")
        return self.operator.apply(x)

    def apply_adjoint(self, y):
        return self.apply(y)


def _count(side):
    jax.debug.callback(lambda: COUNTS.__setitem__(side, COUNTS[side] + 1))


class Row(NamedTuple):
    problem: str
    size: int
    method: str
    target: float | None  # |x - x*| / |x*|, or (F - F*) / F* for l1 and TV; None for a direct solve
    iterations: int | None
    compile_s: float
    setup_s: float  # factorisation, step size by power iteration, and the first iteration
    seconds: float  # setup included
    forward: float | None
    adjoint: float | None
    reached: float


def dense_problem(n: int):
    """A 2n x n system with singular values from 1 to 1e-2, in float32, and its exact regularised solution."""
    rng = np.random.default_rng(n)
    u, _ = np.linalg.qr(rng.standard_normal((2 * n, n)))
    v, _ = np.linalg.qr(rng.standard_normal((n, n)))
    a = (u * np.geomspace(1, 1e-2, n)) @ v.T
    b = a @ rng.standard_normal(n) + 1e-3 * rng.standard_normal(2 * n)
    limit = np.linalg.solve(a.T @ a + LAM * np.eye(n), a.T @ b)
    return jr.Matrix(jnp.asarray(a, jnp.float32)), jnp.asarray(b, jnp.float32), jnp.asarray(limit, jnp.float32)


def distance(limit, A, b, x):
    """|x - x*| / |x*|."""
    return norm(x - limit) / norm(limit)


def objective_gap(lowest_and_prior, A, b, x):
    """(F(x) - F*) / F*, for objectives that are flat around their minimum."""
    lowest, prior = lowest_and_prior
    return jnp.abs(norm(A(x) - b) ** 2 / 2 + prior(x) - lowest) / lowest


def iterative(problem: str, size: int, method: str, A, b, measure, solver, most: int, formula=None) -> list[Row]:
    """One row per target: iterations by the recorded `measure`, then that many iterations timed by themselves.

    `formula`: (A, A^H) per iteration where rows or a factor of A are used instead of A itself, else they are counted.
    """
    history = np.asarray(jr.solve(A, b, solver, most, record=measure).history)
    # With no iteration at all the compiler would drop the setup, too.
    setup = compile_and_median(lambda: jr.solve(A, b, solver, 1).x)[1]
    rows = []
    for target in TARGETS:
        below = np.flatnonzero(history <= target)
        if not len(below):
            rows.append(Row(problem, size, method, target, None, 0.0, setup, float("nan"), None, None,
                            float(np.nanmin(history))))
            continue
        k = int(below[0]) + 1
        compiling, seconds = compile_and_median(lambda k=k: jr.solve(A, b, solver, k).x)
        if formula is None:
            COUNTS.update(forward=0, adjoint=0)
            jax.block_until_ready(jr.solve(Counted(A), b, solver, k).x)
            jax.effects_barrier()
            applications = dict(COUNTS)
        else:
            applications = {"forward": formula[0] * k, "adjoint": formula[1] * k}
        rows.append(Row(problem, size, method, target, k, compiling, setup, seconds, applications["forward"],
                        applications["adjoint"], float(history[k - 1])))
    return rows


def direct(size: int, method: str, A, b, limit) -> Row:
    compiling, seconds = compile_and_median(lambda: jr.tikhonov(A, b, LAM, method=method))
    reached = float(distance(limit, A, b, jr.tikhonov(A, b, LAM, method=method)))
    return Row("dense", size, method, None, None, compiling, seconds, seconds, None, None, reached)


def dense_rows(n: int) -> list[Row]:
    A, b, limit = dense_problem(n)
    # Landweber knows no lam: it gets the system [A; sqrt(lam) I], whose least-squares solution is Tikhonov's.
    augmented = jr.Matrix(jnp.concatenate([A.a, jnp.sqrt(LAM) * jnp.eye(n, dtype=jnp.float32)]))
    padded = jnp.concatenate([b, jnp.zeros(n, jnp.float32)])
    near = jr.Partial(distance, limit)
    solve = functools.partial(iterative, "dense", n)
    return [
        direct(n, "svd", A, b, limit),
        direct(n, "cholesky", A, b, limit),
        *solve("cg", A, b, near, jr.CGNR(LAM), 300),
        *solve("kaczmarz", A, b, near, jr.Kaczmarz(LAM), 20000, formula=(1, 1)),
        *solve("landweber", augmented, padded, near, jr.Landweber(), 20000),
        *solve("fista", A, b, near, jr.FISTA(jr.L2(LAM), restart=True), 3000),
        *solve("admm", A, b, near, jr.ADMM(jr.L2(LAM), rho=10 * LAM), 3000, formula=(0, 0)),
    ]


def mri_problem(size: int):
    key = jax.random.key(0)
    maps = jr.simulate.coil_maps((size, size), 8).astype(jnp.complex64)
    mask = jr.simulate.variable_density_mask(key, (size, size), acceleration=4, calibration=size // 8)
    A = jr.sense(maps, mask)
    truth = jr.simulate.shepp_logan((size, size)).astype(jnp.complex64)
    return A, jr.simulate.add_noise(jax.random.key(1), A(truth), snr=30.0, mask=mask)


def mri_rows(size: int) -> list[Row]:
    A, b = mri_problem(size)
    wavelet = jr.L1(2e-3, transform=jr.Wavelet((size, size), "db4", levels=3))
    tv = jr.TV(2e-3)
    ridge = jr.L2(1e-2)
    problems: list[tuple[str, list[tuple[str, Any, int]], Any, tuple[Any, int]]] = [
        ("mri tikhonov", [("cg", jr.CGNR(1e-2), 200), ("landweber-l2", jr.ISTA(ridge), 3000),
                          ("fista", jr.FISTA(ridge, restart=True), 1000), ("admm", jr.ADMM(ridge, rho=0.1), 300)],
         None, (jr.CGNR(1e-2), 400)),
        ("mri wavelet-l1", [("ista", jr.ISTA(wavelet), 3000), ("fista", jr.FISTA(wavelet), 1500),
                            ("fista restart", jr.FISTA(wavelet, restart=True), 1500), ("pogm", jr.POGM(wavelet), 1500),
                            ("admm", jr.ADMM(wavelet, rho=0.1), 500), ("condat-vu", jr.CondatVu(wavelet), 3000)],
         wavelet, (jr.FISTA(wavelet, restart=True), 6000)),
        ("mri tv", [("fista", jr.FISTA(tv, restart=True), 1000), ("admm", jr.ADMM(tv, rho=0.1), 500),
                    ("pdhg", jr.PDHG(tv), 4000), ("condat-vu", jr.CondatVu(tv), 4000)],
         tv, (jr.FISTA(tv, restart=True), 2000)),
    ]
    rows = []
    for name, methods, prior, (reference, iterations) in problems:
        limit = jr.solve(A, b, reference, iterations).x
        if prior is None:
            measure = jr.Partial(distance, limit)
        else:
            lowest = jnp.min(jr.solve(A, b, reference, iterations, record="objective").history)
            measure = jr.Partial(objective_gap, (lowest, prior))
        for method, solver, most in methods:
            rows += iterative(name, size, method, A, b, measure, solver, most)
            print_rows(rows[-len(TARGETS):])
    return rows


def exponents(rows: list[Row]) -> dict[str, float]:
    """p of time ~ N^p over the dense sizes, from the rows at the tighter target (and the direct solves)."""
    fitted = {}
    for method in dict.fromkeys(r.method for r in rows if r.problem == "dense"):
        points = [(r.size, r.seconds) for r in rows if r.problem == "dense" and r.method == method
                  and r.target in (None, TARGETS[-1]) and np.isfinite(r.seconds)]
        if len(points) > 1:
            n, t = np.log(np.array(points)).T
            fitted[method] = float(np.polyfit(n, t, 1)[0])
    return fitted


def print_rows(rows: list[Row]) -> None:
    for r in rows:
        goal = "direct" if r.target is None else f"{r.target:.0e}"
        applied = "-" if r.forward is None else f"{r.forward:.0f}+{r.adjoint:.0f}"
        print(f"{r.problem:15s} {r.size:5d} {r.method:14s} {goal:>7s} {r.iterations or '-':>6} "
              f"{r.compile_s:8.2f} {1e3 * r.setup_s:9.2f} {1e3 * r.seconds:10.2f} {applied:>11s} {r.reached:9.1e}",
              flush=True)


def figure(rows: list[Row], fitted: dict[str, float], path: Path) -> None:
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    fig, ax = plt.subplots(figsize=(6.4, 4.4), layout="constrained")
    for method, p in fitted.items():
        points = [(r.size, r.seconds) for r in rows if r.problem == "dense" and r.method == method
                  and r.target in (None, TARGETS[-1]) and np.isfinite(r.seconds)]
        ax.loglog(*zip(*points, strict=True), "o-", label=f"{method}, ~N^{p:.1f}", base=10)
    ax.set(xlabel="unknowns N (2N measurements)", ylabel="seconds, setup included",
           title=f"Tikhonov to {TARGETS[-1]:.0e} of the limit, or directly")
    ax.grid(which="both", alpha=0.3)
    ax.legend(fontsize=8)
    fig.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 128, 256, 512, 1024])
    parser.add_argument("--mri", type=int, default=128, help="image size of the MRI problem; 0 leaves it out")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results"))
    args = parser.parse_args()
    print(f"{'problem':15s} {'N':>5s} {'method':14s} {'to':>7s} {'its':>6s} {'comp. s':>8s} {'setup ms':>9s} "
          f"{'total ms':>10s} {'A + A^H':>11s} {'reached':>9s}")
    rows: list[Row] = []
    for n in args.sizes:
        rows += dense_rows(n)
        print_rows([r for r in rows if r.size == n and r.problem == "dense"])
    fitted = exponents(rows)
    print("fitted exponents:", ", ".join(f"{m} {p:.2f}" for m, p in fitted.items()))
    if args.mri:
        rows += mri_rows(args.mri)
    args.output.mkdir(parents=True, exist_ok=True)
    report = {"machine": machine(), "lam": LAM, "exponents": fitted, "rows": [r._asdict() for r in rows]}
    (args.output / "solver_cost.json").write_text(json.dumps(report, indent=1))
    if len(args.sizes) > 1:
        figure(rows, fitted, args.output / "solver_cost.png")
    print(f"wrote {args.output}/solver_cost.json" + (" and .png" if len(args.sizes) > 1 else ""))


if __name__ == "__main__":
    main()
