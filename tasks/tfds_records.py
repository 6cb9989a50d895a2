"""Reads data that tensorflow-datasets has prepared, without TensorFlow: folders, two record formats, and order."""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tasks.base import TaskError
from tasks.download import tfds_home
from tasks.files import hidden

_SHARD = re.compile(r"\.(tfrecord|array_record)-(\d{5})-of-(\d{5})$")
_VERSION = re.compile(r"\d+\.\d+\.\d+")


def official_order(salt: str, keys: Sequence[str]) -> np.ndarray:
    """Positions of the keys in the order of MD5(salt ‖ key) as a 128-bit number: how a split's records are stored.

    The salt is the split's name.
    """
    digests = [hashlib.md5(f"{salt}{key}".encode(), usedforsecurity=False).digest() for key in keys]
    return np.array(sorted(range(len(keys)), key=digests.__getitem__), np.int64)


def prepared_folder(name: str, raw: Path | None) -> Path | None:
    """The folder with the records of a data set ("cifar10", "imdb_reviews/plain_text"), its newest version, or None.

    It is looked for at `raw` and below, then where tensorflow-datasets itself keeps its data.
    """
    homes = [tfds_home()] if raw is None else [raw, raw / "tensorflow_datasets", tfds_home()]
    places = [home / name for home in homes]
    if raw is not None:
        places.insert(0, raw)
    dataset = name.partition("/")[0]
    for place in places:
        versions = [below for below in place.glob("*.*.*") if _VERSION.fullmatch(below.name)]
        versions.sort(key=lambda below: tuple(map(int, below.name.split("."))), reverse=True)
        for folder in (place, *versions):
            if any(_SHARD.search(path.name) for path in folder.glob(f"{dataset}-*")):
                return folder
    return None


def read_records(folder: Path, split: str) -> Iterator[dict[str, list]]:
    """Every example of a split in stored order, as feature name -> its values (bytes, int or float).

    The checksums of TFRecord files are not looked at. TaskError names a shard that is missing or damaged.
    """
    try:
        from google.protobuf.message import DecodeError
        from tensorflow_datasets.proto import tf_example_pb2
    except ImportError:
        raise TaskError(f"reading {folder} needs tensorflow-datasets: pip install '.[tfds]'") from None
    parse = tf_example_pb2.Example.FromString  # pyright: ignore[reportAttributeAccessIssue]
    for path in _shards(folder, split):
        for payload in _tf_records(path) if ".tfrecord-" in path.name else _array_records(path):
            try:
                features = parse(payload).features.feature
            except DecodeError as error:
                raise TaskError(f"{path} holds a record that is no example ({error}): prepare it again") from None
            yield {name: _values(feature) for name, feature in features.items()}


def _values(feature: Any) -> list:
    kind = feature.WhichOneof("kind")
    return list(getattr(feature, kind).value) if kind else []


def _shards(folder: Path, split: str) -> list[Path]:
    """The split's files in order, of the one format if both are there; copies and other files beside them are not."""
    for suffix in ("tfrecord", "array_record"):
        series: dict[tuple[int, str, str], dict[int, Path]] = {}
        for path in folder.glob(f"*-{split}.{suffix}-*"):
            if (found := _SHARD.search(path.name)) and not hidden(path):
                # The shortest name is the dataset's own: a copy's has more words.
                series.setdefault((found.start(), path.name[: found.start()], found[3]), {})[int(found[2])] = path
        if series:
            (*_, total), paths = min(series.items(), key=lambda each: each[0])
            if missing := {*range(int(total))} - {*paths}:
                raise TaskError(f"{folder} lacks shard {min(missing)} of {int(total)} of {split}: prepare it again")
            return [paths[number] for number in range(int(total))]
    raise TaskError(f"{folder} has no *-{split}.tfrecord-* nor *-{split}.array_record-*: prepare it again")


def _tf_records(path: Path) -> Iterator[bytes]:
    """Length (u64), its checksum (u32), payload, its checksum (u32), all little-endian, until the file ends."""
    left = path.stat().st_size
    with path.open("rb") as file:
        while head := file.read(12):
            length = struct.unpack("<Q", head[:8])[0] if len(head) == 12 else left
            left -= 16 + length
            if left < 0:
                raise TaskError(f"{path} ends inside a record: prepare it again")
            yield file.read(length)
            file.seek(4, 1)


def _array_records(path: Path) -> Iterator[bytes]:
    try:
        from array_record.python.array_record_module import ArrayRecordReader
    except ImportError:
        raise TaskError(f"reading {path} needs array_record: pip install '.[tfds]'") from None
    try:
        reader = ArrayRecordReader(str(path))
        for _ in range(reader.num_records()):
            yield reader.read()
        reader.close()
    except RuntimeError as error:
        raise TaskError(f"{path} cannot be read ({str(error).splitlines()[0]}): prepare it again") from None
