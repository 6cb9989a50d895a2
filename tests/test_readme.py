"""The commands of the README and of the documentation work, as written but for the preset."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

import attention_impls
from lra.cli.main import main
from lra.core.documents import json_text, read_yaml
from lra.core.environment import ROOT
from lra.training import record
from tests.board_records import put
from tests.documentation import written
from tests.evidence.table import table
from tests.watched import CELL, save

README = (ROOT / "README.md").read_text()
PAGES = {"README.md": README, **written()}
BLOCKS = {name: re.findall(r"```bash\n(.*?)```", text, re.DOTALL) for name, text in PAGES.items()}
# These add a mechanism and a task to a copy of the repository: tests/test_guides.py.
ADDING = [block for name, blocks in BLOCKS.items() if name.startswith("guides/add-") for block in blocks]
LINES = [line for blocks in BLOCKS.values() for each in blocks if each not in ADDING for line in each.splitlines()]
COMMANDS = list(dict.fromkeys(line.strip() for line in LINES if line.strip()))
SMOKE = ["--task", "listops", "--attn", "linear", "--preset", "smoke"]


def as_smoke(command: str, tmp: Path) -> list[str]:
    """The command with the smoke preset and every output under `tmp`."""
    words = shlex.split(command)
    assert words[:2] == ["python", "run_lra.py"], command
    if words[2] == "list" or words[2:] == ["data", "list"]:
        return words[2:]
    if words[2] in ("evaluate", "verify", "submit"):
        for seed in ("0", "1"):
            assert main([*SMOKE, "--seed", seed, "--results", str(tmp)]) == 0
        found = iter(sorted((tmp / "runs").glob("*.json")))
        for path in (tmp / "runs").glob("*.json"):  # as from a clean commit, which alone may be submitted
            put(asdict(record.load(path)) | {"git": {"commit": "a" * 40, "clean": True}}, path)
        return [str(next(found)) if word.endswith(".json") else word for word in words[2:]]
    if {"leaderboard", "report"} & set(words):
        shutil.copytree(ROOT / "results" / "runs", tmp / "runs")
        return [*words[2:], *([] if "--check" in words else ["--results", str(tmp)])]
    if "check" in words:
        path = save(tmp / "baselines.yaml", CELL)
        assert main(["check", "--update", "--baselines", str(path)]) == 0
        return [*words[2:], "--baselines", str(path)]
    if "bench" in words:
        return [*_small_bench(words[2:]), "--results", str(tmp)]
    if {"sweep", "tune"} & set(words) and "--dry-run" in words:
        return [*(str(ROOT / word) if word.startswith("configs/") else word for word in words[2:]), "--no-probe"]
    if words[2] == "sweep" and words[3].endswith(".yaml"):
        small = _small_plan(ROOT / words[3], tmp / "plan.yaml")
        return ["sweep", str(small), *words[4:], "--results", str(tmp)]
    words += ["--preset", "smoke"]
    if "data" not in words:
        return [*words[2:], "--device", "cpu", "--results", str(tmp)]
    return [str(tmp / word) if word.endswith(".png") else word for word in words[2:]]


def _small_bench(words: list[str]) -> list[str]:
    """The words of a benchmark, with its first two mechanisms at a small size; each is a process a framework."""
    flags = words[words.index("--attn") + 1]
    named = flags.split(",")
    assert {spec.partition("@")[0] for spec in named} <= set(attention_impls.names()), flags
    small = {"--attn": ",".join(named[:2]), "--batch": "2", "--samples": "2", "--device": "cpu"}
    if "--shape" not in words:
        small["--lengths"] = "33"
    return [*words, *(word for pair in small.items() for word in pair)]


def _small_plan(path: Path, small: Path) -> Path:
    """A plan of benchmarks with its first and its last block, both small."""
    blocks = read_yaml(path)["sweep"]
    chosen = [
        block | {"bench": shlex.join(_small_bench(shlex.split(block["bench"])))} for block in blocks[:: len(blocks) - 1]
    ]
    small.write_text(json_text({"sweep": chosen}), encoding="utf-8")
    return small


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_runs(command: str, tmp_path: Path) -> None:
    if "jax" in command:
        pytest.importorskip("jax")
    words = as_smoke(command, tmp_path)
    if words[:2] in (["data", "verify"], ["data", "show"]):
        _run(["data", "prepare", *words[2:4], "--preset", "smoke"], tmp_path)
    done = _run(words, tmp_path)
    if "--results" in words and "--print-config" not in words:
        timed = "bench" in words or (tmp_path / "plan.yaml").exists()
        assert list((tmp_path / ("bench" if timed else "runs")).glob("*.json")), done
    if "--out" in words:
        assert (tmp_path / "listops.png").stat().st_size > 1000


LAYERS = re.findall(r"```python\n(.*?)```", README.split("## In your own model\n")[1].split("\n## ")[0], re.DOTALL)


@pytest.mark.slow
@pytest.mark.parametrize("package", ["torch", "flax", "transformers"])
def test_the_layers_of_the_readme_work(package: str) -> None:
    pytest.importorskip(package)
    (code,) = (block for block in LAYERS if f"from attention_impls.{package} " in block or f"from {package} " in block)
    assert 5 <= len([line for line in code.splitlines() if line]) <= 8
    variables: dict[str, object] = {}
    exec(code, variables)
    if package != "transformers":
        assert getattr(variables["out"], "shape")[:2] == (2, 1000)  # noqa: B009 - of either framework


def test_the_table_of_runs_is_what_the_records_say() -> None:
    shown = README.split("<!-- runs -->\n")[1].split("\n<!-- end of runs -->")[0]
    assert shown == table(), "run python -m tests.evidence.table and put its output into the README"


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= 120


def test_make_has_the_targets_that_the_readme_names() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^ +make (\w+)", README, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_the_file_map_names_files_that_exist() -> None:
    lines = README.split("## Where things are\n")[1].split("\n\n")[0].splitlines()
    named = [word for line in lines for word in re.split(r"\s{2,}", line.strip())[0].split()]
    assert len(named) >= 12
    folder = ROOT  # the last one named, which holds what is named without a folder of its own
    for name in named:
        found = [*ROOT.glob(name.replace("<name>", "*")), *folder.glob(name)]
        assert found, name
        folder = folder if "/" not in name else found[0] if found[0].is_dir() else found[0].parent


def _run(words: list[str], cwd: Path) -> str:
    done = subprocess.run(
        [sys.executable, str(ROOT / "run_lra.py"), *words],
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
