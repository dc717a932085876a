"""The page of claims says what the notebooks and benchmarks printed last."""

import runpy
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_the_page_is_what_was_measured():
    claims = runpy.run_path(str(ROOT / "benchmarks" / "claims.py"))
    assert (ROOT / "docs" / "claims.md").read_text() == claims["page"](), "run python benchmarks/claims.py"
    assert "not measured" not in claims["page"]()
