"""The public surface: what `import jaxrecon` brings, and what it leaves for later."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import jaxrecon as jr

PACKAGE = Path(jr.__file__).parent


def stub_names():
    tree = ast.parse((PACKAGE / "__init__.pyi").read_text())
    imported = {alias.asname for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    return imported | {node.target.id for node in tree.body if isinstance(node, ast.AnnAssign)}


def test_editors_see_every_public_name_and_no_other():
    assert stub_names() == {*jr.__all__, "__version__"} == set(dir(jr))


def test_every_public_name_exists_and_is_documented():
    for name in jr.__all__:
        assert getattr(jr, name).__doc__, f"jr.{name} has no docstring"
    with pytest.raises(AttributeError, match="nonsense"):
        _ = jr.nonsense


def test_import_brings_jax_and_nothing_heavier():
    heavy = ("flax", "optax", "orbax", "matplotlib", "h5py", "rich", "typer", "pywt", "scipy", "jax.extend",
             "jaxrecon.plots", "jaxrecon.io", "jaxrecon.calibration", "jaxrecon.simulate")
    code = f"import jax, sys; before = set(sys.modules); import jaxrecon; print([m for m in {heavy!r} " \
           "if m in set(sys.modules) - before])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert found.strip() == "[]"


def test_the_version_is_that_of_the_package_metadata():
    from importlib.metadata import version

    assert jr.__version__ == version("jaxrecon")
