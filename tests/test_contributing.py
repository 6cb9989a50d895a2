"""CONTRIBUTING's four commands add a mechanism, tried on a copy of this repository."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lra.core.environment import ROOT

COMMANDS = re.search(r"## Add an attention\n.*?```bash\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL)


def copy_of_the_repository(place: Path) -> Path:
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
    return place


def test_four_commands_add_a_mechanism(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    assert COMMANDS is not None
    lines = COMMANDS[1].strip().splitlines()
    assert len(lines) == 4
    place = copy_of_the_repository(tmp_path / "copy")
    for line in lines:
        command = re.sub(r"\bpython\b", sys.executable, line)
        done = subprocess.run(command, shell=True, cwd=place, capture_output=True, text=True, timeout=240, check=False)
        assert done.returncode == 0, f"{line}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        if "pytest" in line:
            assert re.search(r"\b[1-9]\d+ passed", done.stdout), done.stdout[-500:]
    assert "## mine: Softmax (2017)" in (place / "attention_impls" / "README.md").read_text()
    (path,) = (place / "results" / "runs").glob("listops-mine-torch-smoke-*.json")
    assert json.loads(path.read_text())["attn"] == "mine"
