"""What becomes of a sweep's items: by a scripted engine, without a process."""

from __future__ import annotations

import errno
import math
from itertools import count
from pathlib import Path

import pytest

from lra.core.errors import UserError
from lra.sweep import items as queue
from lra.sweep import lease, runner
from lra.sweep.items import Item
from lra.sweep.lease import Held
from lra.sweep.plan import Planned, Timed
from lra.sweep.runner import Sweep
from lra.sweep.screen import closing, plan_line
from lra.sweep.work import Answer
from tests.small import place
from tests.sweep_cases import RUN, ScriptedEngine, item

DONE, STOPPED = Answer(state="done"), Answer(state="stopped")
DIED, FAILED = Answer(state="died", why="its process ended (SIGKILL)"), Answer(state="failed", why="the loss is nan")


def swept(items: list[Item], engine: ScriptedEngine, results: Path, left: float = math.inf) -> Sweep:
    work = Sweep(items, place(results))
    work.run(engine, lambda: left)
    return work


def test_a_failed_run_stops_no_other_and_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    items = [item(tmp_path, number) for number in range(4)]
    swept(items, ScriptedEngine({"run 1": [FAILED]}, jobs=2), tmp_path)
    assert [each.status for each in items] == ["done", "failed", "done", "done"]
    closing(items, tmp_path, "again")
    said = capsys.readouterr()
    assert "failed: run 1: the loss is nan" in said.err
    assert "3 of 4 done, 3 of them now; 1 failed; 0 left" in said.out
    assert "again" not in said.err


def test_a_folder_that_cannot_be_used_stops_no_other_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    items = [item(tmp_path, number) for number in range(3)]
    items[0].work = tmp_path / ("x" * 300)
    engine = ScriptedEngine({})
    engine.refused = {"run 1": PermissionError(errno.EACCES, "Permission denied", "log")}
    told: list[str] = []
    work = Sweep(items, place(tmp_path), lambda each: told.append(f"{each.title} {each.status}"))
    work.run(engine, lambda: math.inf)
    assert told == ["run 0 failed", "run 1 failed", "run 2 running", "run 2 done"]
    closing(items, tmp_path, "again")
    said = capsys.readouterr().err
    assert "failed: run 0: File name too long: /" in said
    assert "failed: run 1: its process cannot start: Permission denied: log" in said


def test_a_run_whose_process_dies_is_started_again_so_often(tmp_path: Path) -> None:
    items = [item(tmp_path, number) for number in range(2)]
    engine = ScriptedEngine({"run 0": [DIED, DIED, DONE], "run 1": [DIED] * runner.DEATHS})
    swept(items, engine, tmp_path)
    assert [each.status for each in items] == ["done", "failed"]
    assert items[1].why == f"its process ended (SIGKILL), {runner.DEATHS} times"
    assert engine.began == ["run 0"] * 3 + ["run 1"] * runner.DEATHS


def test_ctrl_c_saves_all_and_keeps_them_waiting(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    items = [item(tmp_path, number) for number in range(3)]
    engine = ScriptedEngine({}, jobs=2)

    def stop() -> None:
        raise KeyboardInterrupt

    engine.act = stop
    with pytest.raises(KeyboardInterrupt):
        swept(items, engine, tmp_path)
    assert [each.status for each in items] == ["waiting"] * 3
    closing(items, tmp_path, "python run_lra.py sweep a.yaml")
    assert "the same command continues: python run_lra.py sweep a.yaml" in capsys.readouterr().err


def test_without_time_nothing_begins_and_a_benchmark_needs_minutes(tmp_path: Path) -> None:
    items = [item(tmp_path, 0), Item(title="bench a", words=("--what", "train")), item(tmp_path, 1)]
    engine = ScriptedEngine({})
    swept(items, engine, tmp_path, left=0)
    assert engine.began == []
    swept(items, engine, tmp_path, left=60)
    assert engine.began == ["run 0", "run 1"]
    assert items[1].why == "it needs more time than is left"


def test_a_benchmark_runs_alone(tmp_path: Path) -> None:
    items = [item(tmp_path, 0), Item(title="bench", words=("--seed", "1")), item(tmp_path, 1), item(tmp_path, 2)]
    engine, beside = ScriptedEngine({}, jobs=2), []
    engine.act = lambda: beside.append([order.title for order in engine.running])
    swept(items, engine, tmp_path)
    assert beside == [["run 0"], ["bench"], ["run 1", "run 2"]]


def test_a_run_that_another_holds_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = count(0, 2 * runner.AGAIN)
    monkeypatch.setattr(runner.time, "monotonic", lambda: float(next(clock)))
    held = item(tmp_path, 0)
    assert held.work is not None
    with lease.claimed(held.work) as other:
        assert isinstance(other, Held)
        engine = ScriptedEngine({})
        engine.act = other.release
        told: list[str] = []
        work = Sweep([held], place(tmp_path), lambda each: told.append(f"{each.status} {each.why}"))
        work.run(engine, lambda: math.inf)
    assert [line.split()[0] for line in told] == ["held", "running", "done"]
    assert f"process {lease.os.getpid()} on" in told[0]


def test_an_answer_that_it_is_held_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "AGAIN", 0.0)
    items = [item(tmp_path, 0)]
    engine = ScriptedEngine({"run 0": [Answer(state="held", why="process 1 on x"), DONE]})
    swept(items, engine, tmp_path)
    assert engine.began == ["run 0"] * 2


def test_what_cannot_be_is_failed_before_it_begins(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    pieces = [Planned(title="a", run=RUN), Planned(title="b", why="no"), Timed(words=("--what", "infer"))]
    found = queue.items(pieces, lambda backend: False)
    assert [each.status for each in found] == ["waiting", "failed", "waiting"]

    def gone(run: object) -> None:
        raise UserError("no raw files")

    queue.identify(found, tmp_path, gone)
    assert (found[0].status, found[0].why) == ("failed", "no raw files")
    unwritable = queue.items(pieces[:1], lambda backend: False)

    def refused(run: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "data")

    queue.identify(unwritable, tmp_path, refused)
    assert (unwritable[0].status, unwritable[0].why) == ("failed", "Permission denied: data")
    assert plan_line(found, 2) == "3 in the plan · 0 done · 1 left · 2 impossible: about 6 min 00 s with 2 at a time"
