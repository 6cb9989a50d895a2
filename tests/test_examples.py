"""The examples and the notebook run, at tiny sizes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lra.core.environment import ROOT

EXAMPLES = ROOT / "examples"
NOTEBOOK = EXAMPLES / "mechanisms.ipynb"
NEEDS = {
    "own_module": ("torch", ["--preset", "smoke"], r"own_attention: \d+\.\d% of 50 test examples\nsoftmax: "),
    "vision_transformer": ("torch", ["--steps", "22"], r"step 20: loss 0\.[0-3]\d+\n"),
    "transformers_encoder": ("transformers", ["--steps", "2", "--length", "32"], r"elfatt in bert\.encoder\.layer\.0"),
    "flax_model": ("flax", ["--steps", "2", "--length", "32"], r"step 1: loss 0\.\d+"),
    "cost_against_length": (
        "torch",
        ["--attn", "elfatt", "--lengths", "33", "--samples", "2"],
        r"elfatt at 33 tokens: \d+\.\d\d ms an example",
    ),
}


def run(words: list[str], place: Path) -> str:
    """What a program prints that runs in a folder of its own; it has to succeed."""
    done = subprocess.run(
        [sys.executable, *words],
        cwd=place,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        env={**os.environ, "MPLBACKEND": "agg", "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_every_example_is_tried() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == set(NEEDS)
    assert list(EXAMPLES.glob("*.ipynb")) == [NOTEBOOK]


@pytest.mark.slow
@pytest.mark.parametrize("name", NEEDS)
def test_an_example_runs(name: str, tmp_path: Path) -> None:
    package, words, printed = NEEDS[name]
    pytest.importorskip(package)
    assert re.search(printed, run([str(EXAMPLES / f"{name}.py"), *words], tmp_path))


def cells() -> list[str]:
    """The code of the notebook."""
    found = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in found if cell["cell_type"] == "code"]


def test_the_notebook_keeps_no_output() -> None:
    for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


@pytest.mark.slow
def test_the_notebook_runs(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    code = "\n".join(cells())
    assert code.count('PRESET = "quick"') == 1
    (tmp_path / "cells.py").write_text(code.replace('PRESET = "quick"', 'PRESET = "smoke"'), encoding="utf-8")
    printed = run(["cells.py"], tmp_path)
    assert "O(N·D·(D + n_b))" in printed
    assert re.search(r"test accuracy \d+\.\d% ± \d+\.\d%, chance 10\.0%", printed)
    assert "Attention(\n  'elfatt', heads=" in printed
