"""Locks between processes, also on several machines, that name their holder.

The system releases the lock of a dead process, but some network file systems do not. So the holder writes its name
beside the lock and touches that file while it works. A waiting process names the holder, and gives up if it is silent.
"""

from __future__ import annotations

import json
import os
import platform
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from tasks.base import TaskError

AGAIN = 600.0  # seconds between two messages about the same wait
SILENT = 3600.0  # seconds without a sign of life after which a holder is assumed to be dead
Tell = Callable[[str], None]  # called with a line for the user


class Busy(TaskError):
    """Another process holds the lock. `holder` says which: "process 7 on node3 (since 2026-01-31 12:00:00)"."""

    def __init__(self, path: Path, holder: str, why: str) -> None:
        super().__init__(f"{path} is held by {holder}, {why}; if that process has ended, delete {path} and run again")
        self.holder = holder


@contextmanager
def held(path: Path, tell: Tell | None) -> Iterator[Callable[[], None]]:
    """Within this context, only this process has the lock. Yields a function to call at least once an hour.

    `tell` gets a line if it must wait; with None, Busy is raised instead.

    Raises:
        Busy: Another process has the lock, and `tell` is None or the holder has been silent for SILENT.
        TaskError: The file system has no locks.
    """
    lock = FileLock(path)
    _take(lock, path, tell)
    mark = _mark(path)
    try:
        with suppress(OSError):  # the disk is full; the lock works without the name
            mark.write_text(json.dumps({"host": platform.node(), "pid": os.getpid(), "since": time.time()}), "utf-8")
        yield lambda: _touch(mark)
    finally:
        with suppress(OSError):
            mark.unlink(missing_ok=True)
        lock.release()


def _take(lock: FileLock, path: Path, tell: Tell | None) -> None:
    told = False
    while True:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that a file system without flock gets a lock of another kind
                lock.acquire(timeout=AGAIN if told else 0)
        except Timeout:
            holder, silent = _holder(path)
            if tell is None:
                raise Busy(path, holder, "which does the same work") from None
            if silent > SILENT:
                raise Busy(path, holder, f"which has given no sign for {silent / 60:.0f} minutes") from None
            tell(f"waiting for {holder}, which holds {path}: Ctrl-C ends the wait")
            told = True
        except OSError as error:
            raise TaskError(f"{path} cannot be locked ({error.strerror or error}): choose another folder") from None
        else:
            return


def _holder(path: Path) -> tuple[str, float]:
    """The holder of the lock, and the seconds since its last sign of life."""
    mark = _mark(path)
    try:
        silent = time.time() - mark.stat().st_mtime
        said = json.loads(mark.read_text(encoding="utf-8"))
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(said["since"]))
        return f"process {said['pid']} on {said['host']} (since {since})", silent
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return "another process", 0.0  # its name is not written yet, or could not be written


def _mark(path: Path) -> Path:
    return path.with_name(f"{path.name}.holder")


def _touch(mark: Path) -> None:
    with suppress(OSError):
        os.utime(mark)
