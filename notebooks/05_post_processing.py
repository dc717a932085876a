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
# # 5. Post-processing: a classical reconstruction, then a network
#
# The simplest learned reconstruction: invert as ever, let a network clean up the image. What it gains, and what it
# cannot do.
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/jaxrecon/jaxrecon/blob/main/notebooks/05_post_processing.ipynb)

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

import optax
from skimage import data

plt.rcParams.update({"figure.dpi": 80, "font.size": 9, "image.cmap": "gray", "axes.grid": False})


def show(images, titles, columns, size=1.7):
    """Magnitudes row by row, from 0 to 1."""
    rows = -(-len(images) // columns)
    axes = plt.subplots(rows, columns, figsize=(size * columns, (size + 0.35) * rows), layout="constrained",
                        squeeze=False)[1]
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, image, title in zip(axes.flat, images, titles, strict=False):
        axis.imshow(np.abs(image), vmin=0, vmax=1, interpolation="nearest")
        axis.set_title(title, fontsize=8)
    plt.show()


# %% [markdown]
# ## Two scanners, two direct reconstructions
#
# The protocols of this course: MRI with a quarter of the lines of k-space (30 dB), CT with 30 views (40 dB), images of
# random ellipses, $64 \times 64$. `jr.simulate` makes a whole scan of a key: operator, data, truth. The direct
# reconstructions take one application of $A^H$: the zero-filled FFT, $A^H b$, and filtered back-projection. Both leave
# artefacts of the samples that are missing. (The 40 test images are those of the lecture's table in the README.)

# %%
SHAPE = (64, 64)
mri = jr.simulate.cartesian_mri(SHAPE)  # every scan with a mask of its own
ct = jr.simulate.sparse_view_ct(SHAPE)
direct = {"MRI": jr.ZeroFilled(), "CT": jr.FBP("hann")}


def drawn(simulation, seed, n):
    """n scans (A, b, x)."""
    draw = jax.jit(lambda key: simulation(key))
    return [draw(key) for key in jax.random.split(jax.random.key(seed), n)]


def psnr(x, truth):
    return float(jr.metrics.psnr(x, truth, data_range=1.0))


def judged(r, scans):
    """Means of PSNR in dB and of |A x - b| / |b| over the results of a reconstructor."""
    scores = []
    for A, b, x in scans:
        found = r(A, b)
        scores.append((psnr(found, x), jnp.linalg.norm(A(found) - b) / jnp.linalg.norm(b)))
    return [float(v) for v in np.mean(scores, axis=0)]


def quality(r, scans):
    return judged(r, scans)[0]


def best_tv(simulation, lams):
    """TV at the lam that is best on three other images."""
    scans = drawn(simulation, 1, 3)
    return max((jr.Iterative(jr.FISTA(jr.TV(lam)), 200) for lam in lams), key=lambda r: quality(r, scans))


LAMS = {"MRI": np.geomspace(3e-4, 2e-2, 5), "CT": np.geomspace(3e-5, 1e-3, 5)}
simulations = {"MRI": mri, "CT": ct}
test = {task: drawn(simulation, 2, 40) for task, simulation in simulations.items()}
methods = {task: {"direct": direct[task], "TV, best λ": best_tv(simulations[task], LAMS[task])} for task in test}

# %% [markdown]
# ## A U-Net behind them
#
# $$ x = f_\theta(A^\dagger b), \qquad \theta^* = \arg\min_\theta \sum_m |f_\theta(A^\dagger b_m) - x_m|^2 $$
#
# with $A^\dagger$ the direct reconstruction. `jr.PostProcessed` is this formula; `jr.fit` trains it on scans made on
# the fly, so no image is seen twice.

# %%
STEPS, BATCH = 800, 4


def post_processed(task):
    channels = 2 if task == "MRI" else 1  # a complex image is two channels
    return jr.PostProcessed(direct[task], jr.networks.UNet(channels=channels, features=8), key=jax.random.key(3))


def fit(r, data, steps=STEPS):
    """Adam with a rate that falls to zero."""
    optimizer = optax.adam(optax.cosine_decay_schedule(4e-3, steps))
    return jr.fit(r, data, steps, optimizer, key=jax.random.key(4), progress=False)


streams = {"MRI": jr.Simulated(mri, BATCH, batched=("mask",)), "CT": jr.Simulated(ct, BATCH)}
minutes = {}
for task, stream in streams.items():
    methods[task]["U-Net behind it"], log = fit(post_processed(task), stream)
    minutes[task] = log.seconds[-1] / 60

# %%
scores = {task: {name: judged(r, test[task]) for name, r in methods[task].items()} for task in test}
table = {task: {name: v[0] for name, v in rows.items()} for task, rows in scores.items()}
print(f"{len(test['MRI'])} held-out images             MRI, 4-fold    CT, 30 views")
for name in methods["MRI"]:
    print(f"{name:30}{table['MRI'][name]:8.1f} dB     {table['CT'][name]:8.1f} dB")
weights = {task: jr.networks.count_parameters(methods[task]["U-Net behind it"].net) for task in test}
print(f"\nU-Net: {weights['MRI']:,} weights, {STEPS * BATCH:,} images, "
      f"{minutes['MRI']:.1f} and {minutes['CT']:.1f} minutes")
for task in test:
    assert table[task]["U-Net behind it"] > table[task]["direct"] + 0.5

panels = []
for task in test:
    A, b, x = test[task][0]
    panels.append((x, f"{task}: truth"))
    for name, r in methods[task].items():
        panels.append((r(A, b), f"{name}\n{psnr(r(A, b), x):.1f} dB"))
show(*zip(*panels, strict=True), 4)
better = {task: table[task]["U-Net behind it"] - table[task]["TV, best λ"] for task in test}
print("U-Net against TV: " + ", ".join(f"{task} {v:+.1f} dB" for task, v in better.items()))

# %% [markdown]
# One pass through a small network, trained for a minute, takes away a part of what the direct reconstruction leaves
# behind, more for CT than for MRI, where the missing lines are new ones in every scan. TV, with 200 iterations and
# a $\lambda$ chosen with the truth, is still ahead: these images are piecewise constant, which is exactly what TV
# believes.

# %% [markdown]
# ## A simpler model and fewer data than the learned inverse
#
# The learned inverse of notebook 4 gets no FFT. At this size a single dense layer from all samples to all pixels
# would have $8192^2 = 67$ million weights; here it is squeezed through 256 numbers. Both train on the same 64 stored
# scans.

# %%
A, b, x = jr.Simulated(mri, 64, batched=("mask",)).batch(jax.random.key(5), 0)
few = jr.Examples(A, b, x, BATCH, batched=("mask",))
numbers = 2 * SHAPE[0] * SHAPE[1]
dense = jr.networks.MLP(inputs=numbers, outputs=numbers, hidden=(256,))
small = {
    "learned inverse": jr.LearnedInverse(dense, key=jax.random.key(6)),
    "FFT + U-Net": post_processed("MRI"),
}
frugal = {}
for name, r in small.items():
    r, _ = fit(r, few, 200)
    frugal[name] = {"weights": jr.networks.count_parameters(r.net), "psnr": quality(r, test["MRI"])}
print("MRI, 64 training images     weights     PSNR")
for name, row in frugal.items():
    print(f"{name:24} {row['weights']:10,}   {row['psnr']:4.1f} dB")
print(f"{'zero-filled FFT':24} {0:10,}   {table['MRI']['direct']:4.1f} dB")
assert frugal["FFT + U-Net"]["psnr"] > table["MRI"]["direct"] > frugal["learned inverse"]["psnr"] + 2

# %% [markdown]
# With 64 images the U-Net is no worse than its input, and the learned inverse, with 35 times the weights, is far worse
# than no learning at all: it would first have to find the Fourier transform.

# %% [markdown]
# ## What it cannot do, 1: agree with the data
#
# After the network nobody looks at $b$ again. The residual $|A x - b| / |b|$ of the true image is the noise, 3.2 % at
# 30 dB and 1 % at 40 dB; a result with a much larger one contradicts what was measured. One step of data consistency
# repairs it: for MRI, put the measured samples back, `jr.Consistent(r, dc=jr.SampleReplacement())`.

# %%
noise = {task: float(np.mean([jnp.linalg.norm(A(x) - b) / jnp.linalg.norm(b) for A, b, x in scans]))
         for task, scans in test.items()}
gap = {task: {name: v[1] for name, v in rows.items()} for task, rows in scores.items()}
put_back = jr.Consistent(methods["MRI"]["U-Net behind it"], jr.SampleReplacement())
repaired = dict(zip(("dB", "misfit"), judged(put_back, test["MRI"]), strict=True))
print("|A x - b| / |b|            MRI      CT")
print(f"{'truth (the noise)':20} {noise['MRI']:9.3f} {noise['CT']:7.3f}")
for name in methods["MRI"]:
    print(f"{name:20} {gap['MRI'][name]:9.3f} {gap['CT'][name]:7.3f}")
print(f"{'U-Net, samples back':20} {repaired['misfit']:9.3f}")
ratio = {task: gap[task]["U-Net behind it"] / noise[task] for task in test}
print(f"\nU-Net: {ratio['MRI']:.1f} (MRI) and {ratio['CT']:.1f} (CT) times the noise")
print(f"putting the samples back: {table['MRI']['U-Net behind it']:.2f} -> {repaired['dB']:.2f} dB")
for task in test:
    assert gap[task]["TV, best λ"] < noise[task]
    assert 1.4 < gap[task]["U-Net behind it"] / noise[task] < 4
assert repaired["dB"] > table["MRI"]["U-Net behind it"] + 0.2

# %% [markdown]
# The U-Net's images contradict their own measurements by more than the noise allows, where TV
# stays within it. Putting the samples back makes the MRI image consistent *and* better. That is the reason for
# notebooks 6 and 7: enhance and data consistency in turn, not one after the other once.

# %% [markdown]
# ## What it cannot do, 2: another operator
#
# The network has learned to remove the artefacts of one scanner. The same weights behind another acceleration, another
# number of views; TV with a $\lambda$ chosen for each of them.

# %%
changed = {"MRI": {a: jr.simulate.cartesian_mri(SHAPE, acceleration=a) for a in (2, 4, 8)},
           "CT": {v: jr.simulate.sparse_view_ct(SHAPE, views=v) for v in (15, 30, 90)}}
moved = {}
for task, versions in changed.items():
    for setting, simulation in versions.items():
        scans = drawn(simulation, 2, 8)
        row = {name: quality(r, scans) for name, r in methods[task].items() if "TV" not in name}
        moved[task, setting] = row | {"TV, best λ": quality(best_tv(simulation, LAMS[task]), scans)}

print("                 direct   TV, best λ   U-Net")
for (task, setting), row in moved.items():
    what = f"{task}, {setting}-fold" if task == "MRI" else f"{task}, {setting} views"
    trained = "  <- trained here" if setting in (4, 30) else ""
    print(f"{what:14} {row['direct']:8.1f} {row['TV, best λ']:12.1f} {row['U-Net behind it']:7.1f} dB{trained}")

figure, axes = plt.subplots(1, 2, figsize=(7, 2.6), layout="constrained")
for axis, (task, versions) in zip(axes, changed.items(), strict=True):
    for name, mark in (("direct", "s:"), ("TV, best λ", "^--"), ("U-Net behind it", "o-")):
        axis.plot([str(s) for s in versions], [moved[task, s][name] for s in versions], mark, label=name)
    axis.set(title=task, xlabel="acceleration" if task == "MRI" else "views", ylabel="PSNR, dB")
axes[0].legend(frameon=False, fontsize=8)
plt.show()
assert all(moved[key]["U-Net behind it"] < moved[key]["direct"] for key in (("MRI", 2), ("CT", 15)))
lost = {task: moved[task, s]["TV, best λ"] - moved[task, s]["U-Net behind it"] for task, s in (("MRI", 2), ("CT", 90))}
print(f"with more data than in training the U-Net is {lost['MRI']:.1f} dB (MRI) and {lost['CT']:.1f} dB (CT) below TV")

# %% [markdown]
# With *more* data than in training TV gains several decibels. The U-Net at 2-fold undersampling is worse than doing
# nothing: it still removes artefacts that are no longer there. With fewer views it is below its own input, too,
# whose artefacts it has never seen. Nothing in the formula tells the network which scanner it is behind.

# %% [markdown]
# ## Enhancement that is not denoising: super-resolution
#
# A camera with a quarter of the pixels averages $2 \times 2$ of them. There is no noise at all, so there is nothing to
# denoise; the network has to invent what averaging removed, from what it knows of such images. The classical
# reconstruction before it is bicubic enlargement, a function of three lines.

# %%
def average(x):
    return x.reshape(x.shape[0] // 2, 2, x.shape[1] // 2, 2).mean((1, 3))


def bicubic(A, b):
    return jax.image.resize(b, A.domain.shape, "cubic")


camera = jr.linear(average, SHAPE)


def picture(key):
    x = jr.simulate.random_ellipses(key, SHAPE)
    return camera, camera(x), x


net = jr.networks.ConvNet(features=16, depth=5)
enlarge = jr.PostProcessed(jr.Partial(bicubic), net, key=jax.random.key(7))
enlarge, _ = fit(enlarge, jr.Simulated(picture, BATCH), 400)


@jr.value
class Denoised:
    """The shipped denoiser, told a noise level, after bicubic enlargement."""

    denoiser: object

    def __call__(self, A, b):
        return self.denoiser.prox(bicubic(A, b))


shipped = jr.networks.pretrained("denoiser")
candidates = [Denoised(jr.Denoiser(shipped, sigma=s)) for s in (0.01, 0.02, 0.05)]
ellipses = drawn(picture, 1, 24)
denoised = max(candidates, key=lambda r: quality(r, ellipses[:4]))
cameraman = jnp.asarray(data.camera()[60:188, 170:298].reshape(64, 2, 64, 2).mean((1, 3)) / 255, "float32")


photograph = [(camera, camera(cameraman), cameraman)]
enlargers = {"bicubic": jr.Partial(bicubic), "bicubic, denoiser": denoised, "bicubic, network": enlarge}

enlarged, panels = {}, []
for name, scans in (("ellipses", ellipses), ("photograph", photograph)):
    A, b, x = scans[0]
    panels.append((x, name))
    for method, r in enlargers.items():
        enlarged[name, method] = quality(r, scans)
        panels.append((r(A, b), f"{method}\n{psnr(r(A, b), x):.1f} dB"))
show(*zip(*panels, strict=True), 4)
print("PSNR, dB            ellipses (24)   photograph")
for method in enlargers:
    print(f"{method:18} {enlarged['ellipses', method]:14.1f} {enlarged['photograph', method]:12.1f}")
assert enlarged["ellipses", "bicubic, network"] > enlarged["ellipses", "bicubic"] + 1.3
half = (enlarged["photograph", "bicubic, network"] - enlarged["photograph", "bicubic"]) / (
    enlarged["ellipses", "bicubic, network"] - enlarged["ellipses", "bicubic"])
assert 0.3 < half < 0.7
assert enlarged["ellipses", "bicubic, denoiser"] < enlarged["ellipses", "bicubic"] + 0.5

# %% [markdown]
# The network, which knows that the world consists of ellipses, sharpens their edges; a denoiser, and a much larger
# network, does nothing for them. On a photograph, the like of which it never saw, about half of the gain is left.

# %% [markdown]
# ## Exercises
#
# 1. The noise was 30 dB in training. How does the MRI network do at 20 dB, against TV with a new $\lambda$?
# 2. Multiply $b$ by 1000. Does the result change? (Look at what `PostProcessed` shows the network.)
# 3. What does the network draw if $b$ is nothing but noise?

# %% tags=["hide-cell"]
# 1. A network trained at one noise level takes the noise of another for image.
noisy = jr.simulate.cartesian_mri(SHAPE, snr=20)
scans = drawn(noisy, 2, 8)
unet = methods["MRI"]["U-Net behind it"]
louder = {"U-Net": quality(unet, scans), "TV": quality(best_tv(noisy, LAMS["MRI"]), scans)}
print({name: f"{v:.1f} dB" for name, v in louder.items()})

# %% tags=["hide-cell"]
# 2. No: it sees an image of root mean square 1, and the factor comes back afterwards.
A, b, x = test["MRI"][0]
scaled = float(jnp.max(jnp.abs(unet(A, 1000 * b) / 1000 - unet(A, b))))
print(f"largest change of a pixel: {scaled:.1e}")
assert scaled < 1e-4

# %% tags=["hide-cell"]
# 3. It has never seen an empty image, and no data could tell it that this is one.
b = jr.simulate.add_noise(jax.random.key(8), 0 * b, sigma=0.01, mask=A.mask)
images = {"zero-filled": A.H(b), "U-Net": unet(A, b)}
peak = jnp.abs(images["zero-filled"]).max()
show([v / peak for v in images.values()], [f"noise only: {name}" for name in images], 2)

# %%
claims = {
    **{f"{task}, {name}: dB": v for task in table for name, v in table[task].items()},
    **{f"{task}, {name}: |Ax-b|/|b|": v for task in gap for name, v in gap[task].items()},
    **{f"{task}, noise / |b|": v for task, v in noise.items()},
    "MRI, samples put back: dB": repaired["dB"],
    "U-Net weights": weights["MRI"],
    **{f"64 training images, {name}: {key}": v for name, row in frugal.items() for key, v in row.items()},
    **{f"{task} at {s}, {name}: dB": v for (task, s), row in moved.items() for name, v in row.items()},
    **{f"super-resolution, {name}, {method}: dB": v for (name, method), v in enlarged.items()},
    "largest change by a scale of 1000": scaled,
}
print(json.dumps(claims, indent=1))
