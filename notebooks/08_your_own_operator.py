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
# # 8. Your own operator in ten lines
#
# Any linear JAX function is an operator: its adjoint is free, every solver, rule and network takes it, and gradients
# reach its parameters.
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/jaxrecon/jaxrecon/blob/main/notebooks/08_your_own_operator.ipynb)

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

import optax
from jax.scipy.ndimage import map_coordinates
from skimage import data, transform

plt.rcParams.update({"figure.dpi": 80, "font.size": 9, "image.cmap": "gray"})
SHAPE = (64, 64)


def psnr(x, truth):
    return float(jr.metrics.psnr(x, truth, data_range=1.0))  # all images here lie in [0, 1]


def show(pictures):
    """Grey images side by side, all in the window [0, 1]."""
    axes = plt.subplots(1, len(pictures), figsize=(2 * len(pictures), 2.35), layout="constrained")[1]
    for axis, (title, image) in zip(axes, pictures.items(), strict=True):
        axis.imshow(image, vmin=0, vmax=1, interpolation="nearest")
        axis.set_title(title, fontsize=9)
        axis.set_axis_off()
    plt.show()


# %% [markdown]
# ## Ten lines
#
# A camera turns about its centre by an angle $\theta$ while it takes two photographs. During each of them the shutter
# opens and closes by a code $c_k(t)$ of its own (a fluttered shutter: Raskar et al. 2006):
#
# $$(A x)_k = \sum_{t=1}^{T} c_k(t)\, R_{\theta s_t}\, x, \qquad k = 1, 2, \quad s_t = -\tfrac12 \ldots \tfrac12,$$
#
# where $R_\alpha$ rotates an image by interpolation. The blur is long at the rim and absent in the centre, so that this
# is no convolution, and no library has it. A function and `jr.linear` are all it takes: `camera` holds what may change
# or be unknown, the second argument is the image.


# %%
def photographs(camera, x):
    """Two photographs of x, taken through a fluttering shutter by a camera that turns."""
    n = (len(x) - 1) / 2
    i, j = jnp.mgrid[-n : n + 1, -n : n + 1]

    def turned(angle):
        c, s = jnp.cos(angle), jnp.sin(angle)
        return map_coordinates(x, [c * i - s * j + n, s * i + c * j + n], order=1)

    moments = jnp.linspace(-0.5, 0.5, camera["shutter"].shape[1])
    return jnp.tensordot(camera["shutter"], jax.vmap(turned)(camera["turn"] * moments), 1)


SHUTTER = jnp.array([[1, 1, 0, 1, 0, 0, 0, 1, 0, 1, 1, 1], [0, 1, 1, 1, 0, 1, 1, 0, 0, 0, 1, 0]]) / 12.0
TURN = 0.35  # radians
A = jr.linear(photographs, SHAPE, {"turn": jnp.asarray(TURN), "shutter": SHUTTER})

truth = jnp.asarray(transform.resize(data.camera() / 255, SHAPE, anti_aliasing=True), "float32")
b = jr.simulate.add_noise(jax.random.key(0), A(truth), snr=35)

exposures = SHUTTER.sum(1)
best_photograph = max(psnr(v / e, truth) for v, e in zip(b, exposures, strict=True))
show({"the scene": truth, "photograph 1": b[0] / exposures[0], "photograph 2": b[1] / exposures[1]})
print(f"{A.domain.shape} -> {A.codomain.shape}; the better photograph has {best_photograph:.1f} dB")

# %% [markdown]
# ## The adjoint is free
#
# Solvers need $A^H$ with $\langle A x, y\rangle = \langle x, A^H y\rangle$. `A.H` is the transposed program, which JAX
# derives, so that it cannot disagree with $A$. `jr.testing.check_operator` tests this and everything else that an
# operator promises: linearity, shapes, `jit`, `vmap`, gradients, and $A^H A$ as `A.gram`; silence means that all holds.

# %%
jr.testing.check_operator(A, jax.random.key(1))
adjoint_error = jr.testing.adjoint_error(A, jax.random.key(2))


def milliseconds(f, *args, repeats=30):
    jax.block_until_ready(f(*args))
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        jax.block_until_ready(f(*args))
        times.append(1e3 * (time.perf_counter() - begin))
    return float(np.median(times))


forward = milliseconds(jax.jit(lambda A, x: A(x)), A, truth)
backward = milliseconds(jax.jit(lambda A, y: A.H(y)), A, b)
print(f"|<A x, y> - <x, A^H y>| / (|A x| |y|) = {adjoint_error:.1e}")
print(f"A takes {forward:.1f} ms, A.H {backward:.1f} ms")
assert adjoint_error < 1e-5

# %% [markdown]
# The adjoint is exact to rounding. (The transpose of an interpolation writes where the interpolation reads, which is
# often the slower direction. Where that matters, `jr.matched_pair` takes an adjoint written by hand, and the same check
# tells whether it is one.)
#
# ## What is not linear is refused
#
# Mistakes are found when the operator is made, not as a solver that does not converge:


# %%
def refusal(fn):
    try:
        jr.linear(fn, SHAPE)
    except ValueError as error:
        return str(error).splitlines()[0]
    return "accepted"


attempts = {
    "x * x": lambda x: x * x,
    "jnp.abs(x)": jnp.abs,
    "x / jnp.max(x)": lambda x: x / jnp.max(x),
    "x + 1": lambda x: x + 1,
    "np.roll(x, 1)": lambda x: np.roll(x, 1),
    "x if x[0, 0] > 0 else -x": lambda x: x if x[0, 0] > 0 else -x,
    "jnp.roll(x, 1)": lambda x: jnp.roll(x, 1),
}
answers = {name: refusal(fn) for name, fn in attempts.items()}
for name, answer in answers.items():
    print(f"{name}\n    {answer}")
assert [name for name, answer in answers.items() if answer == "accepted"] == ["jnp.roll(x, 1)"]

# %% [markdown]
# `x + 1` and `np.roll` are the common ones. An offset (dark current, say) is not part of $A$: take it off the
# measurements. NumPy cannot be transposed: write `jnp`.
#
# ## Into every solver
#
# Nothing below knows about cameras.

# %%
solvers = {
    "Tikhonov, CGNR": (jr.CGNR(lam=1e-3), 30),
    "TV, FISTA": (jr.FISTA(jr.TV(1e-3)), 100),
    "TV, x ≥ 0, ADMM": (jr.ADMM([jr.TV(1e-3), jr.NonNegative()], rho=0.05), 50),
    "TV, x ≥ 0, Condat-Vu": (jr.CondatVu([jr.TV(1e-3), jr.NonNegative()]), 150),
}
images = {name: jr.solve(A, b, solver, iterations=n).x for name, (solver, n) in solvers.items()}
scores = {name: psnr(x, truth) for name, x in images.items()}
show({f"{name}\n{scores[name]:.1f} dB": x for name, x in images.items()})
assert min(scores.values()) > best_photograph + 5

# %% [markdown]
# Three solvers of the same objective agree, as they must:

# %%
tv_images = [x for name, x in images.items() if "TV" in name]
spread = max(float(jr.metrics.nrmse(x, tv_images[-1])) for x in tv_images)
print(f"the TV images differ by {100 * spread:.1f} % at most")
assert spread < 0.02

# %% [markdown]
# ## Into every rule for $\lambda$
#
# The value $10^{-3}$ was a guess. Generalised cross-validation needs no noise level and no truth; it needs the
# derivative of the whole reconstruction by $b$, which it takes through any solver and any operator.


# %%
def tikhonov(lam):
    return jr.CGNR(lam)


def tv(lam):
    return jr.FISTA(jr.TV(lam))


chosen = {}
for name, solver, lams, iterations in (("Tikhonov", tikhonov, jnp.geomspace(1e-4, 1e-1, 7), 30),
                                       ("TV", tv, jnp.geomspace(1e-4, 1e-2, 7), 60)):
    choice = jr.gcv(A, b, lams, solver, iterations=iterations)
    sweep = jax.lax.map(lambda lam, s=solver, n=iterations: jr.solve(A, b, s(lam), iterations=n).x, lams)
    best = max(psnr(x, truth) for x in sweep)
    chosen[name] = {"lam": float(choice.lam), "psnr": psnr(choice.x, truth), "best": best, "ok": bool(choice.ok)}
    print(f"{name:9} λ = {choice.lam:.1e} by GCV: {chosen[name]['psnr']:.1f} dB; best of the sweep: {best:.1f} dB")
assert all(c["ok"] and c["psnr"] > c["best"] - 2 for c in chosen.values())

# %% [markdown]
# Without having seen the truth, the rule comes within 2 dB of the best $\lambda$ for either prior.
#
# ## Into every network
#
# A learned method is called like any other, $x = r(A, b)$. Plug-and-play with the denoiser that comes with the package
# needs no training at all. An unrolled network is trained on images that have nothing to do with the photograph, random
# ellipses, for a minute.

# %%
plugged = jr.PlugAndPlay(jr.Denoiser(jr.networks.pretrained("denoiser")), iterations=16, lam=0.23)
network = jr.Unrolled(jr.networks.ConvNet(features=16, depth=3), iterations=3, shared=True,
                      dc=jr.ProximalStep(0.005, iterations=4), key=jax.random.key(3))
scan = jr.simulate.Simulation(A, snr=35.0)  # key -> (A, b, x) with x a random image of ellipses
STEPS, BATCH = 120, 4
trained, log = jr.fit(network, jr.Simulated(scan, batch_size=BATCH), steps=STEPS, key=jax.random.key(4),
                      optimizer=optax.adam(optax.cosine_decay_schedule(3e-3, STEPS)))

# %%
run = jax.jit(lambda r, A, b: r(A, b))
_, test_b, test_x = jax.vmap(scan)(jax.random.split(jax.random.key(5), 20))
methods = {
    "Tikhonov": jr.Iterative(jr.CGNR(chosen["Tikhonov"]["lam"]), 30),
    "TV": jr.Iterative(jr.FISTA(jr.TV(chosen["TV"]["lam"])), 100),
    "plug-and-play": plugged,
    "unrolled, fresh": network,
    "unrolled, trained": trained,
}
learned = {}
for name, method in methods.items():
    mean = float(np.mean([psnr(run(method, A, y), x) for y, x in zip(test_b, test_x, strict=True)]))
    learned[name] = {"photograph": psnr(run(method, A, b), truth), "ellipses": mean}
    print(f"{name:18} photograph {learned[name]['photograph']:.1f} dB, 20 images of ellipses {mean:.1f} dB")
ellipses, photograph = ({name: row[kind] for name, row in learned.items()} for kind in ("ellipses", "photograph"))
assert ellipses["TV"] > ellipses["unrolled, trained"] > ellipses["unrolled, fresh"] + 1
assert max(photograph, key=photograph.get) == "plug-and-play"
assert abs(photograph["unrolled, trained"] - photograph["unrolled, fresh"]) < 0.5

# %%
gain = ellipses["unrolled, trained"] - ellipses["unrolled, fresh"]
print(f"{STEPS * BATCH} images of training are worth {gain:.1f} dB on ellipses")
show({f"{name}\n{learned[name]['photograph']:.1f} dB": run(methods[name], A, b)
      for name in ("TV", "plug-and-play", "unrolled, trained")})

# %% [markdown]
# Both networks took the operator unchanged. The denoiser was trained on photographs, and on the photograph it is the
# best. The unrolled network learned something about ellipses and nothing about photographs, and 480 images of training
# do not beat TV on images made of flat pieces, which is what TV believes in. Notebook 7 trains for longer.
#
# ## Blind calibration: the operator's own parameters
#
# Suppose nobody recorded how far the camera turned. Write the misfit of the best explanation as a function of $\theta$,
#
# $$f(\theta) = \min_x\; \|A_\theta x - b\|^2 + \lambda \|x\|^2 ,$$
#
# and follow $\partial f / \partial\theta$: `jax.grad` goes through the solver and into the interpolation, as the
# entries of `camera` are leaves of the operator.


# %%
def camera(turn, count=2):
    return jr.linear(photographs, SHAPE, {"turn": turn, "shutter": SHUTTER[:count]})


def misfit(turn, b):
    A = camera(turn, len(b))
    x = jr.solve(A, b, jr.CGNR(3e-4), iterations=20).x
    return jnp.sum((A(x) - b) ** 2) + 3e-4 * jnp.sum(x**2)


turns = jnp.linspace(0.0, 0.7, 29)
both, single = (jax.jit(jax.vmap(misfit, (0, None)))(turns, y) for y in (b, b[:1]))  # 29 operators in one call

value_and_slope = jax.jit(jax.value_and_grad(misfit))
optimizer = optax.adam(optax.cosine_decay_schedule(0.03, 40), b2=0.9)
turn = jnp.asarray(0.2)
state = optimizer.init(turn)
path = []
for _ in range(40):
    f, slope = value_and_slope(turn, b)
    path.append((float(turn), float(f)))
    update, state = optimizer.update(slope, state)
    turn = turn + update

axis = plt.subplots(figsize=(5.2, 3), layout="constrained")[1]
axis.plot(np.degrees(turns), both, label="two photographs")
axis.plot(np.degrees(turns), single, label="one photograph")
axis.plot(*zip(*((np.degrees(t), f) for t, f in path), strict=True), "k.", markersize=4, label="the descent")
axis.axvline(np.degrees(TURN), color="grey", linewidth=0.8, linestyle="--", label="true angle")
axis.set(xlabel="assumed turn in degrees", ylabel="$f$", ylim=(0, 4))
axis.legend()
plt.show()

calibrated = {t: psnr(jr.solve(camera(jnp.asarray(v)), b, jr.FISTA(jr.TV(1e-3)), iterations=100).x, truth)
              for t, v in (("first guess", 0.2), ("calibrated", turn), ("true", TURN))}
print(f"turn: guessed {np.degrees(0.2):.1f}°, found {np.degrees(turn):.2f}°, true {np.degrees(TURN):.2f}°")
print(f"image: {calibrated['first guess']:.1f} dB, {calibrated['calibrated']:.1f} dB, {calibrated['true']:.1f} dB")
single_prefers_no_turn = bool(jnp.argmin(single) == 0)
assert abs(float(turn) - TURN) < 0.005 and calibrated["calibrated"] > calibrated["true"] - 0.3
assert single_prefers_no_turn

# %% [markdown]
# Two photographs that disagree can only be explained by the true angle, and the gradient finds it. One photograph alone
# is explained best by a camera that did not turn at all and a scene that is blurred: $f$ is smallest at 0°. (This is
# why blind deconvolution needs more than a misfit: Levin et al. 2009.) There is a second valley near 5° even with two
# photographs, so that the first guess must not be too far off: plot before you descend.
#
# ## Exercises
#
# 1. A *coded-aperture snapshot spectral imager* sees a cube $x$ of several wavelengths in one photograph: every band
#    passes the same mask, is shifted by one pixel more than the one before it, and all bands are summed. Write it,
#    check it, and reconstruct four bands by TV.
# 2. The lens is darker towards the rim: multiply the scene by $v = 1 - r^2/2$ first. Build the operator as a product
#    `A @ ...` instead of writing a new function. Does TV still work?
# 3. Design the shutter. The slope of the error of a reconstruction with respect to `shutter` is one `jax.grad` away:
#    start from half-open shutters, climb, and see how much the reconstruction gains. Why does the noise have to be
#    fixed in absolute terms? (With a fixed SNR a shutter that is nearly shut would cost nothing.)


# %% tags=["hide-cell"]
def snapshot(mask, cube):
    bands = len(cube)
    return sum(jnp.pad(mask * band, ((0, 0), (k, bands - 1 - k))) for k, band in enumerate(cube))


mask = jax.random.bernoulli(jax.random.key(6), 0.5, SHAPE).astype("float32")
imager = jr.linear(snapshot, (4, *SHAPE), mask)
jr.testing.check_operator(imager, jax.random.key(7))
y, x = jnp.mgrid[-1:1:64j, -1:1:64j]
disc, box = (y + 0.2) ** 2 + (x + 0.3) ** 2 < 0.2, (abs(y - 0.3) < 0.35) & (abs(x - 0.35) < 0.3)
spectrum = jnp.linspace(0.1, 1, 4)  # of the disc; the box has the same backwards
cube = jnp.stack([jnp.where(box, q, p * disc) for p, q in zip(spectrum, spectrum[::-1], strict=True)])
snap = jr.simulate.add_noise(jax.random.key(8), imager(cube), snr=40)
guess = jr.solve(imager, snap, jr.CGNR(1e-2), iterations=30).x
spectral = jr.solve(imager, snap, jr.CondatVu([jr.TV(1e-2), jr.NonNegative()]), iterations=400).x
spectral_psnr = {"Tikhonov": psnr(guess, cube), "TV": psnr(spectral, cube)}
show({"photograph": snap / 2} | {f"band {k + 1}": v for k, v in enumerate(spectral)})
print({name: round(v, 1) for name, v in spectral_psnr.items()}, "dB from a quarter of the numbers")

# %% tags=["hide-cell"]
r2 = jnp.sum(jnp.mgrid[-1:1:64j, -1:1:64j] ** 2, axis=0)
vignetted = A @ jr.Diagonal(1 - r2 / 2 * 0.99)
jr.testing.check_operator(vignetted, jax.random.key(9))
y = jr.simulate.add_noise(jax.random.key(0), vignetted(truth), snr=35)
x = jr.solve(vignetted, y, jr.FISTA(jr.TV(1e-3)), iterations=100).x
print(f"with a dark rim {psnr(x, truth):.1f} dB, without {scores['TV, FISTA']:.1f} dB")

# %% tags=["hide-cell"]
noise = 0.005 * jax.random.normal(jax.random.key(10), b.shape)


def design_error(logits):
    open_for = jax.nn.sigmoid(logits) / 12  # between shut and open
    A = jr.linear(photographs, SHAPE, {"turn": jnp.asarray(TURN), "shutter": open_for})
    return jr.metrics.nrmse(jr.solve(A, A(truth) + noise, jr.CGNR(1e-3), iterations=20).x, truth)


logits = 0.3 * jax.random.normal(jax.random.key(11), SHUTTER.shape)
optimizer = optax.adam(0.3)
state, slope_of = optimizer.init(logits), jax.jit(jax.value_and_grad(design_error))
errors = []
for _ in range(30):
    error, slope = slope_of(logits)
    errors.append(float(error))
    update, state = optimizer.update(slope, state)
    logits = optax.apply_updates(logits, update)
ours = float(design_error(jnp.where(SHUTTER > 0, 10.0, -10.0)))
print(f"error {errors[0]:.3f} half open, {errors[-1]:.3f} after {len(errors)} steps; {ours:.3f} with the code above")
print(np.asarray(jax.nn.sigmoid(logits)).round(1))

# %%
claims = {
    "adjoint_error": adjoint_error,
    "adjoint_over_forward_time": backward / forward,
    "not_linear_refused": sum(a != "accepted" for a in answers.values()),
    "best_photograph_db": best_photograph,
    **{f"{name.split(',')[-1].strip().lower()}_db": v for name, v in scores.items()},
    "tv_solvers_differ_by": spread,
    **{f"gcv_{name.lower()}_{k}": c[k] for name, c in chosen.items() for k in ("lam", "psnr", "best")},
    **{f"{name.replace(', ', '_')}_{kind}_db": v for name, row in learned.items() for kind, v in row.items()},
    "training_images": STEPS * BATCH,
    "training_seconds": float(log.seconds[-1]),
    "turn_true": TURN,
    "turn_found_blindly": float(turn),
    **{f"{name.replace(' ', '_')}_turn_db": v for name, v in calibrated.items()},
    "one_photograph_prefers_no_turn": single_prefers_no_turn,
    "shutter_design_error_by_hand": ours,
    "shutter_design_error_before": errors[0],
    "shutter_design_error_after": errors[-1],
    **{f"spectral_imager_{name.lower()}_db": v for name, v in spectral_psnr.items()},
}
print("CLAIMS")
print(json.dumps(claims, indent=1))
print("CLAIMS")
