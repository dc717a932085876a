"""Checkpoints: whatever ends a training, going on gives the bits of one that nothing ended."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxrecon as jr
from jaxrecon.training import Examples, fit
from jaxrecon.training.checkpoint import Checkpoints

KEY = jax.random.key(5)
A = jr.Diagonal(jnp.array([1.0, 2.0, -1.0]))
X = np.random.default_rng(3).normal(size=(12, 3))
B = np.asarray(jax.vmap(A)(X)) + 0.3
DATA = Examples(A, B, X, batch_size=5)
OPTIMIZER = optax.adam(0.1)


def scale(x, ref):
    return jnp.mean((x - ref) ** 2)


def quick(folder=None, *, steps=12, data=DATA, lam=0.5, resume=False, **options):
    r = jr.Iterative(jr.Landweber(step_size=lam), iterations=2)
    options = {"optimizer": OPTIMIZER, "key": KEY, "train": lambda path, leaf: path == "solver.step_size",
               "validate_every": 3, "checkpoint_every": 2, "validation": (A, B, X), "progress": False} | options
    trained, log = fit(r, data, steps=steps, checkpoint=folder, resume=resume, **options)
    return float(trained.solver.step_size), log


def same(a, b):
    assert a[0] == b[0] and a[1].best_step == b[1].best_step
    for column in ("step", "loss", "validation", "psnr"):
        np.testing.assert_array_equal(getattr(a[1], column), getattr(b[1], column))


@pytest.mark.parametrize("data", [DATA, [DATA.batch(KEY, k) for k in range(5)]], ids=["stream", "list"])
def test_going_on_gives_the_same_bits(tmp_path, data):
    want = quick(data=data)
    _, log = quick(tmp_path / "run", steps=5, data=data)
    assert log.finished and len(log) == 5 and log.validation[4] > 0
    got = quick(tmp_path / "run", data=data, resume=True)
    same(got, want)
    assert np.all(np.diff(got[1].seconds) >= 0)
    # A training that is finished already is read, not made again.
    same(quick(tmp_path / "run", data=data, resume=True), want)


def test_a_loss_with_a_function_of_ones_own_goes_on(tmp_path):
    def loss():
        def reverse(key, x):
            return x[::-1]

        # Another function each time, as in a new process: the same code at another address.
        return jr.training.Equivariant(jr.training.SURE(0.1, step=None), transforms=(reverse,))

    options = {"data": Examples(A, B, None, batch_size=5), "validation": None, "validate_every": None}
    want = quick(loss=loss(), steps=4, **options)
    quick(tmp_path, loss=loss(), steps=2, **options)
    same(quick(tmp_path, loss=loss(), steps=4, resume=True, **options), want)


def test_a_time_limit_is_of_one_call(tmp_path):
    want, parts = quick(steps=4), 0
    while True:
        got = quick(tmp_path, steps=4, time_limit=1e-9, resume=True)
        parts += 1
        if got[1].finished:
            break
        assert "time limit" in got[1].reason and len(got[1]) == parts
    same(got, want)
    assert parts == 4


def test_patience_lasts(tmp_path):
    options = {"optimizer": optax.sgd(-0.01), "patience": 2, "steps": 40}
    want = quick(**options)
    quick(tmp_path, **options | {"steps": 4})
    same(quick(tmp_path, resume=True, **options), want)
    same(quick(tmp_path, resume=True, **options), want)
    assert not want[1].finished and len(want[1]) < 40


def test_an_interrupt_from_the_data_saves(tmp_path):
    class Interrupted(list):
        left = 7

        def __iter__(self):
            for item in list.__iter__(self):
                if self.left == 0:
                    raise KeyboardInterrupt
                self.left -= 1
                yield item

    batches = [DATA.batch(KEY, k) for k in range(12)]
    with pytest.raises(KeyboardInterrupt):
        quick(tmp_path, data=Interrupted(batches))
    same(quick(tmp_path, data=batches, resume=True), quick(data=batches))


def test_ctrl_c_finishes_the_step_and_saves(tmp_path):
    class Pressed(list):
        def __iter__(self):
            for k, item in enumerate(list.__iter__(self)):
                if k == 5:
                    signal.raise_signal(signal.SIGINT)
                yield item

    signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs of a shell start without it
    batches = [DATA.batch(KEY, k) for k in range(12)]
    with pytest.raises(KeyboardInterrupt):
        quick(tmp_path, data=Pressed(batches))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert max(int(p.name) for p in tmp_path.iterdir()) in (5, 6)
    same(quick(tmp_path, data=batches, resume=True), quick(data=batches))


def test_a_folder_in_use_is_left_alone(tmp_path):
    quick(tmp_path / "run", steps=2)
    before = sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*"))
    with pytest.raises(FileExistsError, match="resume=True"):
        quick(tmp_path / "run", steps=4)
    assert sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*")) == before
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError, match="must be a folder"):
        quick(tmp_path / "file")


def test_the_checkpoint_of_another_training_is_refused(tmp_path):
    quick(tmp_path, steps=4)
    for said, options in (("another optimizer", {"optimizer": optax.sgd(0.1)}),
                          ("its batch was .*5, 3.*here it is .*4, 3", {"data": Examples(A, B, X, batch_size=4)}),
                          ("its loss was mse, here it is l1", {"loss": "l1"}),
                          ("its key was", {"key": jax.random.key(6)}),
                          ("its validation was True", {"validation": None}),
                          ("its frozen was", {"train": lambda p, _: p.endswith("step_size"), "lam": jnp.ones(2)})):
        with pytest.raises(ValueError, match=f"is of another.*{said}|{said}"):
            if "lam" in options:
                r = jr.Iterative(jr.CGNR(0.3), iterations=2, data=jr.LeastSquares(jnp.ones(3)))
                fit(r, DATA, steps=6, optimizer=OPTIMIZER, key=KEY, train=lambda p, _: p == "solver.lam",
                    validation=(A, B, X), checkpoint=tmp_path, resume=True, progress=False)
            else:
                quick(tmp_path, steps=6, resume=True, **options)


def damaged(folder):
    """Every way in which one file of the last checkpoint may be broken."""
    last = folder / str(max(int(p.name) for p in folder.iterdir()))
    for path in [p for p in last.rglob("*") if p.is_file()] + [last / "arrays", last / "about", last]:
        for how in ("truncated", "changed", "gone"):
            copy = folder.parent / "copy"
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(folder, copy)
            target = copy / path.relative_to(folder)
            if how == "gone":
                shutil.rmtree(target) if target.is_dir() else target.unlink()
            elif target.is_dir() or not target.stat().st_size:
                continue
            else:
                content = bytearray(target.read_bytes())
                content[len(content) // 2] ^= 16
                target.write_bytes(content[: len(content) // 2] if how == "truncated" else content)
            yield copy


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_damaged_checkpoint_is_never_taken_for_a_good_one(tmp_path):
    rng = np.random.default_rng(0)
    trees = {s: {"parameters": {"a.b": jnp.asarray(rng.random((3, 3))), "h": jnp.ones(2, "bfloat16")},
                 "optimizer": (np.int32(s), jax.random.key(s), np.zeros((0, 2))), "log": rng.random((s, 6))}
             for s in (1, 2, 3)}
    about = {"reconstructor": "X"}
    checkpoints = Checkpoints(tmp_path / "run", resume=False)
    for s, tree in trees.items():
        checkpoints.save(s, tree, about, s)
    checkpoints.close()
    found = []
    for folder in damaged(tmp_path / "run"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            checkpoints = Checkpoints(folder, resume=True)
            step, tree, said = checkpoints.restore(trees[1], about)
        found.append(step)
        equal(tree, trees[step])
        assert said["best_step"] == step
        # And the damaged one is not in the way.
        checkpoints.save(3, trees[3], about, 3)
        equal(checkpoints.restore(trees[1], about)[1], trees[3])
        checkpoints.close()
    assert set(found) == {2, 3}


def equal(a, b):
    for got, want in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        if isinstance(want, jax.Array) and jnp.issubdtype(want.dtype, jax.dtypes.prng_key):
            got, want = jax.random.key_data(got), jax.random.key_data(want)
        assert np.asarray(got).dtype == np.asarray(want).dtype
        np.testing.assert_array_equal(got, want)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_falling_back_is_told_and_nothing_left_is_an_error(tmp_path):
    quick(tmp_path, steps=4)
    for step in (4, 2):
        (tmp_path / str(step) / "about" / "metadata").write_text("{")
        if step == 4:
            with pytest.warns(RuntimeWarning, match="step 4 .* cannot be read"):
                same(quick(tmp_path, steps=4, resume=True), quick(steps=4))
            assert (tmp_path / "damaged-4").is_dir()
            (tmp_path / "4" / "about" / "metadata").write_text("{")
    with pytest.warns(RuntimeWarning), pytest.raises(RuntimeError, match="none of the checkpoints"):
        quick(tmp_path, steps=4, resume=True)


SCRIPT = """
import sys
sys.path.insert(0, sys.argv[2])
from test_checkpoint import quick
print("ready", flush=True)
step_size, log = quick(sys.argv[1], steps=60, resume=True, checkpoint_every=1)
print(repr(step_size), log.best_step, [float(v).hex() for v in log.loss], [float(v).hex() for v in log.validation])
"""


@pytest.mark.slow
def test_killed_at_any_moment_it_ends_with_the_same_bits(tmp_path):
    def start(folder):
        env = os.environ | {"JAX_PLATFORMS": "cpu", "JAX_ENABLE_X64": "1"}
        return subprocess.Popen([sys.executable, "-W", "ignore", "-c", SCRIPT, folder, str(Path(__file__).parent)],
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)

    reference, error = start(tmp_path / "whole").communicate()
    assert reference.startswith("ready"), error
    choose, kills, before = random.Random(0), 0, set()
    for _ in range(40):
        process = start(tmp_path / "killed")
        process.stdout.readline()
        # From the first checkpoint of this process on, some moment of the many saves.
        while process.poll() is None and (not (tmp_path / "killed").is_dir()
                                          or {p.name for p in (tmp_path / "killed").iterdir()} <= before):
            time.sleep(0.005)
        time.sleep(choose.uniform(0, 0.4))
        process.send_signal(signal.SIGKILL)
        out, error = process.communicate()
        if process.returncode != -signal.SIGKILL:
            break
        kills += 1
        before = {p.name for p in (tmp_path / "killed").iterdir()}
    else:
        out, error = start(tmp_path / "killed").communicate()
    assert kills >= 5
    assert "ready\n" + out.removeprefix("ready\n") == reference, error
