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
# # 1. Inverse problems and classical regularisation
#
# Why a measurement cannot simply be inverted, what five classical priors add, and where each of them wins and fails.
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/jaxrecon/jaxrecon/blob/main/notebooks/01_inverse_problems.ipynb)

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
import functools
import json

from skimage import data

plt.rcParams.update({"figure.dpi": 80, "font.size": 9, "image.cmap": "gray", "axes.grid": False})


def psnr(x, truth):
    return jr.metrics.psnr(x, truth, data_range=1.0)  # all images here lie in [0, 1]


def show(images, titles, columns, size=1.6, window=(0, 1)):
    """Grey images in one window, row by row."""
    rows = -(-len(images) // columns)
    axes = plt.subplots(rows, columns, figsize=(size * columns, (size + 0.3) * rows), layout="constrained",
                        squeeze=False)[1]
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, image, title in zip(axes.flat, images, titles, strict=False):
        axis.imshow(image, vmin=window[0], vmax=window[1], interpolation="nearest")
        axis.set_title(title, fontsize=8)
    plt.show()


# %% [markdown]
# ## Noise is amplified by inversion
#
# A scanner measures $b = A x + n$: $x$ is the image, $A$ the (linear) scanner, $n$ noise. Take the simplest scanner,
# a camera out of focus. With the singular value decomposition $A = \sum_i s_i u_i v_i^H$ the exact inverse is
#
# $$A^+ b = \sum_i \frac{\langle u_i, b\rangle}{s_i} v_i = x + \sum_i \frac{\langle u_i, n\rangle}{s_i} v_i
# \qquad\Rightarrow\qquad \mathrm{rms\ error} = \sigma \sqrt{\tfrac{1}{N}\textstyle\sum_i s_i^{-2}} .$$
#
# Components with small $s_i$ hardly reach the detector, and the inverse multiplies their noise by $1/s_i$.


# %%
def blur(width, size, shape):
    """Convolution with a Gaussian of a standard deviation of `width` pixels."""
    g = jnp.exp(-(jnp.arange(size) - size // 2) ** 2 / (2 * width**2))
    return jr.Convolution(jnp.outer(g, g) / g.sum() ** 2, shape)


small = jr.simulate.discs(32) / 1.3
A = blur(0.8, 7, small.shape)
svd = jr.svd(A)  # of the 1024 x 1024 matrix of A
amplification = float(jnp.sqrt(jnp.mean(svd.s**-2.0)))

sigmas = jnp.array([1e-4, 1e-3, 1e-2, 1e-1])
lams = jnp.geomspace(1e-8, 1, 25)


def rms(x):
    return jnp.sqrt(jnp.mean((x - small) ** 2))


@jax.jit
def errors(key, sigma):
    """rms error of the pseudo-inverse, and of Tikhonov (next section) with the best of many lam."""
    b = jr.simulate.add_noise(key, A(small), sigma=sigma)
    return rms(svd.pseudo_inverse(b)), jax.vmap(lambda lam: rms(svd.tikhonov(b, lam)))(lams).min()


keys = jax.random.split(jax.random.key(0), 20)
inverse, tikhonov = (v.mean(0) for v in jax.vmap(lambda k: jax.vmap(lambda s: errors(k, s))(sigmas))(keys))

print(f"singular values from {svd.s[0]:.2g} down to {svd.s[-1]:.2g}: condition number {svd.s[0] / svd.s[-1]:.0f}")
print(f"predicted amplification of noise: {amplification:.0f}\n")
print("noise sigma   error of A+ b   error / sigma   error of Tikhonov")
for s, e, t in zip(sigmas, inverse, tikhonov, strict=True):
    print(f"{s:11.0e}   {e:13.4f}   {e / s:13.1f}   {t:17.4f}")
assert np.allclose(inverse / sigmas, amplification, rtol=0.1)

# %%
b = jr.simulate.add_noise(jax.random.key(1), A(small), sigma=0.01)
picture = {"A x + n": b, "A⁺ b": svd.pseudo_inverse(b), "Tikhonov": svd.tikhonov(b, 3e-3)}
figure, axes = plt.subplots(1, 2, figsize=(7.5, 2.6), layout="constrained")
axes[0].semilogy(svd.s)
axes[0].set(title="singular values of the blur", xlabel="i", ylabel="$s_i$")
axes[1].loglog(sigmas, inverse, "o-", label="pseudo-inverse")
axes[1].loglog(sigmas, tikhonov, "s-", label="Tikhonov, best $\\lambda$")
axes[1].loglog(sigmas, sigmas, "k--", label="$\\sigma$")
axes[1].set(title="error against noise", xlabel="$\\sigma$", ylabel="rms error")
axes[1].legend(frameon=False)
plt.show()
assert psnr(picture["A⁺ b"], small) < psnr(b, small)
show([small, *picture.values()], ["x", *(f"{n}\n{psnr(v, small):.1f} dB" for n, v in picture.items())], 4)

# %% [markdown]
# The error of the inverse is the noise times the predicted amplification at every noise level, to within 10 % (the cell
# asserts it). With 1 % of noise the inverse is worse than the blurred picture that it started from. Inverting is the
# wrong question: many images explain $b$ to within the noise, and one has to say which of them is meant.

# %% [markdown]
# ## One objective, five priors
#
# $$\hat x = \arg\min_x\ \tfrac12 |A x - b|^2 + R(x)$$
#
# | prior | $R(x)$ | believes that |
# |---|---|---|
# | Tikhonov | $\tfrac\lambda2 \lvert x\rvert^2$ | components are small, none preferred |
# | l1 | $\lambda \lvert x\rvert_1$ | most pixels are 0 |
# | TV | $\lambda \sum \lvert\nabla x\rvert$ | the image is piecewise constant |
# | fused lasso | $\lambda \lvert x\rvert_1 + \lambda \sum \lvert\nabla x\rvert_1$ | blocks on an empty background |
# | wavelet l1 | $\lambda \lvert W x\rvert_1$ | few wavelet coefficients matter |
#
# Five images, each of them made for one belief, are blurred (more than above) and get 2 % of noise. Every prior has its
# best $\lambda$ of a list, which in practice nobody knows (notebook 3): what differs is the belief alone.

# %%
SHAPE = (64, 64)


def photograph(picture, factor):
    """The middle of a picture, `factor` times smaller, from 0 to 1."""
    n = 64 * factor
    y, x = (np.array(picture.shape[:2]) - n) // 2
    small = picture[y : y + n, x : x + n].astype("float32").reshape(64, factor, 64, factor).mean((1, 3))
    return jnp.asarray((small - small.min()) / (small.max() - small.min()))


def hills():
    t = jnp.linspace(-1, 1, 64)
    y, x = jnp.meshgrid(t, t, indexing="ij")
    image = jnp.zeros(SHAPE)
    for height, cy, cx, width in ((1.0, -0.2, 0.3, 0.18), (0.6, 0.4, -0.4, 0.08), (0.8, -0.5, -0.3, 0.12)):
        image = image + height * jnp.exp(-((x - cx) ** 2 + (y - cy) ** 2) / width)
    return image / image.max()


def stars():
    rng = np.random.default_rng(0)
    image = np.zeros(SHAPE, "float32")
    image[tuple(rng.integers(0, 64, (2, 60)))] = rng.uniform(0.3, 1, 60)
    return jnp.asarray(image)


def blocks():
    rng = np.random.default_rng(0)
    image = np.zeros(SHAPE, "float32")
    for y, x, height, width in rng.integers((2, 2, 2, 2), (56, 56, 7, 7), (10, 4)):
        image[y : y + height, x : x + width] = rng.uniform(0.4, 1)
    return jnp.asarray(image)


images = {"grass": photograph(data.grass(), 3), "stars": stars(), "camera": photograph(data.camera(), 8),
          "blocks": blocks(), "hills": hills()}
W = jr.Wavelet(SHAPE, "db4", levels=3)
priors = {  # lam -> solver, iterations
    "Tikhonov": (lambda lam: jr.CGNR(lam), 50),
    "l1": (lambda lam: jr.FISTA(jr.L1(lam)), 300),
    "TV": (lambda lam: jr.CondatVu(jr.TV(lam)), 300),
    "fused lasso": (lambda lam: jr.CondatVu(jr.FusedLasso(lam, lam)), 300),
    "wavelet l1": (lambda lam: jr.FISTA(jr.L1(lam, transform=W)), 300),
}


@functools.partial(jax.jit, static_argnames="prior")
def sweep(A, b, lams, prior):
    """The images of all lam, in one compiled call."""
    make, iterations = priors[prior]
    return jax.vmap(lambda lam: jr.solve(A, b, make(lam), iterations=iterations).x)(lams)


def best(A, b, x, prior, lams):
    """(image, PSNR, lam) at the best lam."""
    found = sweep(A, b, lams, prior)
    scores = jax.vmap(lambda v: psnr(v, x))(found)
    i = int(jnp.argmax(scores))
    return found[i], float(scores[i]), float(lams[i])


# %%
A = blur(1.2, 11, SHAPE)
lams = jnp.geomspace(1e-4, 0.3, 15)
shown, titles, zoo = [], [], {}
for name, x in images.items():
    b = jr.simulate.add_noise(jax.random.key(1), A(x), sigma=0.02)
    shown += [x, b]
    titles += [name, f"A x + n\n{psnr(b, x):.1f} dB"]
    for prior in priors:
        image, score, lam = best(A, b, x, prior, lams)
        zoo[name, prior] = score
        shown.append(image)
        titles.append(f"{prior}\n{score:.1f} dB")

print(f"{'':8}" + "".join(f"{p:>13}" for p in priors))
for name in images:
    row = [zoo[name, p] for p in priors]
    print(f"{name:8}" + "".join(f"{v:12.1f}{'*' if v == max(row) else ' '}" for v in row))
print("(PSNR in dB, * the best)")
show(shown, titles, 7, size=1.1)

# %%
winners = {name: max(priors, key=lambda p: zoo[name, p]) for name in images}
for prior in priors:
    gain = {name: zoo[name, prior] - max(zoo[name, p] for p in priors if p != prior) for name in images}
    won, lost = max(gain, key=gain.get), min(gain, key=gain.get)
    print(f"{prior:12} wins on {won:6} by {gain[won]:4.1f} dB, fails on {lost:6} by {-gain[lost]:4.1f} dB")
    assert -gain[lost] > gain[won] > 0
assert list(winners.values()) == list(priors)

# %% [markdown]
# Each prior is the best one on the image that it believes in, and each loses elsewhere by far more than it wins. l1
# tears everything that is not dots into dots, TV makes terraces of the hills and boxes of the stars, the fused lasso
# too, and wavelets leave their ripples where there are edges. On grass, which has no structure that any of these five
# priors describes, plain Tikhonov is the best, but only by a little: nothing really helps.

# %% [markdown]
# ## Why wavelets: images are sparse, noise is not
#
# An orthogonal transform keeps energy: $|W x| = |x|$. If a few coefficients hold all of an image and none of the noise,
# a threshold takes them apart.

# %%
noise = jax.random.normal(jax.random.key(2), SHAPE)
figure, axis = plt.subplots(figsize=(5, 3), layout="constrained")
captured = {}
for name, x in {**images, "white noise": noise}.items():
    if name == "stars":
        continue
    energy = jnp.sort(jnp.abs(W(x - x.mean())).ravel() ** 2)[::-1]
    share = jnp.cumsum(energy) / energy.sum()
    captured[name] = float(share[len(share) // 20 - 1])
    axis.plot(100 * jnp.arange(1, len(share) + 1) / len(share), 100 * share, label=f"{name}: {captured[name]:.0%}")
axis.axvline(5, color="k", linewidth=0.6, linestyle="--")
axis.set(xlabel="largest coefficients kept, %", ylabel="energy, %", title="energy in the largest db4 coefficients")
axis.legend(frameon=False)
plt.show()
assert captured["hills"] > 0.99 and captured["camera"] > 0.85 and captured["white noise"] < 0.35

# %%
pixels = jnp.sort(((images["camera"] - images["camera"].mean()) ** 2).ravel())[::-1]
in_pixels = float(pixels[: pixels.size // 20].sum() / pixels.sum())
print(f"5 % of the wavelet coefficients hold {captured['camera']:.0%} of the photograph's energy, "
      f"{captured['white noise']:.0%} of the noise's\nand {captured['grass']:.0%} of the grass's, which is nearer to "
      f"noise. 5 % of the photograph's pixels hold {in_pixels:.0%}.")

# %% [markdown]
# ## TV on texture: the minimiser scores below the truth
#
# When a reconstruction looks wrong, is it the solver's fault or the prior's? Compare the objective of the result with
# that of the truth. If the result has the *lower* one, no better solver will help: the prior prefers the wrong image.
# Here a solver that minimises $\tfrac12|x-b|^2 + \lambda\,\mathrm{TV}(x)$ is *started at the truth*, for a texture and
# for discs with the same noise.

# %%
DENOISE = jr.Identity(SHAPE)
sigma = 0.1
table, panels = {}, []
for name, x in (("grass", images["grass"]), ("discs", jr.simulate.discs(64) / 1.3)):
    b = jr.simulate.add_noise(jax.random.key(3), x, sigma=sigma)
    _, _, lam = best(DENOISE, b, x, "TV", jnp.geomspace(0.01, 0.3, 15))
    walk = jr.solve(DENOISE, b, jr.FISTA(jr.TV(lam)), iterations=200, x0=x, record="objective")
    at_truth = float(jnp.sum((x - b) ** 2) / 2 + jr.TV(lam)(x))
    at_end = float(walk.history[-1])
    ratio = float(jr.TV(1.0)(walk.x) / jr.TV(1.0)(x))
    table[name] = {"truth": at_truth, "end": at_end, "noisy": float(psnr(b, x)), "psnr": float(psnr(walk.x, x)),
                   "ratio": ratio}
    panels += [(x, f"{name}\nobjective {at_truth:.1f}"), (b, f"noisy\n{psnr(b, x):.1f} dB"),
               (walk.x, f"TV, best λ, from the truth\n{psnr(walk.x, x):.1f} dB, objective {at_end:.1f}")]

print("         objective at truth   at the minimiser   lower by   TV left   PSNR: noisy -> TV")
for name, t in table.items():
    print(f"{name:8} {t['truth']:18.1f}   {t['end']:16.1f}   {1 - t['end'] / t['truth']:8.0%}   {t['ratio']:7.0%}   "
          f"{t['noisy']:.1f} -> {t['psnr']:.1f} dB")
show(*zip(*panels, strict=True), 3, size=2)
assert all(t["end"] < t["truth"] for t in table.values())
assert table["discs"]["psnr"] - table["discs"]["noisy"] > 3 * (table["grass"]["psnr"] - table["grass"]["noisy"])

# %% [markdown]
# The minimiser lies below the truth in both cases, as a minimiser must: the truth is never the minimiser where there is
# noise. What differs is the price. The discs keep most of their total variation and gain several times as many decibels
# as the grass, which loses most of its own: for TV a texture *is* noise. The solver left the truth on its
# own accord, so a better solver cannot help; a better prior could.

# %% [markdown]
# ## Compressed sensing: random sampling, not regular sampling
#
# An MRI scanner measures Fourier coefficients, and time is saved by leaving three out of four away. Which ones? The
# point spread function $F^H m$ of the mask $m$ tells: a regular mask makes copies of the image as strong as the image
# (aliasing), a random one spreads the same energy like noise, which a sparse prior can remove.

# %%
x = jr.simulate.shepp_logan(SHAPE)
keys = jax.random.split(jax.random.key(4))
lines = jr.simulate.uniform_mask(SHAPE, 4)
masks = {
    "regular lines": lines * jnp.ones(SHAPE),
    "random lines": jr.simulate.variable_density_mask(keys[0], SHAPE, 4, calibration=4) * jnp.ones(SHAPE),
    "regular points": (jr.simulate.uniform_mask(SHAPE, 2) * jr.simulate.uniform_mask(SHAPE, 2, axis=-1)).astype(float),
    "random points": jr.simulate.variable_density_mask(keys[1], SHAPE, 4, calibration=4, axis=None, dtype=float),
}
sampled, panels = {}, []
for name, mask in masks.items():
    assert mask.sum() == mask.size / 4
    A = jr.Fourier(SHAPE, mask=mask, dtype="complex64")
    b = jr.simulate.add_noise(jax.random.key(5), A(x), snr=40, mask=mask)
    response = jnp.abs(A.H(mask + 0j))
    lobe = float(jnp.sort(response.ravel())[-2] / response.max())
    tv, score, _ = best(A, b, x, "TV", jnp.geomspace(1e-4, 0.1, 10))
    sampled[name] = {"lobe": lobe, "zero-filled": float(psnr(A.H(b), x)), "TV": score,
                     "wavelet": best(A, b, x, "wavelet l1", jnp.geomspace(1e-4, 0.1, 10))[1]}
    panels += [(mask, f"{name}\nhighest side lobe {lobe:.2f}"),
               (jnp.abs(A.H(b)), f"zero-filled\n{sampled[name]['zero-filled']:.1f} dB"),
               (jnp.abs(tv), f"TV\n{score:.1f} dB")]

print("4-fold             side lobe   zero-filled   wavelet l1     TV")
for name, row in sampled.items():
    print(f"{name:16} {row['lobe']:11.2f}   {row['zero-filled']:11.1f}   {row['wavelet']:10.1f}   {row['TV']:4.1f} dB")
show(*zip(*panels, strict=True), 6, size=1.45)
for kind in ("lines", "points"):
    assert sampled[f"random {kind}"]["TV"] > sampled[f"regular {kind}"]["TV"] + 5
print(f"random against regular points, same prior and solver: {sampled['random points']['TV']:.1f} against "
      f"{sampled['regular points']['TV']:.1f} dB")

# %% [markdown]
# With the same number of samples, the same solver and the best $\lambda$ for each, random sampling reconstructs the
# head and regular sampling leaves it folded over itself: a side lobe of 1 means that $x$ and its shifted copy explain
# $b$ equally well. Random lines are worse than random points, since they are random along one axis only. (With several
# coils regular sampling works: the coils tell the copies apart, exercise 3.)

# %% [markdown]
# ## Enhancement that is not denoising: super-resolution
#
# A prior does more than removing noise. A camera with too few pixels averages: $A$ is a blur followed by taking every
# second pixel. The measurement below has *no* noise at all; what is missing is what $A$ destroyed. Any linear function
# becomes an operator by `jr.linear`, its adjoint comes for free.

# %%
LENS = blur(0.8, 7, SHAPE)


def camera(lens, x):
    return lens(x)[::2, ::2]


A = jr.linear(camera, SHAPE, params=LENS)
super_resolved, panels = {}, []
for name, x in (("discs", jr.simulate.discs(64) / 1.3), ("camera", images["camera"])):
    b = A(x)
    cubic = jax.image.resize(b, SHAPE, "cubic")
    denoised = best(DENOISE, cubic, x, "TV", jnp.geomspace(1e-4, 0.1, 12))[0]
    solved = best(A, b, x, "TV", jnp.geomspace(1e-5, 1e-2, 10))[0]
    found = {"pixels repeated": jax.image.resize(b, SHAPE, "nearest"), "bicubic": cubic, "bicubic, then TV": denoised,
             "inverse problem, TV": solved}
    super_resolved[name] = {n: float(psnr(v, x)) for n, v in found.items()}
    panels += [(x, name), *((v, f"{n}\n{super_resolved[name][n]:.1f} dB") for n, v in found.items())]
    gap = [float(jr.metrics.nrmse(A(v), b)) for v in (cubic, solved)]
    print(f"{name:7} |A x - b| / |b|: bicubic {gap[0]:.3f}, inverse problem {gap[1]:.4f}; "
          f"PSNR {super_resolved[name]['bicubic']:.1f} -> {super_resolved[name]['inverse problem, TV']:.1f} dB")
    assert super_resolved[name]["inverse problem, TV"] > super_resolved[name]["bicubic, then TV"] + 2
show(*zip(*panels, strict=True), 5, size=1.6)

# %% [markdown]
# There is nothing to denoise, and denoising the enlarged picture hardly changes it. Asking for the image that the
# camera *would have measured like this* recovers edges, because the prior and the known $A$ work together. That is the
# line the whole library is built on: $x_{k+1} = \mathrm{enhance}(\mathrm{DC}(x_k))$, a step towards $A x = b$ and a
# step towards what images look like.

# %% [markdown]
# ## Exercises
#
# 1. A hill is smooth: give Tikhonov the belief that *gradients* are small, `jr.L2(lam, jr.Gradient(SHAPE))` in
#    `jr.FISTA`. How does it compare with wavelets on the hills, and with TV on the blocks?
# 2. Predict, then measure: by which factor does the noise amplification of section 1 change if the blur gets wider,
#    from 0.8 to 0.9 pixels?
# 3. The regular lines fail with one coil. Simulate four coils (`jr.simulate.coil_maps`, `jr.sense`), the same regular
#    mask, and reconstruct with TV.

# %% tags=["hide-cell"]
priors["smooth"] = (lambda lam: jr.FISTA(jr.L2(lam, jr.Gradient(SHAPE))), 150)
A = blur(1.2, 11, SHAPE)
lams = jnp.geomspace(1e-4, 3, 15)
for name in ("hills", "blocks"):
    b = jr.simulate.add_noise(jax.random.key(1), A(images[name]), sigma=0.02)
    score = best(A, b, images[name], "smooth", lams)[1]
    print(f"{name:7} smooth {score:.1f} dB, wavelet l1 {zoo[name, 'wavelet l1']:.1f} dB, TV {zoo[name, 'TV']:.1f} dB")

# %% tags=["hide-cell"]
for width in (0.8, 0.9):
    s = jr.svd(blur(width, 7, small.shape)).s
    print(f"width {width}: condition {s[0] / s[-1]:.0f}, amplification {jnp.sqrt(jnp.mean(s**-2.0)):.0f}")

# %% tags=["hide-cell"]
x = jr.simulate.shepp_logan(SHAPE)
A = jr.sense(jr.simulate.coil_maps(SHAPE, 4, dtype="complex64"), lines)
b = jr.simulate.add_noise(jax.random.key(5), A(x + 0j), snr=40, mask=lines)
four_coils = best(A, b, x, "TV", jnp.geomspace(1e-4, 0.1, 10))[1]
print(f"regular lines, four coils: {four_coils:.1f} dB; with one coil {sampled['regular lines']['TV']:.1f} dB")

# %%
claims = {
    "noise_amplification_predicted": amplification,
    "noise_amplification_measured": float(jnp.mean(inverse / sigmas)),
    "pseudo_inverse_rms_at_sigma_0.01": float(inverse[2]),
    "tikhonov_rms_at_sigma_0.01": float(tikhonov[2]),
    **{f"psnr_{name}_{prior}".replace(" ", "_"): score for (name, prior), score in zoo.items()},
    "each_prior_wins_on_its_image": list(winners.values()) == list(priors)[:5],
    "energy_in_5_percent_wavelets_camera": captured["camera"],
    "energy_in_5_percent_wavelets_noise": captured["white noise"],
    "tv_objective_grass_truth": table["grass"]["truth"],
    "tv_objective_grass_minimiser": table["grass"]["end"],
    "tv_gain_grass_db": table["grass"]["psnr"] - table["grass"]["noisy"],
    "tv_gain_discs_db": table["discs"]["psnr"] - table["discs"]["noisy"],
    **{f"tv_4fold_{name}_db".replace(" ", "_"): row["TV"] for name, row in sampled.items()},
    "four_coils_regular_lines_db": four_coils,
    **{f"super_resolution_{name}_{m}_db": super_resolved[name][k] for name in super_resolved
       for m, k in (("bicubic", "bicubic"), ("bicubic_then_tv", "bicubic, then TV"), ("tv", "inverse problem, TV"))},
}
print("CLAIMS")
print(json.dumps(claims, indent=1))
print("CLAIMS")
