"""`make gpu`: pieces that stop when time is up, go on in the next call, and are never made twice; on the CPU."""

from __future__ import annotations

import json
import math
import signal
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from bench_records import bench_record
from board_records import made, write

from lra.training import record
from tests.evidence import gpu
from tests.evidence.gpu import Piece, bench, data, gpu_tests, plan, training, work
from tests.small import smoke_run

ENDLESS = "import time; time.sleep(600)"


def piece(path: Path, code: str, **more: float) -> Piece:
    """A piece that is done when its file exists."""
    return Piece(name=path.name, done=path.exists, command=lambda: [sys.executable, "-c", code], **more)  # pyright: ignore


@pytest.mark.slow
def test_a_run_is_stopped_continued_and_not_made_again(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    run = smoke_run(steps=400, evaluate_every=80, chunk=3)
    one = training(run, "cpu", tmp_path)
    assert "--resume" not in one.command()

    def until_it_has_learnt() -> float:
        curves = (path.read_text() for path in (tmp_path / ".work").glob("*/metrics.csv"))
        return 0.0 if any(len(curve.splitlines()) > 1 for curve in curves) else 1.0

    assert work([one], until_it_has_learnt) == 3
    assert list((tmp_path / ".work").glob("*/snapshot.safetensors"))
    assert one.command()[-1] == "--resume"
    assert work([one], lambda: math.inf) == 0
    (path,) = (tmp_path / "runs").iterdir()
    assert len(record.load(path).curve) == 5
    assert work([one], lambda: math.inf) == 0
    assert list((tmp_path / "runs").iterdir()) == [path]
    assert not training(run, "gpu", tmp_path).done(), "a record of the CPU is none of a GPU"


def test_pieces_run_in_order_and_those_without_time_are_left(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    times = iter([60.0] * 3 + [0.0] * 100)
    first, whole, last = (tmp_path / name for name in ("first", "whole", "last"))
    ready = replace(piece(tmp_path, ENDLESS), name="ready")
    pieces = [ready, piece(first, ENDLESS), piece(whole, "", minutes=2.0), piece(last, "")]
    assert work(pieces, lambda: next(times)) == 3
    said = capfd.readouterr().out.splitlines()
    assert said[-4:] == ["done  ready", "left  first", "left  whole", "left  last"]


def test_a_piece_stops_at_once_where_a_shell_has_ctrl_c_ignored(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    times, began = iter([60.0, 0.0]), time.monotonic()
    try:
        assert work([piece(tmp_path / "one", ENDLESS)], lambda: next(times)) == 3
    finally:
        signal.signal(signal.SIGINT, before)
    assert time.monotonic() - began < gpu.GRACE / 2


def test_what_fails_or_cannot_be_is_told_and_the_rest_goes_on(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    made = tmp_path / "made"
    pieces = [
        replace(piece(tmp_path / "wrong", "raise SystemExit(7)"), finish=made.touch),
        replace(piece(tmp_path / "absent", ENDLESS), impossible=lambda: "no raw files"),
        replace(piece(made, ""), finish=made.touch),
    ]
    assert work(pieces, lambda: math.inf) == 1
    said = capfd.readouterr().out.splitlines()
    assert said[-3].startswith("wrong: failed: exit code 7")
    assert said[-2:] == ["absent: skipped: no raw files", "done  made"]


def test_a_benchmark_is_known_by_its_command_once_it_is_complete(tmp_path: Path) -> None:
    one = bench(["--what", "train"], tmp_path)
    (tmp_path / "bench").mkdir()
    for complete in (False, True):
        command = f"python run_lra.py bench --what train --results {tmp_path}"
        values = asdict(bench_record(command=command, complete=complete))
        (tmp_path / "bench" / "train.json").write_text(json.dumps(values))
        assert one.done() is complete
    assert not bench(["--what", "infer"], tmp_path).done()


def test_raw_data_that_is_not_there_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LRA_HOME", str(tmp_path))
    monkeypatch.delenv("LRA_RAW", raising=False)
    text, listops = (data(task, "smoke") for task in ("text", "listops"))
    assert "LRA_RAW" in text.impossible()
    assert "LRA_RAW" in training(smoke_run("text"), "gpu", tmp_path).impossible()
    assert listops.impossible() == ""
    monkeypatch.setenv("LRA_RAW", str(tmp_path))
    assert text.impossible() == ""


def test_the_plan_is_what_the_records_know(tmp_path: Path) -> None:
    pieces = plan(tmp_path)
    assert len({each.name for each in pieces}) == len(pieces)
    assert [each.done() for each in pieces] == [False] * len(pieces)
    known = made("image", "elfatt", 0.4, preset="standard", train={"precision": "bfloat16"})
    write(replace(known, environment=known.environment | {"device": "NVIDIA H200"}), tmp_path)
    assert [each.name for each in pieces if each.done()] == ["standard run of elfatt on image"]


def test_only_tests_that_passed_leave_their_report(tmp_path: Path) -> None:
    file = tmp_path / "test_one.py"
    body = "import os, pytest\n@pytest.mark.gpu\ndef test_it():\n    assert os.environ['TRITON_INTERPRET'] == '0'{}\n"
    one = gpu_tests(file, tmp_path)
    for more, code in ((" and False", 1), ("", 0)):
        file.write_text(body.format(more))
        assert work([one], lambda: math.inf) == code
        assert one.done() is (code == 0)


def test_short_tasks_come_before_long_ones_and_kernels_are_tested_before_they_are_timed(tmp_path: Path) -> None:
    names = [each.name for each in plan(tmp_path)]
    first = [next(i for i, name in enumerate(names) if part in name) for part in ("tests of", "bench", "on listops")]
    assert first == sorted(first)
    assert "tests of test_elfatt_fused_torch.py on a GPU" in names
    assert names.index("standard run of softmax on image") < names.index("data of pathfinder")
    assert names[-12::2] == [f"data of {task}, s4" for task in gpu.RECIPES]
    assert names[-11::2] == [f"s4 run of s4 on {task}" for task in gpu.RECIPES]


def test_without_a_gpu_it_refuses_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gpu, "has_gpu", lambda: False)
    monkeypatch.setattr(sys, "argv", ["gpu"])
    assert gpu.main() == 2
    assert capsys.readouterr().err.count("\n") == 1
