"""The local engine: how the machine is shared out, and real processes that fail, are stopped and are continued."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from lra.core.environment import ROOT
from lra.core.errors import UserError
from lra.core.workers import Child
from lra.sweep import local
from lra.sweep.engine import Engine, Order
from lra.sweep.local import LocalEngine, Share, shares
from lra.training import record
from lra.training.snapshot import SNAPSHOT
from tests.stopped import waited_for

SMALL = [
    "--grid",
    "model.width=8",
    "--grid",
    "model.depth=1",
    "--grid",
    "train.batch_size=2",
    "--grid",
    "train.chunk=3",
]
WORDS = ["sweep", "--task", "listops", "--backend", "torch", "--preset", "smoke", "--device", "cpu", *SMALL]


def order(memory: int | None = None, alone: bool = False) -> Order:
    return Order(key="0", title="a", values={}, log=Path("log"), memory=memory, alone=alone)


def machine(monkeypatch: pytest.MonkeyPatch, cores: int, threads: str = "", gpus: str | None = None) -> None:
    monkeypatch.setattr(local.limits, "allowed_cores", lambda: set(range(cores)))
    monkeypatch.setattr(local.limits, "usable_cores", lambda: cores)
    monkeypatch.setenv("OMP_NUM_THREADS", threads)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if gpus is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", gpus)


@pytest.mark.parametrize(
    ("asked", "threads"),
    [("", 4), ("2", 2), ("9", 4), ("0", 4), ("²", 4), ("9" * 5000, 4)],
    ids=lambda value: str(value)[:3],
)
def test_a_share_has_the_threads_asked_for_where_a_number_is(
    asked: str, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(monkeypatch, cores=8, threads=asked)
    assert [each.threads for each in shares(2, "cpu")] == [threads, threads]


def test_cores_are_shared_out_and_nobody_shares_one(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, cores=8)
    found = shares(3, "cpu")
    assert [each.cores for each in found] == [(0, 1), (2, 3), (4, 5)]
    assert found[0].environment["OMP_NUM_THREADS"] == "2"
    assert "CUDA_VISIBLE_DEVICES" not in found[0].environment
    assert [len(each.cores) for each in shares(None, "cpu")] == [8]


def test_more_jobs_than_cores_take_turns_with_one_thread_each(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, cores=2)
    assert [(each.cores, each.threads) for each in shares(3, "cpu")] == [((0,), 1), ((1,), 1), ((0,), 1)]


def test_fewer_threads_that_a_user_wants_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, cores=8, threads="1")
    assert {each.threads for each in shares(2, "cpu")} == {1}


def test_each_gpu_has_a_job_unless_a_number_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, cores=8, gpus="4, 6")
    assert [(each.gpu, each.cores) for each in shares(None, "gpu")] == [("4", (0, 1, 2, 3)), ("6", (4, 5, 6, 7))]
    assert [each.gpu for each in shares(4, "gpu")] == ["4", "6", "4", "6"]
    assert shares(None, "gpu")[1].environment["CUDA_VISIBLE_DEVICES"] == "6"


def test_too_many_jobs_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, cores=2)
    with pytest.raises(UserError, match="--jobs is 21, expected at least 1 and at most 20"):
        shares(21, "cpu")


class _NoProcess(Child):
    def __init__(self, *words: Any, **more: Any) -> None:
        pass

    def send(self, order: Any) -> None:
        pass


def test_memory_decides_what_runs_side_by_side(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(local, "Child", _NoProcess)
    monkeypatch.chdir(tmp_path)
    engine = LocalEngine([Share(cores=(each,), threads=1) for each in range(4)], memory=100)
    assert isinstance(engine, Engine)
    assert engine.accepts(order(memory=500)), "alone it may try"
    engine.start(order(memory=40))
    assert not engine.accepts(order(memory=61))
    assert not engine.accepts(order(alone=True))
    engine.start(order(memory=35))
    assert engine.accepts(order()), "what nobody knows counts as an equal share"
    engine.start(order())
    assert not engine.accepts(order(memory=1))


def test_an_order_that_cannot_start_keeps_no_share(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(local, "Child", _NoProcess)
    monkeypatch.chdir(tmp_path)
    engine = LocalEngine([Share(cores=(), threads=1)], memory=100)
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        engine.start(Order(key="0", title="a", values={}, log=tmp_path / "file" / "log"))
    engine.start(order())
    assert len(engine._running) == 1


@pytest.fixture
def _torch() -> None:
    pytest.importorskip("torch")


@pytest.mark.parametrize(
    ("number", "told"),
    [(signal.SIGKILL, "SIGKILL): perhaps because memory ran out"), (40, "signal 40)")],
)
@pytest.mark.usefixtures("_torch")
def test_a_process_that_dies_is_told_with_its_signal(number: int, told: str, tmp_path: Path) -> None:
    engine = LocalEngine([Share(cores=(), threads=1)], memory=1)
    engine.start(Order(key="7", title="a", values={}, log=tmp_path / "deep" / "log"))
    for each in engine._running:
        os.kill(each.child.pid, number)
    [(ended, answer)] = engine.ended(60.0)
    assert (ended.key, answer.state) == ("7", "died")
    assert answer.why == f"its process ended ({told}"
    assert engine.accepts(order())


def command(results: Path, *words: str) -> subprocess.Popen[str]:
    line = [sys.executable, str(ROOT / "run_lra.py"), *WORDS, "--results", str(results), *words]
    return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def curves(results: Path) -> dict[str, Any]:
    return {each.run_id: (each.curve, each.first_losses) for each in map(record.load, (results / "runs").iterdir())}


@pytest.mark.slow
@pytest.mark.usefixtures("_torch")
def test_a_sweep_is_stopped_continued_and_like_one_without_neighbours(tmp_path: Path) -> None:
    steps = ["--grid", "train.steps=1500", "--grid", "train.evaluate_every=50"]  # not done before the signal comes
    words = ["--attn", "linear", "--grid", "train.learning_rate=1e-3,1e9", *steps]
    process = command(tmp_path / "beside", *words, "--jobs", "2", "--no-probe")
    learnt = lambda: any(path.read_text().count("\n") > 2 for path in tmp_path.glob("*/.work/*/metrics.csv"))  # noqa: E731
    waited_for(learnt, process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, (out, err)
    assert "the same command continues: python run_lra.py sweep --task listops" in err
    assert list(tmp_path.glob(f"beside/.work/*/{SNAPSHOT}"))
    process = command(tmp_path / "beside", *words, "--jobs", "2", "--no-probe")
    out, err = process.communicate(timeout=120)
    assert process.returncode == 1, (out, err)
    assert err.count("the loss is nan at step") == 1
    log = Path(err.partition("(log: ")[2].partition(")")[0])
    assert "error: the loss is nan at step" in log.read_text(encoding="utf-8")
    alone = command(tmp_path / "alone", "--attn", "linear", "--grid", "train.learning_rate=1e-3", *steps, "--no-probe")
    alone.communicate(timeout=120)
    assert alone.returncode == 0
    assert len(curves(tmp_path / "alone")) == 1
    assert curves(tmp_path / "alone") == curves(tmp_path / "beside")


@pytest.mark.usefixtures("_torch")
def test_orders_end_when_the_engine_stops(tmp_path: Path) -> None:
    engine = LocalEngine([Share(cores=(), threads=1)], memory=1)
    engine.start(Order(key="7", title="a", values={"bench": ["--help"], "results": "x"}, log=tmp_path / "log"))
    began = time.monotonic()
    [(_, answer)] = engine.stop()
    assert answer.state == "stopped"
    assert time.monotonic() - began < 30
    assert engine.stop() == []


def test_a_child_appends_to_its_log(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("before\n")
    child = Child("no.such.module", visible=False, log=tmp_path / "log", environment={"LC_ALL": "C"})
    assert child.ask({}) is None
    assert child.end() == 1
    lines = child.last_words()
    assert lines[0] == "before"
    assert "no.such" in lines[-1] or "No module named" in lines[-1]
