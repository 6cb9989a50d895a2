"""Prepared data that was damaged is refused in one line, whatever is damaged and whenever."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest

from lra.cli.main import main
from tasks import store
from tasks.base import SPLITS, Source, TaskError
from tasks.store import integrity
from tests.toy import PAIRS, ToyOptions

OPTIONS = ToyOptions(train=4, validation=4, test=4)
FILES = ("tokens.bin", "lengths.npy", "labels.npy", "examples.npy", "extras/place.npy")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Prepared data, opened and so remembered; its blocks are small, so that most files have several."""
    monkeypatch.setenv("LRA_HOME", str(tmp_path))
    monkeypatch.setattr(integrity, "BLOCK", 64)
    return store.prepare(PAIRS, OPTIONS, Source()).folder


def told() -> list[str]:
    lines: list[str] = []
    assert store.load(PAIRS, OPTIONS, lines.append) is not None
    return lines


def refused(load: Callable[..., object] = store.load) -> str:
    with pytest.raises(TaskError, match="delete the folder") as caught:
        load(PAIRS, OPTIONS)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def flip(path: Path, bit: int) -> None:
    content = bytearray(path.read_bytes())
    content[bit // 8 % len(content)] ^= 1 << bit % 8
    path.write_bytes(content)


def without_checksums(folder: Path, **changed: object) -> None:
    """What meta.json was before there were checksums, with some values changed."""
    meta = {**json.loads((folder / "meta.json").read_text()), **changed}
    (folder / "meta.json").write_text(json.dumps({key: meta[key] for key in meta if key not in ("files", "checksum")}))


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("split", SPLITS)
def test_a_flipped_bit_is_refused_and_its_file_and_block_named(folder: Path, split: str, file: str) -> None:
    path = folder / split / file
    for bit in range(0, 8 * path.stat().st_size, 211):
        flip(path, bit)
        assert f"{path} is damaged (block {bit // 8 // 64}, bytes {bit // 512 * 64}" in refused()
        flip(path, bit)
    assert store.load(PAIRS, OPTIONS) is not None


def test_a_flipped_bit_of_meta_json_is_refused_or_changes_nothing(folder: Path) -> None:
    path = folder / "meta.json"
    known = {key: value for key, value in json.loads(path.read_text()).items() if key != "checksum"}
    for bit in range(0, 8 * path.stat().st_size, 97):
        flip(path, bit)
        try:
            found = store.load(PAIRS, OPTIONS)
        except TaskError:
            flip(path, bit)
            continue
        assert found is not None
        assert {key: value for key, value in found.meta.items() if key != "checksum"} == known
        flip(path, bit)


@pytest.mark.parametrize("sealed", [True, False])
def test_a_changed_value_of_meta_json_is_refused(folder: Path, sealed: bool) -> None:
    if not sealed:
        without_checksums(folder)
    meta = json.loads((folder / "meta.json").read_text())
    for key in set(meta) - ({"checksum"} if sealed else {"description", "origin", "seconds", "references", "hash"}):
        for value in (None, -1, 10**30, "x", [], {}):
            (folder / "meta.json").write_text(json.dumps({**meta, key: value}))
            refused()


def replaced_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def replaced_by_loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def swapped(path: Path) -> None:
    other = Path(str(path).replace("/train/", "/test/"))
    mine, others = path.read_bytes(), other.read_bytes()
    path.write_bytes(others)
    other.write_bytes(mine)


SPOILS: dict[str, Callable[[Path], object]] = {
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "empty": lambda path: path.write_bytes(b""),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "gone": Path.unlink,
    "folder": replaced_by_folder,
    "loop": replaced_by_loop,
    "swapped": swapped,
}


@pytest.mark.parametrize("kind", SPOILS)
@pytest.mark.parametrize("file", FILES)
def test_a_spoilt_file_is_refused_and_without_checksums_when_it_is_verified(folder: Path, file: str, kind: str) -> None:
    SPOILS[kind](folder / "train" / file)
    refused()
    without_checksums(folder)
    refused(store.verify)


@pytest.mark.parametrize("file", FILES[1:])
def test_a_damaged_header_is_no_traceback_where_there_are_no_checksums(folder: Path, file: str) -> None:
    without_checksums(folder)
    path = folder / "train" / file
    for bit in range(0, 8 * 80, 11):
        flip(path, bit)
        with suppress(TaskError):
            store.verify(PAIRS, OPTIONS)
            without_checksums(folder)
        flip(path, bit)


@pytest.mark.parametrize("kind", [kind for kind in SPOILS if kind != "swapped"])
def test_a_spoilt_meta_json_is_refused(folder: Path, kind: str) -> None:
    SPOILS[kind](folder / "meta.json")
    assert "meta.json is damaged" in refused()


def test_a_file_that_is_too_long_is_refused(folder: Path) -> None:
    path = folder / "train/labels.npy"
    path.write_bytes(path.read_bytes() + b"x")
    assert "bytes, expected" in refused()


def test_a_folder_that_is_none_or_lacks_everything_is_refused(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()
    assert "meta.json is damaged" in refused()
    folder.rmdir()
    folder.write_bytes(b"")
    refused()
    folder.unlink()
    folder.symlink_to(folder.name)
    refused()


def test_a_file_that_nobody_recorded_is_refused(folder: Path) -> None:
    np.save(folder / "train/extras/more.npy", np.zeros(4))
    assert "more.npy is damaged (meta.json does not name it)" in refused()


def test_all_is_compared_once_and_again_where_a_file_is_another(folder: Path) -> None:
    assert told() == []
    os.utime(folder / "train/labels.npy", ns=(0, 0))
    size = sum(path.stat().st_size for split in SPLITS for path in (folder / split).rglob("*.*"))
    assert [line.split(" in ")[0] for line in told()] == [f"checked {size / 1000:.1f} kB"]
    assert told() == []
    folder.with_name(folder.name + ".checked").write_text("rubbish")
    assert len(told()) == 1


@pytest.mark.parametrize("failing", [(), ("write_text", "unlink")], ids=["taken", "read-only"])
def test_a_home_that_cannot_be_written_is_compared_at_every_start(
    failing: tuple[str, ...], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memo = folder.with_name(folder.name + ".checked")
    memo.unlink()
    memo.mkdir()
    for name in failing:
        monkeypatch.setattr(Path, name, Mock(side_effect=OSError(errno.EROFS, os.strerror(errno.EROFS))))
    assert len(told()) == len(told()) == 1


def test_what_a_memo_cannot_see_is_found_by_the_samples(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "train/tokens.bin").write_bytes(bytes(12))
    memo = folder.with_name(folder.name + ".checked")
    known = json.loads(memo.read_text())
    found = (folder / "train/tokens.bin").stat()
    mark = [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino]
    memo.write_text(json.dumps({**known, "files": {**known["files"], "train/tokens.bin": mark}}))
    assert "train/tokens.bin is damaged (block 0, bytes 0 to 11)" in refused()
    monkeypatch.setattr(integrity, "BUDGET", -1.0)
    (line,) = told()
    assert "(drawn at random) of" in line
    assert "train/tokens.bin is damaged" in refused(store.verify)


def test_the_samples_differ_from_start_to_start() -> None:
    blocks = [integrity._Block("train/tokens.bin", number, "") for number in range(50)]
    one, two = (list(integrity._sample(blocks, float("inf"))) for _ in range(2))
    assert one != two
    assert sorted(one, key=lambda block: block.number) == blocks


def test_a_folder_from_before_checksums_is_read_and_gets_them_when_it_is_verified(folder: Path) -> None:
    without_checksums(folder, references={"chance": 0.4})
    assert ["has no checksums" in line for line in told()] == [True]
    lines: list[str] = []
    ready = store.verify(PAIRS, OPTIONS, lines.append)
    assert ready is not None
    assert ready.meta["references"] == {"chance": 0.5}
    assert "its content hash is correct" in lines[0]
    assert told() == []
    flip(folder / "train/tokens.bin", 3)
    refused()


@pytest.mark.parametrize("change", [lambda folder: flip(folder / "train/labels.npy", 8 * 128), None])
def test_a_folder_from_before_checksums_gets_none_where_its_hash_is_another(
    folder: Path, change: Callable[[Path], None] | None
) -> None:
    without_checksums(folder, **({} if change else {"hash": "0" * 64}))
    if change:
        change(folder)
    assert "content hash is" in refused(store.verify)
    assert "files" not in json.loads((folder / "meta.json").read_text())


@pytest.mark.parametrize(
    ("file", "array", "message"),
    [
        ("labels.npy", np.full(4, 2, np.uint8), "label 2, expected below 2"),
        ("labels.npy", np.zeros(4), "labels are float64"),
        ("lengths.npy", np.array([0, 7, 5], np.uint8), "lengths 0 to 7"),
        ("lengths.npy", np.array([3, 4, 4], np.uint8), "12 tokens, expected 11"),
        ("examples.npy", np.full((4, 2), 3, np.uint8), "name document 3 of 3"),
        ("examples.npy", np.zeros((4, 1), np.uint8), "1 documents an example, expected 2"),
        ("extras/place.npy", np.zeros((3, 1)), r"place are float64 \(3, 1\), expected numbers for each of 4 labels"),
        ("extras/place.npy", np.zeros((4, 1), "M8[s]"), "place are datetime64"),
        ("tokens.bin", np.full(12, 10, np.uint8), "token 10, expected below 10"),
    ],
)
def test_what_cannot_be_is_refused_without_checksums_too(
    folder: Path, file: str, array: np.ndarray, message: str
) -> None:
    without_checksums(folder)
    path = folder / "train" / file
    path.write_bytes(array.tobytes()) if path.suffix == ".bin" else np.save(path, array)
    with pytest.raises(TaskError, match=message):
        store.load(PAIRS, OPTIONS)


def test_all_is_on_the_disk_before_the_folder_gets_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[Path] = []
    sync, rename = os.fsync, Path.rename

    def noted_sync(descriptor: int) -> None:
        done.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")))
        sync(descriptor)

    def noted_rename(path: Path, target: Path) -> Path:
        done.append(target)
        return rename(path, target)

    monkeypatch.setattr(integrity.os, "fsync", noted_sync)
    monkeypatch.setattr(Path, "rename", noted_rename)
    place = store.prepare(PAIRS, replace(OPTIONS, seed=1), Source()).folder
    building = place.with_name(place.name + ".building")
    before, after = done[: done.index(place)], done[done.index(place) + 1 :]
    written = [building / path.relative_to(place) for path in (place, *place.rglob("*"))]
    assert set(written) <= set(before)
    assert after == [tmp_path]


def test_the_command_says_it_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--task", "listops", "--preset", "smoke"]
    assert main(["data", "prepare", *words]) == 0
    (place,) = (path for path in tmp_path.glob("listops-*") if path.is_dir())
    flip(place / "test/labels.npy", 8 * 130)
    capsys.readouterr()
    for command in (["data", "verify"], ["data", "prepare"], ["data", "show"], ["--attn", "softmax"]):
        assert main([*command, *words]) == 2
        lines = capsys.readouterr().err.splitlines()
        assert [line for line in lines if "test/labels.npy is damaged (block" in line] == lines
        assert len(lines) == 1
