"""The blind grey-scale denoiser that jaxrecon ships: how its weights were made, and what they are worth.

    python benchmarks/learning/denoiser.py [--minutes M] [--resume] [--steps N]     trains, stores, judges
    python benchmarks/learning/denoiser.py --only                                   judges what is stored

Trained on photographs of the public domain only (nat_skimage_cc0_gray.npz), with noise of every level up to 55/255,
which the network is told. The four images TEST are never trained on, nor used to choose the checkpoint; width, learning
rate and loss were compared on three of them, camera, chelsea and rocket, in some ten short runs. The table has the
network blind (told what `jr.parameters.noise_level` finds in the noisy image) and told the truth. Without biases the
network is homogeneous, so that it serves images of any scale; signs and offsets of the training images are random, so
that it serves real and imaginary parts as well.

Needs ../shared/data. Writes jaxrecon/networks/weights/denoiser.jr (float16) and docs/learning/denoiser.csv; the
neighbour in the table is KAIR's DnCNN for the one level 25/255 (MIT, Kai Zhang).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from runs import ROOT, parser, show, train

import jaxrecon as jr
from jaxrecon.networks.pretrained import store

DATA = ROOT / ".." / "shared" / "data"
WEIGHTS = ROOT / "jaxrecon" / "networks" / "weights" / "denoiser.jr"
LICENCE = ("CC0-1.0 (weights). Trained on the CC0 and public-domain images astronaut, brick, cell, grass, gravel, "
           "coffee, horse, hubble_deep_field, microaneurysms and retina of scikit-image")
TEST = ("camera", "chelsea", "clock_motion", "rocket")
# How often a pixel of each is drawn: photographs more, sky and micrographs less.
SHARE = {"astronaut": 3.0, "coffee": 3.0, "grass": 1.5, "gravel": 1.5, "brick": 1.0, "horse": 1.0, "retina": 1.0,
         "cell": 0.5, "hubble_deep_field": 0.5, "microaneurysms": 0.3}
STRIPS = {"astronaut": 352, "coffee": 472}  # columns to train on; the others are for validation
SCALES = (1.0, 0.8, 0.6, 0.45)
NETWORK = jr.networks.DRUNet(features=(64, 96, 128), blocks=1, shuffle=2, bias=False, conditional=True)
PATCH, BATCH, STEPS, RATE, CLIP = 64, 4, 40_000, 8e-4, 0.05
STRONGEST = 55 / 255
LEVELS = (5, 15, 25, 35, 50)


@jr.value
class Noisy(jr.LinearOperator):
    """The identity, for images of a known noise level."""

    sigma: Any

    @property
    def domain(self):
        return jax.ShapeDtypeStruct((PATCH, PATCH), "float32")

    def apply(self, x):
        return x


@jr.value
class Told:
    """The network on the noisy image, told its noise level."""

    net: jr.networks.Network

    def __call__(self, A, b):
        return jr.networks.apply_to_image(self.net, b, A.sigma)


class Atlas(NamedTuple):
    """Images of all sizes in one array, and where each begins."""

    pixels: jax.Array
    table: jax.Array  # (images, 3): offset, rows, columns
    log_share: jax.Array


def atlas(images: dict[str, np.ndarray]) -> Atlas:
    pixels, table, share, offset = [], [], [], 0
    for name in SHARE:
        image = images[name][:, : STRIPS.get(name)]
        for scale in SCALES:
            size = tuple(int(scale * n) for n in image.shape)
            if min(size) < PATCH:
                continue
            small = jax.image.resize(jnp.asarray(image, "float32"), size, "lanczos3")
            pixels.append(np.clip(np.rint(small), 0, 255).ravel().astype("uint8"))
            table.append((offset, *size))
            share.append(SHARE[name] * scale)
            offset += pixels[-1].size
    return Atlas(jnp.asarray(np.concatenate(pixels)), jnp.asarray(table), jnp.log(jnp.asarray(share)))


def patch(atlas: Atlas, key):
    """A patch of a random image, in a random orientation."""
    keys = jax.random.split(key, 4)
    offset, rows, columns = atlas.table[jax.random.categorical(keys[0], atlas.log_share)]
    i, j = (jax.random.randint(k, (), 0, n - PATCH + 1) for k, n in zip(keys[1:3], (rows, columns), strict=True))
    n = jnp.arange(PATCH)
    x = atlas.pixels[offset + (i + n)[:, None] * columns + (j + n)].astype("float32") / 255
    turn = jax.random.bernoulli(keys[3], 0.5, (3,))
    x = jnp.where(turn[0], x.T, x)
    x = jnp.where(turn[1], x[::-1], x)
    return jnp.where(turn[2], x[:, ::-1], x)


def ellipse(key):
    """A random disc or half-plane, 1 inside with a rim of a pixel: the edges of things before other things."""
    keys = jax.random.split(key, 3)
    centre, angle = PATCH * jax.random.uniform(keys[0], (2,)), jnp.pi * jax.random.uniform(keys[1])
    axes = jnp.exp(jax.random.uniform(keys[2], (2,), minval=jnp.log(4.0), maxval=jnp.log(200.0)))
    y, x = jnp.meshgrid(jnp.arange(PATCH) - centre[0], jnp.arange(PATCH) - centre[1], indexing="ij")
    u, v = jnp.cos(angle) * y + jnp.sin(angle) * x, jnp.cos(angle) * x - jnp.sin(angle) * y
    return jnp.clip((1 - jnp.hypot(u / axes[0], v / axes[1])) * jnp.min(axes) + 0.5, 0, 1)


def simulate(atlas: Atlas, key):
    """(A, b, x) of one example: A is the identity, which knows sigma."""
    keys = jax.random.split(key, 8)
    x, inside = patch(atlas, keys[0]), ellipse(keys[1])
    covered = jax.random.bernoulli(keys[2], 0.2)
    x = jnp.where(covered, inside * patch(atlas, keys[3]) + (1 - inside) * x, x)
    shifted, negative = jax.random.bernoulli(keys[4], 0.25, (2,))
    x = jnp.where(shifted, x - jax.random.uniform(keys[5]), x)
    x = jnp.where(negative, -x, x)
    sigma = STRONGEST * jax.random.uniform(keys[6])
    # The squared error grows like sigma: no level shall drown the others. To the network scale is nothing.
    scale = jnp.sqrt(0.1 / (sigma + 0.02))
    return Noisy(scale * sigma), scale * (x + sigma * jax.random.normal(keys[7], x.shape)), scale * x


def validation(images):
    """Patches of images that are not trained on, at three levels."""
    x = np.concatenate([tiles(images[name][:, first:]) for name, first in STRIPS.items()]).astype("float32") / 255
    noise = np.random.default_rng(1).standard_normal((3, *x.shape)).astype("float32")
    levels = np.array([10, 25, 50], "float32").reshape(3, 1, 1, 1) / 255
    scale = np.sqrt(0.1 / (levels + 0.02))
    b, x = scale * (x + levels * noise), scale * np.broadcast_to(x, noise.shape)
    sigma = np.broadcast_to(scale * levels, noise.shape)[..., 0, 0].ravel()
    return Noisy(sigma), b.reshape(-1, PATCH, PATCH), x.reshape(-1, PATCH, PATCH)


def tiles(image):
    rows, columns = (n // PATCH for n in image.shape)
    cut = image[: rows * PATCH, : columns * PATCH].reshape(rows, PATCH, columns, PATCH)
    return cut.transpose(0, 2, 1, 3).reshape(-1, PATCH, PATCH)


def psnr(network, image, level, blind=False):
    """Of an image of 0 .. 255 with noise of default_rng(0)."""
    x = np.asarray(image, float) / 255
    y = jnp.asarray(x + level / 255 * np.random.default_rng(0).standard_normal(x.shape), "float32")
    sigma = jr.parameters.noise_level(y) if blind else level / 255
    error = np.asarray(jr.Denoiser(network, sigma).prox(y), float) - x
    return float(-10 * np.log10(np.mean(error**2)))


def judge(network, images):
    """A row per test image, and their mean: dB at each level, and the neighbour's at 25/255."""
    with np.load(DATA / "w_dncnn17_sigma25_kair.npz", allow_pickle=False) as weights:
        kair = jr.networks.from_torch(jr.networks.DnCNN(), weights)
    rows = [{"image": name} | {f"{level}/255": psnr(network, images[name], level, blind=True) for level in LEVELS}
            | {"told, 25/255": psnr(network, images[name], 25)}
            | {"KAIR DnCNN at 25/255": psnr(kair, images[name], 25)} for name in TEST]
    mean = {k: float(np.mean([row[k] for row in rows])) for k in rows[0] if k != "image"}
    return [*rows, {"image": "mean"} | mean]


def main():
    args = parser(__doc__, ["denoiser"]).parse_args()
    images = np.load(DATA / "nat_skimage_cc0_gray.npz", allow_pickle=False)
    title = "PSNR in dB on unseen images, by noise level"
    if args.only:
        steps = args.steps or STEPS
        rate = optax.warmup_cosine_decay_schedule(0.0, RATE, steps // 40, steps)
        data = jr.Simulated(jr.Partial(simulate, atlas(images)), BATCH, batched=("sigma",))
        fresh = Told(jr.networks.build(NETWORK, jax.random.key(0)))
        run = train("denoiser", "denoiser", fresh, data, steps, minutes=args.minutes, resume=args.resume,
                    optimizer=optax.adam(rate, b2=0.99), clip=CLIP, validation=validation(images), checkpoints=40)
        network = run.reconstructor.net
        mean = judge(network, images)[-1]
        figures = ", ".join(f"{v:.2f} dB at {k}" for k, v in mean.items() if k.endswith("/255") and k[0].isdigit())
        store(WEIGHTS, network, licence=LICENCE, figures=f"blind, mean PSNR on {', '.join(TEST)} (unseen): {figures}")
        title += f" ({run.note}, {run.seconds / 60:.0f} minutes)"
    show("denoiser", title, judge(jr.networks.pretrained("denoiser"), images))


if __name__ == "__main__":
    main()
