"""The command line: what it computes, what it writes, and how it refuses."""

import csv
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from typer.testing import CliRunner

import jaxrecon as jr
from jaxrecon.cli import app, methods, parameters
from jaxrecon.cli import demo as demo_module
from jaxrecon.io import write_cfl

NY, NX, COILS = 28, 32, 4


def invoke(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


@pytest.fixture(scope="module")
def truth():
    phase = np.exp(1j * np.linspace(-1, 1, NX))
    return np.asarray(jr.simulate.shepp_logan((NY, NX))) * phase


@pytest.fixture(scope="module")
def maps():
    return np.asarray(jr.simulate.coil_maps((NY, NX), COILS))


@pytest.fixture(scope="module")
def kspace(truth, maps):
    shifted = np.fft.ifftshift(maps * truth, (1, 2))
    return np.fft.fftshift(np.fft.fft2(shifted, norm="ortho"), (1, 2)).astype(np.complex64)


@pytest.fixture
def scan(tmp_path, monkeypatch, kspace, maps):
    """Writes scan.npz into the current folder; every second outer line is missing."""
    monkeypatch.chdir(tmp_path)
    sampled = kspace.copy()
    sampled[:, [1, 3, 5, 22, 24, 26]] = 0

    def write(**changes):
        arrays = {"kspace": sampled, "maps": maps, **changes}
        np.savez("scan.npz", **{k: v for k, v in arrays.items() if v is not None})
        return tmp_path / "scan.npz"

    write()
    return write


def image(path="out.npz"):
    with np.load(path, allow_pickle=False) as file:
        assert file["image"].dtype == np.complex64
        return file["image"]


# ---- what it computes


def test_zero_filled_is_the_adjoint(scan, kspace, maps):
    scan(kspace=kspace)
    assert invoke("reconstruct", "scan.npz", "--method", "zero-filled", "-o", "out.npz").exit_code == 0
    coils = np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(kspace, (1, 2)), norm="ortho"), (1, 2))
    np.testing.assert_allclose(image(), np.sum(np.conj(maps) * coils, axis=0), atol=1e-5)


@pytest.mark.parametrize("factor", [1e-12, 1e9])
def test_cg_finds_the_truth_at_any_scale(scan, kspace, truth, factor):
    scan(kspace=(factor * kspace).astype(np.complex64))
    result = invoke("reconstruct", "scan.npz", "--method", "cg", "--prior", "none", "-o", "out.npz")
    assert result.exit_code == 0, result.output
    np.testing.assert_allclose(image() / factor, truth, atol=1e-4)


@pytest.mark.parametrize("rule", [None, *(pytest.param(r, marks=pytest.mark.slow)
                                           for r in ("sure", "discrepancy", "gcv", "lcurve"))])
def test_lam_by_a_rule(scan, rng, kspace, rule):
    """The lam in OUT.npz is that of the rule; for missing lines the default is cross-validation."""
    noisy = kspace + 0.05 * (rng.standard_normal(kspace.shape) + 1j * rng.standard_normal(kspace.shape))
    noisy[:, [1, 3, 5, 22, 24, 26]] = 0
    scan(kspace=noisy.astype(np.complex64))
    asked = ["--lam", rule] if rule else []
    result = invoke("reconstruct", "scan.npz", "--method", "cg", *asked, "--iterations", 4, "-o", "out.npz")
    assert result.exit_code == 0, result.output
    data = jr.io.read_npz("scan.npz")
    A, b = jr.sense(jnp.asarray(data.maps), data.mask), jnp.asarray(data.kspace)
    scale = np.quantile(np.abs(A.H(b)), 0.99)
    name = rule or "crossvalidate"
    assert f"lam by {name}" in result.output
    options = {**parameters.OPTIONS[name], "iterations": 4}
    found = getattr(jr, name)(A, b / scale, 1e-2 * np.array(parameters.RANGE), lambda lam: jr.CGNR(lam), **options)
    with np.load("out.npz", allow_pickle=False) as file:
        assert float(file["lam"]) == pytest.approx(float(found.lam), rel=1e-3)


@pytest.mark.parametrize(("method", "prior"), [
    ("fista", "tv"), pytest.param("pogm", "wavelet", marks=pytest.mark.slow),
])
def test_solves_the_stated_problem(scan, method, prior):
    arguments = ("--method", method, "--prior", prior, "--lam", "3e-3", "--iterations", 40)
    result = invoke("reconstruct", scan(), *arguments, "-o", "out.npz")
    assert result.exit_code == 0, result.output
    data = jr.io.read_npz("scan.npz")
    A = jr.sense(jnp.asarray(data.maps), data.mask)
    assert data.mask.shape == (NY, 1)  # the fast path of whole lines
    b = jnp.asarray(data.kspace)
    scale = float(np.quantile(np.abs(A.H(b)), 0.99))
    with np.load("out.npz", allow_pickle=False) as file:
        assert float(file["scale"]) == pytest.approx(scale, rel=1e-5)
        assert (str(file["method"]), str(file["prior"]), float(file["lam"])) == (method, prior, 3e-3)
        assert file["objective"].shape == (40,) and int(file["iterations"]) == 40
        found, x = file["objective"][-1], file["image"] / scale
    if prior == "tv":  # of the other, a part lies outside the image: 28 rows are extended to 32
        gradient = np.stack([np.diff(x, axis=0, append=x[-1:]), np.diff(x, axis=1, append=x[:, -1:])])
        penalty = 3e-3 * np.sqrt(np.sum(np.abs(gradient) ** 2, axis=0)).sum()
        objective = np.sum(np.abs(A(x) - b / scale) ** 2) / 2 + penalty
        assert found == pytest.approx(objective, rel=1e-4)
    other = "condat-vu" if prior == "tv" else "fista"
    assert invoke("reconstruct", "scan.npz", "--method", other, *arguments[2:6], "--iterations", 400,
                  "-o", "other.npz").exit_code == 0
    assert np.linalg.norm(image("other.npz") - image()) < 0.02 * np.linalg.norm(image())


@pytest.mark.slow
def test_an_odd_size_is_extended_for_wavelets(scan, kspace, maps, truth):
    scan(kspace=kspace[:, :27, :31], maps=maps[:, :27, :31])
    assert methods.padded((27, 31)) == (28, 32)
    result = invoke("reconstruct", "scan.npz", "--iterations", 2, "-o", "out.npz")
    assert result.exit_code == 0, result.output
    assert image().shape == (27, 31)


def test_extension_changes_nothing_the_data_see(maps):
    A = jr.sense(maps[:, :27, :31])
    wide, crop = methods.extended(A, "wavelet")
    x = jax.random.normal(jax.random.key(0), wide.domain.shape, wide.domain.dtype)
    assert wide.domain.shape == (28, 32) and crop(x).shape == (27, 31)
    np.testing.assert_allclose(wide(x), A(crop(x)))
    assert jr.testing.adjoint_error(wide, jax.random.key(1)) < 1e-12
    assert methods.extended(A, "tv").A is A


@pytest.mark.parametrize("which", ["espirit", "rss", "auto", "maps"])
def test_maps(scan, kspace, truth, which):
    scan(kspace=kspace, **({"maps": None} if which in ("espirit", "rss") else {}))
    result = invoke("reconstruct", "scan.npz", "--maps", which, "--method", "zero-filled", "-o", "out.npz")
    assert result.exit_code == 0, result.output
    # Fully sampled, with sum |m|^2 = 1 of the true maps: the magnitude is that of the truth where there is signal.
    inside = np.abs(truth) > 0.1
    error = np.linalg.norm((np.abs(image()) - np.abs(truth))[inside]) / np.linalg.norm(truth)
    assert error < (0.02 if which != "rss" else 0.1)


def test_one_coil_needs_no_maps(scan, truth):
    kspace = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(truth), norm="ortho"))
    scan(kspace=kspace, maps=None)
    assert invoke("reconstruct", "scan.npz", "--method", "cg", "--prior", "none", "-o", "out.npz").exit_code == 0
    np.testing.assert_allclose(image(), truth, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(("method", "prior"), [(m, p) for m, v in methods.METHODS.items() for p in v.priors])
def test_every_pair_runs(scan, method, prior):
    iterations = ("--iterations", 3) if methods.METHODS[method].iterations else ()
    result = invoke("reconstruct", scan(), "--method", method, "--prior", prior, *iterations, "-o", "out.npz")
    assert result.exit_code == 0, result.output
    assert np.isfinite(image()).all() and np.abs(image()).max() > 0.1


def test_outputs(scan):
    result = invoke("reconstruct", scan(), "--method", "landweber", "--iterations", 2, "--png", "out.png")
    assert result.exit_code == 0, result.output
    with open("out.png", "rb") as file:
        assert file.read(8) == b"\x89PNG\r\n\x1a\n"
    assert result.stderr == ""  # no bar where stderr is not a terminal
    assert "28 x 32 pixels" in result.stdout and "wrote out.png" in result.stdout
    assert invoke("reconstruct", "scan.npz", "--method", "landweber", "--iterations", 2).exit_code == 0
    assert image("scan-landweber.npz").shape == (NY, NX)


def test_slices_do_not_overwrite_each_other(scan, kspace):
    volume = np.zeros((NX, NY, 1, 1, *9 * [1], 2), np.complex64)  # one coil, two slices
    volume[..., 0] = kspace[0].T.reshape(volume.shape[:-1])
    volume[..., 1] = 2 * volume[..., 0]
    write_cfl("volume.cfl", volume)
    for which in (0, 1):
        result = invoke("reconstruct", "volume.cfl", "--method", "zero-filled", "--slice", which)
        assert f"wrote volume-slice{which}-zero-filled.npz" in result.stdout, result.output
    one, two = (f"volume-slice{which}-zero-filled.npz" for which in (0, 1))
    np.testing.assert_allclose(image(two), 2 * image(one), rtol=1e-5)
    with np.load(two) as file:
        assert (int(file["slice"]), int(file["slices"])) == (1, 2)


# ---- how it refuses


def refused(tmp_path, *arguments, code=2):
    """The one line of a failed run, which leaves the folder as it was."""
    (tmp_path / "out.npz").write_bytes(b"precious")
    (tmp_path / "out.png").write_bytes(b"precious")
    before = {p: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()}
    result = invoke(*arguments)
    assert result.exit_code == code, result.output
    assert result.stdout == "" and result.stderr.count("\n") == 1 and result.stderr.startswith("jaxrecon: ")
    assert {p: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()} == before
    return result.stderr


NAN = np.full((COILS, NY, NX), np.nan, np.complex64)
ONES = np.ones((COILS, NY, NX), np.complex64)
HOLES = np.where(np.arange(NY)[:, None] % 2 == 0, ONES, 0)


@pytest.mark.parametrize(("changes", "message"), [
    ({"kspace": NAN}, "not finite (NaN or infinite), the first at (0, 0, 0)"),
    ({"kspace": ONES.real}, "kspace must be complex, got float32"),
    ({"kspace": ONES[None]}, "kspace must be (coils, ny, nx)"),
    ({"kspace": None, "data": ONES}, "no array named kspace or ksp, only"),
    ({"kspace": np.array([None])}, "would have to be unpickled"),
    ({"mask": np.ones((3, 3))}, "mask has shape (3, 3)"),
    ({"maps": ONES[:2]}, "maps have shape (2, 28, 32)"),
    ({"maps": NAN}, "maps holds"),
    ({"kspace": HOLES, "maps": None}, "calibration"),
    ({"kspace": 3e38 * ONES, "maps": ONES}, "overflow complex64"),
])
def test_bad_data(scan, tmp_path, changes, message):
    scan(**changes)
    assert message in refused(tmp_path, "reconstruct", "scan.npz", "-o", "out.npz", "--png", "out.png")


@pytest.mark.parametrize(("arguments", "message"), [
    (["--method", "magic"], "unknown method 'magic'; known are fista"),
    (["--prior", "magic"], "unknown prior 'magic'; known are wavelet"),
    (["--method", "cg", "--prior", "tv"], "takes l2 or none; --prior tv goes with fista, pogm, ista, condat-vu,"),
    (["--method", "zero-filled", "--prior", "wavelet"], "it takes none"),
    (["--method", "landweber", "--lam", "1"], "no effect"),
    (["--lam", "-1"], "--lam must be a number >= 0, got -1"),
    (["--lam", "nan"], "--lam must be a number >= 0, got nan"),
    (["--lam", "much"], "--lam must be a number or one of crossvalidate, sure, gcv, lcurve, discrepancy, got much"),
    (["--method", "landweber", "--lam", "gcv"], "--lam gcv has nothing to choose with --method landweber"),
    (["--method", "zero-filled", "--iterations", "5"], "--iterations 5 has no effect with --method zero-filled"),
    (["--iterations", "0"], "--iterations must be 1 or more, got 0"),
    (["--maps", "sens"], "no coil maps named sens, only kspace, maps"),
    (["--output", "nowhere/out.npz"], "create it first"),
    (["--output", "out.png"], "must end in .npz"),
    (["--png", "out.npz"], "must end in .png"),
    (["--output", "scan.npz"], "the scan itself"),
    (["--frobnicate"], "--frobnicate"),
])
def test_bad_options(scan, tmp_path, arguments, message):
    assert message in refused(tmp_path, "reconstruct", "scan.npz", *arguments)


def test_bad_files(scan, tmp_path):
    (tmp_path / "text.npz").write_text("hello")
    assert "text.npz is not an .npz file" in refused(tmp_path, "reconstruct", "text.npz", "-o", "out.npz")
    assert "missing.npz: no such file" in refused(tmp_path, "reconstruct", "missing.npz", "-o", "out.npz")
    (tmp_path / "folder.npz").mkdir()
    assert "not a regular file" in refused(tmp_path, "reconstruct", "scan.npz", "-o", "folder.npz")
    assert "SCAN" in refused(tmp_path, "reconstruct")
    assert "--size must be a multiple of 16" in refused(tmp_path, "demo", "--size", 100)
    assert "must end in .png" in refused(tmp_path, "demo", "-o", "out.npz")
    assert "frobnicate" in refused(tmp_path, "frobnicate")


def test_a_diverged_solve_writes_nothing(scan, tmp_path, monkeypatch):
    wild = methods.Method(lambda prior: jr.Landweber(1e30), ("none",))
    monkeypatch.setitem(methods.METHODS, "landweber", wild)
    outputs = ("-o", "out.npz", "--png", "out.png")
    assert "diverged" in refused(tmp_path, "reconstruct", scan(), "--method", "landweber", *outputs, code=1)


# ---- the other commands


def test_info_and_version():
    result = invoke("info")
    assert result.exit_code == 0
    for word in ("jaxrecon", "jax ", "jaxlib", "numpy", "python", "cpu", "x64"):
        assert word in result.stdout
    assert invoke("--version").stdout.startswith("jaxrecon ")
    assert "reconstruct" in invoke().stdout and invoke("--help").exit_code == 0


def test_demo_writes_a_picture_and_a_table(tmp_path, monkeypatch):
    few = {"zero-filled": (jr.ZeroFilled(), None), "CG": (jr.Iterative(jr.CGNR(1e-2), 10), 10)}
    monkeypatch.setattr(demo_module, "methods", lambda A: few)
    monkeypatch.setattr(demo_module, "dense_methods", lambda: few)
    result = invoke("demo", "-o", tmp_path / "d.png", "--size", 48)
    assert result.exit_code == 0, result.output
    assert (tmp_path / "d.png").read_bytes().startswith(b"\x89PNG")
    with open(tmp_path / "d.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(r["method"], r["pixels"]) for r in rows] == [
        ("zero-filled", "48x48"), ("CG", "48x48"), ("zero-filled", "32x32"), ("CG", "32x32")]
    assert float(rows[3]["psnr_db"]) > float(rows[2]["psnr_db"]) + 1


@pytest.mark.slow
def test_whole_demo(tmp_path):
    result = invoke("demo", "-o", tmp_path / "d.png", "--size", 64)
    assert result.exit_code == 0, result.output
    with open(tmp_path / "d.csv", newline="") as file:
        psnr = {(r["method"], r["pixels"]): float(r["psnr_db"]) for r in csv.DictReader(file)}
    large = {name: v for (name, pixels), v in psnr.items() if pixels == "64x64"}
    sparse = [v for name, v in large.items() if name.startswith(("TV", "wavelet"))]
    assert len(sparse) == 9 and min(sparse) > large["Tikhonov (CG-SENSE)"] + 2 > large["zero-filled"] + 4
    small = {name: v for (name, pixels), v in psnr.items() if pixels == "32x32"}
    assert small["Tikhonov, SVD"] == pytest.approx(small["Tikhonov, Cholesky"], abs=0.01)
    assert small["Kaczmarz"] == pytest.approx(small["Tikhonov, SVD"], abs=0.3)


def test_as_a_process(scan, tmp_path, truth):
    command = [sys.executable, "-m", "jaxrecon.cli", "reconstruct"]
    done = subprocess.run([*command, "scan.npz", "--method", "cg", "--lam", "1e-3", "-o", "out.npz"],
                          capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    error = np.linalg.norm(image() - truth) / np.linalg.norm(truth)
    assert error < 0.2
    done = subprocess.run([*command, "missing.npz"], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 2 and done.stdout == "" and done.stderr == "jaxrecon: missing.npz: no such file\n"
