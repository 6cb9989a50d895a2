"""Which figures of a plan have no record: each is told with its command, until a record of that command is there."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from bench_records import bench_record

from lra.bench.record import BenchRecord
from lra.cli import bench
from lra.cli.main import main
from lra.core.config import resolve, settled
from lra.core.identity import run_id
from lra.sweep import missing, plan, work
from lra.sweep.items import Item
from lra.sweep.work import Answer
from lra.training import record
from tests.board_records import write
from tests.test_sweep_estimate import earlier

PLAN = """sweep:
  - bench: --device gpu --attn elfatt,flash
    figures: attention | alone
  - {task: listops, attn: linear, backend: torch, preset: standard}
"""
PLANNED = {"what": "attend", "device": "gpu", "dtype": "float32", "cells": [], "samples": 1}
WORDS = ("--device", "gpu", "--attn", "elfatt,flash")
RUN = resolve("listops", "linear", backend="torch", preset="standard")


def shown(results: Path) -> str:
    path = results / "plan.yaml"
    path.write_text(PLAN, encoding="utf-8")
    return missing.page(missing.figures(plan.load(path), results), path.name)


@pytest.fixture
def timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """The command bench, with WORDS, which times nothing and writes this record with the command that it is given."""

    def run(**changes: object) -> None:
        def written(what: object, results: Path, command: str) -> tuple[BenchRecord, Path, bool]:
            (results / "bench").mkdir(exist_ok=True)
            found = bench_record(command=command, **changes)
            path = results / "bench" / "one.json"
            path.write_text(json.dumps(asdict(found)), encoding="utf-8")
            return found, path, False

        monkeypatch.setattr(bench, "make_plan", lambda *_: SimpleNamespace(**PLANNED))
        monkeypatch.setattr(bench, "run_bench", written)
        monkeypatch.setattr(bench, "show", lambda *_: None)
        assert main(["bench", *WORDS, "--results", str(tmp_path)]) == 0

    return run


def test_without_records_everything_is_missing_and_has_its_command(tmp_path: Path) -> None:
    text = shown(tmp_path)
    assert "0 of 2 figures have a record" in text
    command = shlex.join(["python", "run_lra.py", "bench", *WORDS, "--results", str(tmp_path)])
    assert f"| attention \\| alone | `{command}` |" in text
    assert (
        "`python run_lra.py --task listops --attn linear --backend torch --preset standard --seed 0 --device gpu"
        in text
    )
    assert "## There" not in text


def test_a_complete_record_of_that_command_is_what_was_missing(tmp_path: Path, timed: Callable[..., None]) -> None:
    timed(complete=False)
    assert "0 of 2" in shown(tmp_path)
    timed(complete=True)
    assert "| attention \\| alone | [bench/one.json](bench/one.json) |" in shown(tmp_path)


def test_a_sweep_takes_a_complete_benchmark_as_done(tmp_path: Path, timed: Callable[..., None]) -> None:
    for complete, status in ((False, "waiting"), (True, "done")):
        timed(complete=complete)
        item = Item(title="bench", words=WORDS)
        item.look(tmp_path)
        assert item.status == status


def test_a_benchmark_whose_cell_failed_is_done_once_its_record_is_complete(
    tmp_path: Path, timed: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    assert work.benchmark(WORDS, tmp_path) == Answer(state="failed", why="bench ended with exit code 1")
    timed(complete=False)
    assert work.benchmark(WORDS, tmp_path).state == "failed"
    timed(complete=True)
    why = "its record is complete, but bench ended with exit code 1"
    assert work.benchmark(WORDS, tmp_path) == Answer(state="done", why=why)


def test_a_run_counts_in_a_gpus_arithmetic_alone(tmp_path: Path) -> None:
    for run, there in ((RUN, 0), (settled(RUN, on_gpu=True), 1)):
        base = earlier(run)
        own = run_id(run, base.data_hash)
        write(replace(base, run_id=own), tmp_path, f"{record.name(run, own)}.json")
        assert f"{there} of 2 figures" in shown(tmp_path)


def test_the_page_of_the_repository_is_what_its_plan_and_records_say(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["missing", "--check"]) == 0, capsys.readouterr().err
    shown(tmp_path)
    words = ["missing", str(tmp_path / "plan.yaml"), "--results", str(tmp_path)]
    assert main([*words, "--check"]) == 1
    assert "stale: MISSING.md: run run_lra.py missing" in capsys.readouterr().err
    assert [main(words), main([*words, "--check"])] == [0, 0]
    (tmp_path / "MISSING.md").write_bytes(b"\xff")
    assert main([*words, "--check"]) == 1
    assert "stale: MISSING.md" in capsys.readouterr().err


def test_every_benchmark_for_a_gpu_says_in_words_what_it_measures() -> None:
    blocks = yaml.safe_load(missing.PLAN.read_text(encoding="utf-8"))["sweep"]
    assert [each for each in blocks if "bench" in each and not each.get("figures")] == []
