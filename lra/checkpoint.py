"""Snapshots of a run as safetensors files: written beside and renamed, so a reader sees the old one or the new."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, count
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from lra.config import UserError
from lra.init import Weights


def folder(results: Path, run_id: str) -> Path:
    """Where a run keeps its snapshots, its best weights and its curve."""
    return results / ".work" / run_id


def save_atomically(arrays: Weights, path: Path) -> None:
    """Write the arrays to `path`; a crash at any moment leaves the former file whole."""
    write_atomically(save({name: np.asarray(array, order="C") for name, array in arrays.items()}), path)


def load(path: Path) -> Weights:
    """Read the arrays back; a damaged file raises UserError."""
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(f"{path} is damaged ({error}): start the run over with --fresh") from error


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
