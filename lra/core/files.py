"""Files that appear complete or not at all: each is written beside its place, synced, and then given its name."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, count
from pathlib import Path


def write_atomically(content: bytes, path: Path) -> None:
    """Write a file so that it appears complete or not at all, also after a power cut."""
    with _complete(content, path) as beside:
        beside.replace(path)


def write_new(content: bytes, path: Path) -> Path:
    """The same under the first name of a.json, a.2.json, … that no file has, nor one written at the same moment."""
    again = (path.with_name(f"{path.stem}.{number}{path.suffix}") for number in count(2))
    with _complete(content, path) as beside:
        return next(free for free in chain([path], again) if _linked(beside, free))


def _linked(path: Path, name: Path) -> bool:
    """Give a file a second name; False where there is a file of that name, which a rename would replace."""
    try:
        os.link(path, name)
    except FileExistsError:
        return False
    return True


@contextmanager
def _complete(content: bytes, path: Path) -> Iterator[Path]:
    """A file beside `path` that is on the disk as a whole; gone afterwards."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        yield beside
    finally:
        beside.unlink(missing_ok=True)


def set_aside(path: Path) -> Path:
    """Rename a.json to the first of a.refused.json, a.refused.2.json, … that is free, and return that."""
    names = chain([""], (f".{number}" for number in count(2)))
    kept = (path.with_name(f"{path.stem}.refused{number}{path.suffix}") for number in names)
    return path.rename(next(free for free in kept if not os.path.lexists(free)))
