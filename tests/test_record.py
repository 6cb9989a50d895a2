"""Records on disk: written as a whole or not at all, never lost, and refused where they are damaged or impossible."""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from bench_records import bench_record
from board_records import made, put, write_few
from pydantic import ValidationError

from lra.bench import record as bench
from lra.cli.main import main
from lra.core.config import resolve
from lra.core.environment import ROOT
from lra.core.errors import UserError
from lra.core.layout import layout
from lra.training import record, record_schema
from lra.training.history import Point

SCORES = {"train_loss": 1.0, "train_accuracy": 0.5, "validation_loss": 1.0, "validation_accuracy": 0.5}
START = f"import sys\nsys.path[:0] = [{str(ROOT)!r}, {str(ROOT / 'tests')!r}]\nfrom pathlib import Path\n"
AT_ONCE = (
    START
    + """
from board_records import made
from lra.training import record
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
from lra.training import record
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

    monkeypatch.setattr("lra.core.files.os.fsync", full)
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


@pytest.mark.parametrize("sign", ["a", "é", "字"])  # of one, two and three bytes
def test_a_folder_with_a_long_name_leaves_room_for_the_rest_of_the_records(sign: str, tmp_path: Path) -> None:
    folder = tmp_path / (sign * (255 // len(sign.encode())))
    whole = replace(made("listops", "elfatt", 0.5, run_id="0123456789ab"), attn=str(folder))
    path = record.save(whole, tmp_path)
    assert path.name.startswith(f"listops-{sign * 33}")
    assert path.name.endswith("-torch-quick-s0-01234567.json")
    assert record.load(path).attn == str(folder)
    assert record.save_once(whole, tmp_path) == path


IMPOSSIBLE: dict[str, Any] = {
    "test_accuracy": 1.5,
    "test_accuracy_last": -0.1,
    "validation_accuracy": 2.0,
    "test_examples": 0,
    "task_version": 0,
    "seed": -1,
    "parameters": -1,
    "seconds": -3.0,
    "evaluation_seconds": -0.1,
    "steps_per_second": -1.0,
    "samples_per_second": -1.0,
    "peak_memory_bytes": -1,
    "best_step": 0,
    "references": {"chance": 0.1, "rule": 1.01},
    "first_steps_after": -1.0,
    "revisions": {"task": 0},
    "devices": 0,
    "accumulate": 0,
    "usable_cores": 0,
    "usable_memory_bytes": 0,
    **{f"curve[1].{name}": 1.1 for name in ("train_accuracy", "validation_accuracy")},
    "curve[1].step": -1,
}


def with_value(values: dict[str, Any], name: str, value: Any) -> dict[str, Any]:
    """A record's fields with one of them, or one of a point of its curve, at another value."""
    if not name.startswith("curve["):
        return values | {name: value}
    points = [dict(point) for point in values["curve"]]
    points[1][name.partition(".")[2]] = value
    return values | {"curve": points}


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_what_is_out_of_range_is_refused_with_its_name(name: str, tmp_path: Path) -> None:
    value, shown = IMPOSSIBLE[name], name.replace("[", ".").replace("]", ".")
    path = put(with_value(asdict(made("listops", "elfatt", 0.5)), name, value), tmp_path / "a.json")
    with pytest.raises(UserError, match=rf"a\.json is not a valid record: {shown}.* expected"):
        record.load(path)
    with pytest.raises(ValidationError):
        layout(record.Record).validate_json(path.read_bytes())
    if "[" not in name:
        with pytest.raises(UserError, match=f"is not written.*{name}"):
            record.save(replace(made("listops", "elfatt", 0.5), **{name: value}), tmp_path)
    assert list(tmp_path.iterdir()) == [path]


def test_every_number_of_a_record_is_held_to_be_finite(tmp_path: Path) -> None:
    whole = asdict(record.sealed(made("listops", "elfatt", 0.5, first_steps_after=1.0)))
    real = [name for name, value in whole.items() if isinstance(value, float)]
    assert len(real) == 8
    for name in (*real, "curve[1].train_loss", "curve[1].validation_accuracy"):
        for value in (math.nan, math.inf, -math.inf):
            text = json.dumps(with_value(whole, name, value))
            (tmp_path / "a.json").write_text(text)
            with pytest.raises(UserError, match=r"no record: .*a\.json: a number is (NaN|-?Infinity), expected"):
                record.load(tmp_path / "a.json")
            with pytest.raises(ValidationError):
                layout(record.Record).validate_json(text)
    with pytest.raises(UserError, match=r"is not written, .*JSON"):
        record.save(made("listops", "elfatt", 0.5, first_losses=[math.nan]), tmp_path)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"best_step": 7}, "best_step is 7, expected a step of curve"),
        ({"curve": []}, r"curve is \[\], expected it to have at least 1 item"),
        ({"best_step": 2, "curve": [asdict(Point(step=s, **SCORES)) for s in (2, 1)]}, "curve has the steps"),
        ({"references": {}}, "references has no chance"),
        ({"config": {"data": {}}}, "it has no config.options"),
        ({"schema": 3}, "not a record: expected a JSON object with schema 1 to 2"),
        ({"accuracy": 0.5}, "accuracy"),
    ],
)
def test_what_does_not_fit_together_is_refused(changes: dict[str, Any], said: str, tmp_path: Path) -> None:
    path = put(asdict(made("listops", "elfatt", 0.5)) | changes, tmp_path / "a.json")
    with pytest.raises(UserError, match=said) as refused:
        record.load(path)
    assert "\n" not in str(refused.value)


def test_a_changed_value_is_damage(tmp_path: Path) -> None:
    path = record.save(made("listops", "elfatt", 0.5, switches={"x64": False}), tmp_path)
    values = json.loads(path.read_text())
    assert record.load(path).checksum == values["checksum"]
    for name, value in values.items():
        if name != "schema":
            other = value + 1 if type(value) is int else value / 2 if type(value) is float else "other"
            other = {**value, "x64": True} if isinstance(value, dict) and "chance" not in value else other
            path.write_text(json.dumps(values | {name: other}))
            with pytest.raises(UserError, match=r"is damaged|not a valid record"):
                record.load(path)
    path.write_text(json.dumps(dict(reversed(values.items()))))  # the same values
    record.load(path)


def test_the_schema_is_that_of_the_records() -> None:
    committed = ROOT / "results" / record_schema.FILE
    assert json.loads(committed.read_text()) == record_schema.json_schema(), "run_lra.py schema writes it"
    validate = layout(record.Record).validate_json
    for path in (ROOT / "results" / "runs").glob("*.json"):
        assert asdict(validate(path.read_bytes())) == asdict(record.load(path))


def test_the_command_writes_the_schema(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", "--results", str(tmp_path)]) == 0
    path = tmp_path / record_schema.FILE
    assert capsys.readouterr().out.strip() == str(path)
    assert json.loads(path.read_text()) == record_schema.json_schema()
    with pytest.raises(SystemExit, match="2"):
        main(["schema", "--now"])


def test_a_damaged_record_of_a_run_does_not_stand_in_for_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = made("listops", "elfatt", 0.5, run_id="0123456789ab")
    paths = [record.save(whole, tmp_path) for _ in range(2)]
    run = resolve("listops", "elfatt", backend="torch", preset="quick")
    assert record.find(tmp_path, run, whole.run_id) == paths[1]
    paths[1].write_text("{")
    assert record.find(tmp_path, run, whole.run_id) == paths[0]
    assert capsys.readouterr().err.startswith("left out: no record: ")
    paths[0].unlink()
    assert record.find(tmp_path, run, whole.run_id) is None


def test_of_two_that_write_at_the_same_moment_one_record_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = made("listops", "elfatt", 0.5, run_id="0123456789ab")
    save, others = record.save, []

    def late(each: record.Record, results: Path) -> Path:  # the other one finishes while this one writes
        others.append(save(each, results))
        return save(each, results)

    monkeypatch.setattr(record, "save", late)
    assert record.save_once(mine, tmp_path) == others[0]
    assert list((tmp_path / "runs").iterdir()) == others
    assert record.save_once(mine, tmp_path) == others[0]
    assert len(others) == 1
