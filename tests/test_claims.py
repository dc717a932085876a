"""The page of claims says what the notebooks and benchmarks printed last, and these agree with each other."""

import json
import runpy
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


CLAIMS = runpy.run_path(str(ROOT / "benchmarks" / "claims.py"))


def test_the_page_is_what_was_measured():
    assert (ROOT / "docs" / "claims.md").read_text() == CLAIMS["page"](), "run python benchmarks/claims.py"
    assert "not measured" not in CLAIMS["page"]()


def test_notebook_5_agrees_with_the_table_of_the_lecture():
    """The same 40 images. lam is chosen on fewer images and from fewer values; the U-Net is trained for a minute."""
    notebook = CLAIMS["of_notebook"](5)
    table = json.loads((ROOT / "docs" / "learning" / "lecture.json").read_text())
    for scanner, level, direct in (("MRI", "30 dB", "mri-zero-filled"), ("CT", "40 dB", "ct-fbp")):
        task = scanner.lower()
        tv, unet = notebook[f"{scanner}, TV, best λ: dB"], notebook[f"{scanner}, U-Net behind it: dB"]
        assert abs(notebook[f"{scanner}, direct: dB"] - table[direct][level]) < 0.01
        assert abs(tv - table[f"{task}-tv"][level]) < 0.3
        assert tv > unet and table[f"{task}-tv"][level] > table[f"{task}-post"][level]
