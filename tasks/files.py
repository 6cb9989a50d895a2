"""Raw files of users: recognised by content rather than by name; foreign files are skipped."""

from __future__ import annotations

import bz2
import gzip
import lzma
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

# The first bytes of each compressed format.
_OPENERS: dict[bytes, Any] = {b"\xfd7zXZ\0": lzma.open, b"\x1f\x8b": gzip.open, b"BZh": bz2.open}
TAR_NAMES = (".tar.gz", ".tgz", ".tar", ".tar.xz", ".tar.bz2")
DAMAGED = (OSError, EOFError, lzma.LZMAError, tarfile.TarError, zlib.error)
"""The errors of reading a damaged or foreign file."""


def hidden(path: Path) -> bool:
    """Whether a file is not data: macOS adds a file beginning with "._" beside every other."""
    return path.name.startswith(".")


def is_tar(path: Path) -> bool:
    """Whether a file is a tar archive, compressed or not, with any name."""
    try:
        return path.is_file() and tarfile.is_tarfile(path)
    except DAMAGED:
        return False


def archives(folder: Path, name: str) -> list[Path]:
    """The files in a folder with the name of an archive and any of its possible endings."""
    return [path for ending in TAR_NAMES if (path := folder / f"{name}{ending}").is_file()]


def compressed(folder: Path, name: str) -> Path | None:
    """The file with this name, which ends in .xz, or its unpacked form, or None."""
    found = (folder / each for each in (name, name.removesuffix(".xz")))
    return next((path for path in found if path.is_file()), None)


@contextmanager
def lines_of(path: Path) -> Iterator[IO[bytes]]:
    """The lines of a file, compressed or not."""
    with path.open("rb") as file:
        start = file.read(8)
    opener = next((each for magic, each in _OPENERS.items() if start.startswith(magic)), open)
    with opener(path, "rb") as lines:
        yield lines
