"""The lecture's notebooks: paired, executed, of one form; and (slow) they run from top to bottom without a warning."""

import json
import os
import re
from pathlib import Path

import pytest

jupytext = pytest.importorskip("jupytext", reason="pairs notebooks; it comes with jaxrecon[test]")
nbclient = pytest.importorskip("nbclient", reason="runs notebooks; it comes with jaxrecon[test]")
pytest.importorskip("ipykernel", reason="runs notebooks; it comes with jaxrecon[test]")

FOLDER = Path(__file__).resolve().parents[1] / "notebooks"
SOURCES = sorted(FOLDER.glob("*.py"))
BADGE = "https://colab.research.google.com/assets/colab-badge.svg"
COLAB = "https://colab.research.google.com/github/jaxrecon/jaxrecon/blob/main/notebooks"
CACHE = "/tmp/jaxrecon-cache"
HIDDEN = "hide-cell"

each = pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)


def read(path):
    return jupytext.read(path).cells


def executed(source):
    """The cells of the .ipynb beside a source."""
    return read(source.with_suffix(".ipynb"))


def outputs(cells):
    return [output for cell in cells if cell.cell_type == "code" for output in cell.outputs]


def trouble(cells):
    """What a reader would take for a failure: errors, and everything written to stderr."""
    return [output.get("text") or output.get("evalue") for output in outputs(cells)
            if output.output_type == "error" or output.get("name") == "stderr"]


def test_there_are_eight_of_them_each_with_its_ipynb():
    assert [path.stem[:3] for path in SOURCES] == [f"{n:02}_" for n in range(1, 9)]
    assert [path.stem for path in sorted(FOLDER.glob("*.ipynb"))] == [path.stem for path in SOURCES]


@each
def test_source_and_notebook_hold_the_same_cells(source):
    def content(cells):
        return [(cell.cell_type, cell.source, cell.metadata.get("tags", [])) for cell in cells]

    assert content(read(source)) == content(executed(source)), "run `make notebooks` to execute and pair them anew"


@each
def test_it_begins_with_title_badge_and_the_common_set_up(source):
    first, second = read(source)[:2]
    assert first.cell_type == "markdown" and re.match(rf"# {int(source.stem[:2])}\. \S", first.source)
    assert f"[![Open in Colab]({BADGE})]({COLAB}/{source.stem}.ipynb)" in first.source
    assert second.cell_type == "code" and not second.metadata.get("tags")
    assert second.source == read(SOURCES[0])[1].source, "the set-up cell is the same in all notebooks"
    for line in ('find_spec("jaxrecon")', "import jaxrecon as jr", f'"jax_compilation_cache_dir", "{CACHE}"'):
        assert line in second.source


@each
def test_it_was_executed_in_order_without_a_warning_and_is_small(source):
    cells = executed(source)
    code = [cell for cell in cells if cell.cell_type == "code" and cell.source.strip()]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert any("image/png" in output.get("data", {}) for output in outputs(cells))
    assert trouble(cells) == []
    assert source.with_suffix(".ipynb").stat().st_size < 600_000


@each
def test_its_last_cell_prints_what_it_measured(source):
    text = "".join(output.text for output in outputs(executed(source)[-1:]) if output.output_type == "stream")
    claims = json.loads(text[text.index("{") : text.rindex("}") + 1])
    assert claims and all(v is None or isinstance(v, int | float) for v in claims.values())


@each
def test_exercises_have_hidden_solutions(source):
    cells = read(source)
    (begin,) = (k for k, cell in enumerate(cells) if cell.cell_type == "markdown" and "## Exercises" in cell.source)
    exercises = re.findall(r"^\d\. ", cells[begin].source.split("## Exercises")[1], re.MULTILINE)
    solutions = [cell for cell in cells[begin:] if HIDDEN in cell.metadata.get("tags", [])]
    assert 2 <= len(exercises) <= len(solutions)
    assert all(cell.cell_type == "code" for cell in solutions)


@pytest.mark.slow
@each
def test_it_runs_from_top_to_bottom(source, tmp_path):
    notebook = jupytext.read(source)
    setup = notebook.cells[1]
    setup.source = setup.source.replace(CACHE, str(tmp_path / "cache"))
    # As a reader starts it: without what conftest sets for tests.
    kept = {name: v for name, v in os.environ.items() if name not in ("XLA_FLAGS", "MPLBACKEND", "JAX_ENABLE_X64")}
    client = nbclient.NotebookClient(notebook, timeout=1800, kernel_name="python3",
                                     resources={"metadata": {"path": str(tmp_path)}})
    client.execute(env=kept)
    assert trouble(notebook.cells) == []
    assert (tmp_path / "cache").is_dir()
