"""Records on disk: what is written is there as a whole or not at all, and nothing that was there is lost."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from bench_records import bench_record
from board_records import made, write_few

from lra import bench_record as bench
from lra import record
from lra.cli import main
from lra.environment import ROOT

START = f"import sys\nsys.path[:0] = [{str(ROOT)!r}, {str(ROOT / 'tests')!r}]\nfrom pathlib import Path\n"
AT_ONCE = (
    START
    + """
from board_records import made
from lra import record
found = made("listops", "elfatt", 0.5, run_id="0123456789ab")
sys.stdin.readline()
for _ in range(int(sys.argv[2])):
    record.save(found, Path(sys.argv[1]))
"""
)
KILLED = (
    START
    + """
import os, signal
os.fsync = lambda number: os.kill(os.getpid(), signal.SIGKILL)
from board_records import made
from lra import record
record.save(made("listops", "elfatt", 0.9, 7), Path(sys.argv[1]))
"""
)


def test_processes_that_finish_at_once_leave_a_record_each(tmp_path: Path) -> None:
    each, processes = 20, 3
    started = [
        subprocess.Popen([sys.executable, "-c", AT_ONCE, str(tmp_path), str(each)], stdin=subprocess.PIPE)
        for _ in range(processes)
    ]
    for process in started:
        assert process.stdin is not None
        process.stdin.write(b"go\n")
        process.stdin.flush()
    assert [process.wait(timeout=60) for process in started] == [0] * processes
    names = {path.name for path in (tmp_path / "runs").iterdir()}
    stem = "listops-elfatt-torch-quick-s0-01234567"
    assert names == {f"{stem}.json"} | {f"{stem}.{number}.json" for number in range(2, each * processes + 1)}
    assert {record.load(path).run_id for path in (tmp_path / "runs").iterdir()} == {"0123456789ab"}


def test_a_kill_in_the_middle_of_writing_leaves_no_record_and_loses_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_few(tmp_path)
    before = {path: path.read_bytes() for path in (tmp_path / "runs").iterdir()}
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], timeout=60, check=False)
    assert killed.returncode == -signal.SIGKILL
    (left,) = set((tmp_path / "runs").iterdir()) - set(before)
    assert left.name.startswith(".")
    assert {path: path.read_bytes() for path in before} == before
    assert main(["leaderboard", "--results", str(tmp_path), "--format", "json"]) == 0
    told = capsys.readouterr()
    assert told.err == ""
    assert next(row for row in json.loads(told.out) if row["attention"] == "elfatt")["preset"] == "quick"


def test_an_interrupted_write_of_ours_leaves_nothing_beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(number: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("lra.checkpoint.os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        record.save(made("listops", "elfatt", 0.5), tmp_path)
    assert list((tmp_path / "runs").iterdir()) == []


def test_two_benchmarks_of_one_second_have_a_file_each(tmp_path: Path) -> None:
    path = tmp_path / "bench" / "train-torch-cpu-float32-20260102T030405Z.json"
    assert [bench.save_new(bench_record(), path).name for _ in range(2)] == [
        path.name,
        path.name.replace("Z.json", "Z.2.json"),
    ]
    bench.save(bench_record(), path)
    assert len(list(path.parent.iterdir())) == 2
