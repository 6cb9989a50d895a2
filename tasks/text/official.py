"""Reads the IMDB reviews (Maas et al., ACL 2011) in whichever form they are at hand."""

from __future__ import annotations

import json
import lzma
import re
import tarfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tasks.base import Archive, Source, TaskError
from tasks.tfds_records import prepared_folder, read_records

ARCHIVE = Archive(
    url="http://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz",
    size=84_125_825,
    sha256="c40f74a18d3b61f90feba1e17730e0d38e8b97c05fde7008942e91923d1658fe",
    dataset="imdb_reviews",
)
LABELS = {"neg": 0, "pos": 1}
EACH = 12_500  # reviews of one label in one split
_MEMBER = re.compile(r"(?:^|/)(train|test)/(neg|pos)/[^/]+\.txt$")


@dataclass(frozen=True, slots=True)
class Review:
    """One review: its official split, 0 for negative or 1 for positive, and its UTF-8 bytes."""

    split: str
    label: int
    text: bytes


def read(source: Source) -> list[Review]:
    """All 50,000 labelled reviews, in the order of their source, without the white space around them.

    The white space goes because tensorflow-datasets strips it, and with it the benchmark's own reader; it is a few
    bytes of 65 reviews.
    """
    origin, found = _find(source)
    source.tell(origin)
    try:
        reviews = [Review(one.split, one.label, one.text.decode().strip().encode()) for one in found]
    except (OSError, EOFError, ValueError, KeyError, lzma.LZMAError, tarfile.TarError, zlib.error) as error:
        raise TaskError(f"{origin} cannot be read ({error or type(error).__name__}): restore it") from error
    counts = Counter((one.split, one.label) for one in reviews)
    for split in ("train", "test"):
        for name, label in LABELS.items():
            if counts[split, label] != EACH:
                found_there = f"{counts[split, label]:,} {split}/{name} reviews"
                raise TaskError(f"{origin} holds {found_there}, expected {EACH:,}: restore it")
    return reviews


def _find(source: Source) -> tuple[str, Iterable[Review]]:
    """What the reviews are read from, in words, and the reviews; an archive is fetched where nothing is here."""
    if source.raw is not None:
        for place in (source.raw, source.raw / "aclImdb", source.raw / "imdb" / "aclImdb"):
            if (place / "train" / "pos").is_dir():
                return str(place), _from_folder(place)
        for place in (source.raw, source.raw / "aclImdb_v1.tar.gz", source.raw / "imdb" / "aclImdb_v1.tar.gz"):
            if place.is_file() and place.name.endswith((".tar.gz", ".tgz")):
                return str(place), _from_archive(place)
        for place in (source.raw, source.raw / "imdb"):
            if (place / "train.jsonl.xz").is_file():
                return f"{place}/{{train,test}}.jsonl.xz", _from_lines(place)
    prepared = prepared_folder("imdb_reviews/plain_text", source.raw)
    if prepared is not None:
        return str(prepared), _from_records(prepared)
    return ARCHIVE.url, _from_archive(source.fetch(ARCHIVE))


def _from_folder(folder: Path) -> Iterator[Review]:
    for split in ("train", "test"):
        for name, label in LABELS.items():
            for path in sorted((folder / split / name).glob("*.txt")):
                yield Review(split, label, path.read_bytes())


def _from_archive(path: Path) -> Iterator[Review]:
    with tarfile.open(path, "r|gz") as archive:
        for member in archive:
            wanted = _MEMBER.search(member.name)
            content = archive.extractfile(member) if wanted else None
            if wanted and content:
                yield Review(wanted[1], LABELS[wanted[2]], content.read())


def _from_lines(folder: Path) -> Iterator[Review]:
    for split in ("train", "test"):
        with lzma.open(folder / f"{split}.jsonl.xz") as lines:
            for line in lines:
                row = json.loads(line)
                yield Review(split, row["label"], row["text"].encode())


def _from_records(folder: Path) -> Iterator[Review]:
    for split in ("train", "test"):
        for record in read_records(folder, split):
            yield Review(split, record["label"][0], record["text"][0])
