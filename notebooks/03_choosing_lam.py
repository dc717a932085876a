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
# # 3. Choosing lam
#
# Every regularised reconstruction has a number $\lambda$ in it. Five rules find it from the data, and each of them has
# a case where it fails.
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/jaxrecon/jaxrecon/blob/main/notebooks/03_choosing_lam.ipynb)

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

plt.rcParams.update({"figure.dpi": 80, "font.size": 9})


def psnr(x, truth):
    return float(jr.metrics.psnr(x, truth, data_range=1.0))


# %% [markdown]
# ## Noise changes, lam must change
#
# A blurred image and Tikhonov's $\hat x_\lambda = \arg\min \tfrac12 |A x - b|^2 + \tfrac\lambda2 |x|^2$. Too small a
# $\lambda$ lets the noise through, too large a one blurs. `jr.tikhonov` takes a whole range of $\lambda$ under
# `vmap`: one factorisation for all of them.

# %%
SHAPE = (32, 32)
truth = jr.simulate.discs(32) / 1.3
g = jnp.exp(-(jnp.arange(7) - 3) ** 2 / 2)
blur = jr.Convolution(jnp.outer(g, g) / g.sum() ** 2, SHAPE)
A = jr.Matrix(jr.dense(blur))
x = truth.ravel()
LEVELS = (0.001, 0.01, 0.1)
lams = jnp.geomspace(1e-7, 1e1, 60)


def noisy(sigma, seed=0):
    return jr.simulate.add_noise(jax.random.key(seed), A(x), sigma=sigma)


@jax.jit
def sweep(A, b, lams):
    images = jax.vmap(lambda lam: jr.tikhonov(A, b, lam))(lams)
    return jax.vmap(lambda image: jr.metrics.psnr(image, x, data_range=1.0))(images)


curves = {sigma: np.array([sweep(A, noisy(sigma, seed), lams) for seed in range(5)]) for sigma in LEVELS}
quality = {sigma: curve.mean(0) for sigma, curve in curves.items()}
best = {sigma: float(lams[int(np.argmax(curve))]) for sigma, curve in quality.items()}
middle = int(np.argmax(quality[0.01]))
fixed = {sigma: float(curve.max() - curve[middle]) for sigma, curve in quality.items()}

figure, axes = plt.subplots(figsize=(5, 2.8), layout="constrained")
for sigma, curve in quality.items():
    axes.semilogx(lams, curve, label=f"σ = {sigma:g}, best λ = {best[sigma]:.1e}")
    axes.plot(best[sigma], curve.max(), "k.")
axes.axvline(float(lams[middle]), color="grey", linewidth=0.8, linestyle=":")
axes.set(xlabel="λ", ylabel="PSNR in dB", title="Tikhonov deblurring")
axes.legend(frameon=False, fontsize=8)
plt.show()
print("lost by the λ that is best at σ = 0.01: " + ", ".join(f"{v:.1f} dB at {s:g}" for s, v in fixed.items()))
assert best[0.001] < best[0.01] < best[0.1] and fixed[0.001] > 1 and fixed[0.1] > 1

# %% [markdown]
# From the lowest to the highest noise the best $\lambda$ grows by orders of magnitude. A fixed one (dotted) costs
# decibels at both ends. Nobody knows the truth in practice, so $\lambda$ must come from $b$ itself.
#
# ## Five rules
#
# | rule | takes the $\lambda$ | knows $\sigma$ |
# |---|---|---|
# | discrepancy | whose residual is as large as the noise, $\|A \hat x - b\|^2 = m \sigma^2$ | yes |
# | SURE | of the least estimated error of $A \hat x$ | yes |
# | GCV | of the least error in predicting a measurement from the others | no |
# | robust GCV | the same, but never one that is far too small | no |
# | L-curve | at the corner of $\log\|\hat x\|$ over $\log\|A \hat x - b\|$ | no |
#
# One call each, the same for every solver. The table is the mean over five draws of the noise.

# %%
rules = {
    "discrepancy": lambda b, sigma: jr.discrepancy(A, b, sigma=sigma),
    "SURE": lambda b, sigma: jr.sure(A, b, sigma=sigma),
    "GCV": lambda b, sigma: jr.gcv(A, b),
    "robust GCV": lambda b, sigma: jr.gcv(A, b, robust=0.1),
    "L-curve": lambda b, sigma: jr.lcurve(A, b),
}
svd = jr.svd(A)  # once, for the images of all rules
lost, ratio = {}, {}
for name, rule in rules.items():
    for sigma in LEVELS:
        found = [rule(noisy(sigma, seed), sigma) for seed in range(5)]
        scores = [psnr(svd.tikhonov(noisy(sigma, seed), f.lam), x) for seed, f in enumerate(found)]
        lost[name, sigma] = float(np.mean(curves[sigma].max(1) - scores))
        ratio[name, sigma] = float(np.exp(np.mean([np.log(float(f.lam) / best[sigma]) for f in found])))
print("            " + "".join(f"      σ = {sigma:<12g}" for sigma in LEVELS))
for name in rules:
    print(f"{name:12}" + "".join(f"  {lost[name, s]:5.2f} dB, λ x {ratio[name, s]:<6.2g}" for s in LEVELS))
assert all(lost[name, s] < 3 for name in ("SURE", "discrepancy") for s in LEVELS)

# %% [markdown]
# The columns say how many decibels are lost against the best $\lambda$, and by what factor the chosen $\lambda$
# differs from it. All rules follow the noise over orders of magnitude. GCV and SURE minimise something flat that is
# itself noisy: now and then they take far too small a $\lambda$, which the robust GCV does not. The discrepancy
# principle takes rather large a $\lambda$, since the image fits some of the noise. The corner of the L-curve is far
# from the best $\lambda$ here, and nothing in the curve tells: it is a clear corner, and `ok` is True.
#
# What the rules look at, for $\sigma = 0.01$:

# %%
b = noisy(0.01)
figure = jr.plots.lcurve(jr.lcurve(A, b))
figure.set_size_inches(4.5, 3.2)
figure.set_dpi(80)
display(figure)  # noqa: F821
figure = jr.plots.choice(jr.gcv(A, b))
figure.set_size_inches(4.5, 2.8)
figure.set_dpi(80)
display(figure)  # noqa: F821

# %% [markdown]
# ## Where the L-curve fails
#
# The corner is where the residual stops falling and the penalty begins to rise, if they do so at the same $\lambda$.
# For very smooth solutions they do not. Two textbook problems of Hansen's collection, 50 draws of the noise each:

# %%
hansen = {}
for name in ("shaw", "heat"):
    B, y = jr.simulate.ill_posed(name, 48)
    level = 1e-3 * float(jnp.linalg.norm(B(y))) / 48**0.5
    grid = jnp.geomspace(1e-14, 1e0, 60) * float(jr.operator_norm(B)) ** 2

    def trial(key, B=B, y=y, level=level, grid=grid):
        c = jr.simulate.add_noise(key, B(y), sigma=level)
        errors = jax.vmap(lambda lam: jnp.linalg.norm(jr.tikhonov(B, c, lam) - y))(grid)
        corner, cross = jr.lcurve(B, c, grid), jr.gcv(B, c, grid, robust=0.1)
        off = [jnp.linalg.norm(jr.tikhonov(B, c, f.lam) - y) / errors.min() for f in (corner, cross)]
        return off[0], off[1], corner.ok

    found = jax.jit(jax.vmap(trial))(jax.random.split(jax.random.key(0), 50))
    hansen[name] = [float(v) for v in (jnp.median(found[0]), jnp.median(found[1]), jnp.mean(found[2]))]
    print(f"{name}: error / least error of all λ: L-curve {hansen[name][0]:.2f}, robust GCV {hansen[name][1]:.2f}; "
          f"L-curve says ok in {hansen[name][2]:.0%}")
assert hansen["heat"][0] > 2 * hansen["shaw"][0] and hansen["heat"][1] < 2 and hansen["heat"][2] < 0.1
assert all(lost["L-curve", s] > 2 and lost["robust GCV", s] < 0.5 for s in LEVELS)

# %% [markdown]
# On "shaw" the corner is a fair choice, on "heat" it is not, and `ok=False` says so: the two ways to find a corner, by
# curvature and by triangles, disagree. On the blur above they agree on a wrong one, so `ok=True` is no guarantee.
# Robust GCV is near the best on all three.
#
# ## Undersampling: hide and predict
#
# With a null space the rules above see only the error of $A x$, and what is not measured is not part of it.
# Cross-validation hides some measured lines of k-space, predicts them from the others, and takes the $\lambda$ that
# predicts best. It works for any solver and needs no noise level. Here total variation and the scans that all
# notebooks share.

# %%
scan = jr.simulate.cartesian_mri((64, 64), acceleration=4)
tv_lams = jnp.geomspace(1e-4, 1e-1, 13)


def tv(lam):
    return jr.FISTA(jr.TV(lam), step_size=1.0)


mri = {}
for snr in (40, 30, 20):
    S, c, image = jr.simulate.cartesian_mri((64, 64), acceleration=4, snr=snr)(jax.random.key(3))
    sigma = jr.simulate.noise_level(S(image), snr, S.mask)

    @jax.jit
    def score(lam, S, c, image=image):
        return jr.metrics.psnr(jr.solve(S, c, tv(lam), iterations=100).x, image, data_range=1.0)

    curve = np.array([score(lam, S, c) for lam in tv_lams])
    hidden = jr.crossvalidate(S, c, tv_lams, tv, iterations=100)
    risk = jr.sure(S, c, tv_lams, tv, sigma=sigma, iterations=100)
    mri[snr] = {"best": float(curve.max()), "best λ": float(tv_lams[int(curve.argmax())])} | {
        name: float(score(found.lam, S, c)) for name, found in (("cross-validation", hidden), ("SURE", risk))}
    print(f"{snr} dB: best {mri[snr]['best']:.1f} dB at λ = {mri[snr]['best λ']:.1e}; cross-validation "
          f"{mri[snr]['cross-validation']:.1f} dB at {float(hidden.lam):.1e}, SURE {mri[snr]['SURE']:.1f} dB at "
          f"{float(risk.lam):.1e}")
assert all(row["best"] - min(row["cross-validation"], row["SURE"]) < 0.5 for row in mri.values())

# %% [markdown]
# With a quarter of the lines the gaps in k-space matter more than noise of 40 or 30 dB, so that the best $\lambda$
# only moves at 20 dB. Both rules stay within half a decibel of it.
#
# ## Stopping early
#
# An iteration without $\lambda$ regularises by its number of steps: at first it finds the image, later it fits the
# noise. `jr.discrepancy` with a solver that has no $\lambda$ chooses the iteration.

# %%
b = noisy(0.03)
near = jr.Partial(lambda truth, A, b, x: jr.metrics.psnr(x, truth, data_range=1.0), x)
figure, axes = plt.subplots(figsize=(5, 2.8), layout="constrained")
stopping = {}
for name, solver, count in (("CG", jr.CGNR(), 60), ("Landweber", jr.Landweber(), 400)):
    history = np.asarray(jr.solve(A, b, solver, iterations=count, record=near).history)
    stop = jr.discrepancy(A, b, solver=solver, sigma=0.03, iterations=count)
    stopping[name] = {"best": int(history.argmax()) + 1, "best dB": float(history.max()), "last dB": float(history[-1]),
                      "chosen": int(stop.iterations), "chosen dB": psnr(stop.x, x)}
    axes.semilogx(np.arange(1, count + 1), history, label=name)
    axes.plot(stopping[name]["chosen"], stopping[name]["chosen dB"], "ko")
    print(f"{name}: best {history.max():.1f} dB after {history.argmax() + 1}, discrepancy stops after "
          f"{stopping[name]['chosen']} at {stopping[name]['chosen dB']:.1f} dB, after {count}: {history[-1]:.1f} dB")
axes.set(xlabel="iterations", ylabel="PSNR in dB", title="semi-convergence; dots: where discrepancy stops")
axes.legend(frameon=False, fontsize=8)
plt.show()
assert all(row["best dB"] - row["chosen dB"] < 1.5 for row in stopping.values())
assert stopping["CG"]["best dB"] - stopping["CG"]["last dB"] > 3

# %% [markdown]
# CG gets there in a few steps, and leaves again as quickly; Landweber is slow in both directions and so easier to stop.
# The discrepancy principle stops both a little early.
#
# ## Exercises
#
# 1. Give SURE a wrong noise level, half and twice the true one. What happens to $\lambda$?
# 2. The safety factor: try `factor=1.05` in `jr.discrepancy`.
# 3. $\lambda$ has a unit. Multiply $b$ by 1000: which rules still give the same image? And with total variation, does
#    `scale="system"` help?

# %% tags=["hide-cell"]
b = noisy(0.01)
for factor in (0.5, 1.0, 2.0):
    found = jr.sure(A, b, sigma=factor * 0.01)
    print(f"told {factor:g} σ: λ = {float(found.lam):.1e}, {psnr(found.x, x):.1f} dB")

# %% tags=["hide-cell"]
for factor in (1.0, 1.05, 1.2):
    found = jr.discrepancy(A, b, sigma=0.01, factor=factor)
    print(f"factor {factor:g}: λ = {float(found.lam):.1e}, {psnr(found.x, x):.1f} dB")

# %% tags=["hide-cell"]
for name, rule in rules.items():
    one, other = (jr.tikhonov(A, f * b, rule(f * b, f * 0.01).lam) / f for f in (1, 1000))
    print(f"{name:12} changes by {float(jr.metrics.nrmse(other, one)):.1e}")
S, c, image = scan(jax.random.key(3))
for scale in (None, "system"):
    one, other = (jr.solve(S, f * c, tv(3e-3 if scale is None else 1e-2), 100, scale=scale).x / f for f in (1, 1000))
    print(f"TV, scale={scale}: changes by {float(jr.metrics.nrmse(other, one)):.1e}")

# %%
claims = {
    **{f"best_lam_at_{sigma:g}": v for sigma, v in best.items()},
    **{f"fixed_lam_loses_at_{sigma:g}_db": v for sigma, v in fixed.items()},
    **{f"{name}_loses_at_{sigma:g}_db": v for (name, sigma), v in lost.items()},
    **{f"{name}_lcurve_error_over_best": v[0] for name, v in hansen.items()},
    **{f"{name}_robust_gcv_error_over_best": v[1] for name, v in hansen.items()},
    **{f"{name}_lcurve_says_ok": v[2] for name, v in hansen.items()},
    **{f"mri_tv_{snr}_dB_{key}": v for snr, row in mri.items() for key, v in row.items()},
    **{f"stopping_{name}_{key}": v for name, row in stopping.items() for key, v in row.items()},
}
print("CLAIMS")
print(json.dumps(claims, indent=1))
print("CLAIMS")
