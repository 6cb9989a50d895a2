"""Files that appear complete or not at all: each is written beside its place, synced, and then given its name."""

from __future__ import annotations

import errno
import os
import platform
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import chain, count
from pathlib import Path
from secrets import token_hex

import psutil

from lra.core.errors import UserError

HOST = re.sub(r"[^A-Za-z0-9-]", "-", platform.node()) or "host"
PART = ".part"
ABANDONED = 600  # seconds; containers may share the name of a host and not its processes
PROBE = 1 << 16  # bytes that have to fit where a file will be written


def write_atomically(content: bytes, path: Path) -> None:
    """Write a file so that it appears complete or not at all, also after a power cut."""
    with _complete(content, path) as beside:
        beside.replace(path)


def write_new(content: bytes, path: Path) -> Path:
    """The same under the first name of a.json, a.2.json, … that no file has, nor one written at the same moment."""
    again = (path.with_name(f"{path.stem}.{number}{path.suffix}") for number in count(2))
    with _complete(content, path) as beside:
        return next(free for free in chain([path], again) if _linked(beside, free))


def write_exactly(content: bytes, path: Path) -> bool:
    """Write a file under this very name; False where there is one already, or one is written at the same moment."""
    with _complete(content, path) as beside:
        return _linked(beside, path)


def replace_fast(content: bytes, path: Path) -> None:
    """Replace a file as a whole, without waiting for the disk: what may be lost with the machine, such as a beat."""
    beside = path.with_name(f".{path.name}.{HOST}.{os.getpid()}.{token_hex(4)}{PART}")
    try:
        beside.write_bytes(content)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _linked(path: Path, name: Path) -> bool:
    """Give a file a second name; False where there is a file of that name, which a rename would replace."""
    try:
        os.link(path, name)
    except FileExistsError:
        return False
    except OSError:  # exFAT, SMB and most FUSE file systems have no second names
        return _renamed(path, name)
    return True


def _renamed(path: Path, name: Path) -> bool:
    """Give a file another name, which one process at a time may claim; False where it is taken or claimed."""
    claim = name.with_name(f".{name.name}.claim{PART}")
    try:
        os.close(os.open(claim, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    try:
        if os.path.lexists(name):
            return False
        path.rename(name)
        return True
    finally:
        claim.unlink(missing_ok=True)


def require_writable(folder: Path, what_to_do: str, room: int = 0) -> None:
    """Raise UserError unless `room` bytes fit into `folder`, which need not exist yet. Leaves nothing there.

    `what_to_do` ends the message: "name another folder with --results".
    """
    place = folder.absolute()
    try:
        place = next(each for each in (place, *place.parents) if _exists(each))
        if not place.is_dir():
            raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        with tempfile.TemporaryFile(dir=place) as file:
            file.write(bytes(PROBE))
            file.flush()
            os.fsync(file.fileno())
        if (free := shutil.disk_usage(place).free) < room:
            raise OSError(errno.ENOSPC, f"{free / 1e6:,.1f} MB free, {room / 1e6:,.1f} MB needed")
    except (OSError, ValueError) as error:  # ValueError: a path with a null character
        why = f"{place}: {getattr(error, 'strerror', None) or error}"
        raise UserError(f"{folder} cannot be written ({why}): {what_to_do}") from error


def _exists(path: Path) -> bool:
    """Whether there is anything of that name; OSError for a name that cannot be, or cannot be looked up."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


@contextmanager
def _complete(content: bytes, path: Path) -> Iterator[Path]:
    """A file beside `path` that is on the disk as a whole; gone afterwards."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep(path.parent)
    beside = path.with_name(f".{path.name}.{HOST}.{os.getpid()}.{token_hex(4)}{PART}")
    try:
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        yield beside
    except OSError as error:
        if error.filename is None:  # of a disk that is full only the number is told
            error.filename = str(path)
        raise
    finally:
        beside.unlink(missing_ok=True)


def _sweep(folder: Path) -> None:
    """Delete what processes of this host that are gone have left half-written."""
    for path in folder.glob(f".*.{HOST}.*{PART}"):
        process = path.name.rsplit(".", 3)[1]
        with suppress(OSError, ValueError):  # another process may sweep too
            if not psutil.pid_exists(int(process)) and time.time() - path.stat().st_mtime > ABANDONED:
                path.unlink()


def set_aside(path: Path) -> Path:
    """Rename a.json to the first of a.refused.json, a.refused.2.json, … that is free, and return that."""
    names = chain([""], (f".{number}" for number in count(2)))
    kept = (path.with_name(f"{path.stem}.refused{number}{path.suffix}") for number in names)
    return path.rename(next(free for free in kept if not os.path.lexists(free)))
