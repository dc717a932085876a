"""The lecture's claims, each with where it was measured, the figure, and whether it holds: writes docs/claims.md.

    python benchmarks/claims.py

Measures nothing itself: it reads what notebooks print as their claims, and the rows of benchmarks/learning and
benchmarks/lecture.py. A verdict is computed from the figure beside it. Missing figures are said to be missing.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"


class Claim(NamedTuple):
    """`figure` words what was measured, `holds` is the verdict: True, False, or a text for what is neither."""

    text: str
    where: str
    measured: Callable[[], Any]
    figure: Callable[[Any], str]
    holds: Callable[[Any], bool | str]


# ---- what was measured


def of_notebook(number: int) -> dict[str, Any]:
    """The JSON that the last cell of a notebook prints."""
    (path,) = (ROOT / "notebooks").glob(f"{number:02d}_*.ipynb")
    for cell in reversed(json.loads(path.read_text())["cells"]):
        printed = "".join("".join(o.get("text", "")) for o in cell.get("outputs", []))
        found = re.search(r"\{.*\}", printed, re.DOTALL)
        if found and "claims" in "".join(cell["source"]):
            return json.loads(found.group())
    raise KeyError(f"{path.name} prints no claims")


def of_rows(script: str, *names: str) -> list[dict[str, Any]]:
    """Rows that a script of benchmarks keeps."""
    return [json.loads((DOCS / "learning" / "rows" / script / f"{name}.json").read_text())["row"] for name in names]


def of_table(path: str) -> list[dict[str, str]]:
    with open(DOCS / path, newline="") as file:
        return list(csv.DictReader(file))


def nrmse(name: str) -> float:
    return of_rows("automap", name)[0]["NRMSE"]


def at(level: int, *names: str) -> list[float]:
    """dB at a noise level, of rows of the lecture's table."""
    return [row[f"{level} dB"] for row in of_rows("lecture", *names)]


# ---- the claims


CLAIMS = [
    Claim("Noise is amplified by inversion", "notebook 1", lambda: of_notebook(1),
          lambda c: f"deblurring: {c['noise_amplification_measured']:.1f} times (predicted by the singular values: "
                    f"{c['noise_amplification_predicted']:.1f})",
          lambda c: c["noise_amplification_measured"] > 2),
    Claim("Every prior wins on the images it describes, and fails on others", "notebook 1", lambda: of_notebook(1),
          lambda c: f"stars: l1 {c['psnr_stars_l1']:.1f} dB, TV {c['psnr_stars_TV']:.1f}; blocks: fused lasso "
                    f"{c['psnr_blocks_fused_lasso']:.1f}, TV {c['psnr_blocks_TV']:.1f}; hills: wavelets "
                    f"{c['psnr_hills_wavelet_l1']:.1f}, TV {c['psnr_hills_TV']:.1f}; grass: Tikhonov "
                    f"{c['psnr_grass_Tikhonov']:.1f}, TV {c['psnr_grass_TV']:.1f}",
          lambda c: c["each_prior_wins_on_its_image"]),
    Claim("Images are sparse in wavelets, noise is not", "notebook 1", lambda: of_notebook(1),
          lambda c: f"energy in the largest 5 % of the coefficients: photograph "
                    f"{c['energy_in_5_percent_wavelets_camera']:.0%}, noise "
                    f"{c['energy_in_5_percent_wavelets_noise']:.0%}",
          lambda c: c["energy_in_5_percent_wavelets_camera"] > 2 * c["energy_in_5_percent_wavelets_noise"]),
    Claim("TV on texture: the minimiser scores below the truth", "notebook 1", lambda: of_notebook(1),
          lambda c: f"objective of the truth {c['tv_objective_grass_truth']:.1f}, of the minimiser "
                    f"{c['tv_objective_grass_minimiser']:.1f}; denoising gains {c['tv_gain_grass_db']:.1f} dB on "
                    "grass, "
                    f"{c['tv_gain_discs_db']:.1f} on discs",
          lambda c: c["tv_objective_grass_minimiser"] < c["tv_objective_grass_truth"]),
    Claim("Random sampling allows compressed sensing, regular sampling does not", "notebook 1", lambda: of_notebook(1),
          lambda c: f"TV, 4-fold: lines {c['tv_4fold_regular_lines_db']:.1f} dB regular, "
                    f"{c['tv_4fold_random_lines_db']:.1f} random; points {c['tv_4fold_regular_points_db']:.1f}, "
                    f"{c['tv_4fold_random_points_db']:.1f}; four coils undo regular lines: "
                    f"{c['four_coils_regular_lines_db']:.1f}",
          lambda c: c["tv_4fold_random_points_db"] > c["tv_4fold_regular_points_db"] + 5),
    Claim("Tikhonov costs O(N²) to O(N³)", "notebook 2", lambda: of_notebook(2),
          lambda c: f"exponents: SVD {c['exponent_SVD']:.1f}, Cholesky {c['exponent_Cholesky']:.1f}, CG with a matrix "
                    f"{c['exponent_CG_dense']:.1f}; CG with a matrix-free blur {c['exponent_CG_matrix-free']:.1f}",
          lambda c: "true with a matrix; an operator makes it O(N log N)"),
    Claim("TV and l1 need 10 to 1000 iterations", "notebook 2", lambda: of_notebook(2),
          lambda c: "to .1 dB of the limit: " + ", ".join(
              f"{name} {min(v)} to {max(v)}" for name in ("ADMM", "FISTA", "ISTA", "PDHG")
              for v in [[n for k, n in c.items() if k.startswith("iterations_") and k.endswith(f"_{name}") and n]]),
          lambda c: "true; ADMM, whose iterations solve a system, needs fewer, ISTA and PDHG some more"),
    Claim("CG beats Landweber", "notebook 2", lambda: of_notebook(2),
          lambda c: f"30-view CT to 1 % residual: {c['ct_iterations_to_1_percent_residual_cg']} against "
                    f"{c['ct_iterations_to_1_percent_residual_landweber']} iterations; they grow as the condition "
                    f"number to the power {c['exponent_cg_in_condition']:.1f} against "
                    f"{c['exponent_landweber_in_condition']:.1f}",
          lambda c: (c["ct_iterations_to_1_percent_residual_cg"]
                     < c["ct_iterations_to_1_percent_residual_landweber"] / 4)),
    Claim("Landweber diverges for steps above 2 / ‖A‖²", "notebook 2", lambda: of_notebook(2),
          lambda c: f"residual after 300 steps of 1.9 / ‖A‖²: {c['landweber_step_1.9_residual']:.2g}, of 2.1 / ‖A‖²: "
                    f"{c['landweber_step_2.1_residual']:.0e}; of 2.5: ok = {c['landweber_step_2.5_ok']}",
          lambda c: c["landweber_step_2.1_residual"] > 1e6 * c["landweber_step_1.9_residual"]),
    Claim("One sweep of Kaczmarz does what several steps of CG do", "notebook 2", lambda: of_notebook(2),
          lambda c: f"{c['kaczmarz_one_sweep_in_cg_iterations']} of CG, "
                    f"{c['kaczmarz_one_sweep_in_landweber_iterations']} of Landweber; later CG overtakes it",
          lambda c: c["kaczmarz_one_sweep_in_cg_iterations"] > 1),
    Claim("A two-layer network fits a function; polynomials and splines fit it too", "notebook 4",
          lambda: of_notebook(4),
          lambda c: "rms error inside and outside the data, equal numbers of coefficients: " + ", ".join(
              f"{name} {c[f'fit: rms inside, {name}']:.2f}, {c[f'fit: rms outside, {name}']:.2g}"
              for name in ("network", "polynomial", "spline")),
          lambda c: c["fit: rms inside, network"] < c["fit: rms inside, spline"]
          and c["fit: rms outside, network"] < c["fit: rms outside, spline"]),
    Claim("Few training images are learned by heart", "notebook 4", lambda: of_notebook(4),
          lambda c: f"error on unseen / training images: {c['overfitting: unseen / training error, 100 images']:.0f} "
                    f"with 100 images, {c['overfitting: unseen / training error, new images']:.2f} with new ones",
          lambda c: c["overfitting: unseen / training error, 100 images"] > 2),
    Claim("Convolutional networks need fewer weights than dense ones", "notebook 4", lambda: of_notebook(4),
          lambda c: f"{c['weights: 3 layers of 19']:,} weights, error {c['error: 3 layers of 19']:.2f}; dense "
                    f"{c['weights: dense, 256 wide']:,}, {c['error: dense, 256 wide']:.2f}; at 512² they would take "
                    f"{c['MB at 512: 3 layers of 19'] / 1e3:.1f} and {c['MB at 512: dense, 256 wide'] / 1e3:.1f} GB to "
                    "train",
          lambda c: c["error: 3 layers of 19"] < c["error: dense, 256 wide"]),
    Claim("Deep is better than wide", "notebook 4", lambda: of_notebook(4),
          lambda c: "with some 3,800 weights, error (ms): " + ", ".join(
              f"{name} {c[f'error: {name}']:.2f} ({c[f'ms: {name}']:.0f})" for name in (
                  "2 layers of 195", "3 layers of 19", "6 layers of 10", "11 layers of 7")),
          lambda c: "true up to 6 layers; 11 are no better"),
    Claim("The learned inverse learns the inverse FFT", "`automap.py`", lambda: nrmse("full-automap"),
          lambda e: f"AUTOMAP at 32²: NRMSE {e:.3f} on unseen images", lambda e: e <= 0.05),
    Claim("The learned inverse absorbs errors of the model", "`automap.py`",
          lambda: {p: [nrmse(f"{p}-{m}") for m in ("automap", "unet", "unrolled")]
                   + [of_rows("automap", f"{p}-classical")[0]["TV"]] for p in ("trajectory", "off-resonance")},
          lambda c: "NRMSE of AUTOMAP, FFT + U-Net, unrolled, TV: " + "; ".join(
              f"{p} " + ", ".join(f"{e:.2f}" for e in v) for p, v in c.items()),
          lambda c: all(v[0] < min(v[1:]) / 1.5 for v in c.values())),
    Claim("Post-processing needs a simpler model and fewer data than the learned inverse", "notebook 4",
          lambda: of_notebook(4),
          lambda c: f"{c['weights, FFT + U-Net']:,} against {c['weights, learned inverse']:,} weights; error with 25 "
                    f"images {c['error with 25 images, FFT + U-Net']:.2f} against "
                    f"{c['error with 25 images, learned inverse']:.2f}, with 6400 "
                    f"{c['error with 6400 images, FFT + U-Net']:.2f} against "
                    f"{c['error with 6400 images, learned inverse']:.2f}",
          lambda c: c["error with 25 images, FFT + U-Net"] < c["error with 6400 images, learned inverse"]),
    Claim("A network trained on a range of noise adapts, a fixed lam does not", "`noise_adaptation.py`",
          lambda: of_table("learning/noise_adaptation_levels.csv"),
          lambda rows: "dB against the specialist of each level: " + ", ".join(
              f"{float(r['one - specialist']):+.2f}" for r in rows) + "; TV with one lam against its best: "
              + ", ".join(f"{float(r['fixed - best']):+.2f}" for r in rows),
          lambda rows: min(float(r["one - specialist"]) for r in rows) > min(float(r["fixed - best"]) for r in rows)),
    Claim("Noise changes, lam must change", "notebook 3", lambda: of_notebook(3),
          lambda c: f"Tikhonov, best lam at sigma .001, .01, .1: {c['best_lam_at_0.001']:.0e}, "
                    f"{c['best_lam_at_0.01']:.0e}, {c['best_lam_at_0.1']:.0e}; the middle one loses "
                    f"{c['fixed_lam_loses_at_0.001_db']:.1f} and {c['fixed_lam_loses_at_0.1_db']:.1f} dB at the ends",
          lambda c: min(c["fixed_lam_loses_at_0.001_db"], c["fixed_lam_loses_at_0.1_db"]) > 1),
    Claim("lam can be found from the data", "notebook 3", lambda: of_notebook(3),
          lambda c: "dB lost at the three levels: " + "; ".join(
              f"{rule} " + ", ".join(f"{c[f'{rule}_loses_at_{s}_db']:.1f}" for s in ("0.001", "0.01", "0.1"))
              for rule in ("discrepancy", "SURE", "GCV", "robust GCV", "L-curve")),
          lambda c: "true but of the L-curve, which fails on smooth problems"),
    Claim("About 10 unrolled iterations suffice", "notebook 7", lambda: of_notebook(7),
          lambda c: f"TV {c['tv_db']:.1f} dB; " + ", ".join(f"P = {p} {c[f'P_{p}_db']:.1f}" for p in (1, 2, 4, 8, 12))
          + f"; {c['P_8_applications']} applications of A and A^H, TV {c['tv_applications_to_a_tenth_db']}",
          lambda c: c["P_8_db"] > c["tv_db"] and abs(c["P_12_db"] - c["P_8_db"]) < 0.2),
    Claim("P = 3 is the literal composition", "notebook 7", lambda: of_notebook(7),
          lambda c: f"difference {c['P3_differs_from_the_composition']:.0e}; a fresh network is the classical solver "
                    f"to {c['fresh_differs_from_landweber']:.0e}",
          lambda c: c["P3_differs_from_the_composition"] < 1e-5),
    Claim("Iterating beyond the trained P does harm", "notebook 7", lambda: of_notebook(7),
          lambda c: f"24 iterations: trained with 4 {c['24_iterations_trained_with_4_db']:+.1f} dB, with 8 "
                    f"{c['24_iterations_trained_with_8_db']:+.1f} dB",
          lambda c: c["24_iterations_trained_with_8_db"] < 0),
    Claim("Separate weights are harder to train than shared ones", "notebook 7", lambda: of_notebook(7),
          lambda c: f"after 100 steps {c['separate_after_100_steps_db']:.1f} against "
                    f"{c['shared_after_100_steps_db']:.1f} dB, after 600 "
                    f"{c['separate_after_600_steps_db']:.1f} against "
                    f"{c['shared_after_600_steps_db']:.1f}; {c['separate_weights']:,} against {c['shared_weights']:,} "
                    f"weights; trained on 8 scans alone {c['separate_of_8_scans_new']:.1f} against "
                    f"{c['shared_of_8_scans_new']:.1f}",
          lambda c: c["separate_after_100_steps_db"] < c["shared_after_100_steps_db"]
          or "not true; but with few scans they are sooner learned by heart"),
    Claim("Post-processing does not survive a change of operator", "notebook 5", lambda: of_notebook(5),
          lambda c: f"U-Net against its input: at the trained 4-fold {c['MRI at 4, U-Net behind it: dB']:.1f} and "
                    f"{c['MRI at 4, direct: dB']:.1f} dB, at 2-fold {c['MRI at 2, U-Net behind it: dB']:.1f} and "
                    f"{c['MRI at 2, direct: dB']:.1f}",
          lambda c: c["MRI at 2, U-Net behind it: dB"] < c["MRI at 2, direct: dB"]),
    Claim("Post-processing is not consistent with the data", "notebook 5", lambda: of_notebook(5),
          lambda c: f"‖Ax - b‖ / ‖b‖ {c['MRI, U-Net behind it: |Ax-b|/|b|']:.2f}, of the noise "
                    f"{c['MRI, noise / |b|']:.2f}; putting the samples back gains "
                    f"{c['MRI, samples put back: dB'] - c['MRI, U-Net behind it: dB']:.1f} dB",
          lambda c: c["MRI, U-Net behind it: |Ax-b|/|b|"] > 2 * c["MRI, noise / |b|"]),
    Claim("Enhancement is more than denoising", "notebooks 1 and 5", lambda: of_notebook(5),
          lambda c: f"super-resolution: bicubic {c['super-resolution, ellipses, bicubic: dB']:.1f} dB, then a denoiser "
                    f"{c['super-resolution, ellipses, bicubic, denoiser: dB']:.1f}, then a network trained for it "
                    f"{c['super-resolution, ellipses, bicubic, network: dB']:.1f}",
          lambda c: c["super-resolution, ellipses, bicubic, network: dB"]
          > c["super-resolution, ellipses, bicubic, denoiser: dB"] + 0.5),
    Claim("Plug-and-play is robust to a change of operator, post-processing is not", "notebook 6",
          lambda: of_notebook(6),
          lambda c: "dB above zero-filled at 2-, 4-, 6-fold: " + "; ".join(
              f"{name} " + ", ".join(f"{c[f'MRI {a}-fold, {name}: dB'] - c[f'MRI {a}-fold, zero-filled: dB']:+.1f}"
                                     for a in (2, 4, 6))
              for name in ("plug-and-play", "FFT + U-Net, trained at 4", "TV, best \u03bb")),
          lambda c: c["MRI 2-fold, plug-and-play: dB"] > c["MRI 2-fold, zero-filled: dB"] + 1
          and c["MRI 2-fold, FFT + U-Net, trained at 4: dB"] < c["MRI 2-fold, zero-filled: dB"] + 0.5),
    Claim("A denoiser that does not expand makes the iteration converge", "notebook 6", lambda: of_notebook(6),
          lambda c: f"change of the 300th iterate: non-expansive {c['non-expansive: change']:.0e}, free "
                    f"{c['free: change']:.0e}; the price: it denoises to {c['non-expansive: denoising']:.1f} dB, the "
                    f"free one to {c['free: denoising']:.1f}",
          lambda c: c["non-expansive: change"] < c["free: change"] / 10),
]


# ---- the page


HEAD = """# The lecture's claims

Each claim of the lecture, where it was measured, the figure, and whether it holds. Written by `benchmarks/claims.py`
from what the notebooks and the scripts in `benchmarks/` printed; nothing here is set by hand.

| claim | measured in | figure | |
|---|---|---|---|
"""


def verdict(found: bool | str) -> str:
    return found if isinstance(found, str) else "true" if found else "not true"


def line(c: Claim) -> str:
    try:
        measured = c.measured()
        return f"| {c.text} | {c.where} | {c.figure(measured)} | {verdict(c.holds(measured))} |"
    except (KeyError, FileNotFoundError, ValueError) as missing:
        print(f"{c.text}: {type(missing).__name__}: {missing}")
        return f"| {c.text} | {c.where} | not measured yet | |"


def page() -> str:
    return HEAD + "".join(line(c) + "\n" for c in CLAIMS)


def main() -> None:
    (DOCS / "claims.md").write_text(page())


if __name__ == "__main__":
    main()
