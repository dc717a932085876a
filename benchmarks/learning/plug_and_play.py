"""Plug-and-play with published denoisers, against TV at its best lam.

    python benchmarks/learning/plug_and_play.py

deblurring   a photograph (camera, 128 x 128), a measured camera-shake kernel, noise of 1 %.
MRI          a slice of mr_pd20 as in mri_data.py: 4-fold undersampled lines, 128 x 128, noise of .5 %.

Denoisers, all blind and for real images: DnCNN of 6 layers trained at noise .06 (SCICO) and of 17 layers at 25/255
(KAIR), read from ../shared/data, and the one that comes with the package, where it is there. sigma is estimated from
the measurements, and nothing is tuned; TV has the best lam of a grid, chosen with the truth. Prints a table, and writes
it and a picture to docs/learning.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import matplotlib
import mri_data
import numpy as np
from runs import DOCS, parser, show

import jaxrecon as jr

matplotlib.use("agg")
import matplotlib.pyplot as plt

LAMS = np.geomspace(3e-4, 3e-2, 9).astype("float32")
PROBLEMS = ("deblurring", "MRI")


def problems():
    camera, = mri_data.load("nat_skimage_cc0_gray.npz", "camera")
    kernel, = mri_data.load("deconv_kernels_levin8.npz", "k2")
    x = jnp.asarray(camera[60:188, 130:258] / 255, "float32")
    A = jr.Convolution(kernel.astype("float32"), x.shape)
    b = jr.simulate.add_noise(jax.random.key(0), A(x), sigma=0.01)
    return dict(zip(PROBLEMS, [mri_data.Scan(A, b, x), mri_data.proton_density()[8]], strict=True))


def denoisers():
    """name -> (denoiser, the noise level of its training)."""
    found = {}
    for name, file, layers, padding, level in (("DnCNN 6", "w_dncnn_scico_6L.npz", 6, "circular", 0.06),
                                               ("DnCNN 17", "w_dncnn17_sigma25_kair.npz", 17, "zero", 25 / 255)):
        with np.load(mri_data.DATA / file, allow_pickle=False) as f:
            net = jr.networks.from_torch(jr.networks.DnCNN(depth=layers, padding=padding), dict(f))
        found[name] = jr.Denoiser(net), level
    try:
        found["shipped"] = jr.Denoiser(jr.networks.pretrained("denoiser")), None
    except ValueError:
        print("the package's own denoiser is not there yet: left out")
    return found


def best_tv(scan):
    """(image, lam) of TV with the highest PSNR."""
    found = [jr.solve(scan.A, scan.b, jr.ADMM(jr.TV(lam), rho=10 * lam), 100).x for lam in LAMS]
    best = int(np.argmax([psnr(x, scan.x) for x in found]))
    return found[best], LAMS[best]


def psnr(x, truth):
    return float(jr.metrics.psnr(x, truth, data_range=1.0))


def main():
    names = parser(__doc__, PROBLEMS).parse_args().only
    rows, pictures = {}, {}

    def add(method, problem, scan, x):
        rows.setdefault(method, {"method": method})[problem] = psnr(x, scan.x)
        pictures[problem][method] = x
        print(f"{problem}, {method}: {rows[method][problem]:.2f} dB", flush=True)

    for problem in names:
        scan = problems()[problem]
        pictures[problem] = {"truth": scan.x}
        add("A^H b", problem, scan, scan.A.H(scan.b))
        x, lam = best_tv(scan)
        add("TV, best lam", problem, scan, x)
        rows["TV, best lam"][f"lam, {problem}"] = float(lam)
        for name, (denoiser, level) in denoisers().items():
            for method in ("hqs", "admm", "fista") if name == "DnCNN 6" else ("hqs",):
                r = jr.PlugAndPlay(denoiser, method, trained_at=level)
                add(f"{name}, {method.upper()}", problem, scan, r(scan.A, scan.b))
    show("plug_and_play", "plug-and-play: PSNR in dB", list(rows.values()))
    columns = max(map(len, pictures.values()))
    figure, axes = plt.subplots(len(pictures), columns, figsize=(1.7 * columns, 1.95 * len(pictures)), squeeze=False)
    for row, (problem, images) in zip(axes, pictures.items(), strict=True):
        for ax, (method, x) in zip(row, images.items(), strict=True):
            ax.imshow(np.abs(x), cmap="gray", vmin=0, vmax=1)
            score = "" if method == "truth" else f"\n{rows[method][problem]:.1f} dB"
            ax.set_title(method + score, fontsize=7)
        for ax in row:
            ax.axis("off")
    figure.tight_layout(pad=0.3)
    DOCS.mkdir(parents=True, exist_ok=True)
    figure.savefig(DOCS / "plug_and_play.png", dpi=80, pil_kwargs={"optimize": True})


if __name__ == "__main__":
    main()
