"""Prepared data: built once, whole or not at all, and never trusted blindly."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from lra.cli.main import main
from tasks import inspection, store
from tasks.base import Shape, Source, Split, TaskError
from tasks.listops import TASK as LISTOPS
from tasks.listops import ListOps
from tests.toy import TOY, ToyOptions


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LRA_HOME", str(tmp_path))


def test_prepare_is_idempotent_and_what_was_built_is_what_is_read() -> None:
    counted: list[int] = []
    first = store.prepare(TOY, ToyOptions(), Source(), counted.append)
    again = store.prepare(TOY, ToyOptions(), Source(), counted.append)
    assert sum(counted) == 20
    assert first.hash == again.hash
    assert [len(again.splits[split]) for split in ("train", "validation", "test")] == [12, 4, 4]
    train = again.splits["train"]
    assert train.extras["place"].shape == (12, 1)
    assert (train.document(3) == train.tokens[train.offsets[3] : train.offsets[4]]).all()
    assert store.verify(TOY, ToyOptions()) is not None


def test_other_options_are_other_data() -> None:
    one = store.prepare(TOY, ToyOptions(), Source())
    two = store.prepare(TOY, ToyOptions(seed=1), Source())
    assert one.folder != two.folder
    assert one.hash != two.hash


def test_nothing_half_built_remains_after_an_interruption(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        store.prepare(TOY, ToyOptions(fail_after=3), Source())
    assert [path for path in tmp_path.iterdir() if path.suffix != ".lock"] == []


def test_leftovers_of_a_killed_process_are_replaced() -> None:
    place = store.folder(TOY, ToyOptions())
    building = place.with_name(place.name + ".building")
    (building / "train").mkdir(parents=True)
    (building / "train" / "tokens.bin").write_bytes(b"rubbish")
    store.prepare(TOY, ToyOptions(), Source())
    assert store.verify(TOY, ToyOptions()) is not None
    assert not building.exists()


def test_a_wrong_build_is_refused(tmp_path: Path) -> None:
    short = replace(TOY, shape=lambda options: Shape(max_length=2))
    with pytest.raises(TaskError, match="expected 1 to 2"):
        store.prepare(short, ToyOptions(), Source())
    assert not store.folder(short, ToyOptions()).exists()


def test_too_small_a_disk_is_told_before_anything_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store.shutil, "disk_usage", lambda path: SimpleNamespace(free=10))
    with pytest.raises(TaskError, match="set LRA_HOME"):
        store.prepare(TOY, ToyOptions(), Source())


def test_options_that_do_not_go_together_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="widen the bounds"):
        store.prepare(LISTOPS, ListOps(min_length=8, max_length=9), Source())
    assert not store.folder(LISTOPS, ListOps(min_length=8, max_length=9)).exists()


def test_an_empty_split_is_refused() -> None:
    with pytest.raises(TaskError, match="expected at least one in every split"):
        store.prepare(TOY, ToyOptions(validation=0), Source())


def test_meta_says_what_the_data_is() -> None:
    ready = store.prepare(TOY, ToyOptions(), Source())
    meta = json.loads((ready.folder / "meta.json").read_text())
    assert meta["counts"] == {"train": 12, "validation": 4, "test": 4}
    assert meta["references"] == {"chance": 0.5}
    assert np.dtype(meta["dtype"]) == np.uint8


def test_opening_maps_the_files_and_the_index_is_small() -> None:
    options = ListOps(train=20_000, validation=100, test=100, min_length=8, max_length=64, max_depth=4)
    ready = store.prepare(LISTOPS, options, Source())
    assert isinstance(ready.splits["train"].tokens, np.memmap)
    assert isinstance(ready.splits["train"].labels, np.memmap)
    raw = sum(len(split.tokens) for split in ready.splits.values())
    on_disk = sum(path.stat().st_size for path in ready.folder.rglob("*") if path.is_file())
    assert on_disk < 1.1 * raw


def test_the_inventory_lists_what_is_prepared(tmp_path: Path) -> None:
    assert store.inventory() == ([], [])
    ready = store.prepare(TOY, ToyOptions(), Source())
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "meta.json").write_text("{")
    shutil.copytree(ready.folder, f"{ready.folder}.building")
    found, faults = store.inventory()
    assert [(folder, meta["hash"]) for folder, meta in found] == [(ready.folder, ready.hash)]
    assert [fault.split(" (")[0] for fault in faults] == [f"{tmp_path / 'broken' / 'meta.json'} is damaged"]


def nested(levels: int) -> str:
    return "[" * levels + "]" * levels


def test_one_odd_folder_does_not_end_the_list(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = store.prepare(TOY, ToyOptions(), Source())
    meta = json.loads((whole.folder / "meta.json").read_text())
    plain = {key: value for key, value in meta.items() if key not in ("files", "checksum")}
    odd = [
        *(json.dumps(plain | {key: value}) for key in plain for value in (None, [], 1, True, "\ud800", {"x": None})),
        *(json.dumps(plain | {"more": float("nan")}), json.dumps(meta | {"files": [1]}), json.dumps(plain)[:-20]),
        *(json.dumps(plain)[:-1] + f', "more": {nested(levels)}}}' for levels in (900, 100_000)),
    ]
    named = {"task": "[/red]x", "description": "[bold]\n\x1b[2J", "origin": "[/]"}
    for number, text in enumerate([*odd, json.dumps(plain | named)]):
        (tmp_path / f"[{number}]").mkdir()
        (tmp_path / f"[{number}]" / "meta.json").write_text(text)
    (tmp_path / "pipe").mkdir()
    os.mkfifo(tmp_path / "pipe" / "meta.json")
    (whole.folder / "loop").symlink_to("loop")
    assert main(["data", "list"]) == 0
    told = capsys.readouterr().out
    found, faults = store.inventory()
    assert len(found) + len(faults) == len(odd) + 3
    assert len(faults) > len(odd) / 2
    assert told.startswith(f"{len(found)} prepared in ")
    assert told.count(" is damaged (") == len(faults)
    assert "[/red]x version" in told
    assert "\x1b" not in told
    assert "pipe/meta.json is damaged (it is not a file)" in told


def test_the_summary_counts_repeats_and_shared_examples() -> None:
    def split(*documents: bytes) -> Split:
        tokens = np.frombuffer(b"".join(documents), np.uint8)
        lengths = [len(document) for document in documents]
        rows = np.arange(len(documents))[:, None]
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        return Split(tokens=tokens, offsets=offsets, examples=rows, labels=np.zeros(len(documents), np.uint8))

    splits = {"train": split(b"aa", b"b", b"aa"), "validation": split(b"b"), "test": split(b"ab", b"c")}
    lines = inspection.summary(TOY, splits)
    assert lines[0] == "train: 3 examples, 1 repeated, labels 3/0, lengths 1 to 2, median 2"
    assert lines[3:] == [
        "in train and validation: 1 examples",
        "in train and test: 0 examples",
        "in validation and test: 0 examples",
    ]
