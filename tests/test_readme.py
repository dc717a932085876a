"""The README's code runs, and says what is so."""

import re
from pathlib import Path

import jax.numpy as jnp
import numpy as np

import jaxrecon as jr
from jaxrecon.cli.methods import DEFAULT_LAM, METHODS

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")

# Shown at its real size, which takes minutes; what the first block promises is checked as it is.
SMALL = {"jr.fit(": {"steps=2000": "steps=2", "features=32": "features=4", "iterations=5": "iterations=2"},
         "jr.XRay(": {"iterations=200": "iterations=3"}, "jr.lcurve(": {"iterations=20": "iterations=5"}}


def test_the_ten_lines_reconstruct(monkeypatch, tmp_path):
    names: dict = {}
    monkeypatch.chdir(tmp_path)
    for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL):
        for name, changes in SMALL.items():
            for shown, run in changes.items() if name in block else ():
                assert shown in block
                block = block.replace(shown, run)
        exec(block, names)
    assert names["log"].ok and bool(jnp.all(jr.load("unrolled.jr")(names["F"], names["F"](names["image"])) != 0))
    psnr = {name: float(jr.metrics.psnr(x, names["truth"], data_range=1.0))
            for name, x in (("tv", names["solution"].x), ("zero-filled", names["A"].H(names["b"])))}
    stated = re.search(r"# (\d+) dB; A\.H\(b\) has (\d+)", README)
    assert stated and [round(psnr["tv"]), round(psnr["zero-filled"])] == [int(v) for v in stated.groups()]
    objective = np.asarray(names["solution"].history)
    assert objective.shape == (100,) and objective[-1] < 1.001 * objective.min() < 0.5 * objective[0]
    assert names["images"].shape == (4, 128, 128) and bool(jnp.all(jnp.isfinite(names["images"])))
    assert np.isfinite(names["slope"]) and names["slope"] != 0


def test_its_table_of_methods_is_the_command_lines():
    rows = {}
    for line in README.splitlines():
        found = re.match(r"\| ((?:`[\w-]+`(?:, )?)+).*?\| ([\w, ]+) \| (\d*) ?\|$", line)
        if found:
            for method in re.findall(r"`([\w-]+)`", found[1]):
                rows[method] = (tuple(found[2].split(", ")), int(found[3] or 0))
    assert rows == {name: (m.priors, m.iterations) for name, m in METHODS.items()}
    for prior in ("wavelet", "tv", "l2"):
        assert f"{prior} {DEFAULT_LAM[prior]:g}" in README


def test_what_it_links_to_exists():
    for path in re.findall(r"\]\((?!http)([^)]+)\)", README) + re.findall(r"`(benchmarks/\w+\.py)`", README):
        assert (ROOT / path).exists(), path
    assert (ROOT / "docs" / "demo.png").stat().st_size < 300_000
    for line in README.split("## Map")[1].split("## Conventions")[0].splitlines():
        for name in re.findall(r"`(\w+(?:/|\.py))`", line.split("|")[1] if line.startswith("|") else ""):
            assert (ROOT / "jaxrecon" / name).exists(), name
