"""Reads the IMDB reviews (Maas et al., ACL 2011) in any available form."""

from __future__ import annotations

import json
import re
import tarfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tasks.base import Archive, Source, TaskError
from tasks.files import DAMAGED, archives, compressed, hidden, is_tar, lines_of
from tasks.tfds_records import prepared_folder, read_records

ARCHIVE = Archive(
    url="http://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz",
    size=84_125_825,
    sha256="c40f74a18d3b61f90feba1e17730e0d38e8b97c05fde7008942e91923d1658fe",
    dataset="imdb_reviews",
)
LABELS = {"neg": 0, "pos": 1}
EACH = 12_500  # reviews of one label in one split
_MEMBER = re.compile(r"(?:^|/)(train|test)/(neg|pos)/[^./][^/]*\.txt$")
SPLITS = ("train", "test")
WANTED = "aclImdb, aclImdb_v1.tar.gz, {train,test}.jsonl.xz or tensorflow-datasets' imdb_reviews"


@dataclass(frozen=True, slots=True)
class Review:
    """One review: its official split, 0 for negative or 1 for positive, and its UTF-8 bytes."""

    split: str
    label: int
    text: bytes


def read(source: Source) -> list[Review]:
    """All 50,000 labelled reviews, in the order of their source, without the white space around them.

    tensorflow-datasets, and so the benchmark's own reader, strips this white space: a few bytes of 65 reviews.
    """
    origin, found = _find(source)
    source.tell(origin)
    try:
        reviews = list(found)
    except (*DAMAGED, ValueError) as error:
        raise TaskError(f"{origin} cannot be read ({error or type(error).__name__}): restore it") from error
    counts = Counter((one.split, one.label) for one in reviews)
    for split in SPLITS:
        for name, label in LABELS.items():
            if counts[split, label] != EACH:
                found_there = f"{counts[split, label]:,} {split}/{name} reviews"
                raise TaskError(f"{origin} holds {found_there}, expected {EACH:,}: restore it")
    return reviews


def _find(source: Source) -> tuple[str, Iterable[Review]]:
    """The source of the reviews, in words, and the reviews. Without any source, the archive is downloaded."""
    if source.raw is not None:
        for place in (source.raw, source.raw / "aclImdb", source.raw / "imdb" / "aclImdb"):
            if (place / "train" / "pos").is_dir():
                return str(place), _from_folder(place)
        if is_tar(source.raw):
            return str(source.raw), _from_archive(source.raw)
        for place in (source.raw, source.raw / "imdb"):
            for path in archives(place, "aclImdb_v1"):
                return str(path), _from_archive(path)
        for place in (source.raw, source.raw / "imdb"):
            if all(paths := [compressed(place, f"{split}.jsonl.xz") for split in SPLITS]):
                return f"{place}/{{train,test}}.jsonl.xz", _from_lines(filter(None, paths))
    source.require_folder(WANTED)
    prepared = prepared_folder("imdb_reviews/plain_text", source.raw)
    if prepared is not None:
        return str(prepared), _from_records(prepared)
    return ARCHIVE.url, _from_archive(source.fetched(ARCHIVE, WANTED))


def _review(split: str, label: object, text: bytes | None, where: str) -> Review:
    """One review, without the white space around it. TaskError names the place of a bad one."""
    if text is None or type(label) is not int or label not in LABELS.values():
        raise TaskError(f"{where}: expected a text and a label 0 or 1: restore it")
    try:
        return Review(split, label, text.decode().strip().encode())
    except UnicodeDecodeError as error:
        raise TaskError(f"{where}: byte {error.start:,} is not UTF-8: restore it") from None


def _from_folder(folder: Path) -> Iterator[Review]:
    for split in SPLITS:
        for name, label in LABELS.items():
            for path in sorted((folder / split / name).glob("*.txt")):
                if not hidden(path):
                    yield _review(split, label, _content(path), str(path))


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise TaskError(f"{path} cannot be read ({error.strerror}): restore it") from None


def _from_archive(path: Path) -> Iterator[Review]:
    with tarfile.open(path, "r|*") as archive:
        for member in archive:
            wanted = _MEMBER.search(member.name)
            content = archive.extractfile(member) if wanted else None
            if wanted and content:
                yield _review(wanted[1], LABELS[wanted[2]], content.read(), f"{path}/{member.name}")


def _from_lines(paths: Iterable[Path]) -> Iterator[Review]:
    for split, path in zip(SPLITS, paths, strict=True):
        with lines_of(path) as lines:
            for number, line in enumerate(lines, start=1):
                yield _review(split, *_row(line), f"{path}:{number}")


def _row(line: bytes) -> tuple[object, bytes | None]:
    """Label and text of a line of JSON; the text is missing for other lines."""
    try:
        row = json.loads(line)
        return row["label"], row["text"].encode()
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None, None


def _from_records(folder: Path) -> Iterator[Review]:
    for split in SPLITS:
        for number, record in enumerate(read_records(folder, split)):
            label, text = ([*record.get(name, []), None][0] for name in ("label", "text"))
            text = text if isinstance(text, bytes) else None
            yield _review(split, label, text, f"{folder}, {split} record {number}")
