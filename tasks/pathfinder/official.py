"""Reads the released Pathfinder: PNG files, and one metadata file for every thousand images.

The release has no split. The official builder splits the records 80 / 10 / 10 % in the order of tensorflow-datasets.
That order is by the MD5 of a salt and the record's key, and is computed here without the package.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np

from tasks.base import NOT_NUMPY, SPLITS, ExampleBlock, Source, TaskError
from tasks.png import read_png
from tasks.tfds_records import official_order

LEVELS = {"easy": "curv_baseline", "intermediate": "curv_contour_length_9", "hard": "curv_contour_length_14"}
ROOTS = ("", "lra_release/lra_release", "lra_release", "pathfinder")
BLOCK = 500
_NUMPY = b"\x93NUMPY"


@dataclass(frozen=True, kw_only=True)
class MetadataLine:
    """One line of a metadata file: the builder's key, the image's path inside the level's folder, and the label."""

    key: str
    image: str
    label: int


def read(source: Source, size: int, level: str, counts: Mapping[str, int]) -> Iterator[ExampleBlock]:
    """The first counts[split] records of each split in the official order."""
    folder = find(source.raw, size, level)
    source.tell(str(folder))
    records = read_records(folder)
    parts = dict(zip(SPLITS, cut(official_order(level, [record.key for record in records])), strict=True))
    for split, part in parts.items():
        if counts[split] > len(part):
            raise TaskError(f"{folder} has {len(part):,} {split} images, expected {counts[split]:,}: set {split} lower")
    for split, part in parts.items():
        for first in range(0, counts[split], BLOCK):
            chosen = [records[i] for i in part[first : min(first + BLOCK, counts[split])]]
            yield ExampleBlock(
                split=split,
                tokens=np.concatenate([_pixels(folder / record.image, size) for record in chosen]),
                lengths=np.full(len(chosen), size**2, np.int64),
                labels=np.array([record.label for record in chosen], np.uint8),
            )


def find(raw: Path | None, size: int, level: str) -> Path:
    """The level's folder: `raw`, or its subfolder in the release.

    The release has two copies of some sizes, in lra_release and in lra_release/lra_release. The outer copy of 128 is
    reported to be bad (google-research/long-range-arena issue 38), so the inner copy is used if it exists.
    """
    if raw is None:
        raise TaskError("the official files of Pathfinder need a folder: name it with --raw DIR")
    name = f"pathfinder{size}"
    below = (raw, raw / LEVELS[level], *(raw / root / name / LEVELS[level] for root in ROOTS))
    for place in below:
        for own in (place.absolute(), place.resolve()):  # a link may have the release's name, or lead to it
            if own.name == LEVELS[level] and own.parent.name == name and (own / "metadata").is_dir():
                inner = own.parents[1] / "lra_release" / name / LEVELS[level]
                return inner if (inner / "metadata").is_dir() else own
    raise TaskError(f"no {name}/{LEVELS[level]}/metadata in {raw} or below: point --raw at the unpacked release")


def read_records(folder: Path) -> list[MetadataLine]:
    """All records, in the order of files by number, except those with an empty image (the release has one)."""
    found = (path for path in (folder / "metadata").glob("*.npy") if re.fullmatch("[0-9]+", path.stem))
    files = sorted(found, key=lambda path: int(path.stem))
    records = [record for path in files for record in _read_file(path) if _is_there(folder / record.image)]
    if not records:
        raise TaskError(f"{folder / 'metadata'} names no image: expected files 0.npy, 1.npy, … of the release")
    return records


def cut(order: np.ndarray) -> list[np.ndarray]:
    """The first 80 %, the next 10 % and the rest, with boundaries at the closest whole record."""
    return np.split(order, [round(len(order) * 0.8), round(len(order) * 0.9)])


def _read_file(path: Path) -> Iterator[MetadataLine]:
    try:
        rows = _rows(path)
    except NOT_NUMPY as error:
        raise TaskError(f"{path} cannot be read ({error}): restore it from the release") from None
    for number, row in enumerate(rows, start=1):
        if len(row) < 4 or row[3] not in ("0", "1"):
            raise TaskError(f"{path}:{number}: expected folder, file, number and a label 0 or 1: restore the file")
        yield MetadataLine(key=f"{row[0]}_{row[1]}_{number}", image=f"{row[0]}/{row[1]}", label=int(row[3]))


def _rows(path: Path) -> list[list[str]]:
    """The release has text under the name of NumPy's format; the generator itself writes that format."""
    content = path.read_bytes()
    if content.startswith(_NUMPY):
        return [[str(field) for field in row] for row in np.load(BytesIO(content), allow_pickle=False)]
    return [line.split(" ") for line in content.decode().splitlines()]


def _is_there(image: Path) -> bool:
    try:
        return image.stat().st_size > 0
    except FileNotFoundError:
        raise TaskError(f"{image} is missing but named in the metadata: restore it from the release") from None
    except (OSError, ValueError) as error:  # ValueError: a name with a null character
        raise TaskError(f"{image} cannot be read ({error}): restore it from the release") from None


def _pixels(image: Path, size: int) -> np.ndarray:
    return read_png(image, str(image), (size, size)).reshape(-1)
