# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 2. What solvers cost
#
# How time grows with the number of pixels, how the number of iterations grows with the condition number, and why
# classical reconstructions need tens to a thousand iterations.
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/jaxrecon/jaxrecon/blob/main/notebooks/02_what_solvers_cost.ipynb)

# %%
# Installs jaxrecon where it is missing (Colab) and keeps compiled programs between runs.
import importlib.util
import os
import subprocess
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # XLA's false alarms about programs that it kept
if importlib.util.find_spec("jaxrecon") is None:
    subprocess.run([sys.executable, "-m", "pip", "install", "-q",
                    "jaxrecon[plots] @ git+https://github.com/jaxrecon/jaxrecon"], check=True)

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import jaxrecon as jr

jax.config.update("jax_compilation_cache_dir", "/tmp/jaxrecon-cache")
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)

# %%
import json
import time

plt.rcParams.update({"figure.dpi": 80, "font.size": 9})


def seconds(f, *args, budget=3.0):
    """The fewest CPU seconds of 3 to 50 runs, compiled before; other programs on the machine hardly change them."""
    jax.block_until_ready(f(*args))
    times = []
    while len(times) < 3 or (sum(times) < budget and len(times) < 50):
        start = time.process_time()
        jax.block_until_ready(f(*args))
        times.append(time.process_time() - start)
    return min(times)


def slope(n, t):
    """p of t = c n^p, fitted to the logarithms."""
    return float(np.polyfit(np.log(n), np.log(t), 1)[0])


def first_below(history, level):
    """The first iteration whose value is at most `level`; None if there is none."""
    below = np.asarray(history) <= level
    return int(below.argmax()) + 1 if below.any() else None


# %% [markdown]
# ## Direct or iterative
#
# Tikhonov's image has a closed form, $\hat x = (A^H A + \lambda I)^{-1} A^H b$. With $N$ pixels the matrix of $A$ has
# $N^2$ entries, and
#
# | | operations | memory |
# |---|---|---|
# | singular value decomposition | $O(N^3)$, with a large constant | $N^2$ |
# | Cholesky factorisation | $O(N^3)$ | $N^2$ |
# | one iteration with a dense matrix | $O(N^2)$ | $N^2$ |
# | one iteration with $A$ as a function (here a blur by FFT) | $O(N \log N)$ | $N$ |
#
# The same problem, solved in all four ways.

# %%
LAM, ITERATIONS = 0.01, 40


def blur(n):
    g = jnp.exp(-(jnp.arange(7) - 3) ** 2 / (2 * 0.8**2))
    return jr.Convolution(jnp.outer(g, g) / g.sum() ** 2, (n, n))


def cholesky(A, b):
    return jr.tikhonov(A, b, LAM, method="cholesky")


def cg(A, b):
    return jr.solve(A, b, jr.CGNR(LAM), iterations=ITERATIONS).x


@jax.jit
def svd(A, b):
    return jr.svd(A).tikhonov(b, LAM)


methods = {"SVD": (svd, (12, 14, 17, 20, 24)), "Cholesky": (cholesky, (14, 20, 28, 40)),
           "CG, dense": (cg, (14, 20, 28, 40)), "CG, matrix-free": (cg, (64, 128, 256, 512))}
times, images = {name: [] for name in methods}, {}
for name, (method, sides) in methods.items():
    for n in sides:
        A = blur(n)
        b = jr.simulate.add_noise(jax.random.key(0), A(jr.simulate.shepp_logan((n, n))), sigma=0.01)
        if "free" not in name:
            A, b = jr.Matrix(jr.dense(A)), b.ravel()
        times[name].append(seconds(method, A, b))
        images[name, n] = method(A, b)

pixels = {name: np.square(sides) for name, (_, sides) in methods.items()}
exponents = {name: slope(pixels[name], t) for name, t in times.items()}
expected = {"SVD": 3, "Cholesky": 3, "CG, dense": 2, "CG, matrix-free": 1}
print("                 CPU seconds at N   exponent measured, predicted   by the prediction for 256 x 256")
for name, t in times.items():
    there = t[-1] * (65536 / pixels[name][-1]) ** expected[name]
    memory = "no matrix" if "free" in name else f"{4 * 65536**2 / 1e9:.0f} GB for the matrix"
    print(f"{name:15} {t[-1]:8.2g} at {pixels[name][-1]:6}  {exponents[name]:18.1f}, {expected[name]:9}   "
          f"{there:10.2g} s, {memory}")
assert all(jr.metrics.nrmse(images[name, 20], images["SVD", 20]) < 1e-3 for name in ("Cholesky", "CG, dense"))

figure, axis = plt.subplots(figsize=(5.6, 3), layout="constrained")
for name, t in times.items():
    axis.loglog(pixels[name], t, "o-", label=f"{name}: $N^{{{exponents[name]:.1f}}}$")
axis.set(xlabel="pixels N", ylabel="CPU seconds", title="one Tikhonov reconstruction")
axis.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
plt.show()

# %% [markdown]
# All three ways with a matrix give the same image (asserted). The legend has the measured exponents beside the
# predicted 3, 3, 2 and
# 1; small sizes, caches and a busy machine shift them by a few tenths. For an ordinary image a factorisation is out of
# reach, first of all by its memory. So reconstruction is iterative, and what
# counts is the *number* of iterations. From here on only counts are compared: they are the same on every machine.

# %% [markdown]
# ## CG beats Landweber
#
# Landweber's iteration is gradient descent, $x \leftarrow x - t A^H (A x - b)$ with $t = 1/|A|^2$. A component with
# singular value $s$ has the error $(1 - s^2/|A|^2)^k$ after $k$ iterations: with the condition number
# $\kappa = s_{\max}/s_{\min}$ it needs about $\kappa^2$ iterations. CG picks the best of all polynomials of
# degree $k$ and needs about $\kappa$. Both cost one $A$ and one $A^H$ each time.

# %%
def with_condition(key, kappa, n=96):
    """A matrix with singular values from 1 down to 1/kappa."""
    u, v = (jnp.linalg.qr(jax.random.normal(k, (n, n)))[0] for k in jax.random.split(key))
    return jr.Matrix(u * jnp.geomspace(1, 1 / kappa, n) @ v)


truth = jax.random.normal(jax.random.key(1), (96,))
kappas, counts = (3, 10, 30, 100), {"Landweber": [], "CG": []}
near = jr.Partial(lambda truth, A, b, x: jr.metrics.nrmse(x, truth), truth)
for kappa in kappas:
    A = with_condition(jax.random.key(2), kappa)
    b = A(truth)
    for name, solver, most in (("Landweber", jr.Landweber(), 40000), ("CG", jr.CGNR(), 400)):
        history = jr.solve(A, b, solver, iterations=most, record=near).history
        counts[name].append(first_below(history, 0.01))

print("iterations to an error of 1 %")
print("condition number " + "".join(f"{k:8}" for k in kappas) + "   exponent")
growth = {}
for name, row in counts.items():
    growth[name] = slope(kappas, row)
    print(f"{name:16} " + "".join(f"{v:8}" for v in row) + f"   {growth[name]:8.2f}")
assert growth["Landweber"] > 1.6 and growth["CG"] < 1.2
assert all(c < l for c, l in zip(counts["CG"], counts["Landweber"], strict=True))

# %% [markdown]
# The measured exponents are close to the predicted 2 and 1, so the advantage of CG grows with the condition number. The
# same on the scan that all notebooks share: CT, 30 views, 64 x 64 pixels, without noise. How many iterations until the
# sinogram is explained?

# %%
SHAPE = (64, 64)
CT = jr.simulate.sparse_view_ct(SHAPE, views=30).A
head = jr.simulate.shepp_logan(SHAPE)
sinogram = CT(head)
size = float(jnp.linalg.norm(sinogram))
levels, ct_counts = (0.1, 0.03, 0.01, 0.003), {}
print("|A x - b| / |b| " + "".join(f"{v:8.1%}" for v in levels))
for name, solver in (("Landweber", jr.Landweber()), ("CG", jr.CGNR())):
    residual = jr.solve(CT, sinogram, solver, iterations=2000, record="residual").history
    ct_counts[name] = [first_below(residual / size, v) for v in levels]
    print(f"{name:15} " + "".join(f"{v:8}" for v in ct_counts[name]))
assert all(4 * c < l for c, l in zip(ct_counts["CG"], ct_counts["Landweber"], strict=True))

# %% [markdown]
# The better the fit, the larger CG's lead.

# %% [markdown]
# ## Landweber diverges for steps above 2/|A|²
#
# The factor $1 - t s^2$ of the largest singular value has a magnitude above 1 as soon as $t > 2/|A|^2$. No line search
# rescues plain Landweber: the step has to be known. `jr.Landweber()` finds $|A|$ by power iteration; here it is told.

# %%
norm = float(jr.operator_norm(CT))
steps = (0.5, 1.0, 1.9, 2.1, 2.5)
figure, axis = plt.subplots(figsize=(5.6, 3), layout="constrained")
diverging = {}
print("t |A|^2   |A x - b| after 300   all finite   ok, given a tolerance")
for t in steps:
    solver = jr.Landweber(step_size=t / norm**2)
    fixed = jr.solve(CT, sinogram, solver, iterations=300, record="residual")
    stopped = jr.solve(CT, sinogram, solver, iterations=300, tolerance=1e-3)
    diverging[t] = {"residual": float(fixed.history[-1]), "ok": bool(fixed.ok), "reached": bool(stopped.ok)}
    print(f"{t:7}   {fixed.history[-1]:19.3g}   {fixed.ok!s:>10}   {stopped.ok!s:>21}")
    axis.semilogy(np.arange(1, 301), fixed.history, label=f"{t}")
axis.set(xlabel="iteration", ylabel="|A x − b|", ylim=(1e-2, 1e8), title="Landweber on 30-view CT")
axis.legend(title="t |A|²", frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
plt.show()
assert all(diverging[t]["residual"] < 1 and diverging[t]["reached"] for t in steps if t < 2)
assert all(not diverging[t]["residual"] < 1e6 and not diverging[t]["reached"] for t in steps if t > 2)
assert not diverging[2.5]["ok"]

# %% [markdown]
# Just above 2 the residual explodes; `solution.ok` is False as soon as numbers overflow (at 2.5 here), or, given a
# `tolerance`, whenever it was not reached. At 2.1 without a tolerance everything is still finite after 300 iterations
# and `ok` is True: look at the residual too.

# %% [markdown]
# ## One Kaczmarz sweep against CG
#
# Kaczmarz projects on one equation $\langle a_k, x\rangle = b_k$ after the other and uses what it has just learned
# at once. A sweep over all rows reads the matrix twice, like one CG iteration. It needs rows: a `jr.Matrix`, here of
# 30 views of a 32 x 32 image.

# %%
small = jr.simulate.shepp_logan((32, 32))
rows = jr.Matrix(jr.dense(jr.simulate.sparse_view_ct((32, 32), views=30).A))
near = jr.Partial(lambda truth, A, b, x: jr.metrics.nrmse(x, truth), small.ravel())
solvers = {"Kaczmarz, shuffled rows": jr.Kaczmarz(order="shuffled", key=jax.random.key(0)), "CG": jr.CGNR(),
           "Landweber": jr.Landweber()}
figure, axes = plt.subplots(1, 2, figsize=(7.5, 2.8), layout="constrained", sharey=True)
errors = {}
for axis, sigma in zip(axes, (0.0, 0.01), strict=True):
    exact = rows(small.ravel())
    b = jr.simulate.add_noise(jax.random.key(0), exact, sigma=sigma * float(exact.max()))
    for name, solver in solvers.items():
        errors[name, sigma] = np.asarray(jr.solve(rows, b, solver, iterations=100, record=near).history)
        axis.loglog(np.arange(1, 101), errors[name, sigma], label=name)
    axis.set(title=f"noise {sigma:.0%} of the maximum", xlabel="iterations or sweeps")
axes[0].set_ylabel("|x − truth| / |truth|")
axes[1].legend(frameon=False, fontsize=8)
plt.show()

one_sweep = float(errors["Kaczmarz, shuffled rows", 0.0][0])
as_many = {name: first_below(errors[name, 0.0], one_sweep) for name in ("CG", "Landweber")}
print(f"error after one sweep: {one_sweep:.2f}; to get there CG needs {as_many['CG']} iterations, Landweber "
      f"{as_many['Landweber']}")
last = {name: float(errors[name, 0.0][-1]) for name in solvers}
print("after 100: " + ", ".join(f"{name} {v:.2f}" for name, v in last.items()))
noisy = {name: (float(errors[name, 0.01].min()), int(errors[name, 0.01].argmin()) + 1, float(errors[name, 0.01][-1]))
         for name in solvers}
for name, (lowest, when, end) in noisy.items():
    print(f"with noise, {name}: best {lowest:.2f} at {when}, {end:.2f} after 100")
assert as_many["CG"] >= 3 and as_many["Landweber"] > as_many["CG"]
assert last["CG"] < last["Kaczmarz, shuffled rows"]
assert all(noisy[name][2] > noisy[name][0] + 0.05 for name in ("Kaczmarz, shuffled rows", "CG"))

# %% [markdown]
# One sweep is worth several CG iterations and tens of Landweber's, which is why MPI and CT use Kaczmarz with a
# handful of sweeps. It does not stay ahead: run long enough, CG overtakes it on exact data. With noise the errors of
# Kaczmarz and CG rise again after their best iteration: going on fits the noise, and stopping is a regularisation
# (notebook 3).

# %% [markdown]
# ## Why 10 to 1000 iterations: TV and l1
#
# With a prior there is no CG. The proximal methods alternate a gradient step with the prior's prox: ISTA (gradient
# descent), FISTA (with momentum, rate $1/k^2$ where ISTA has $1/k$). ADMM and PDHG split the prior off. How many
# iterations until the PSNR stays within 0.1 dB of its limit? The scans are those of the lecture: 4-fold MRI and
# 30-view CT, 64 x 64, 30 dB of noise; $\lambda$ is the best of a short list.

# %%
W = jr.Wavelet(SHAPE, "db2", levels=3)
makers = {"TV": jr.TV, "wavelet l1": lambda lam: jr.L1(lam, transform=W)}
scans = {"MRI": jr.simulate.cartesian_mri(SHAPE, acceleration=4, snr=30),
         "CT": jr.simulate.sparse_view_ct(SHAPE, views=30, snr=30)}


def quality(truth, A, b, x):
    return jr.metrics.psnr(x, truth, data_range=1.0)


def watched(truth, prior, A, b, x):
    """Objective and PSNR of an iterate."""
    return jnp.stack([jnp.sum(jnp.abs(A(x) - b) ** 2) / 2 + prior(x), quality(truth, A, b, x)])


def settled(history, limit):
    """From which iteration on all values are within 0.1 dB of the limit; None where the last one is not."""
    far = np.flatnonzero(np.abs(np.asarray(history) - limit) > 0.1)
    if len(far) and far[-1] == len(history) - 1:
        return None
    return int(far[-1]) + 2 if len(far) else 1


needed, gaps, limits, lowest, best_lam = {}, {}, {}, {}, {}
for task, scan in scans.items():
    A, b, x = scan(jax.random.key(2))
    for prior, make in makers.items():
        def admm(lam, make=make):
            return jr.ADMM(make(lam), rho=10 * lam)

        lams = jnp.geomspace(3e-4, 1e-2, 6)
        scores = [float(quality(x, A, b, jr.solve(A, b, admm(v), iterations=100).x)) for v in lams]
        lam = lams[int(np.argmax(scores))]
        runs = {"ISTA": (jr.ISTA(make(lam)), 3000), "FISTA": (jr.FISTA(make(lam)), 1000), "ADMM": (admm(lam), 300),
                "PDHG": (jr.PDHG(make(lam)), 3000)}
        histories = {name: jr.solve(A, b, solver, iterations=n, record=jr.Partial(watched, x, make(lam))).history
                     for name, (solver, n) in runs.items()}
        values = {name: np.asarray(h).T for name, h in histories.items()}
        limit = float(values["ADMM"][1][-1])
        limits[task, prior], best_lam[task, prior] = limit, lam
        lowest[task, prior] = min(float(v[0].min()) for v in values.values())
        for name, (objective, score) in values.items():
            needed[task, prior, name] = settled(score, limit)
            gaps[task, prior, name] = objective / lowest[task, prior] - 1

print("iterations until within 0.1 dB for good    limit      ISTA    FISTA     ADMM     PDHG")
for (task, prior), limit in limits.items():
    row = [needed[task, prior, name] for name in ("ISTA", "FISTA", "ADMM", "PDHG")]
    print(f"{task + ', ' + prior:39} {limit:5.1f} dB " + "".join(f"{v or '> 3000':>9}" for v in row))

fastest, slowest = min(v for v in needed.values() if v), max(v or 3001 for v in needed.values())
assert fastest <= 20 and slowest > 1000
ratios = [(needed[task, prior, "ISTA"] or 3001) / needed[task, prior, "FISTA"] for task, prior in limits]
print(f"fastest {fastest}, slowest {slowest}; ISTA / FISTA {min(ratios):.0f} to {max(ratios):.0f}")
assert min(ratios) > 5
figure, axes = plt.subplots(1, 2, figsize=(7.5, 2.8), layout="constrained", sharey=True)
for axis, task in zip(axes, scans, strict=True):
    for name in ("ISTA", "FISTA", "ADMM", "PDHG"):
        gap = gaps[task, "TV", name]
        axis.loglog(np.arange(1, len(gap) + 1), np.maximum(gap, 1e-6), label=name)
    axis.set(title=f"{task}, TV", xlabel="iterations")
axes[0].set_ylabel("objective above its minimum, relative")
axes[1].legend(frameon=False, fontsize=8)
plt.show()

# %% [markdown]
# From about ten to more than three thousand: the method matters as much as the problem. Momentum is worth a factor of
# about ten (ISTA against FISTA). ADMM needs the fewest, because each of its iterations solves a linear system: for
# MRI by FFT at no extra cost, for CT by an inner CG with many products with $A$, which the count does not show. It
# also has one more number to set, $\rho$; PDHG avoids inner solves altogether and pays with iterations. Notebook 7
# trains networks for a handful of iterations.

# %% [markdown]
# ## Exercises
#
# 1. Momentum can overshoot; `jr.FISTA(prior, restart=True)` drops it when it points the wrong way. Does that pay for
#    the two wavelet problems, for a relative gap of $10^{-4}$?
# 2. How sensitive is ADMM to $\rho$? Try $\rho = \lambda, 10\lambda, 100\lambda, 1000\lambda$ on MRI with TV.
# 3. Kaczmarz goes through the rows in some order. Compare "cyclic" with "shuffled" after one sweep of the exact
#    data, and after 100 sweeps of the noisy data.

# %% tags=["hide-cell"]
for task, scan in scans.items():
    A, b, x = scan(jax.random.key(2))
    prior = makers["wavelet l1"](best_lam[task, "wavelet l1"])
    for restart in (False, True):
        objective = jr.solve(A, b, jr.FISTA(prior, restart=restart), iterations=1000, record="objective").history
        reached = first_below(objective / lowest[task, "wavelet l1"] - 1, 1e-4)
        print(f"{task}, restart={restart}: {reached} iterations")

# %% tags=["hide-cell"]
A, b, x = scans["MRI"](jax.random.key(2))
lam = best_lam["MRI", "TV"]
watch = jr.Partial(quality, x)
for factor in (1, 10, 100, 1000):
    score = jr.solve(A, b, jr.ADMM(jr.TV(lam), rho=factor * lam), iterations=300, record=watch).history
    print(f"rho = {factor:4} lam: {settled(score, limits['MRI', 'TV']) or '> 300'} iterations")

# %% tags=["hide-cell"]
cyclic = {}
for sigma in (0.0, 0.01):
    b = jr.simulate.add_noise(jax.random.key(0), exact, sigma=sigma * float(exact.max()))
    cyclic[sigma] = jr.solve(rows, b, jr.Kaczmarz(), iterations=100, record=near).history
    shuffled = errors["Kaczmarz, shuffled rows", sigma]
    print(f"noise {sigma:.0%}: after 1 sweep cyclic {cyclic[sigma][0]:.2f}, shuffled {shuffled[0]:.2f}; "
          f"after 100 {cyclic[sigma][-1]:.2f}, {shuffled[-1]:.2f}")

# %%
claims = {
    **{f"exponent_{name}".replace(",", "").replace(" ", "_"): p for name, p in exponents.items()},
    "exponent_landweber_in_condition": growth["Landweber"],
    "exponent_cg_in_condition": growth["CG"],
    "ct_iterations_to_1_percent_residual_landweber": ct_counts["Landweber"][2],
    "ct_iterations_to_1_percent_residual_cg": ct_counts["CG"][2],
    "landweber_step_1.9_residual": diverging[1.9]["residual"],
    "landweber_step_2.1_residual": diverging[2.1]["residual"],
    "landweber_step_2.5_ok": diverging[2.5]["ok"],
    "kaczmarz_one_sweep_error": one_sweep,
    "kaczmarz_one_sweep_in_cg_iterations": as_many["CG"],
    "kaczmarz_one_sweep_in_landweber_iterations": as_many["Landweber"],
    **{f"iterations_{task}_{prior}_{name}".replace(" ", "_"): v for (task, prior, name), v in needed.items()},
}
print("CLAIMS")
print(json.dumps(claims, indent=1))
print("CLAIMS")
