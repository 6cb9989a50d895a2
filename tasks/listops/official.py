"""Reads the released ListOps: basic_{train,val,test}.tsv, with a header, then an expression and its value per line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path

import numpy as np

from tasks.base import ExampleBlock, Source, TaskError
from tasks.listops.grammar import encode, evaluate

FILES = {"train": "basic_train.tsv", "validation": "basic_val.tsv", "test": "basic_test.tsv"}
FOLDERS = ("", "listops-1000", "lra_release/lra_release/listops-1000", "lra_release/listops-1000", "listops")
HEADER = b"Source\tTarget"
DIGITS = [str(digit).encode() for digit in range(10)]
BLOCK = 1000


def read(source: Source, counts: Mapping[str, int], longest: int) -> Iterator[ExampleBlock]:
    """The first counts[split] expressions of each file. Values are recomputed; TaskError names a bad file and line."""
    folder = find(source.raw)
    source.tell(str(folder))
    for split, name in FILES.items():
        yield from _read_split(split, folder / name, counts[split], longest)


def find(raw: Path | None) -> Path:
    """The folder with the three files: `raw`, or its subfolder in the release."""
    if raw is None:
        raise TaskError("the official files of ListOps need a folder: name it with --raw DIR")
    for below in FOLDERS:
        if all((raw / below / name).is_file() for name in FILES.values()):
            return raw / below
    raise TaskError(f"no {', '.join(FILES.values())} in {raw} or its listops-1000: point --raw at the unpacked release")


def _read_split(split: str, path: Path, count: int, longest: int) -> Iterator[ExampleBlock]:
    with path.open("rb") as lines:
        if next(lines, b"").rstrip(b"\r\n") != HEADER:
            raise TaskError(f"{path}:1: expected the header Source<TAB>Target: is this the released file?")
        numbered = enumerate(islice(lines, count), start=2)
        read_so_far = 0
        while rows := [_row(path, number, line, longest) for number, line in islice(numbered, BLOCK)]:
            read_so_far += len(rows)
            yield ExampleBlock(
                split=split,
                tokens=np.frombuffer(b"".join(tokens for tokens, _ in rows), np.uint8),
                lengths=np.array([len(tokens) for tokens, _ in rows], np.int64),
                labels=np.array([value for _, value in rows], np.uint8),
            )
    if read_so_far < count:
        raise TaskError(f"{path} has {read_so_far:,} expressions, expected {count:,}: set {split} lower")


def _row(path: Path, number: int, line: bytes, longest: int) -> tuple[bytes, int]:
    """Tokens and value of one line."""
    source, _, target = line.rstrip(b"\r\n").partition(b"\t")
    try:
        if target not in DIGITS:
            raise ValueError(f"the target is {target.decode('utf-8', 'replace')!r}, expected a tab and one digit")
        tokens = encode(source)
        if (value := evaluate(tokens)) != DIGITS.index(target):
            raise ValueError(f"the expression has the value {value}, its target is {target.decode()}")
    except ValueError as error:
        raise TaskError(f"{path}:{number}: {error}: restore the released file") from None
    if len(tokens) > longest:
        raise TaskError(f"{path}:{number}: {len(tokens):,} tokens, at most {longest:,} fit: set max_length higher")
    return tokens, value
