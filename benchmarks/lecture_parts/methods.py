"""The lecture's protocols, and its methods as values: what each needs to be set, trained and run.

MRI   Cartesian, a quarter of the lines (a new variable-density mask for every scan), one coil, smooth phase, 64 x 64.
CT    30 parallel views over 180 degrees, 64 x 64.

Images are random ellipses of maximum 1; white noise of 40, 30 or 20 dB. Every learned method is trained on images drawn
on the fly with noise anywhere between 40 and 20 dB: one network for all three levels, told nothing. Classical methods
get, for each level, the lam (or the cutoff) that is best on validation images: one number set by hand for each.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jaxrecon as jr

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "learning"))
import primal_dual

SIZE = 64
SHAPE = (SIZE, SIZE)
LEVELS = (40, 30, 20)  # dB
TEST, VALIDATION = 40, 12  # images
ITERATIONS = 8  # P of the unrolled methods
LAMS = tuple(float(v) for v in np.geomspace(1e-5, 0.3, 14))
CUTOFFS = (0.3, 0.4, 0.5, 0.65, 0.8, 1.0)


class Method(NamedTuple):
    """A row. setting -> reconstructor, tried for every one of `settings`; or one that is trained for `steps`."""

    task: str
    label: str
    make: Callable[..., Any]
    settings: tuple[float, ...] = ()
    steps: int = 0
    batch: int = 8
    applications: int | None = None  # of A and A^H together; None: counted


def scans(task: str, snr: Any) -> Any:
    """key -> (A, b, x)."""
    if task == "mri":
        return jr.simulate.cartesian_mri(SHAPE, acceleration=4, snr=snr)
    return jr.simulate.sparse_view_ct(SHAPE, views=30, snr=snr)


def keys(split: str) -> jax.Array:
    """Of the images; no key of one split is one of another."""
    seed, count = {"validation": (1, VALIDATION), "test": (2, TEST)}[split]
    return jax.random.split(jax.random.key(seed), count)


# ---- classical


def fista(prior: Callable[[Any], Any], step_size: float | None = None) -> Callable[[Any], Any]:
    return lambda lam: jr.Iterative(jr.FISTA(prior(lam), step_size), 200)


def wavelet(lam: Any) -> Any:
    return jr.L1(lam, transform=jr.Wavelet(SHAPE, "db2", levels=3))


def tikhonov(lam: Any) -> Any:
    return jr.Iterative(jr.CGNR(lam), 30)


# ---- learned


def block(channels: int) -> Any:
    """The network of one iteration, on the four sub-images of every second pixel."""
    return jr.networks.DRUNet(channels=channels, features=(24, 48), blocks=1, shuffle=2, bias=True, conditional=False)


def learned_inverse(inputs: int, channels: int) -> Any:
    net = jr.networks.AUTOMAP(inputs=inputs, shape=SHAPE, channels=channels, hidden=(1024,), features=16, size=3)
    return jr.LearnedInverse(net, key=jax.random.key(0))


def post_processed(initial: Any, channels: int) -> Any:
    return jr.PostProcessed(initial, jr.networks.UNet(channels=channels, features=16, levels=3), key=jax.random.key(0))


def unrolled(channels: int, shared: bool, **options: Any) -> Any:
    return jr.Unrolled(block(channels), ITERATIONS, shared=shared, key=jax.random.key(0), **options)


def plug_and_play(lam: Any) -> Any:
    return jr.PlugAndPlay(jr.Denoiser(jr.networks.pretrained("denoiser")), iterations=16, lam=lam)


FILTER = jr.FBP("hann", 0.65)  # what the learned methods for CT begin with
DETECTORS = scans("ct", 40).A.codomain.shape[1]

METHODS = {
    "mri-zero-filled": Method("mri", "zero-filled FFT", jr.ZeroFilled),
    "mri-tikhonov": Method("mri", "Tikhonov, CG", tikhonov, LAMS),
    "mri-wavelet": Method("mri", "wavelet-l1, FISTA", fista(wavelet, 1.0), LAMS),  # |A| = 1
    "mri-tv": Method("mri", "TV, FISTA", fista(jr.TV, 1.0), LAMS),
    "mri-pnp": Method("mri", "plug-and-play", lambda: plug_and_play(0.23)),
    "mri-inverse": Method("mri", "learned inverse", lambda: learned_inverse(2 * SIZE**2, 2), steps=1500, batch=32),
    "mri-post": Method("mri", "FFT + U-Net", lambda: post_processed(jr.ZeroFilled(), 2), steps=1500),
    "mri-shared": Method("mri", "unrolled, shared", lambda: unrolled(2, True, dc=jr.SampleReplacement(0.02)),
                         steps=1500),
    "mri-separate": Method("mri", "unrolled, separate", lambda: unrolled(2, False, dc=jr.SampleReplacement(0.02)),
                           steps=1500),
    "ct-fbp": Method("ct", "FBP", lambda cutoff: jr.FBP("hann", float(cutoff)), CUTOFFS, applications=1),
    "ct-tikhonov": Method("ct", "Tikhonov, CG", tikhonov, LAMS),
    "ct-wavelet": Method("ct", "wavelet-l1, FISTA", fista(wavelet), LAMS),
    "ct-tv": Method("ct", "TV, FISTA", fista(jr.TV), LAMS),
    "ct-pnp": Method("ct", "plug-and-play", lambda: plug_and_play(0.23)),
    "ct-inverse": Method("ct", "learned inverse", lambda: learned_inverse(30 * DETECTORS, 1), steps=1500, batch=32),
    "ct-post": Method("ct", "FBP + U-Net", lambda: post_processed(FILTER, 1), steps=1500, applications=1),
    "ct-shared": Method("ct", "unrolled, shared", lambda: unrolled(1, True, initial=FILTER), steps=1500,
                        applications=1 + 2 * ITERATIONS),
    "ct-separate": Method("ct", "unrolled, separate", lambda: unrolled(1, False, initial=FILTER), steps=1500,
                          applications=1 + 2 * ITERATIONS),
    "ct-primal-dual": Method("ct", "learned primal-dual",
                             lambda: primal_dual.reconstructor(ITERATIONS, 16, FILTER, jax.random.key(0)), steps=1500,
                             batch=4, applications=1 + 2 * ITERATIONS),
}


# ---- judging


def psnr(x: jax.Array, truth: jax.Array) -> jax.Array:
    return jr.metrics.psnr(x, truth, data_range=1.0)


def ssim(x: jax.Array, truth: jax.Array) -> jax.Array:
    return jr.metrics.ssim(x, truth, data_range=1.0)


def quality(reconstructor: Any, scan: Any, split: str) -> tuple[float, float]:
    """Mean (PSNR in dB, SSIM), one image at a time: on CPU that is the faster way."""
    @jax.jit
    def judged(reconstructor, key):
        A, b, x = scan(key)
        found = reconstructor(A, b)
        return psnr(found, x), ssim(found, x)

    # FBP has its cutoff in its structure and its geometry as numbers: A stays outside the compiled arguments.
    scores = [judged(reconstructor, key) for key in keys(split)]
    return float(np.mean([s[0] for s in scores])), float(np.mean([s[1] for s in scores]))


def best_setting(method: Method, scan: Any) -> float:
    """The one of the highest PSNR on the validation images."""
    if method.label == "FBP":
        return max(method.settings, key=lambda s: quality(method.make(s), scan, "validation")[0])

    @jax.jit
    def judged(setting, key):
        A, b, x = scan(key)
        return psnr(method.make(setting)(A, b), x)

    scores = [np.mean([judged(setting, key) for key in keys("validation")]) for setting in map(jnp.float32,
                                                                                              method.settings)]
    return method.settings[int(np.argmax(scores))]


def parameters(reconstructor: Any) -> int:
    """Numbers that were trained."""
    marked = jax.tree.leaves(jr.learned.trainable(reconstructor))
    return sum(int(np.size(v)) for v, mine in zip(jax.tree.leaves(reconstructor), marked, strict=True) if mine)
