"""Which bench records a board shows: of one device, at one length, the newest of each cell."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from board_records import made, write_timing

from lra.core.errors import UserError
from lra.leaderboard.page import about_speeds
from lra.scores import speeds
from lra.scores.board import boards
from lra.scores.tables import grid


def test_bench_records_of_one_device_and_length_fill_the_speeds(tmp_path: Path) -> None:
    write_timing(tmp_path, "softmax", 0.5)
    write_timing(tmp_path, "elfatt", 0.1)
    write_timing(tmp_path, "elfatt", 0.02, what="infer")
    write_timing(tmp_path, "softmax", 0.001, length=1024)
    write_timing(tmp_path, "softmax", 9.0, device="another")
    write_timing(tmp_path, "softmax", 0.001, dtype="bfloat16")
    write_timing(tmp_path, "softmax", 0.001, what="attend")
    write_timing(tmp_path, "softmax", 0.001, started="2025-01-01")
    write_timing(tmp_path, "linear", 0.001, status="out of memory", samples=[], calls=[])
    timed, complaints = speeds.read(tmp_path)
    assert complaints == []
    chosen = speeds.choose(timed)
    assert chosen is not None
    assert (chosen.device, chosen.length) == ("a GPU, float32, 2 heads of 32", 4096)
    records = [made("listops", name, 0.5) for name in ("elfatt", "softmax", "linear")]
    records.append(made("listops", "softmax", 0.5, options={"local_conv": True}))
    (board,) = boards(records, chosen)
    texts = {row[0].text: [cell.text for cell in row[-3:]] for row in grid(board).rows}
    assert texts["elfatt"] == ["80.0", "400.0", "500.0"]
    assert texts["softmax"] == ["16.0", "–", "500.0"]
    assert texts["linear"] == texts["softmax --attn.local-conv"] == ["–", "–", "–"]
    ratios = {row[0].text: [cell.text for cell in row[-3:]] for row in grid(board, relative_to="softmax").rows}
    assert ratios["elfatt"] == ["5.00×", "–", "1.00×"]


def test_a_device_can_be_asked_for_by_a_part_of_its_name(tmp_path: Path) -> None:
    write_timing(tmp_path, "softmax", 0.5)
    timed, _ = speeds.read(tmp_path)
    assert speeds.choose(timed, "gpu") is not None
    with pytest.raises(UserError, match="--device H200: no bench record of it: choose one of a GPU"):
        speeds.choose(timed, "H200")
    assert speeds.choose([]) is None


def test_the_device_with_most_cells_is_shown_and_the_others_are_named(tmp_path: Path) -> None:
    for _ in range(5):
        write_timing(tmp_path, "softmax", 0.5, device="old")  # one cell, however often it was timed
    write_timing(tmp_path, "softmax", 0.5, device="new", started="2025-01-01")
    write_timing(tmp_path, "softmax", 0.2, device="new", what="infer", started="2025-01-01")
    write_timing(tmp_path, "softmax", 0.1, device="new", backend="jax", started="2025-01-01")
    chosen = speeds.choose(speeds.read(tmp_path)[0])
    assert chosen is not None
    assert chosen.device.startswith("new")
    assert chosen.others == ("old, float32, 2 heads of 32",)
    assert {each.device for each in chosen.timings} == {chosen.device}
    about = about_speeds(chosen)
    assert "At 4,096 tokens the batch is 8." in about
    assert about.startswith("Device, the one with most bench records: new, float32")
    assert about.endswith("Other devices, by `--device`: old, float32, 2 heads of 32.")


def test_of_devices_with_as_many_cells_the_one_timed_last_is_shown(tmp_path: Path) -> None:
    write_timing(tmp_path, "softmax", 0.5, device="z", started="2025-01-01")
    write_timing(tmp_path, "softmax", 0.5, device="a", started="2025-06-01")
    timed, _ = speeds.read(tmp_path)
    for order in (timed, timed[::-1]):
        chosen = speeds.choose(order)
        assert chosen is not None
        assert chosen.device.startswith("a,")


def test_processors_with_other_cores_are_other_devices(tmp_path: Path) -> None:
    for cores, threads in ((2, None), (64, None), (2, "1")):
        path = write_timing(tmp_path, "softmax", 0.5, device="cpu")
        values = json.loads(path.read_text())
        values["environment"] |= {"cores": cores, "threads": threads}
        path.write_text(json.dumps(values))
    assert {each.device.split(")")[0] for each in speeds.read(tmp_path)[0]} == {
        "cpu (a CPU, 2 cores",
        "cpu (a CPU, 64 cores",
        "cpu (a CPU, 2 cores, OMP_NUM_THREADS=1",
    }
    values["environment"] |= {"usable_cores": 1}  # a process that is kept from the other one
    path.write_text(json.dumps(values))
    assert "cpu (a CPU, 1 cores, OMP_NUM_THREADS=1" in {each.device.split(")")[0] for each in speeds.read(tmp_path)[0]}
