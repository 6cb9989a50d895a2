"""Leases: one living holder at a time, whoever dies, is slow, or looks at the same moment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from lra.core.config import Run
from lra.core.errors import UserError
from lra.core.files import write_exactly
from lra.core.identity import run_id
from lra.sweep import lease, work
from lra.sweep.lease import Held, Lease, Lost, claimed, held
from lra.training import checkpoint
from lra.training.callbacks import Callback
from lra.training.session import Job
from lra.training.trainer import Place
from tasks.store import Prepared
from tests.small import place
from tests.stopped import waited_for
from tests.sweep_cases import RUN

OTHER = "another machine's kernel"


def number(taken: Held) -> int:
    return int(taken.path.name.split(".")[1])


def written(work: Path, which: int = 1, age: float = 0.0, **changes: Any) -> Path:
    """A lease that somebody else left behind."""
    values = {"host": "n1", "machine": OTHER, "pid": 7, "started": 0.0, "since": 0.0, "released": False, "step": 3}
    work.mkdir(parents=True, exist_ok=True)
    path = work / f"lease.{which}.json"
    path.write_text(json.dumps(values | changes), encoding="utf-8")
    os.utime(path, (time.time() - age, time.time() - age))
    return path


def ended() -> int:
    """The number of a process that is no more."""
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    return done.pid


def test_a_claim_excludes_and_its_end_lets_the_next_one_in(tmp_path: Path) -> None:
    assert held(tmp_path / "new") is None
    with claimed(tmp_path / "new") as first:
        assert isinstance(first, Held)
        with claimed(tmp_path / "new") as second:
            assert isinstance(second, Lease)
            assert second.pid == os.getpid()
            assert f"process {os.getpid()} on " in second.holder
    assert held(tmp_path / "new") is None
    with claimed(tmp_path / "new") as third:
        assert isinstance(third, Held)
        assert number(third) == 2, "numbers are never used again"
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["lease.2.json"]


def test_a_holder_of_this_machine_is_dead_when_its_process_is_gone(tmp_path: Path) -> None:
    written(tmp_path, machine=lease._machine(), pid=ended())
    assert held(tmp_path) is None
    mine = psutil.Process()
    written(tmp_path, machine=lease._machine(), pid=mine.pid, started=mine.create_time() - 100)
    assert held(tmp_path) is None, "another process has its number by now"
    written(tmp_path, age=10 * lease.SILENT, machine=lease._machine(), pid=mine.pid, started=mine.create_time())
    assert held(tmp_path) is not None, "one that is stopped for long is not dead"


def test_a_holder_of_another_machine_is_dead_when_it_is_silent(tmp_path: Path) -> None:
    written(tmp_path, age=lease.SILENT - 30)
    found = held(tmp_path)
    assert found is not None
    assert (found.host, found.step) == ("n1", 3)
    written(tmp_path, age=lease.SILENT + 30)
    assert held(tmp_path) is None
    written(tmp_path, age=0, released=True)
    assert held(tmp_path) is None


def test_a_folder_that_cannot_be_written_has_this_machines_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(**_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(tempfile, "NamedTemporaryFile", refused)
    written(tmp_path, age=lease.SILENT - 30)
    assert held(tmp_path) is not None
    written(tmp_path, age=lease.SILENT + 30)
    assert held(tmp_path) is None


def test_a_heart_beats_on_after_a_folder_was_unreadable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(folder: Path) -> list[str]:
        raise PermissionError

    with claimed(tmp_path) as mine, monkeypatch.context() as patch:
        assert isinstance(mine, Held)
        patch.setattr(os, "listdir", refused)
        mine.beat()
        mine.require()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"host": 3}', "\0"])
def test_what_is_no_lease_counts_by_its_age(content: str, tmp_path: Path) -> None:
    path = written(tmp_path)
    path.write_text(content, encoding="utf-8")
    assert held(tmp_path) is not None
    os.utime(path, (0, 0))
    assert held(tmp_path) is None


def test_who_was_taken_for_dead_notices_and_writes_no_more(tmp_path: Path) -> None:
    with claimed(tmp_path) as mine:
        assert isinstance(mine, Held)
        mine.require()
        later = written(tmp_path, which=2)
        before = later.read_bytes()
        mine.beat()
        with pytest.raises(Lost, match="another process has taken over this run"):
            mine.require()
    assert later.read_bytes() == before
    assert held(tmp_path) is not None


def test_a_run_that_another_process_took_over_has_not_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def taken_over(run: Run, prepared: Prepared, where: Place, callback: Callback) -> None:
        written(checkpoint.folder(where.results, run_id(run, prepared.hash)), which=2)
        raise Lost("another process has taken over this run")

    monkeypatch.setattr(work, "train", taken_over)
    answer = work.attempted(lambda: work.perform(Job([RUN], place(tmp_path))))
    assert answer.state == "held"
    assert answer.why.startswith("process 7 on n1 (since ")


def test_a_beat_tells_the_step_and_that_it_lives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "BEAT", 0.01)
    seen = threading.Event()
    with claimed(tmp_path, seen.set) as mine:
        assert isinstance(mine, Held)
        mine.step = 12
        assert seen.wait(10)
        seen.clear()
        assert seen.wait(10)
        found = held(tmp_path)
        assert found is not None
        assert found.step == 12


def test_of_many_claimants_at_once_one_gets_a_dead_ones_run(tmp_path: Path) -> None:
    for turn in range(20):
        work = tmp_path / str(turn)
        written(work, age=2 * lease.SILENT)
        ready, got = threading.Barrier(4), []

        def claim(work: Path = work, ready: threading.Barrier = ready, got: list[Any] = got) -> None:
            ready.wait()
            got.append(lease._claim(work))

        threads = [threading.Thread(target=claim) for _ in range(4)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        assert sum(isinstance(each, Held) for each in got) == 1


def test_a_name_that_stays_claimed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([False, False, True])
    monkeypatch.setattr(lease, "PAUSE", 0.0)
    monkeypatch.setattr(lease, "write_exactly", lambda content, path: next(answers) and write_exactly(content, path))
    assert isinstance(lease._claim(tmp_path / "later"), Held)
    monkeypatch.setattr(lease, "write_exactly", lambda content, path: False)
    with pytest.raises(UserError, match=r"end that process, or remove \.lease\.\*\.part from the folder"):
        lease._claim(tmp_path / "never")


def test_a_slow_claimant_does_not_take_a_number_that_is_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It saw the dead lease 1; meanwhile 2 was taken and released, and 3 is held: 2 is free again, and no lease."""
    old, last = written(tmp_path, age=2 * lease.SILENT), lease._last
    seen = iter([(1, old)])

    def looked(work: Path) -> tuple[int, Path | None]:
        return next(seen, None) or last(work)

    living = psutil.Process()
    facts = {"machine": lease._machine(), "pid": living.pid, "started": living.create_time()}
    newest = written(tmp_path, which=3, **facts)
    monkeypatch.setattr(lease, "_last", looked)
    assert isinstance(lease._claim(tmp_path), Lease)
    assert not (tmp_path / "lease.2.json").exists()
    assert newest.exists()


CLAIM = """
import sys, time
from pathlib import Path
from lra.sweep.lease import claimed
with claimed(Path(sys.argv[1])):
    print("claimed", flush=True)
    time.sleep(600)
"""


def test_a_process_that_was_killed_holds_nothing(tmp_path: Path) -> None:
    line = [sys.executable, "-c", CLAIM, str(tmp_path)]
    child = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    waited_for(lambda: held(tmp_path), child)
    child.kill()
    child.communicate()
    assert held(tmp_path) is None
    with claimed(tmp_path) as mine:
        assert isinstance(mine, Held)
        assert number(mine) == 2
