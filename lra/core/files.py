"""Atomic writes: a file is written under another name, synced, and then renamed. It appears complete or not at all."""

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
CLAIMED = 60  # seconds; a process claims a name for an instant only
ABANDONED = 600  # seconds; containers may share a host's name but not see its processes
PROBE = 1 << 16  # bytes that must fit into a folder before a command starts


def write_atomically(content: bytes, path: Path) -> None:
    """Write a file that appears complete or not at all, also after a power cut."""
    with _complete(content, path) as beside:
        beside.replace(path)


def write_new(content: bytes, path: Path) -> Path:
    """Write a new file under the first free name of a.json, a.2.json, …, also against other processes."""
    again = (path.with_name(f"{path.stem}.{number}{path.suffix}") for number in count(2))
    with _complete(content, path) as beside:
        return next(free for free in chain([path], again) if _linked(beside, free))


def write_exactly(content: bytes, path: Path) -> bool:
    """Write a new file under this name. Returns False if a file has that name, or another process is writing it."""
    with _complete(content, path) as beside:
        return _linked(beside, path)


def replace_fast(content: bytes, path: Path) -> None:
    """Replace a file atomically, but without waiting for the disk: for data that a crash may lose, like a heartbeat."""
    beside = path.with_name(f".{path.name}.{HOST}.{os.getpid()}.{token_hex(4)}{PART}")
    try:
        beside.write_bytes(content)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _linked(path: Path, name: Path) -> bool:
    """Give a file a second name. Returns False if another file has that name, which a rename would replace."""
    try:
        os.link(path, name)
    except FileExistsError:
        return False
    except OSError:  # exFAT, SMB and most FUSE file systems lack hard links
        return _renamed(path, name)
    return True


def _renamed(path: Path, name: Path) -> bool:
    """Rename a file to a name that one process at a time can claim. Returns False if it is taken or claimed."""
    claim = name.with_name(f".{name.name}.claim{PART}")
    try:
        os.close(os.open(claim, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        _forget(claim, path)
        return False
    try:
        if os.path.lexists(name):
            return False
        path.rename(name)
        return True
    finally:
        claim.unlink(missing_ok=True)


def _forget(claim: Path, path: Path) -> None:
    """Remove the claim of a killed process, which would block its name for ever. `path` was just written beside it.

    The caller does not get the name now: another process may see the same dead claim, and remove it a moment later.
    """
    with suppress(OSError):  # another process has removed it
        if path.stat().st_mtime - claim.stat().st_mtime > CLAIMED:
            claim.unlink()


def require_writable(folder: Path, what_to_do: str, room: int = 0) -> None:
    """Raise UserError unless `room` bytes fit into `folder`, which need not exist yet. Leaves no file behind.

    `what_to_do` ends the message, for example "name another folder with --results".
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
    """Whether a file or folder has that name. OSError for an impossible name or one that cannot be looked up."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


@contextmanager
def _complete(content: bytes, path: Path) -> Iterator[Path]:
    """A temporary file beside `path`, synced to the disk, and deleted afterwards."""
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
        if error.filename is None:  # the error of a full disk names no file
            error.filename = str(path)
        raise
    finally:
        beside.unlink(missing_ok=True)


def _sweep(folder: Path) -> None:
    """Delete half-written files of processes of this host that have ended."""
    for path in folder.glob(f".*.{HOST}.*{PART}"):
        process = path.name.rsplit(".", 3)[1]
        with suppress(OSError, ValueError):  # another process may sweep too
            if not psutil.pid_exists(int(process)) and time.time() - path.stat().st_mtime > ABANDONED:
                path.unlink()


def set_aside(path: Path) -> Path:
    """Rename a.json to the first free name of a.refused.json, a.refused.2.json, …. Returns the new name."""
    names = chain([""], (f".{number}" for number in count(2)))
    kept = (path.with_name(f"{path.stem}.refused{number}{path.suffix}") for number in names)
    return path.rename(next(free for free in kept if not os.path.lexists(free)))
