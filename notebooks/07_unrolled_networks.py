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
# # 7. Unrolled networks
#
# Put a small network into a few iterations of a solver and train the whole. What it needs, what it can do, and where it
# ends.
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/jaxrecon/jaxrecon/blob/main/notebooks/07_unrolled_networks.ipynb)

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
import dataclasses
import json

import optax

plt.rcParams.update({"figure.dpi": 80, "font.size": 9})
SHAPE, IMAGES = (32, 32), 24


def psnr(x, truth):
    return jr.metrics.psnr(x, truth, data_range=1.0)


# %% [markdown]
# ## One line
#
# $$x_{k+1} = f_k(\mathrm{DC}(x_k)), \qquad k = 0, \ldots, P - 1$$
#
# DC pulls the image towards the measurements, here by putting the measured samples of k-space back, $\mathrm{DC}(x) =
# x + A^H(b - A x) / (1 + \nu)$; $f_k$ is a small convolutional network. `jr.Unrolled` is this line and no more. The
# scans are those of all notebooks, at 32 x 32 so that everything trains in a minute: a quarter of the lines, a new
# mask, phase and noise level (10 to 40 dB) for every scan.

# %%
scan = jr.simulate.cartesian_mri(SHAPE, acceleration=4, snr=(10, 40))
stream = jr.Simulated(scan, batch_size=4, batched=("mask",))
KEYS = jax.random.split(jax.random.key(2), IMAGES)
test = {snr: jax.vmap(jr.simulate.cartesian_mri(SHAPE, acceleration=4, snr=snr))(KEYS) for snr in (40, 25, 10)}


def network():
    return jr.networks.ConvNet(channels=2, features=16, depth=3)


def unrolled(iterations, shared=True):
    return jr.Unrolled(network(), iterations, shared=shared, dc=jr.SampleReplacement(0.02), key=jax.random.key(0))


def train(r, steps, data=None, **options):
    schedule = optax.cosine_decay_schedule(4e-3, steps)
    return jr.fit(r, stream if data is None else data, steps=steps, optimizer=optax.adam(schedule),
                  key=jax.random.key(1), clip=1.0, progress=False, **options)


@jax.jit
def _quality(r, A, b, x):
    return jnp.mean(jax.vmap(lambda A, b, x: psnr(r(A, b), x))(A, b, x))


def quality(r, snr=25):
    return float(_quality(r, *test[snr]))


fresh = jr.Unrolled(network(), 10, shared=True, dc=jr.GradientStep(1.0), key=jax.random.key(0))
A, b, x = (jax.tree.map(lambda v: v[0], v) for v in test[25])
same = float(jr.metrics.nrmse(fresh(A, b), jr.solve(A, b, jr.Landweber(1.0), iterations=10).x))
print(f"a fresh network is the identity: 10 unrolled gradient steps differ from Landweber by {same:.1e}")
assert same < 1e-6

three, _ = train(unrolled(3), 150)
first = A.H(b)
scale = jnp.sqrt(jnp.mean(jnp.abs(first) ** 2)) * jnp.exp(1j * jnp.angle(jnp.sum(first * jnp.abs(first))))
f, nu = jr.Denoiser(three.net), three.dc.noise


def dc(x, b):
    return x + A.H(b - A(x)) / (1 + nu)


by_hand = scale * f.prox(dc(f.prox(dc(f.prox(dc(jnp.zeros(SHAPE, "complex64"), b / scale)), b / scale)), b / scale))
literal = float(jr.metrics.nrmse(three(A, b), by_hand))
print(f"P = 3 against f(DC(f(DC(f(DC(0)))))) written out: {literal:.1e}")
assert literal < 1e-5

# %% [markdown]
# The only thing added is a common scale and phase: every image has root mean square 1 inside, so that the scanner's
# gain does not matter.
#
# ## How many iterations?
#
# Shared weights, the same number of training steps for every $P$; and TV, whose $\lambda$ is the best on these images.

# %%
def tv(lam, iterations=300):
    return jr.Iterative(jr.FISTA(jr.TV(lam), step_size=1.0), iterations)


LAMS = np.geomspace(2e-4, 0.2, 11)
tv_quality = {snr: [quality(tv(jnp.float32(lam)), snr) for lam in LAMS] for snr in test}
best = {snr: int(np.argmax(v)) for snr, v in tv_quality.items()}
zero_filled = quality(jr.ZeroFilled())
STEPS, DEPTHS = 300, (1, 2, 4, 8, 12)
shared = {P: train(unrolled(P), STEPS)[0] for P in DEPTHS}
depth = {P: quality(r) for P, r in shared.items()}
limit = tv_quality[25][best[25]]
print(f"zero-filled {zero_filled:.1f} dB, TV {limit:.1f} dB; "
      + ", ".join(f"P = {P}: {v:.1f}" for P, v in depth.items()))
figure, axes = plt.subplots(figsize=(4.5, 2.6), layout="constrained")
axes.plot(list(depth), list(depth.values()), "o-")
axes.axhline(limit, color="grey", linestyle="--", label="TV, best λ, 300 iterations")
axes.axhline(zero_filled, color="grey", linestyle=":", label="zero-filled")
axes.set(xlabel="P", ylabel="PSNR in dB", title=f"shared weights, {STEPS} training steps")
axes.legend(frameon=False, fontsize=8)
plt.show()
assert depth[8] > depth[1] + 0.5 and abs(depth[12] - depth[8]) < 0.5

# %% [markdown]
# The first iterations bring most; beyond eight or so there is hardly anything to gain. Each costs one $A$ and one
# $A^H$:

# %%
watch = jr.Partial(lambda truth, A, b, x: psnr(x, truth))
history = np.mean([jr.solve(*(jax.tree.map(lambda v, i=i: v[i], v) for v in test[25][:2]),
                            jr.FISTA(jr.TV(float(LAMS[best[25]])), step_size=1.0), 300,
                            record=jr.Partial(watch.func, test[25][2][i])).history for i in range(8)], 0)
needed = int(np.argmax(history > history[-1] - 0.1)) + 1
print(f"TV is within .1 dB of its limit after {needed} iterations, {2 * needed} applications of A and A^H; "
      f"P = 8 takes {2 * 8 + 2}")

# %% [markdown]
# ## Shared or separate weights
#
# `shared=False` gives every iteration a network of its own: $P$ times the weights. Are they harder to train?

# %%
validation = (*jr.Simulated(scan, 24, batched=("mask",)).batch(jax.random.key(7), 0),)
held_out = jr.Examples(*validation, batch_size=8, batched=("mask",))
curves, kinds = {}, {}
for name, r in (("shared", unrolled(8)), ("separate", unrolled(8, shared=False))):
    kinds[name], log = train(r, 600, validation=held_out, validate_every=50)
    seen = ~np.isnan(log.psnr)
    curves[name] = np.asarray(log.step)[seen], np.asarray(log.psnr)[seen]
weights = {name: jr.networks.count_parameters(r.net) for name, r in kinds.items()}
figure, axes = plt.subplots(figsize=(4.5, 2.6), layout="constrained")
for name, (step, decibels) in curves.items():
    axes.plot(step, decibels, "o-", markersize=3, label=f"{name}, {weights[name]:,} weights")
axes.set(xlabel="training step", ylabel="validation PSNR in dB", title="P = 8")
axes.legend(frameon=False, fontsize=8)
plt.show()
kind_quality = {name: quality(r) for name, r in kinds.items()}
early = {name: float(decibels[1]) for name, (_, decibels) in curves.items()}
print("; ".join(f"{name}: {early[name]:.1f} dB after 100 steps, test {kind_quality[name]:.1f} dB after 600"
                for name in kinds))
assert weights["separate"] == 8 * weights["shared"] and early["separate"] > early["shared"]

# %% [markdown]
# Not so: with new images in every step separate weights are ahead from the beginning, and stay so. But give both no
# more than eight scans, over and over:

# %%
eight = jax.vmap(scan)(jax.random.split(jax.random.key(11), 8))
few = {}
for name, r in (("shared", unrolled(8)), ("separate", unrolled(8, shared=False))):
    trained, log = train(r, STEPS, data=jr.Examples(*eight, batch_size=4, batched=("mask",)))
    few[name] = {"seen": float(np.mean(log.loss[-20:])), "new": quality(trained)}
    print(f"{name:8} error of the 8 scans {few[name]['seen']:.4f}, new scans {few[name]['new']:.1f} dB")
print(f"zero-filled, new scans {zero_filled:.1f} dB")
assert few["separate"]["seen"] < few["shared"]["seen"] and few["separate"]["new"] < few["shared"]["new"]

# %% [markdown]
# Separate weights fit the eight scans best and new ones worst: their eightfold freedom is spent on learning by heart.
# They ask for more data, not for more patience.
#
# ## Beyond the trained P
#
# Shared weights are one step of an iteration, so that one can go on iterating. Is it a fixed-point iteration then?

# %%
longer = {P: [quality(dataclasses.replace(shared[P], iterations=k)) for k in (1, 2, 4, 8, 12, 16, 24)] for P in (4, 8)}
figure, axes = plt.subplots(figsize=(4.5, 2.6), layout="constrained")
for P, decibels in longer.items():
    line, = axes.plot((1, 2, 4, 8, 12, 16, 24), decibels, "o-", markersize=3, label=f"trained with P = {P}")
    axes.axvline(P, color=line.get_color(), linestyle=":")
axes.set(xlabel="iterations", ylabel="PSNR in dB")
axes.legend(frameon=False, fontsize=8)
plt.show()
beyond = {P: decibels[-1] - depth[P] for P, decibels in longer.items()}
print("24 iterations against the trained number: " + ", ".join(f"P = {P}: {v:+.1f} dB" for P, v in beyond.items()))
assert all(v < 0 for v in beyond.values())

# %% [markdown]
# No. The network was trained to be good after exactly $P$ steps, and nothing keeps it there: the picture gets worse
# afterwards. A solver for a prior, or a denoiser that is `nonexpansive` (notebook 6), converges.
#
# ## After DC, after enhance
#
# What the two halves of an iteration do.

# %%
r = kinds["shared"]
f, nu = jr.Denoiser(r.net), r.dc.noise
image, panels = jnp.zeros(SHAPE, "complex64"), []
for k in range(8):
    consistent = dc(image, b / scale)
    image = f.prox(consistent)
    if k in (0, 1, 3, 7):
        panels.append((k + 1, jnp.abs(scale * consistent), jnp.abs(scale * image)))
figure, axes = plt.subplots(2, 5, figsize=(7.5, 3.4), layout="constrained")
for column, (k, after_dc, enhanced) in enumerate(panels):
    for axis, picture, name in ((axes[0, column], after_dc, "DC"), (axes[1, column], enhanced, "enhance")):
        axis.imshow(picture, cmap="gray", vmin=0, vmax=1)
        axis.set_title(f"k = {k}, after {name}\n{float(psnr(picture, jnp.abs(x))):.1f} dB", fontsize=8)
        axis.axis("off")
axes[0, 4].imshow(jnp.abs(x), cmap="gray", vmin=0, vmax=1)
axes[0, 4].set_title("truth", fontsize=8)
axes[0, 4].axis("off")
axes[1, 4].axis("off")
plt.show()
assert float(jr.metrics.nrmse(scale * image, r(A, b))) < 1e-4

# %% [markdown]
# ## Noise that changes
#
# The network was trained on noise from 10 to 40 dB and is told nothing about the level. TV has one $\lambda$, the best
# at 40 dB, or the best one for each level.

# %%
levels = {snr: {"unrolled": quality(kinds["shared"], snr), "TV, one λ": tv_quality[snr][best[40]],
                "TV, best λ": max(tv_quality[snr])} for snr in test}
for snr, row in levels.items():
    print(f"{snr} dB: " + ", ".join(f"{name} {v:.1f}" for name, v in row.items())
          + f"; best λ {LAMS[best[snr]]:.1e}")
adapts = all(row["unrolled"] > row["TV, best λ"] - 0.3 for row in levels.values())
fixed_loses = levels[10]["TV, best λ"] - levels[10]["TV, one λ"]
assert adapts and fixed_loses > 0.5

# %% [markdown]
# The $\lambda$ for little noise loses at 10 dB what choosing it anew would give. The network has seen all levels and
# stays within 0.3 dB of the best TV, or above it, at each of them: it finds the noise in the image that it is given.
#
# ## Exercises
#
# 1. Train with `dc=jr.GradientStep(1.0)` instead. What does its step size become? (`trained.dc.step`)
# 2. What does `checkpoint=True` change? Compare the result of one call.
# 3. Train on 40 dB only and test at 10 dB.

# %% tags=["hide-cell"]
other, _ = train(jr.Unrolled(network(), 8, shared=True, dc=jr.GradientStep(1.0), key=jax.random.key(0)), STEPS)
print(f"step {float(other.dc.step):.2f}, {quality(other):.1f} dB")

# %% tags=["hide-cell"]
again = dataclasses.replace(shared[4], checkpoint=True)
print(f"the same image to {float(jr.metrics.nrmse(again(A, b), shared[4](A, b))):.0e}; memory is saved in training")

# %% tags=["hide-cell"]
quiet = jr.simulate.cartesian_mri(SHAPE, acceleration=4, snr=40)
specialist, _ = train(unrolled(4), STEPS, data=jr.Simulated(quiet, batch_size=4, batched=("mask",)))
for name, r in (("at 40 dB", specialist), ("at all levels", shared[4])):
    print(f"trained {name}: {quality(r, 40):.1f} dB at 40 dB, {quality(r, 10):.1f} at 10")

# %%
claims = {
    "fresh_differs_from_landweber": same,
    "P3_differs_from_the_composition": literal,
    "zero_filled_db": zero_filled,
    "tv_db": limit,
    **{f"P_{P}_db": v for P, v in depth.items()},
    "tv_applications_to_a_tenth_db": 2 * needed,
    "P_8_applications": 18,
    **{f"{name}_weights": v for name, v in weights.items()},
    **{f"{name}_after_100_steps_db": v for name, v in early.items()},
    **{f"{name}_after_600_steps_db": v for name, v in kind_quality.items()},
    **{f"{name}_of_8_scans_{k}": v for name, row in few.items() for k, v in row.items()},
    **{f"24_iterations_trained_with_{P}_db": v for P, v in beyond.items()},
    **{f"{snr}_dB_{name}": v for snr, row in levels.items() for name, v in row.items()},
    "one_network_adapts_to_the_noise": adapts,
    "fixed_lam_loses_at_10_dB": fixed_loses,
}
print("CLAIMS")
print(json.dumps(claims, indent=1))
print("CLAIMS")
