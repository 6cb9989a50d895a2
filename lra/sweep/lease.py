"""Leases: a lease lets one process at a time work on a run, on this machine or on another.

A lease is a file in the run's folder: lease.1.json, lease.2.json, … The highest number is valid. A file is created
under a new name, so only one of two claimants succeeds. Numbers only rise, so a newer lease is never mistaken for an
expired one. The holder rewrites its lease at every heartbeat. A lease expires if its process is gone, which only
processes of the same machine can see. It also expires after SILENT seconds without a heartbeat, by the clock of the
folder's file system.
"""

from __future__ import annotations

import json
import os
import platform
import re
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from lra.core.documents import read_json
from lra.core.errors import UserError
from lra.core.files import CLAIMED, PART, replace_fast, write_exactly
from lra.core.layout import Line, Whole, built
from tasks import limits

BEAT = 5.0  # seconds between two heartbeats
SILENT = 120.0  # seconds without a heartbeat after which a lease of another machine expires
PAUSE = 0.1  # seconds between two attempts to claim a run
ATTEMPTS = round(2 * CLAIMED / PAUSE)  # a process that was killed may have left its claim on a name
_NAME = re.compile(r"lease\.([1-9]\d{0,8})\.json")


class Lost(UserError):
    """Another process took the lease over, since it found it expired."""


@dataclass(frozen=True, kw_only=True)
class Lease:
    """The content of a lease's file."""

    host: Line
    machine: Line
    """Equal for processes that can see each other's process ids: the kernel and the namespace."""
    pid: Whole
    started: float
    """The start of the process, in seconds since 1970: process ids are reused."""
    since: float
    released: bool = False
    step: Whole = 0
    """The step of the run."""

    @property
    def holder(self) -> str:
        """The holder, in words."""
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.since))
        return f"process {self.pid} on {self.host} (since {since})"


def held(work: Path) -> Lease | None:
    """The valid lease on the run of this folder, or None."""
    _, path = _last(work)
    return None if path is None else _living(path)


class Held:
    """A lease of this process. `beat` writes the run's step and raises Lost if another process took the lease over."""

    def __init__(self, work: Path, number: int, lease: Lease) -> None:
        self._work, self._number, self._values = work, number, asdict(lease)
        self._lost = False
        self.step = 0

    @property
    def path(self) -> Path:
        """The lease's file."""
        return self._work / f"lease.{self._number}.json"

    def require(self) -> None:
        """Raise Lost if another process has the lease now."""
        if self._lost:
            raise Lost(f"{self._work}: another process has taken over this run, so this process stops it")

    def beat(self) -> None:
        """Write a heartbeat, and check for a newer lease."""
        with suppress(OSError):  # the disk is full, or the folder unreadable: the next heartbeat tries again
            self._lost = self._lost or _last(self._work)[0] > self._number
            if not self._lost:
                self._write(released=False)

    def release(self) -> None:
        """Release the lease. The file stays, marked as released, so that its number is not used again."""
        with suppress(OSError):
            self._write(released=True)

    def _write(self, *, released: bool) -> None:
        values = self._values | {"released": released, "step": self.step}
        replace_fast(json.dumps(values).encode(), self.path)


@contextmanager
def claimed(work: Path, alive: Callable[[], object] = lambda: None) -> Iterator[Held | Lease]:
    """Within this context, this process holds the run's lease. If another process holds it, yields that lease instead.

    `alive` is called at every heartbeat, by another thread.
    """
    work.mkdir(parents=True, exist_ok=True)
    taken = _claim(work)
    if isinstance(taken, Lease):
        yield taken
        return
    over = threading.Event()

    def beats() -> None:
        while not over.wait(BEAT):
            taken.beat()
            alive()

    thread = threading.Thread(target=beats, name="lease", daemon=True)
    thread.start()
    try:
        yield taken
    finally:
        over.set()
        thread.join()
        taken.release()


def _claim(work: Path) -> Held | Lease:
    """A lease of this process, or the valid lease of another. UserError if there is neither after ATTEMPTS."""
    for _ in range(ATTEMPTS):
        number, path = _last(work)
        if path is not None and (holder := _living(path)):
            return holder
        if taken := _taken(work, number):
            return taken
        time.sleep(PAUSE)
    raise UserError(
        f"{work}: another process claims the name of this run's lease all the time, expected an instant: end that "
        f"process, or remove .lease.*{PART} from the folder"
    )


def _taken(work: Path, number: int) -> Held | None:
    """A lease of this process after the one with this number. None if another process was faster."""
    own = Lease(
        host=platform.node() or "this machine",
        machine=_machine(),
        pid=os.getpid(),
        started=psutil.Process().create_time(),
        since=time.time(),
    )
    taken = Held(work, number + 1, own)
    created = write_exactly(json.dumps(asdict(own)).encode(), taken.path)
    if created and _last(work)[0] == number + 1:
        _forget(work, number)
        return taken
    if created:  # the number may have been used and removed since the search for the newest one
        taken.path.unlink(missing_ok=True)
    return None


def _last(work: Path) -> tuple[int, Path | None]:
    """The highest number of a lease, and its file; 0 without any lease."""
    found = [(int(match[1]), name) for name in _names(work) if (match := _NAME.fullmatch(name))]
    number, name = max(found, default=(0, ""))
    return number, work / name if name else None


def _names(work: Path) -> list[str]:
    try:
        return os.listdir(work)
    except FileNotFoundError:
        return []


def _forget(work: Path, below: int) -> None:
    """Remove all leases but the newest."""
    for name in _names(work):
        if (match := _NAME.fullmatch(name)) and int(match[1]) <= below:
            (work / name).unlink(missing_ok=True)


def _living(path: Path) -> Lease | None:
    """The lease in a file, if it is valid. For an unreadable file only its age counts."""
    found = _read(path)
    if found is not None and found.released:
        return None
    if found is not None and found.machine == _machine():
        return found if _runs(found) else None
    try:
        silent = _now(path.parent) - path.stat().st_mtime
    except FileNotFoundError:
        return None
    unknown = Lease(host="another machine", machine="", pid=0, started=0.0, since=0.0)
    return (found or unknown) if silent < SILENT else None


def _read(path: Path) -> Lease | None:
    try:
        return built(Lease, read_json(path))
    except UserError:
        return None


def _runs(lease: Lease) -> bool:
    """Whether the process that took the lease still runs. Its start tells it from another with the same id."""
    try:
        process = psutil.Process(lease.pid)
        return abs(process.create_time() - lease.started) < 2 and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True


def _now(folder: Path) -> float:
    """The time by the clock of the folder's file system, which may be a server's. If it has none, by this machine's."""
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".now-") as file:
            return os.fstat(file.fileno()).st_mtime
    except OSError:  # the folder cannot be written, or its disk is full
        return time.time()


def _machine() -> str:
    """An id that processes share if they can see each other's process ids."""
    boot = limits.text(Path("/proc/sys/kernel/random/boot_id")).strip()
    facts: list[Any] = [platform.node(), boot or "?"]
    with suppress(OSError):
        facts.append(os.stat("/proc/self/ns/pid").st_ino)
    return " ".join(map(str, facts))
