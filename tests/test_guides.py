"""The guides' commands add a mechanism and a task, tried on a copy of this repository."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lra.core.environment import ROOT

GUIDES = ROOT / "docs" / "pages" / "guides"


def copy_of_the_repository(place: Path) -> None:
    """The files that git knows or would add, without what is ignored."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, place / name)


def try_out(guide: str, place: Path, tests: int) -> None:
    """Run a guide's commands in a copy of the repository; each must succeed, pytest with at least so many tests."""
    found = re.search(r"```bash\n(.*?)```", (GUIDES / guide).read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    copy_of_the_repository(place)
    for line in found[1].strip().splitlines():
        command = re.sub(r"\bpython\b", sys.executable, line)
        done = subprocess.run(command, shell=True, cwd=place, capture_output=True, text=True, timeout=240, check=False)
        assert done.returncode == 0, f"{line}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        if "pytest" in line:
            passed = re.search(r"(\d+) passed", done.stdout)
            assert passed is not None
            assert int(passed[1]) >= tests


def the_record(place: Path, name: str) -> dict[str, Any]:
    (path,) = (place / "results" / "runs").glob(f"{name}-torch-smoke-*.json")
    return json.loads(path.read_text())


@pytest.mark.slow
def test_the_commands_add_a_mechanism(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    try_out("add-attention.md", tmp_path, tests=10)
    assert "## mine: Softmax (2017)" in (tmp_path / "attention_impls" / "README.md").read_text()
    assert the_record(tmp_path, "listops-mine")["attn"] == "mine"


@pytest.mark.slow
def test_the_commands_add_a_task(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    try_out("add-task.md", tmp_path, tests=7)
    assert (tmp_path / "mine.png").read_bytes().startswith(b"\x89PNG")
    assert the_record(tmp_path, "mine-softmax")["task"] == "mine"
