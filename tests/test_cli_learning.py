"""jaxrecon train, evaluate and reconstruct --model: what they compute, what they write, and how they refuse."""

import csv
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from typer.testing import CliRunner

import jaxrecon as jr
from jaxrecon.cli import app, evaluate, models, tasks
from jaxrecon.cli.config import TRAINING, parse_config
from jaxrecon.cli.errors import Failure
from jaxrecon.saving import load, read_about, save

N = 16
MRI = f"""
task = "mri"
size = {N}
[images]
validation = 1
test = 2
[scan]
snr = [20, 30]
[method]
name = "unrolled"
iterations = 1
[network]
features = 2
depth = 2
[training]
steps = 3
batch_size = 2
"""
CT = MRI.replace('"mri"', '"ct"').replace("[scan]", "[scan]\nviews = 12")


def invoke(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(evaluate, "TV_ITERATIONS", 10)
    return tmp_path


def done(*arguments):
    result = invoke(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def refused(here, *arguments, code=2):
    """The one line of a failed run, which leaves the folder as it was."""
    before = {p: p.read_bytes() for p in here.iterdir() if p.is_file()}
    result = invoke(*arguments)
    assert result.exit_code == code and result.stderr.startswith("jaxrecon: "), result.output
    assert result.stdout == "" and result.stderr.count("\n") == 1
    assert {p: p.read_bytes() for p in here.iterdir() if p.is_file()} == before
    return result.stderr


def untrained(here, text=MRI, name="m.jr"):
    c = parse_config(text, "config")
    A = tasks.make_simulation(c).A
    save(here / name, models.make_reconstructor(c, A, jax.random.key(0)), about={"config": text})
    return here / name


def scores(path):
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    return {(r["method"], r["image"]): float(r["psnr_db"]) for r in rows}


def psnr(x, ref):
    return 10 * np.log10(1 / np.mean((np.abs(x) - np.abs(ref)) ** 2))


# ---- what they compute


@pytest.mark.slow
def test_train_evaluate_reconstruct(here):
    (here / "a.toml").write_text(MRI)
    said = done("train", "a.toml")
    assert "steps of 2" in said and "wrote a.jr, a.csv and a.png" in said
    assert (here / "a.png").read_bytes().startswith(b"\x89PNG")
    assert len((here / "a.csv").read_text().splitlines()) == 4
    assert read_about("a.jr")["config"] == MRI
    assert "wrote a-evaluation.csv" in done("evaluate", "a.jr")
    r, c = load("a.jr"), parse_config(MRI, "config")
    found = scores("a-evaluation.csv")
    for i, (A, b, x) in enumerate(tasks.scans(tasks.make_simulation(c), c, tasks.TEST, None)):
        assert found["zero-filled", str(i)] == pytest.approx(psnr(A.H(b), x), abs=2e-3)
        assert found["unrolled", str(i)] == pytest.approx(psnr(r(A, b), x), abs=2e-3)
    assert found["unrolled", "mean"] == pytest.approx((found["unrolled", "0"] + found["unrolled", "1"]) / 2, abs=2e-3)
    np.savez("scan.npz", kspace=np.asarray(b), mask=np.asarray(A.mask), maps=np.asarray(A.maps))
    assert "16 x 16 pixels" in done("reconstruct", "scan.npz", "--model", "a.jr", "--png", "out.png", "-o", "out.npz")
    with np.load("out.npz") as file:
        np.testing.assert_allclose(file["image"], r(A, b), atol=1e-5)
        assert str(file["method"]) == "a" and file["image"].dtype == np.complex64


@pytest.mark.slow
@pytest.mark.parametrize(("text", "method"), [
    (MRI, "modl"), (MRI.replace("snr", "coils = 2\nsnr"), "post-processed"), (MRI, "learned-inverse"),
    (CT, "primal-dual"), (CT, "unrolled"), (CT, "post-processed"), (CT, "learned-inverse"),
])
def test_every_method_trains(here, text, method):
    text = text.replace('"unrolled"', f'"{method}"')
    if method in ("post-processed", "learned-inverse"):
        text = text.replace("iterations = 1\n", "")
    if method == "primal-dual":
        text = text.replace("[network]\n", "")
    if method == "post-processed":
        text = text.replace("depth = 2", "levels = 1")
    (here / "a.toml").write_text(text)
    done("train", "a.toml", "-o", "model.jr")
    c = parse_config(text, "config")
    A, b, _ = next(tasks.scans(tasks.make_simulation(c), c, tasks.TEST, None))
    assert "TV: lam" in done("evaluate", "model.jr", "--png", "e.png", "-o", "e.csv")
    assert len(scores("e.csv")) == 9
    if c.task == "ct":
        np.savez("scan.npz", sinogram=np.asarray(b))
    else:
        np.savez("scan.npz", kspace=np.asarray(b), mask=np.asarray(A.mask), maps=np.asarray(A.maps))
    done("reconstruct", "scan.npz", "--model", "model.jr")
    with np.load("scan-model.npz") as file:
        np.testing.assert_allclose(file["image"], load("model.jr")(A, b), atol=1e-5)


@pytest.mark.slow
def test_a_run_that_was_stopped_ends_with_the_same_bits(here):
    (here / "a.toml").write_text(MRI)
    done("train", "a.toml")
    (here / "b.toml").write_text(MRI + "time_limit = 1e-6\n")
    assert "ended at step 1 of 3" in done("train", "b.toml")
    assert read_about("b.jr")["finished"] is False
    assert "b.checkpoints holds a run already: --resume goes on" in refused(here, "train", "b.toml")
    (here / "b.toml").write_text(MRI.replace("steps = 3", "steps = 4"))
    assert "holds a run with training.steps = 3" in refused(here, "train", "b.toml", "--resume")
    (here / "b.toml").write_text(MRI)
    done("train", "b.toml", "--resume")
    for x, y in zip(jax.tree.leaves(load("a.jr")), jax.tree.leaves(load("b.jr")), strict=True):
        assert np.asarray(x).tobytes() == np.asarray(y).tobytes()


def test_other_images(here):
    """Images from a file: held-out parts, low-passed to the size, maximum 1."""
    y, x = np.mgrid[:32, :32]
    stack = np.stack([2 + np.cos(2 * np.pi * x / 32 * k) + np.sin(2 * np.pi * y / 16) for k in range(1, 6)])
    np.savez("stack.npz", images=stack)
    found = tasks.load_images(here / "stack.npz", N)
    assert found.shape == (5, N, N) and found.dtype == np.float32
    # Band-limited images are sampled at every second point.
    np.testing.assert_allclose(found / found[:, :1, :1], stack[:, ::2, ::2] / stack[:, :1, :1], atol=1e-6)
    c = parse_config(MRI.replace("[images]", '[images]\nsource = "stack.npz"'), "config")
    parts = tasks.read_images(c)
    np.testing.assert_array_equal(np.concatenate([parts.train, parts.validation, parts.test]), found)
    assert len(parts.validation) == 1 and len(parts.test) == 2
    A, b, x = next(tasks.scans(tasks.make_simulation(c), c, tasks.TEST, parts.test))
    np.testing.assert_allclose(jnp.abs(x), parts.test[0], atol=1e-6)
    snr = 10 * np.log10(np.sum(np.abs(A(x)) ** 2) / np.sum(np.abs(b - A(x)) ** 2))
    assert 20 <= snr <= 30
    with pytest.raises(Failure, match="leave none for training"):
        tasks.read_images(c._replace(images={**c.images, "test": 4}))
    with pytest.raises(Failure, match="smaller than size = 64"):
        tasks.load_images(here / "stack.npz", 64)
    np.savez("hu.npz", image=stack[0] * 1000 - 1500)
    with pytest.raises(Failure, match="add 1000"):
        tasks.load_images(here / "hu.npz", N)


def test_scans_are_the_same_every_time_and_differ_between_parts():
    c = parse_config(MRI, "config")
    s = tasks.make_simulation(c)
    for part in (tasks.VALIDATION, tasks.TEST):
        first, again = (list(tasks.scans(s, c, part, None)) for _ in range(2))
        assert all(bool(jnp.all(a[1] == b[1])) for a, b in zip(first, again, strict=True))
    other = list(tasks.scans(s, c, tasks.VALIDATION, None))
    assert float(jnp.abs(other[0][2] - first[0][2]).max()) > 0.1
    assert not bool(jnp.all(first[0][0].mask == first[1][0].mask))


def test_the_best_tv_is_the_best_of_its_neighbours(monkeypatch):
    monkeypatch.setattr(evaluate, "TV_ITERATIONS", 100)
    c = parse_config(MRI, "config")
    examples = list(tasks.scans(tasks.make_simulation(c), c, tasks.VALIDATION, None))
    best = evaluate.best_tv(examples, c)

    def score(lam):
        return np.mean([psnr(jr.solve(A, b, jr.FISTA(jr.TV(lam)), 100).x, x) for A, b, x in examples])

    assert score(best.lam) >= max(score(best.lam * f) for f in (0.5, 2.0)) - 1e-3


def test_ct_lies_over_the_whole_image():
    c = parse_config(CT, "config")
    A = tasks.scanner(c)
    assert A.codomain.shape == (12, 23)  # ceil(sqrt(2) * 16), odd
    # Every pixel is seen by every view: its column sums to as much as that of one in the middle.
    sums = A.H(jnp.ones(A.codomain.shape))
    assert float(sums.min()) > 0.8 * float(sums[N // 2, N // 2])


# ---- how they refuse


@pytest.mark.parametrize(("change", "message"), [
    (("size = 16", "size = 4"), "size must be a whole number from 8 to 1024, got 4"),
    (("size = 16", "size = true"), "size must be a whole number"),
    (("size = 16", "sizes = 16"), "unknown key sizes; known are task, size, [images], [scan]"),
    (('task = "mri"', ""), "task is missing; it must be one of 'mri', 'ct'"),
    (('"mri"', '"pet"'), "task must be one of 'mri', 'ct', got 'pet'"),
    (("[scan]", "[scan]\nviews = 30"), "unknown key scan.views; known for task = 'mri' are coils, mask"),
    (("[scan]", "[scan]\nmask = 'spiral'"), "scan.mask must be one of 'variable-density', 'random', 'uniform'"),
    (("[scan]", "[scan]\nmask = 'uniform'\nacceleration = 2.5"), "a whole scan.acceleration, got 'lines' and 2.5"),
    (("[20, 30]", "[30, 20]"), "scan.snr must be dB: a number, a range [low, high]"),
    (("[20, 30]", "nan"), "scan.snr must be dB"),
    (("[scan]", "[scan]\ncalibration = 9"), "calibration region takes 9"),
    (('"unrolled"', '"magic"'), "method.name must be one of 'unrolled', 'modl'"),
    (('name = "unrolled"', ""), "method.name is missing"),
    (("iterations = 1", "lam = 1"), "unknown key method.lam; known for 'unrolled' are iterations"),
    (("iterations = 1", "dc = 'cg'"), "method.dc must be one of 'gradient', 'proximal', 'replacement', got 'cg'"),
    (("features = 2", "name = 'GAN'"), "network.name must be one of"),
    (("features = 2", "width = 2"), "unknown key network.width; known for ConvNet are features, depth"),
    (("features = 2", "channels = 2"), "unknown key network.channels"),
    (("features = 2", "features = 'many'"), "network.features must be a int such as 32, got 'many'"),
    (("depth = 2", "depth = 1"), "depth >= 2"),
    (("steps = 3", "steps = 0"), "training.steps must be a whole number, 1 or more, got 0"),
    (("steps = 3", "learning_rate = -1.0"), "training.learning_rate must be a number, above 0"),
    (("steps = 3", "learning_rate = inf"), "training.learning_rate must be a number, above 0"),
    (("steps = 3", "steps = 3\nwarmup = 3"), "training.warmup must be less than training.steps = 3, got 3"),
    (("[images]", "[images]\nsource = 'nowhere.npz'"), "nowhere.npz: no such file or folder of images"),
    (("[images]", "[images]\nsource = 3"), "images.source must be 'ellipses', an image file"),
    (("[images]", "[image]"), "unknown key image; known are"),
    (("[images]", "images = 3\n[image]"), "images must be a table, written [images], got 3"),
    (("[images]", "[images"), "a.toml is not TOML"),
])
def test_bad_configurations(here, change, message):
    assert change[0] in MRI
    (here / "a.toml").write_text(MRI.replace(*change))
    assert message in refused(here, "train", "a.toml")
    assert not (here / "a.checkpoints").exists()


def test_what_does_not_go_together():
    def parse(text):
        return parse_config(text, "a.toml")

    primal_dual = CT.replace('"unrolled"', '"primal-dual"')
    with pytest.raises(Failure, match=r"\[network\] has no effect with method\.name = 'primal-dual'"):
        parse(primal_dual)
    with pytest.raises(Failure, match=r"'primal-dual' takes scan\.coils = 1, got 2"):
        parse(MRI.replace('"unrolled"', '"primal-dual"').replace("[scan]", "[scan]\ncoils = 2").split("[network]")[0])
    with pytest.raises(Failure, match="goes with task = 'mri'"):
        parse(CT.replace("iterations = 1", "dc = 'replacement'"))


def test_bad_options(here):
    (here / "a.toml").write_text(MRI)
    (here / "latin.toml").write_bytes(b"# \xe9")
    assert "missing.toml: no such file" in refused(here, "train", "missing.toml")
    assert "is not a text file in UTF-8" in refused(here, "train", "latin.toml")
    assert "missing argument CONFIG" in refused(here, "train")
    assert "ends in .jr" in refused(here, "train", "a.toml", "-o", "model.png")
    assert "create it first" in refused(here, "train", "a.toml", "-o", "nowhere/model.jr")
    assert "missing.jr: no such file" in refused(here, "evaluate", "missing.jr")
    assert "is not a file that jr.save wrote" in refused(here, "evaluate", "a.toml")
    save(here / "number.jr", 1.0)
    assert "holds a float, and not a reconstructor" in refused(here, "evaluate", "number.jr")
    save(here / "plain.jr", jr.ZeroFilled())
    assert "holds no configuration" in refused(here, "evaluate", "plain.jr")
    assert "must end in .csv" in refused(here, "evaluate", untrained(here), "-o", "e.txt")


def test_bad_models_for_a_scan(here):
    kspace = np.ones((1, N, N), np.complex64)
    np.savez("scan.npz", kspace=kspace, maps=kspace)
    np.savez("wrong.npz", sinogram=np.ones((3, 4)))
    mri, ct = untrained(here), untrained(here, CT, "ct.jr")
    assert "--method cg has no effect with --model" in refused(here, "reconstruct", "scan.npz", "--model", mri,
                                                              "--method", "cg")
    assert "--lam 0.1 has no effect" in refused(here, "reconstruct", "scan.npz", "--model", mri, "--lam", 0.1)
    assert "no array named sinogram, only kspace, maps" in refused(here, "reconstruct", "scan.npz", "--model", ct)
    assert "trained for real ones of (12, 23)" in refused(here, "reconstruct", "wrong.npz", "--model", ct)
    for option, v in (("--slice", 7), ("--maps", "rss")):
        assert f"{option} {v} has no effect with a model for CT" in refused(here, "reconstruct", "wrong.npz", "--model",
                                                                           ct, option, v)
    assert "no such file" in refused(here, "reconstruct", "scan.npz", "--model", "missing.jr")
    assert "the scan itself" in refused(here, "reconstruct", "scan.npz", "--model", mri, "-o", "scan.npz")
    (here / "broken.jr").write_bytes(mri.read_bytes()[:-50])
    assert "damaged" in refused(here, "reconstruct", "scan.npz", "--model", "broken.jr")


def test_any_saved_reconstructor_serves_as_a_model(here):
    kspace = np.ones((1, N, N), np.complex64)
    np.savez("scan.npz", kspace=kspace, maps=kspace)
    save(here / "cg.jr", jr.Iterative(jr.CGNR(0.5), 3))
    done("reconstruct", "scan.npz", "--model", "cg.jr", "-o", "out.npz")
    with np.load("out.npz") as file:
        x = jr.Fourier((N, N), dtype="complex64").H(jnp.ones((N, N), "complex64")) / 1.5
        np.testing.assert_allclose(file["image"], x, atol=1e-4)


def test_tv_is_tuned_on_the_images_of_the_configuration(here, monkeypatch):
    rng = np.random.default_rng(0)
    for name, count in (("own.npz", 4), ("others.npz", 2)):
        np.savez(name, images=rng.random((count, N, N)).astype("float32"))
    text = MRI.replace("[images]", '[images]\nsource = "own.npz"')
    model, seen = untrained(here, text), []
    find = evaluate.best_tv
    monkeypatch.setattr(evaluate, "best_tv", lambda examples, c: (seen.append(examples[0][2]), find(examples, c))[1])
    assert "on scans of other images" in done("evaluate", model, "--images", "others.npz")
    done("evaluate", model)
    np.testing.assert_array_equal(*seen)
    (here / "own.npz").unlink()
    assert "on scans of random ellipses" in done("evaluate", model, "--images", "others.npz")


def test_what_a_model_was_not_trained_for_is_said(here):
    model = untrained(here)
    kspace = np.random.default_rng(0).standard_normal((2, 2 * N, 2 * N)).astype("complex64")
    np.savez("scan.npz", kspace=kspace, maps=np.ones_like(kspace))
    said = done("reconstruct", "scan.npz", "--model", model, "-o", "out.npz")
    assert f"was trained on {N} x {N} pixels, the scan has {2 * N} x {2 * N}" in said
    assert "1 coil, the scan has 2; " in said and "-fold undersampling, the scan has 1-fold" in said


def test_the_keys_are_printed():
    said = done("train", "--keys")
    for key, k in TRAINING.items():
        default = "(none)" if k.default is None else json.dumps(k.default)
        assert f"\n{key} = {default}" in said
    for name in ("unrolled", "primal-dual", "UNet", "snr = 30.0"):
        assert name in said
