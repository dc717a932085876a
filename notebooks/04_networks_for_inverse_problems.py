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
# # 4. Neural networks for inverse problems
#
# What a network is, what training can and cannot promise, and what it takes to *learn* the inverse of a scanner.
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/jaxrecon/jaxrecon/blob/main/notebooks/04_networks_for_inverse_problems.ipynb)

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
from flax import nnx
from scipy.interpolate import make_lsq_spline

plt.rcParams.update({"figure.dpi": 80, "font.size": 9, "image.cmap": "gray", "axes.grid": False})


def show(images, titles, columns, size=1.5, **options):
    """Images row by row, grey from 0 to 1."""
    rows = -(-len(images) // columns)
    axes = plt.subplots(rows, columns, figsize=(size * columns, (size + 0.35) * rows), layout="constrained",
                        squeeze=False)[1]
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, image, title in zip(axes.flat, images, titles, strict=False):
        axis.imshow(image, **({"vmin": 0, "vmax": 1, "interpolation": "nearest"} | options))
        axis.set_title(title, fontsize=8)
    plt.show()


# %% [markdown]
# ## A two-layer network fits a function
#
# A two-layer network is a sum of shifted and stretched copies of one curve $s$, here $\tanh$:
#
# $$f_\theta(t) = \sum_{i=1}^{n} w_i\, s(a_i t + c_i) + d, \qquad
#   \theta^* = \arg\min_\theta \sum_k |f_\theta(t_k) - y_k|^2 .$$
#
# With $n = 8$ it has $3n + 1 = 25$ coefficients. A polynomial of degree 24 and a cubic spline with 21 knots have 25,
# too, but there the coefficients enter linearly: their fit is one linear solve. The network's is a descent from random
# weights, so it is run from ten of them.

# %%
def curve(t):
    return np.sin(3 * t) + 1.5 * np.abs(t - 0.3)


rng = np.random.default_rng(0)
t = np.linspace(-1, 1, 61)[:-1] + rng.uniform(0, 1 / 30, 60)
y = curve(t) + 0.1 * rng.standard_normal(60)

net = jr.networks.MLP(inputs=1, outputs=1, hidden=(8,), activation="tanh")
optimizer = optax.adam(optax.cosine_decay_schedule(3e-2, 5000))


@jax.jit
def fitted(key):
    """Gradient descent (Adam) on the squared error: all that training is."""
    network = jr.networks.build(net, key)

    def loss(network):
        return jnp.mean((jax.vmap(network)(jnp.asarray(t)[:, None])[:, 0] - y) ** 2)

    def step(carry, _):
        network, state = carry
        value, slope = jax.value_and_grad(loss)(network)
        change, state = optimizer.update(slope, state)
        return (optax.apply_updates(network, change), state), value

    (network, _), losses = jax.lax.scan(step, (network, optimizer.init(network)), length=5000)
    return network, losses[-1]


networks, losses = jax.vmap(fitted)(jax.random.split(jax.random.key(0), 10))
coefficients = jr.networks.count_parameters(networks) // 10
grid = np.linspace(-1.5, 1.5, 601)
inside = abs(grid) <= 1
by_network = np.asarray(jax.vmap(lambda n: jax.vmap(n)(jnp.asarray(grid, "float32")[:, None])[:, 0])(networks))
polynomial = np.polynomial.Chebyshev.fit(t, y, coefficients - 1)(grid)
knots = np.linspace(-1, 1.02, coefficients - 4 + 2)
spline = make_lsq_spline(t, y, np.r_[3 * [knots[0]], knots, 3 * [knots[-1]]])
assert len(spline.c) == coefficients == 25
best = int(np.argmin(losses))  # by the fit to the data: the truth is not known
fits = {"polynomial": polynomial, "spline": spline(grid), "network": by_network[best]}


def rms(e):
    return float(np.sqrt(np.mean(e**2)))


rows = {name: (rms((v - curve(grid))[inside]), rms((v - curve(grid))[~inside])) for name, v in fits.items()}
spread = [rms((v - curve(grid))[~inside]) for v in by_network]
print(f"{coefficients} coefficients each, 60 samples with noise 0.1\n")
print("             rms error inside   outside")
for name, (a, b) in rows.items():
    print(f"{name:12} {a:16.3f}   {b:7.2g}")
print(f"\nten networks from other first weights, outside: {min(spread):.2g} to {max(spread):.2g}")
assert rows["network"][0] < min(rows["polynomial"][0], rows["spline"][0])
assert rows["network"][1] < rows["polynomial"][1] and rows["network"][1] > 3 * rows["network"][0]

figure, axis = plt.subplots(figsize=(7, 2.8), layout="constrained")
axis.axvspan(-1, 1, color="0.93")
axis.plot(t, y, "k.", markersize=3, label="data")
axis.plot(grid, curve(grid), "k--", linewidth=0.8, label="truth")
for (name, v), colour in zip(fits.items(), ("C0", "C1", "C3"), strict=True):
    axis.plot(grid, v, colour, linewidth=1.2, label=name)
axis.plot(grid, np.delete(by_network, best, 0).T, "C3", linewidth=0.5, alpha=0.35)
axis.set(ylim=(-1.6, 4.2), xlabel="t", title="fits to the data in the grey range (thin: networks from other weights)")
axis.legend(frameon=False, ncol=5, loc="lower center", fontsize=8)
plt.show()

# %% [markdown]
# Inside the data the network has the smallest error with the same number of coefficients: it puts its bends where
# the data need them. Outside it knows no more than the others. The polynomial explodes, the spline leaves along its
# last piece, and the networks, which all fit the data, disagree with each other: what they do there is decided by
# the first weights, not by data. Every network later in this course is the same thing with more inputs, and "outside
# the data" then means "another scanner, another organ".

# %% [markdown]
# ## A scanner to learn from
#
# Images of $24 \times 24$ pixels, a quarter of the lines of k-space, 30 dB of noise. One function makes one example
# $(A, b, x)$; everything below is trained on what it makes. `real_part` says that the image is real.

# %%
SHAPE = (24, 24)
N = SHAPE[0] * SHAPE[1]


def scanner(mask=None):
    return jr.real_part(jr.Fourier(SHAPE, mask=mask, dtype="complex64"))


mask = jr.simulate.variable_density_mask(jax.random.key(0), SHAPE, acceleration=4, calibration=2, dtype="float32")
A = scanner(mask)


def example(A, true, mask, key):
    """One example: data of the operator `true`, for a method that is told A."""
    image_key, noise_key = jax.random.split(key)
    x = jr.simulate.random_ellipses(image_key, SHAPE, mean_count=10, dtype="float32")
    return A, jr.simulate.add_noise(noise_key, true(x), snr=30, mask=mask), x


simulate = jr.Partial(example, A, A, mask)


def examples(simulate, seed, n):
    """(A, b, x) with n images."""
    return jr.Simulated(simulate, n).batch(jax.random.key(seed), 0)


validation, test = examples(simulate, 1, 100), examples(simulate, 2, 200)


@jax.jit
def reconstructed(r, A, b):
    return jax.vmap(lambda b: r(A, b))(b)


def error(r, data=test):
    """Mean |x - truth| / |truth|."""
    A, b, x = data
    return float(jnp.mean(jax.vmap(jr.metrics.nrmse)(reconstructed(r, A, b), x)))


def best_tv(data, lams):
    """TV at the lam that is best on the validation data given."""
    return min((jr.Iterative(jr.FISTA(jr.TV(lam)), 200) for lam in lams), key=lambda r: error(r, data))


tv = best_tv(validation, np.geomspace(3e-4, 1e-2, 5))
zero_filled = jr.ZeroFilled()
reference = {"zero-filled": error(zero_filled), "TV": error(tv)}
lines = int(mask.sum())
print(f"A: {A.domain.shape} image -> {lines} of {SHAPE[0]} lines, {lines * SHAPE[1]} complex samples")
print(f"error on 200 test images: zero-filled {reference['zero-filled']:.3f}, TV at its best lam {reference['TV']:.3f}")

# %% [markdown]
# ## Training against unseen data
#
# The *learned inverse* is the most direct use of a network: $x = f_\theta(b)$ with
#
# $$\theta^* = \arg\min_\theta \tfrac1M \sum_{m=1}^{M} |f_\theta(b_m) - x_m|^2 .$$
#
# AUTOMAP (Zhu et al. 2018) is a dense layer from all measurements to all pixels, then a few convolutions. Training
# makes the error on the $M$ training images small. Whether it becomes small on *other* images, the only thing that
# matters, has to be watched on images kept apart: the validation set.

# %%
STEPS, BATCH = 400, 16
OPTIMIZER = optax.adam(optax.cosine_decay_schedule(2e-3, STEPS))


def automap(channels=1):
    net = jr.networks.AUTOMAP(inputs=2 * N, shape=SHAPE, channels=channels, hidden=(), features=16, depth=3, size=3)
    return jr.LearnedInverse(net, key=jax.random.key(3))


def train(r, data, validation=validation, steps=STEPS, optimizer=OPTIMIZER, every=30):
    return jr.fit(r, data, steps, optimizer, key=jax.random.key(4), validation=validation, validate_every=every,
                  progress=False)


A, b, x = examples(simulate, 5, 6400)
few = jr.Examples(A, b[:100], x[:100], BATCH)
many = jr.Simulated(simulate, BATCH)

overfitted, log_few = train(automap(), few)
_, log_many = train(automap(), many)

figure, axes = plt.subplots(1, 2, figsize=(7.5, 2.6), layout="constrained", sharey=True)
for axis, log, title in zip(axes, (log_few, log_many), ("100 images", "no image seen twice"), strict=True):
    seen = ~np.isnan(log.validation)
    axis.semilogy(log.step, log.loss, linewidth=0.5, label="training")
    axis.semilogy(log.step[seen], log.validation[seen], "o-", markersize=3, label="validation")
    axis.axvline(log.best_step, color="k", linewidth=0.6, linestyle="--")
    axis.set(title=f"{title}; best at step {log.best_step}", xlabel="step")
axes[0].set(ylabel="mean squared error")
axes[0].legend(frameon=False)
plt.show()
early, late = np.nanmin(log_few.validation), log_few.validation[-1]
gap = {name: log.validation[-1] / np.mean(log.loss[-20:]) for name, log in (("few", log_few), ("many", log_many))}
print(f"100 images: unseen error at the end {gap['few']:.0f} times the training error; stopped at step "
      f"{log_few.best_step} of {STEPS} it would be {late / early:.2f} times smaller")
print(f"new images all the time: {gap['many']:.2f} times the training error")

# %% [markdown]
# With 100 images the network learns them by heart: the training error falls and falls, the validation error turns
# round. *Early stopping* keeps the weights of the best validation, which is what `jr.fit` returns when it is given a
# validation set. It is first aid; the cure are more images: when no image is seen twice, training and validation
# error are the same number.

# %% [markdown]
# ## Dense against convolutional, deep against wide
#
# Where does the network's size go? A dense layer has one weight for each pair of pixels, a convolution one for each
# pair of *channels* and neighbour:
#
# $$\text{dense: } (n_{in}+1)\, n_{out} \qquad\qquad
#   \text{convolution of } 3\times 3\text{: } (9\, c_{in} + 1)\, c_{out},$$
#
# whatever the size of the image. Training holds each weight four times (itself, its gradient, Adam's two averages) and
# the activations of the batch for the backward pass. All networks below clean up the zero-filled image, get the same
# examples and the same number of steps. The dense one is written by hand: any function `rngs -> nnx.Module` will do.


# %%
class Dense(nnx.Module):
    """x + W_2 relu(W_1 x): all pixels to `width` numbers to all pixels."""

    def __init__(self, width, rngs):
        self.inner = nnx.Linear(N, width, rngs=rngs)
        self.outer = nnx.Linear(width, N, kernel_init=nnx.initializers.zeros, rngs=rngs)

    def __call__(self, x):
        return x + self.outer(jax.nn.relu(self.inner(x.ravel()))).reshape(x.shape)


def dense_size(n, width=256):
    """(weights, activations per image) for n pixels."""
    return (n + 1) * width + (width + 1) * n, n + width


def conv_size(n, features, depth):
    return 9 * (2 * features + (depth - 2) * features**2) + (depth - 1) * features + 1, n * ((depth - 1) * features + 1)


def megabytes(size, batch=BATCH):
    """Weights, gradients, Adam's two averages; activations of a batch. float32."""
    return 4 * (4 * size[0] + batch * size[1]) / 1e6


candidates = {
    "dense, 256 wide": (lambda rngs: Dense(256, rngs), dense_size),
    "2 layers of 195": (jr.networks.ConvNet(features=195, depth=2), lambda n: conv_size(n, 195, 2)),
    "3 layers of 19": (jr.networks.ConvNet(features=19, depth=3), lambda n: conv_size(n, 19, 3)),
    "6 layers of 10": (jr.networks.ConvNet(features=10, depth=6), lambda n: conv_size(n, 10, 6)),
    "11 layers of 7": (jr.networks.ConvNet(features=7, depth=11), lambda n: conv_size(n, 7, 11)),
}
shapes = {}
for name, (net, size) in candidates.items():
    r, log = train(jr.PostProcessed(zero_filled, net, key=jax.random.key(6)), many, every=STEPS)
    count = jr.networks.count_parameters(r.net)
    assert count == size(N)[0]
    seconds = float(np.median(np.diff(log.seconds)))
    shapes[name] = {"weights": count, "error": error(r), "ms": 1e3 * seconds, "MB": megabytes(size(N)),
                    "MB at 512": megabytes(size(512**2))}

print(f"{'':18}    weights   training memory (MB)   ms/step    error")
print(f"{'':18}                 at {SHAPE[0]}²    at 512²")
for name, row in shapes.items():
    print(f"{name:18} {row['weights']:10,} {row['MB']:10.1f} {row['MB at 512']:10.0f} {row['ms']:10.1f} "
          f"{row['error']:8.3f}")
print(f"{'zero-filled, TV':18} {'':41} {reference['zero-filled']:8.3f}, {reference['TV']:.3f}")
wrongs = [row["error"] for row in shapes.values()]
assert wrongs[0] > wrongs[1] > wrongs[2] > wrongs[3] and wrongs[4] > wrongs[3]
assert 70 < shapes["dense, 256 wide"]["weights"] / shapes["3 layers of 19"]["weights"] < 90

# %% [markdown]
# The four convolutional networks have about the same number of weights and differ in depth. Through $d$ convolutions a
# pixel of the result sees $2d + 1$ pixels across, and the aliasing of undersampled MRI comes from far away: two layers
# see too little, and more depth helps, until the deepest one does not make use of its reach in so few
# steps. The wide one needs the most memory of the four, since activations, not weights, fill the memory of a
# convolutional network. The dense network sees everything, with eighty times as many weights, and is the worst: it has
# to learn for each pixel anew what a convolution learns once. TV is still ahead of them all: ellipses are what it was
# made for, and these networks were trained for seconds.

# %% [markdown]
# ## An encoder-decoder, looked into
#
# There is a cheaper way to see far: make the image smaller. The U-Net (Ronneberger et al. 2015) halves the image and
# doubles the channels on its way down, and comes back up with what it saw joined to the fine image by skips.
# `network.module` is the Flax module with the trained weights, so that one can look at what flows through it.

# %%
def unet():
    return jr.PostProcessed(zero_filled, jr.networks.UNet(features=8, levels=2), key=jax.random.key(7))


post, _ = train(unet(), many, every=STEPS)
shapes["U-Net"] = {"weights": jr.networks.count_parameters(post.net), "error": error(post)}


def feature_maps(network, x):
    """The activations of a U-Net with two levels: three on the way down, two on the way up, the result."""
    m, maps = network.module, []
    h = [m.first(x)]
    for down in m.down:
        ny, nx, c = h[-1].shape
        h.append(down(h[-1].reshape(ny // 2, 2, nx // 2, 2, c).mean((1, 3))))
    up = h[-1]
    maps += h
    for double, join, skip in zip(reversed(m.double), reversed(m.up), reversed(h[:-1]), strict=True):
        up = join(jnp.concatenate([skip, double(up)], -1))
        maps.append(up)
    return maps, x + m.last(up)


def strongest(maps, count):
    """The maps that vary most, each from 0 to 1."""
    order = np.argsort(np.asarray(maps.std((0, 1))))[-count:]
    return [np.asarray(maps[..., k] / (maps[..., k].max() + 1e-9)) for k in order]


A, b, x = (test[0], test[1][3], test[2][3])
coarse = zero_filled(A, b)
unit = jnp.sqrt(jnp.mean(coarse**2))  # the network sees an image of root mean square 1
maps, result = feature_maps(post.net, coarse[..., None] / unit)
assert np.allclose(unit * result[..., 0], post(A, b), atol=1e-4)

figure = plt.figure(figsize=(9, 4.6))
stages = [(coarse / coarse.max(), "zero-filled")] + [
    (m, f"{m.shape[0]}² x {m.shape[2]}") for m in maps] + [(post(A, b), "x + correction")]
for k, (m, title) in enumerate(stages):
    level = (0, 0, 1, 2, 1, 0, 0)[k]
    pictures = [m] if m.ndim == 2 else strongest(m, 4)
    side = 0.17 / 2**level
    for j, picture in enumerate(pictures):
        axis = figure.add_axes((0.01 + 0.141 * k + 0.006 * j, 0.66 - 0.31 * level - 0.024 * j, 0.105 / 1.4**level,
                                0.205 / 1.4**level))
        axis.imshow(picture, vmin=0, vmax=1, interpolation="nearest")
        axis.set(xticks=[], yticks=[])
    figure.text(0.01 + 0.141 * k, 0.89 - 0.31 * level - (1 - 1.4**-level) * 0.2, title, fontsize=8)
for x_range, y_skip in (((0.295, 0.725), 0.8), ((0.41, 0.58), 0.44)):
    figure.add_artist(plt.Line2D(x_range, (y_skip, y_skip), color="0.6", linestyle="--"))
figure.text(0.51, 0.82, "skip", fontsize=8, ha="center")
figure.text(0.02, 0.1, "encoder: smaller images, more channels", fontsize=9)
figure.text(0.6, 0.1, "decoder: back up, joined to the encoder", fontsize=9)
plt.show()
print(f"U-Net: {shapes['U-Net']['weights']:,} weights, error {shapes['U-Net']['error']:.3f}; best plain ConvNet "
      f"{min(v['error'] for k, v in shapes.items() if 'layers' in k):.3f}")

# %% [markdown]
# Down the left side the maps become a coarse description, up the right side the picture returns; the last layer makes
# a *correction* out of them, which is added to the input.

# %% [markdown]
# ## The learned inverse learns the inverse FFT
#
# Take all of k-space. Then the inverse is known, the inverse Fourier transform, and it is linear. Can a single dense
# layer find it from pairs $(b, x)$ alone, never told that there is a Fourier transform?

# %%
whole = scanner()
full = jr.Partial(example, whole, whole, None)
linear = jr.LearnedInverse(jr.networks.AUTOMAP(inputs=2 * N, shape=SHAPE, depth=0), key=jax.random.key(8))
full_validation, full_test = examples(full, 1, 100), examples(full, 2, 200)
LONG = 1000
learned_fft, log = train(linear, jr.Simulated(full, 64), full_validation, LONG,
                         optax.adam(optax.cosine_decay_schedule(3e-3, LONG)), every=100)

pixel = (10, 14)
index = pixel[0] * SHAPE[1] + pixel[1]
row = learned_fft.net.parameters["dense"][0]["kernel"][:, index]  # what a pixel takes from each measurement
row = np.asarray(row[:N] - 1j * row[N:]).reshape(SHAPE)
exact = np.conj(np.asarray(whole(jnp.zeros(SHAPE).at[pixel].set(1))))
acting = np.conj(np.asarray(whole(whole.H(jnp.conj(row)))))  # the part of it that data of real images can feel


def alike(v):
    """Correlation of a row with the row of the FFT."""
    return float(np.vdot(exact, v).real / np.linalg.norm(exact) / np.linalg.norm(v))


correlation = {"weights": alike(row), "acting part": alike(acting)}
fft_error = {"first": error(linear, full_test), "learned": error(learned_fft, full_test),
             "FFT": error(zero_filled, full_test)}
print(f"{jr.networks.count_parameters(learned_fft.net):,} weights; error {fft_error['first']:.2f} -> "
      f"{fft_error['learned']:.3f} after {LONG * 64:,} images (the FFT itself: {fft_error['FFT']:.3f}, noise only)")
A, b, x = full_test
limit = float(np.abs(exact).max())
figure, axes = plt.subplots(1, 5, figsize=(8, 1.9), layout="constrained")
axes[0].imshow(x[0], vmin=0, vmax=1)
axes[1].imshow(reconstructed(learned_fft, A, b)[0], vmin=0, vmax=1)
for axis, values in zip(axes[2:], (exact, row, acting), strict=True):
    axis.imshow(values.real, vmin=-limit, vmax=limit, cmap="RdBu_r")
titles = "truth", "learned inverse FFT", "one row of the FFT", "the row, learned", "its acting part"
for axis, title in zip(axes, titles, strict=True):
    axis.set_axis_off()
    axis.set_title(title, fontsize=8)
plt.show()
print(f"correlation with the row of the FFT: {correlation['weights']:.2f}, of its acting part "
      f"{correlation['acting part']:.5f}")
assert correlation["acting part"] > 0.999 and fft_error["learned"] < 2 * fft_error["FFT"]

# %% [markdown]
# The waves of the Fourier transform are there, under noise. The noise is what is left of the first, random weights: a
# real image has $b(-k) = \overline{b(k)}$, so half of the weights multiply numbers that the other half can cancel, and
# no data ever told them anything. Taking that half away (apply $A^H$, then $A$) leaves the row of the FFT. More than
# half a million numbers were learned that `jnp.fft` knows for free.

# %% [markdown]
# ## Its appetite
#
# How many images does that take? The same test for a learned inverse and for post-processing (the FFT given, a small
# U-Net behind it), at 4-fold undersampling, trained on 25 to 6,400 images, the same number of steps, each stopped at
# its best validation.

# %%
A, b, x = examples(simulate, 5, 6400)
sizes = (25, 100, 400, 1600, 6400)
appetite, kept = {"learned inverse": [], "FFT + U-Net": []}, {}
for n in sizes:
    data = jr.Examples(A, b[:n], x[:n], BATCH)
    for name, make in (("learned inverse", automap), ("FFT + U-Net", unet)):
        kept[name], _ = train(make(), data)
        appetite[name].append(error(kept[name]))
weights = {name: jr.networks.count_parameters(r.net) for name, r in kept.items()}

figure, axis = plt.subplots(figsize=(7.5, 2.8), layout="constrained")
for (name, scores), marker in zip(appetite.items(), "os", strict=True):
    axis.semilogx(sizes, scores, marker + "-", label=f"{name}, {weights[name]:,} weights")
for (name, v), style in zip(reference.items(), (":", "--"), strict=True):
    axis.axhline(v, color="k", linestyle=style, linewidth=0.8, label=f"{name}, no training")
axis.set(xlabel="training images", ylabel="error on unseen images")
axis.set_ylim(0, 1)
axis.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
plt.show()
print("training images   learned inverse   FFT + U-Net")
for n, a, p in zip(sizes, *appetite.values(), strict=True):
    print(f"{n:15,}   {a:15.3f}   {p:11.3f}")
enough = next((n for n, v in zip(sizes, appetite["FFT + U-Net"], strict=True) if v <= appetite["learned inverse"][-1]))
print(f"\nwhat the learned inverse reaches with 6,400 images post-processing reaches with {enough} or fewer")
assert enough <= 100 and appetite["learned inverse"][0] > appetite["learned inverse"][-1] + 0.2

# %% [markdown]
# The learned inverse spends its images on learning the Fourier transform; post-processing is given it, and has only to
# learn what images look like, with a network of a twentieth of the size. (TV, which learns nothing, was told about
# piecewise constant images by people who knew.)

# %% [markdown]
# ## AUTOMAP, looked into
#
# The figure of the paper with the trained network of the last point: measurements, dense layer, convolutions, image.

# %%
net = kept["learned inverse"].net
b_one, x_one = test[1][3], test[2][3]
flat = jnp.concatenate([b_one.real.ravel(), b_one.imag.ravel()])
unit = jnp.linalg.norm(b_one) / N**0.5
dense_image = net.module.dense[0](flat / unit).reshape(*SHAPE, 1)
first = jax.nn.relu(net.module.convs[0](dense_image))
second = jax.nn.relu(net.module.convs[1](first))
found = reconstructed(kept["learned inverse"], test[0], test[1][3:4])[0]
assert np.allclose(unit * net(flat / unit)[..., 0], found, atol=1e-4)

figure = plt.figure(figsize=(9, 2.3))
k_space = np.log10(np.abs(b_one) + 1e-3)
panels = [([(k_space - k_space.min()) / np.ptp(k_space)], "k-space (log)"),
          ([np.asarray(unit * dense_image[..., 0])], f"dense: {2 * N} → {N}"),
          (strongest(first, 4), "convolution, ReLU"), (strongest(second, 4), "convolution, ReLU"),
          ([found], "image"), ([x_one], "truth")]
for k, (pictures, title) in enumerate(panels):
    for j, picture in enumerate(pictures):
        axis = figure.add_axes((0.01 + 0.166 * k + 0.008 * j, 0.2 - 0.03 * j, 0.13 - 0.02 * (len(pictures) > 1), 0.6))
        axis.imshow(picture, vmin=0, vmax=1, interpolation="nearest")
        axis.set(xticks=[], yticks=[])
    figure.text(0.01 + 0.166 * k, 0.86, title, fontsize=8)
    if k in (1, 2, 3, 4):
        figure.text(0.166 * k - 0.012, 0.47, "→", fontsize=11)
plt.show()

# %% [markdown]
# ## Why one would still want it: model errors
#
# The learned inverse never looks at $A$. So a wrong $A$ cannot hurt it. Here the lines of k-space lie elsewhere than
# the scanner reports: each is shifted by up to 0.8 of the distance between lines, the odd ones also along the
# read-out; the shifts are the same in every scan. Data come from the true operator, everybody is told the nominal
# one.

# %%
rng = np.random.default_rng(3)
k = (np.arange(SHAPE[0]) - SHAPE[0] // 2) / SHAPE[0]
ky = k + rng.uniform(-0.8, 0.8, SHAPE[0]) / SHAPE[0]
kx = k + 0.4 / SHAPE[0] * (np.arange(SHAPE[0]) % 2)[:, None]
nodes = np.stack(np.broadcast_arrays(ky[:, None], kx), -1).astype("float32")
true = jr.real_part(jr.NUFFT(nodes, SHAPE))
shifted = jr.Partial(example, scanner(), true, None)
shifted_validation, shifted_test = examples(shifted, 1, 100), examples(shifted, 2, 200)
nominal, b, x = shifted_test

misled = {
    "FFT": zero_filled,
    "TV": best_tv(shifted_validation, np.geomspace(4e-3, 0.1, 5)),
    "FFT + U-Net": train(unet(), jr.Simulated(shifted, BATCH), shifted_validation, every=STEPS)[0],
    "learned inverse": train(automap(), jr.Simulated(shifted, BATCH), shifted_validation, 2 * STEPS,
                             optax.adam(optax.cosine_decay_schedule(2e-3, 2 * STEPS)), every=2 * STEPS)[0],
}
wrong = {name: error(r, shifted_test) for name, r in misled.items()}
told = error(best_tv((true, *shifted_validation[1:]), np.geomspace(1e-3, 0.01, 4)), (true, b, x))
print("told the wrong trajectory   error")
for name, v in wrong.items():
    print(f"{name:25} {v:7.3f}")
print(f"{'TV, told the truth':25} {told:7.3f}")
assert wrong["learned inverse"] < wrong["FFT + U-Net"] < wrong["TV"] < wrong["FFT"] and told < 0.1 * wrong["FFT"]
show([x[3], *(reconstructed(r, nominal, b[3:4])[0] for r in misled.values())],
     ["truth", *(f"{name}\nerror {v:.2f}" for name, v in wrong.items())], 5)

# %% [markdown]
# TV, true to the wrong model, is hardly better than the FFT. The U-Net has to undo from the image what happened in
# k-space. The learned inverse has learned the scanner as it is. That it is no magic either shows in the last row: with
# a calibrated operator TV needs no training image at all and is ten times as accurate.

# %% [markdown]
# ## Exercises
#
# 1. Give the two-layer network `relu` instead of `tanh`. What does it do outside the data?
# 2. The learned inverse of the undersampled scanner was trained for one mask. Test it on another one.
# 3. Is the learned inverse so hungry because it has so many weights? Squeeze it through a narrow hidden layer,
#    `hidden=(64,)`, and train on 100 and on 6,400 images.

# %% tags=["hide-cell"]
# 1. A ReLU network is piecewise linear: outside its last kink it goes on as a straight line, forever.
net = jr.networks.MLP(inputs=1, outputs=1, hidden=(8,), activation="relu")
kinked, _ = jax.jit(lambda key: fitted.__wrapped__(key))(jax.random.key(0))
far = jax.vmap(kinked)(jnp.array([[10.0], [11.0], [12.0]]))[:, 0]
print("second difference far outside:", round(float(far[0] - 2 * far[1] + far[2]), 5))

# %% tags=["hide-cell"]
# 2. Another mask is another inverse: nothing of what was learned for these lines holds for others.
other = jr.simulate.variable_density_mask(jax.random.key(9), SHAPE, acceleration=4, calibration=2, dtype="float32")
moved = examples(jr.Partial(example, scanner(other), scanner(other), other), 2, 200)
other_mask = {"zero-filled": error(zero_filled, moved), "learned inverse": error(kept["learned inverse"], moved),
              "FFT + U-Net": error(kept["FFT + U-Net"], moved)}
print("another mask:", ", ".join(f"{name} {v:.3f}" for name, v in other_mask.items()))

# %% tags=["hide-cell"]
# 3. With 100 images a sixth of the weights is no better; with 6,400 it is worse. What it lacks is the transform.
A, b, x = examples(simulate, 5, 6400)
for n in (100, 6400):
    net = jr.networks.AUTOMAP(inputs=2 * N, shape=SHAPE, hidden=(64,), features=16, depth=3, size=3)
    narrow, _ = train(jr.LearnedInverse(net, key=jax.random.key(3)), jr.Examples(A, b[:n], x[:n], BATCH))
    wide = appetite["learned inverse"][sizes.index(n)]
    print(f"{n:5} images: hidden=(64,) {error(narrow):.3f}, hidden=() {wide:.3f}")

# %%
claims = {
    "fit: rms inside, network": rows["network"][0],
    "fit: rms inside, polynomial": rows["polynomial"][0],
    "fit: rms inside, spline": rows["spline"][0],
    "fit: rms outside, network": rows["network"][1],
    "fit: rms outside, polynomial": rows["polynomial"][1],
    "fit: rms outside, spline": rows["spline"][1],
    "overfitting: unseen / training error, 100 images": float(gap["few"]),
    "overfitting: unseen / training error, new images": float(gap["many"]),
    "early stopping: last / best validation error": float(late / early),
    **{f"{key}: {name}": row[key] for name, row in shapes.items() for key in row},
    "inverse FFT learned: error": fft_error["learned"],
    **{f"inverse FFT learned: correlation, {k}": v for k, v in correlation.items()},
    **{f"error with {n} images, {name}": v for name, scores in appetite.items()
       for n, v in zip(sizes, scores, strict=True)},
    "weights, learned inverse": weights["learned inverse"],
    "weights, FFT + U-Net": weights["FFT + U-Net"],
    "error, TV": reference["TV"],
    "error, zero-filled": reference["zero-filled"],
    **{f"wrong trajectory: {name}": v for name, v in wrong.items()},
    "wrong trajectory: TV told the truth": told,
    **{f"another mask: {name}": v for name, v in other_mask.items()},
}
print(json.dumps(claims, indent=1))
