"""The documentation site: `make docs` builds it into docs/_build."""

import os
import shutil
import sys
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")
HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import docstrings  # noqa: E402

import jaxrecon  # noqa: E402

project = "jaxrecon"
author = "The jaxrecon authors"
copyright = "2026, The jaxrecon authors"
release = version = jaxrecon.__version__

extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode", "myst_nb"]
exclude_patterns = ["_build", "learning", "parameters"]
html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_title = f"jaxrecon {release}"

smartquotes = False  # quoted are values of options

# ---- pages in Markdown, notebooks with the outputs they were stored with
myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "off"
suppress_warnings = ["myst.header"]  # sections of the README, included, begin at its third level
NOTEBOOKS = HERE.parent / "notebooks"
ABOUT = """# About the notebooks

Each runs from top to bottom in minutes on two CPU cores, in Colab or from `notebooks/`; the outputs shown here were
stored when it was last run. `pip install '.[notebooks]'` brings what they need.
"""


def copy_notebooks(app):
    """Sphinx reads what lies under its source folder only; `docs/notebooks` is made anew for every build."""
    there = HERE / "notebooks"
    there.mkdir(exist_ok=True)
    (there / "00_about.md").write_text(ABOUT, "utf-8")
    wanted = {path.name: path for path in NOTEBOOKS.glob("*.ipynb")}
    for old in there.glob("*.ipynb"):
        if old.name not in wanted:
            old.unlink()
    for name, path in wanted.items():
        if not (there / name).exists() or (there / name).read_bytes() != path.read_bytes():
            shutil.copyfile(path, there / name)


# ---- the reference, from docstrings in Google's style
autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_inherit_docstrings = False  # a member is shown where its own docstring says something
autodoc_preserve_defaults = True
autodoc_typehints_format = "short"
napoleon_numpy_docstring = False
napoleon_custom_sections = [("Attributes", "params_style")]
napoleon_use_rtype = False

nitpicky = True
nitpick_ignore_regex = [
    ("py:exc", ".*"),
    ("py:.*", r"(jax|jaxlib|flax|nnx|optax|numpy|np|matplotlib|rich|os|collections|typing|types)\..*"),
    ("py:class", r"[a-z]+|[A-Z]|None|(Array|DType)(Like)?|Callable|Figure|Mapping|Path(Like)?|Sequence|Table|Window"),
    ("py:class", r"jaxrecon(\.\w+)+"),  # what only annotations name
]

# ---- `make docs-links` asks every external address
linkcheck_timeout = 20
linkcheck_ignore = [r"https://colab\.research\.google\.com/.*"]


def setup(app):
    app.connect("builder-inited", copy_notebooks)
    docstrings.setup(app, HERE / "reference")
