"""Reads CIFAR-10 kept as PNG: strips of a thousand images, or the records that tensorflow-datasets has prepared."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from tasks.base import NOT_NUMPY, TaskError
from tasks.image.forms import SIDE, ColourImages, Form
from tasks.png import read_png
from tasks.tfds_records import prepared_folder, read_records

BLOCK = 1000


def find_strips(raw: Path, batch: int) -> Form | None:
    """rgb_png/ and labels.npz at `raw` or in its cifar10/.

    A strip holds a tenth of a batch, one image below the other. Some of the images that this form is known in were
    decoded from JPEG; labels.npz says which, and the origin says how many.
    """
    for folder in (raw, raw / "cifar10"):
        if (folder / "rgb_png").is_dir():
            labels = _read_labels(folder / "labels.npz", {"train": 5 * batch, "test": batch})
            lossy = " and ".join(f"{len(labels[f'lossy_{split}']):,} {split}" for split in ("train", "test"))
            origin = f"{folder / 'rgb_png'} ({lossy} images are JPEG decodes, the others exact)"
            return Form(origin=origin, images=_strips(folder / "rgb_png", labels, batch // 10))
    return None


def _read_labels(path: Path, sizes: dict[str, int]) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as found:
            labels = {split: found[f"{split}_y"] for split in sizes}
            labels |= {f"lossy_{split}": found[f"lossy_{split}"] for split in sizes}
    except (*NOT_NUMPY, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise TaskError(f"{path} cannot be read ({error}): restore it") from None
    for split, size in sizes.items():
        if labels[split].shape != (size,):
            raise TaskError(f"{path} has {split}_y of shape {labels[split].shape}, expected ({size:,},): restore it")
        if labels[split].dtype.kind not in "iu":
            raise TaskError(f"{path} has {split}_y of type {labels[split].dtype}, expected integers: restore it")
    return labels


def _strips(folder: Path, labels: dict[str, np.ndarray], length: int) -> Iterator[ColourImages]:
    for split in ("train", "test"):
        for first in range(0, len(labels[split]), length):
            path = folder / f"{split}_{first // length:02}.png"
            numbers = np.arange(first, first + length)
            yield ColourImages(
                file=str(path),
                split=split,
                numbers=numbers,
                pixels=_pixels(path, str(path), length),
                labels=labels[split][numbers],
            )


def find_records(raw: Path | None) -> Form | None:
    """The data set cifar10 as tensorflow-datasets stores it, at `raw` or in its own folder."""
    folder = prepared_folder("cifar10", raw)
    return folder and Form(origin=str(folder), images=_records(folder))


def _records(folder: Path) -> Iterator[ColourImages]:
    for split in ("train", "test"):
        records = read_records(folder, split)
        file = f"{folder} ({split})"
        while rows := [_row(record, file) for record in islice(records, BLOCK)]:
            numbers, pixels, labels = zip(*rows, strict=True)
            yield ColourImages(
                file=file,
                split=split,
                numbers=np.array(numbers, np.int64),
                pixels=np.concatenate(pixels),
                labels=np.array(labels, np.int64),
            )


def _row(record: dict[str, list], file: str) -> tuple[int, np.ndarray, int]:
    """Number, image and label of a record, whose id is "train_16399"."""
    try:
        (name,), (png,), (label,) = record["id"], record["image"], record["label"]
        number = int(name.decode().rpartition("_")[2])
        _require_types(number, png, label)
    except (KeyError, ValueError, AttributeError) as error:
        raise TaskError(f"{file} has a record without an id, image or label ({error}): prepare it again") from None
    return number, _pixels(png, f"{file} {name.decode()}", 1), label


def _require_types(number: int, png: object, label: object) -> None:
    """Raise ValueError unless the values of a record are two whole numbers and a file's content."""
    if not isinstance(png, bytes):
        raise ValueError(f"the image is {png!r:.60}, expected a file's content")
    if not isinstance(label, int):
        raise ValueError(f"the label is {label!r:.60}, expected a whole number")
    if abs(number) > np.iinfo(np.int64).max:
        raise ValueError("the id has too many digits")


def _pixels(file: Path | bytes, name: str, count: int) -> np.ndarray:
    """(count, 32, 32, 3) of one PNG."""
    return read_png(file, name, (count * SIDE, SIDE, 3)).reshape(-1, SIDE, SIDE, 3)
