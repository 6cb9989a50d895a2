"""A run's curve as CSV beside its snapshots, whole after a resume, and as TensorBoard's event files."""

from __future__ import annotations

import csv
import errno
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from lra.cli.main import main
from lra.core import files
from lra.training import data
from lra.training.callbacks import TAGS, MetricsFile, TensorBoard
from lra.training.history import History
from lra.training.record import Record
from lra.training.trainer import train
from tasks.base import Source
from tests.small import Quiet, place, smoke_run

RUN = ["--task", "listops", "--attn", "softmax", "--preset", "smoke", "--device", "cpu"]


def rows(results: Path) -> list[dict[str, float]]:
    (path,) = (results / ".work").glob("*/metrics.csv")
    return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(path.open())]


def without_rate(found: list[dict[str, float]]) -> list[dict[str, float]]:
    return [{name: value for name, value in row.items() if name != "learning_rate"} for row in found]


def test_the_curve_is_kept_as_csv_and_survives_a_crash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    run = smoke_run(steps=8, warmup=4, evaluate_every=2, chunk=2, learning_rate=1e-3)
    prepared = data.prepare(run.task, run.data, Source())
    monkeypatch.setattr("lra.training.loop.SNAPSHOT_SECONDS", 0.0)

    def crash() -> None:
        raise MemoryError

    with pytest.raises(MemoryError):
        train(run, prepared, place(tmp_path), Quiet({6: crash}))
    assert [row["step"] for row in rows(tmp_path)] == [2, 4, 6]  # the newest snapshot is of step 4
    record: Record = train(run, prepared, place(tmp_path, resume=True), Quiet())[0]
    assert without_rate(rows(tmp_path)) == [asdict(point) for point in record.curve]
    rates = [row["learning_rate"] for row in rows(tmp_path)]
    assert rates[1] == pytest.approx(1e-3)  # the warm-up's last step
    assert max(rates) == rates[1] > rates[0] > rates[3] > 0


def test_a_curve_that_cannot_be_written_leaves_the_former(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, path = smoke_run(), tmp_path / "metrics.csv"
    MetricsFile(path, run.train).starts(History(), {})
    before = path.read_bytes()
    monkeypatch.setattr(files.os, "fsync", lambda number: (_ for _ in ()).throw(OSError(errno.ENOSPC, "no space")))
    with pytest.raises(OSError, match="no space"):
        MetricsFile(path, run.train).starts(History(step=2, curve=[[2.0, 1.0, 0.5, 1.0, 0.5]]), {})
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["metrics.csv"]


def test_event_files_hold_the_same_curve(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("tensorboardX")
    events = tmp_path / "events"
    command = [*RUN, "--results", str(tmp_path), "--tensorboard", str(events)]
    for _ in range(2):  # the second time its own files are replaced
        assert main(command) == 0, capsys.readouterr().err
    (folder,) = events.iterdir()
    assert folder.name.startswith("listops-softmax-torch-smoke-s0-")
    (path,) = folder.iterdir()
    found = points(path)
    expected = {(TAGS[name], int(row["step"])): row[name] for row in rows(tmp_path) for name in TAGS}
    assert found == pytest.approx(expected, rel=1e-6)  # an event holds float32
    assert "metrics.csv" in capsys.readouterr().out


def points(path: Path) -> dict[tuple[str, int], float]:
    """What an event file says: {(tag, step): value}. A record is its length, a checksum, the event, a checksum."""
    from tensorboardX.proto import event_pb2

    protocol: Any = event_pb2  # its classes are made when it is imported
    content, found = path.read_bytes(), {}
    while content:
        size = int.from_bytes(content[:8], "little")
        event = protocol.Event.FromString(content[12 : 12 + size])
        found |= {(value.tag, event.step): value.simple_value for value in event.summary.value}
        content = content[16 + size :]
    return found


@pytest.mark.parametrize("lacking", ["room", "folder"])
def test_event_files_that_cannot_be_written_are_told_once(
    lacking: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tensorboardX")
    plan, history = smoke_run().train, History()
    full = Path("/dev/full")
    if lacking == "folder":
        (tmp_path / "taken").write_text("")
    elif full.exists():
        monkeypatch.setattr("tensorboardX.record_writer.open_file", lambda path: full.open("wb"))
    else:
        pytest.skip("no /dev/full here")
    board = TensorBoard(tmp_path / ("taken" if lacking == "folder" else "events"), plan)
    board.starts(history, {})
    for step in range(1, 40):  # more than any queue holds
        history.add_steps(1, 0.1, 2.0, 1, 2)
        history.add_evaluation(1.0, step / 40)
        board.evaluates(history)
    for _ in range(2):
        board.ends()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("event files cannot be written (")
    assert str(tmp_path) in line


def test_event_files_without_their_package_are_refused_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lra.training.callbacks.find_spec", lambda name: None)
    assert main([*RUN, "--results", str(tmp_path), "--tensorboard", str(tmp_path / "events")]) == 2
    assert "pip install -e '.[tensorboard]'" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
