"""Reads the released Retrieval: new_aan_pairs.{train,eval,test}.tsv, a pair of papers per line, without a header.

The columns are label (0.0 or 1.0), two ids and two texts. The texts have the escaped form of a Python bytes literal,
b'...'. Every suite feeds that form to its models, so it is kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np

from tasks.base import ExampleBlock, Source, TaskError
from tasks.retrieval.documents import block
from tasks.utf8 import LAST_BYTE

FILES = {
    "train": "new_aan_pairs.train.tsv",
    "validation": "new_aan_pairs.eval.tsv",
    "test": "new_aan_pairs.test.tsv",
}
FOLDERS = ("", "tsv_data", "lra_release/lra_release/tsv_data", "lra_release/tsv_data", "aan")
COUNTS = {"train": 147_086, "validation": 18_090, "test": 17_437}
RELEASE = "https://storage.googleapis.com/long-range-arena/lra_release.gz"
LABELS = {b"0.0": 0, b"1.0": 1}
COLUMNS = 5
LONGEST_LINE = 1 << 26  # bytes; papers have less than 1 MB, and another kind of file must not fill the memory
BLOCK = 500
_UTF8 = bytes(range(LAST_BYTE + 1))


def read(source: Source, counts: Mapping[str, int], max_bytes: int) -> Iterator[ExampleBlock]:
    """The first counts[split] pairs of each file. TaskError names a bad file and line."""
    folder = find(source.raw)
    source.tell(str(folder))
    for split, name in FILES.items():
        yield from _read_split(split, folder / name, counts[split], max_bytes)


def find(raw: Path | None) -> Path:
    """The folder with the three files: `raw`, or its subfolder in the release."""
    where = "no folder was given"
    if raw is not None:
        for below in FOLDERS:
            if all((raw / below / name).is_file() for name in FILES.values()):
                return raw / below
        where = f"not in {raw} or its tsv_data or aan"
    raise TaskError(
        f"retrieval needs {', '.join(FILES.values())} ({where}): unpack {RELEASE} (8 GB) and name it with --raw DIR, "
        "or use --task retrieval-aan1818, whose three files are small"
    )


def _read_split(split: str, path: Path, count: int, max_bytes: int) -> Iterator[ExampleBlock]:
    with path.open("rb") as file:
        lines = iter(partial(file.readline, LONGEST_LINE), b"")
        numbered = enumerate(islice(lines, count), start=1)
        found = 0
        while rows := [_row(path, number, line, max_bytes) for number, line in islice(numbered, BLOCK)]:
            found += len(rows)
            texts = [text for _, *pair in rows for text in pair]
            labels = np.array([label for label, *_ in rows], np.uint8)
            yield block(split, texts, np.arange(len(texts), dtype=np.int64).reshape(-1, 2), labels)
        if count == COUNTS[split] and next(lines, None) is not None:
            found += 1
    _require_count(split, path, count, found)


def _require_count(split: str, path: Path, count: int, found: int) -> None:
    """Raise TaskError for a file with too few rows, or, if all are needed, not with the released number."""
    if count == found:
        return
    if count != COUNTS[split]:
        raise TaskError(f"{path} has {found:,} pairs, expected {count:,}: set {split} lower")
    holds = f"{found:,} rows" if found < count else f"more than {count:,} rows"
    why = " (was its first row taken for a header?)" if found == count - 1 else ""
    raise TaskError(f"{path} has {holds}, but the released file has {count:,}{why}: restore it or set {split} lower")


def _row(path: Path, number: int, line: bytes, max_bytes: int) -> tuple[int, bytes, bytes]:
    """The label and the beginnings of both texts."""
    columns = line.rstrip(b"\r\n").split(b"\t")
    label = LABELS.get(columns[0])
    if len(columns) != COLUMNS:
        problem = f"{len(columns)} tab-separated columns, expected {COLUMNS}"
    elif label is None:
        problem = f"the label is {columns[0][:20].decode('utf-8', 'replace')!r}, expected 0.0 or 1.0"
    elif not columns[3] or not columns[4]:
        problem = "a text is empty"
    else:
        first, second = columns[3][:max_bytes], columns[4][:max_bytes]
        if not (first + second).translate(None, _UTF8):
            return label, first, second
        problem = "a text is not UTF-8"
    raise TaskError(f"{path}:{number}: {problem}: restore the released file")
