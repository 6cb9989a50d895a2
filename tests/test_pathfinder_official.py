"""Pathfinder read from the released layout: folders, metadata, the official split."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tasks import load
from tasks.base import Source, TaskError
from tasks.pathfinder import Pathfinder
from tasks.pathfinder.official import cut, find, read_records
from tasks.tfds_records import official_order

TASK = load("pathfinder")
LEVEL = "curv_contour_length_14"
OPTIONS = Pathfinder(source="official", train=16, validation=2, test=2)


def write_release(folder: Path, numpy_format: bool = False, shade: int = 0) -> Path:
    """Two metadata files of ten records; image i of file k is filled with 20 k + i + shade, its label is i mod 2."""
    for k in range(2):
        (folder / "imgs" / str(k)).mkdir(parents=True)
        rows = []
        for i in range(10):
            pixels = np.full((32, 32), 20 * k + i + shade, np.uint8)
            Image.fromarray(pixels).save(folder / "imgs" / str(k) / f"sample_{i}.png")
            fields = [f"imgs/{k}", f"sample_{i}.png", i, i % 2, 1.0, 14, 4, 2, 0.5, 1, 1]
            rows.append([str(field) for field in fields])
        (folder / "metadata").mkdir(exist_ok=True)
        path = folder / "metadata" / f"{k}.npy"
        if numpy_format:
            np.save(path, np.array(rows))
        else:
            path.write_text("".join(" ".join(row) + "\n" for row in rows))
    return folder


def values(options: Pathfinder, raw: Path) -> dict[str, list[tuple[int, int]]]:
    """(gray value, label) of every image read, by split."""
    found: dict[str, list[tuple[int, int]]] = {}
    for block in TASK.build(options, Source(raw=raw)):
        grays = block.tokens.reshape(-1, 1024)
        assert (grays == grays[:, :1]).all()
        assert block.lengths.tolist() == [1024] * len(block.labels)
        found.setdefault(block.split, []).extend(zip(grays[:, 0].tolist(), block.labels.tolist(), strict=True))
    return found


def test_the_official_split_has_its_check_values() -> None:
    records = [(k, i) for k in range(200) for i in range(1000)]
    keys = [f"imgs/{k}_sample_{i}.png_{i + 1}" for k, i in records]
    order = official_order("hard", keys)
    assert [records[i] for i in order[:5]] == [(43, 833), (97, 379), (150, 126), (40, 782), (196, 594)]
    assert records[order[-1]] == (78, 58)
    parts = cut(order)
    assert [len(part) for part in parts] == [160_000, 20_000, 20_000]
    assert [records[part[0]] for part in parts[1:]] == [(166, 333), (154, 185)]
    digests = [
        hashlib.sha256(np.array(sorted(records[i] for i in part), "<u4").tobytes()).hexdigest() for part in parts
    ]
    assert digests == [
        "9c6aed9529b53311f716a140d875a2ef27b8da848f5f80e0468bf7b8c8e1f256",
        "9dee120d08733daeeba98d7799aaf25e34e14cc2a66c12b6a0b96098239101ee",
        "7e84257ea34971cd254a37cb720c9ada8071c3f73f6f6795e9fef5dd4a8b1486",
    ]


@pytest.mark.parametrize("numpy_format", [False, True], ids=["text", "numpy"])
def test_every_image_arrives_with_its_label_in_the_official_order(tmp_path: Path, numpy_format: bool) -> None:
    write_release(tmp_path / "pathfinder32" / LEVEL, numpy_format)
    found = values(OPTIONS, tmp_path)
    assert {split: len(rows) for split, rows in found.items()} == {"train": 16, "validation": 2, "test": 2}
    keys = [f"imgs/{k}_sample_{i}.png_{i + 1}" for k in range(2) for i in range(10)]
    by_digest = sorted(range(20), key=lambda n: int.from_bytes(hashlib.md5(b"hard" + keys[n].encode()).digest(), "big"))
    expected = [(20 * (n // 10) + n % 10, n % 2) for n in by_digest]
    assert found["train"] + found["validation"] + found["test"] == expected


@pytest.mark.parametrize("start", ["", "a", "a/pathfinder32", f"a/pathfinder32/{LEVEL}"])
def test_the_folder_is_found_from_everywhere(tmp_path: Path, start: str) -> None:
    below = "a/pathfinder32" if start else "lra_release/lra_release/pathfinder32"
    folder = write_release(tmp_path / below / LEVEL)
    assert find(tmp_path / start, 32, "hard") == folder.resolve()


@pytest.mark.parametrize("start", ["", "lra_release", "lra_release/pathfinder32", f"lra_release/pathfinder32/{LEVEL}"])
def test_the_inner_copy_is_preferred(tmp_path: Path, start: str) -> None:
    write_release(tmp_path / "lra_release/pathfinder32" / LEVEL, shade=100)
    inner = write_release(tmp_path / "lra_release/lra_release/pathfinder32" / LEVEL)
    assert find(tmp_path / start, 32, "hard") == inner.resolve()


def test_a_folder_of_another_level_is_not_taken(tmp_path: Path) -> None:
    write_release(tmp_path / "pathfinder32" / LEVEL)
    with pytest.raises(TaskError, match="curv_baseline"):
        find(tmp_path / "pathfinder32" / LEVEL, 32, "easy")
    with pytest.raises(TaskError, match="pathfinder64"):
        find(tmp_path, 64, "hard")


def test_an_empty_file_is_skipped_but_counted(tmp_path: Path) -> None:
    folder = write_release(tmp_path / "pathfinder32" / LEVEL)
    (folder / "imgs/0/sample_3.png").write_bytes(b"")
    records = read_records(folder)
    assert len(records) == 19
    assert records[3].key == "imgs/0_sample_4.png_5"


def missing(folder: Path) -> None:
    (folder / "imgs/1/sample_2.png").unlink()


def damaged(folder: Path) -> None:
    (folder / "imgs/1/sample_2.png").write_bytes(b"no image")


def too_small(folder: Path) -> None:
    Image.new("L", (16, 16)).save(folder / "imgs/1/sample_2.png")


def loops(folder: Path) -> None:
    missing(folder)
    (folder / "imgs/1/sample_2.png").symlink_to("sample_2.png")


def palette(folder: Path) -> None:
    image = Image.new("P", (32, 32))
    image.putpalette([200, 0, 0])
    image.save(folder / "imgs/1/sample_2.png")


def bad_label(folder: Path) -> None:
    (folder / "metadata/1.npy").write_text("imgs/1 sample_0.png 0 2 1.0\n")


def no_metadata(folder: Path) -> None:
    for path in (folder / "metadata").iterdir():
        path.unlink()


def no_text(folder: Path) -> None:
    (folder / "metadata/1.npy").write_bytes(b"\xff\xfe")


def no_table(folder: Path) -> None:
    np.save(folder / "metadata/1.npy", np.arange(3))


def cut_table(folder: Path) -> None:
    np.save(folder / "metadata/1.npy", np.array([["imgs/1", "sample_0.png", "0", "1"]]))
    content = (folder / "metadata/1.npy").read_bytes()
    (folder / "metadata/1.npy").write_bytes(content[:-9])


def folder_for_metadata(folder: Path) -> None:
    (folder / "metadata/1.npy").unlink()
    (folder / "metadata/1.npy").mkdir()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (missing, "sample_2.png is missing"),
        (damaged, "sample_2.png is not a PNG file"),
        (loops, "sample_2.png cannot be read"),
        (too_small, "sample_2.png is 16×16 8-bit gray, expected a PNG of 32×32 8-bit gray"),
        (palette, "sample_2.png has colours"),
        (bad_label, r"1.npy:1: expected"),
        (no_metadata, "names no image"),
        (no_text, "1.npy cannot be read"),
        (no_table, "1.npy cannot be read"),
        (cut_table, "1.npy cannot be read"),
        (folder_for_metadata, "1.npy cannot be read"),
    ],
)
def test_bad_files_are_named(tmp_path: Path, spoil: Callable[[Path], None], message: str) -> None:
    spoil(write_release(tmp_path / "pathfinder32" / LEVEL))
    with pytest.raises(TaskError, match=message) as caught:
        values(OPTIONS, tmp_path)
    assert "\n" not in str(caught.value)


def test_too_many_images_are_refused(tmp_path: Path) -> None:
    write_release(tmp_path / "pathfinder32" / LEVEL)
    with pytest.raises(TaskError, match="has 2 test images, expected 3"):
        values(Pathfinder(source="official", train=16, validation=2, test=3), tmp_path)


def test_official_files_need_a_folder() -> None:
    with pytest.raises(TaskError, match="--raw"):
        list(TASK.build(OPTIONS, Source()))
