"""A real 8-coil brain, 8-fold Poisson-disc (sigpy-mri-tutorial, BSD-3-Clause), by the command line."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from typer.testing import CliRunner

import jaxrecon as jr
from jaxrecon.calibration import calibration_size
from jaxrecon.cli import app

SCAN = Path(__file__).resolve().parents[1] / ".." / "shared" / "data" / "mri_brain8_poisson.npz"


def reconstruct(path, output, *options):
    result = CliRunner().invoke(app, ["reconstruct", str(path), "-o", str(output), *options])
    assert result.exit_code == 0, result.output
    with np.load(output, allow_pickle=False) as file:
        return file["image"]


def sharpness(x):
    return np.abs(np.diff(x, axis=0)).sum() / x.sum()


@pytest.mark.slow
def test_no_fold_over_and_no_noise(shared_data, tmp_path):
    shared_data(SCAN.name)
    blurred = sharpness(abs(reconstruct(SCAN, tmp_path / "zero.npz", "--method", "zero-filled")))
    for options in (("--method", "fista", "--lam", "4e-3"), ("--method", "condat-vu", "--lam", "3e-3")):
        x = abs(reconstruct(SCAN, tmp_path / "x.npz", *options))
        tissue = np.quantile(x, 0.95)
        air = np.concatenate([x[:20, :40], x[-20:, :40], x[:20, -40:], x[-20:, -40:]])
        # Fold-over and noise show in the air; the zero-filled image has lost the edges.
        assert air.mean() < 0.02 * tissue
        assert sharpness(x) > 1.3 * blurred


@pytest.mark.slow
def test_hidden_samples_are_predicted(shared_data, tmp_path):
    """10 % of the outer samples: NRMSE .304 (CG-SENSE), .268 (wavelet), .253 (TV) in benchmarks/heldout.py."""
    file = shared_data(SCAN.name)
    kspace, mask = file["ksp"], file["mask"]
    ny, nx = calibration_size(jnp.asarray(kspace), largest=32)
    outer = mask.copy()
    outer[115 - ny // 2 : 115 - ny // 2 + ny, 90 - nx // 2 : 90 - nx // 2 + nx] = False
    hidden = np.zeros_like(mask)
    where = np.flatnonzero(outer)
    hidden.flat[np.random.default_rng(0).choice(where, where.size // 10, replace=False)] = True
    kept = np.where(hidden, 0, kspace)
    maps = jr.espirit(jnp.asarray(kept), calibration=None)
    np.savez(tmp_path / "kept.npz", ksp=kept, maps=np.asarray(maps))
    A, measured = jr.sense(maps, hidden), np.where(hidden, kspace, 0)
    errors = {}
    for method, lam in (("cg", 1e-2), ("fista", 4e-3), ("condat-vu", 3e-3)):
        x = reconstruct(tmp_path / "kept.npz", tmp_path / "x.npz", "--method", method, "--lam", str(lam))
        errors[method] = np.linalg.norm(A(jnp.asarray(x)) - measured) / np.linalg.norm(measured)
    assert errors["cg"] < 0.34 and errors["fista"] < 0.29 and errors["condat-vu"] < 0.275
    assert errors["condat-vu"] < errors["fista"] < errors["cg"]
