"""What a plan costs: hours of measured runs alone, and the commands that measure the rest."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

import pytest
import tyro

from lra.cli.bench import BenchFlags
from lra.cli.main import main
from lra.core.config import resolve
from lra.sweep import cost, plan
from lra.sweep.plan import Planned, RunBlock
from tests.board_records import write
from tests.test_sweep_estimate import earlier

RUN = resolve("listops", "elfatt", backend="torch", preset="standard")
PLANNED = [
    each
    for each in plan.pieces(
        RunBlock(task=["listops"], attn=["elfatt,linear"], backend=["torch", "jax"], preset="standard", seeds=3), "here"
    )
    if isinstance(each, Planned)
]


def hours(results: Path, device: str, steps_per_second: float) -> None:
    """A record of so fast a run, made on another machine than this one."""
    times = {"steps_per_second": steps_per_second, "evaluation_seconds": 0.0, "first_steps_after": 0.0}
    record = earlier(RUN, cpu="another", **times)
    write(replace(record, environment=record.environment | {"device": device}), results)


def test_what_no_record_tells_is_not_measured_and_has_its_command(tmp_path: Path) -> None:
    text = cost.page(PLANNED, "a.yaml", tmp_path, 7)
    for device in ("one H100", "eight H100", "7 CPU machines"):
        assert f"| {device} | 0 of 12 runs | not measured | not measured |" in text
    commands = [line.strip() for line in text.splitlines() if line.startswith("    python")]
    assert len(commands) == 2
    for line, device in zip(commands, ("gpu", "cpu"), strict=True):
        flags = tyro.cli(BenchFlags, args=shlex.split(line)[3:])
        assert (flags.task, flags.preset, flags.device) == ("listops", "standard", device)
        assert flags.backend == ("torch", "jax")
        assert [each.name for each in flags.attn] == ["elfatt", "linear"]


def test_measured_hours_are_packed_on_so_many_devices(tmp_path: Path) -> None:
    hours(tmp_path, "NVIDIA H100 80GB HBM3", 5000 / 3600)  # an hour a run
    hours(tmp_path, "NVIDIA A100", 5.0)
    hours(tmp_path, "cpu", 5000 / 7200)
    text = cost.page(PLANNED, "a.yaml", tmp_path, 2)
    assert "| one H100 | 3 of 12 runs | 3.0 h | 3.0 h |" in text
    assert "| eight H100 | 3 of 12 runs | 3.0 h | 1.0 h |" in text
    assert "| 2 CPU machines | 3 of 12 runs | 6.0 h | 4.0 h |" in text
    assert "| listops | 3 of 12 | 3.0 h | 1.0 h |" in text
    for words in ("--attn linear --backend torch", "--attn elfatt,linear --backend jax"):
        assert text.count(words) == 2, "elfatt was measured in PyTorch"


def test_the_command_writes_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text("sweep: [{task: listops, attn: linear, backend: torch}]", encoding="utf-8")
    assert main(["cost", str(path), "--results", str(tmp_path)]) == 0
    assert (tmp_path / "COST.md").read_text(encoding="utf-8").startswith("# What plan.yaml costs\n")
    assert main(["cost", str(path), "--results", str(tmp_path), "--machines", "0"]) == 2
    assert "machines is 0" in capsys.readouterr().err
