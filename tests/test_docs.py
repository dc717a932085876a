"""The documentation site: everything public is in it, its code runs, and it builds without a warning."""

import importlib.util
import inspect
import re
import subprocess
import sys
from pathlib import Path

import jax
import pytest

import jaxrecon as jr

DOCS = Path(__file__).resolve().parents[1] / "docs"
spec = importlib.util.spec_from_file_location("docstrings", DOCS / "docstrings.py")
assert spec and spec.loader
docstrings = importlib.util.module_from_spec(spec)
spec.loader.exec_module(docstrings)
REFERENCE = docstrings.documented(DOCS / "reference")

# The pages show real sizes; compiling and training at those would take minutes.
SMALL = {r"\bn = 128": "n = 16", r"\bn, lam = 128": "n, lam = 16", r"calibration=16": "calibration=2",
         r"coils=8": "coils=2", r"steps=2000": "steps=2", r"features=32": "features=4",
         r"iterations=(24|5)\b": "iterations=2", r"iterations=(100|50|30|20)\b": "iterations=3"}


@pytest.mark.parametrize("room", [None, *docstrings.ROOMS])
def test_everything_public_is_in_the_reference_and_has_a_docstring(room):
    described = {id(found) for found in REFERENCE.values()}
    for name, found in docstrings.public(room).items():
        where = f"jr.{name}" if room is None else f"jr.{room}.{name}"
        assert id(found) in described, f"{where} is in no page of docs/reference"
        assert isinstance(found, dict) or inspect.getdoc(found), f"{where} has no docstring"


def test_the_rooms_are_those_of_the_package():
    assert set(docstrings.ROOMS) == set(vars(jr)["_MODULES"])


def test_the_reference_has_nothing_that_is_not_there_and_nothing_twice():
    pages = [page.read_text("utf-8") for page in (DOCS / "reference").glob("*.md")]
    names = [name for page in pages for name in docstrings.DIRECTIVE.findall(page)]
    assert [name for name in names if REFERENCE[name] is None] == []
    assert len({id(REFERENCE[name]) for name in names}) == len(names)


def parameters(found):
    try:
        return set(inspect.signature(found).parameters)
    except (TypeError, ValueError):
        return set()


@pytest.mark.parametrize("name", REFERENCE)
def test_documented_arguments_are_arguments(name):
    found = REFERENCE[name]
    section = re.search(r"^Args:\n((?:    .*\n?|\n)*)", inspect.getdoc(found) or "", re.MULTILINE)
    if not section or not callable(found):
        return
    told = [n for line in re.findall(r"^    (\w[\w, ]*):", section[1], re.MULTILINE) for n in line.split(", ")]
    assert set(told) - parameters(found) - {"others"} == set(), f"{name} documents arguments that it does not take"


def test_formulas_become_text_and_names_become_links():
    lines = ["x = argmin_x |A x - b|^2 + x_{k}, *all*; `jr.TV(lam)`, `shape`", "", ">>> a |b| *c*"]
    link = docstrings.Links(DOCS / "reference").entry
    assert docstrings.as_rst(lines, lambda text: link(text, "jaxrecon.solvers.loop")) == [
        r"x = argmin_x \|A x - b\|^2 + x\_{k}, \*all\*; :py:obj:`jr.TV(lam) <jaxrecon.TV>`, ``shape``", "",
        ">>> a |b| *c*"]


def blocks(page):
    text = (DOCS / page).read_text("utf-8")
    for pattern, small in SMALL.items():
        text = re.sub(pattern, small, text)
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


@pytest.mark.slow
@pytest.mark.parametrize(("page", "results"), [
    ("choosing.md", "direct image low_dose stop unitless restored learned"),
    ("coming_from.md", "z b k first error cg l1 tv y restored image"),
])
def test_the_code_of_a_page_runs(page, results):
    names = {}
    for block in blocks(page):
        exec(block, names)
    for name in results.split():
        assert all(bool((v == v).all()) for v in jax.tree.leaves(names[name]) if hasattr(v, "all")), name


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path):
    for needed in ("sphinx", "myst_nb", "furo"):
        pytest.importorskip(needed)
    subprocess.run([sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", str(DOCS),
                    str(tmp_path / "html")], check=True)
    page = (tmp_path / "html" / "reference" / "solvers.html").read_text("utf-8")
    assert 'id="jaxrecon.FISTA"' in page
    assert (tmp_path / "html" / "_images" / "demo.png").exists()
