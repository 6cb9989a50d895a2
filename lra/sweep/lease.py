"""Who works on a run: a lease, which one process at a time can hold, on this machine or on another.

A lease is a file in the run's folder: lease.1.json, lease.2.json, … That with the highest number holds. It is created
under a name that no file has yet, so of two claimants one gets it. Numbers only rise, so nobody takes a newer lease for
the one that it found dead. Its holder writes it anew at every beat. A holder is dead where its process is gone, as one
of the same machine can see, or where it has not beaten for SILENT seconds of the folder's own clock.
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
from lra.core.files import replace_fast, write_exactly
from lra.core.layout import Line, Whole, built
from tasks import limits

BEAT = 5.0  # seconds between two signs of life
SILENT = 120.0  # seconds without one after which a holder on another machine is taken for dead
_NAME = re.compile(r"lease\.([1-9]\d{0,8})\.json")


class Lost(UserError):
    """The lease went to another process, which took this one for dead."""


@dataclass(frozen=True, kw_only=True)
class Lease:
    """What a lease's file says."""

    host: Line
    machine: Line
    """The same for processes that can see each other by number: kernel, and namespace of processes."""
    pid: Whole
    started: float
    """When the process was started, in seconds since 1970: numbers of processes are used again."""
    since: float
    released: bool = False
    step: Whole = 0
    """How far the run is."""

    @property
    def holder(self) -> str:
        """Who holds it, in words."""
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.since))
        return f"process {self.pid} on {self.host} (since {since})"


def held(work: Path) -> Lease | None:
    """The lease that a living process has on the run of this folder, or None."""
    _, path = _last(work)
    return None if path is None else _living(path)


class Held:
    """A lease of this process. `beat` says how far the run is; it raises Lost where another process took it over."""

    def __init__(self, work: Path, number: int, lease: Lease) -> None:
        self._work, self._number, self._values = work, number, asdict(lease)
        self._lost = False
        self.step = 0

    @property
    def path(self) -> Path:
        """Its file."""
        return self._work / f"lease.{self._number}.json"

    def require(self) -> None:
        """Lost where it is another's by now."""
        if self._lost:
            raise Lost(f"{self._work}: another process has taken this run over, so it stops here")

    def beat(self) -> None:
        """Give a sign of life, and notice a lease that came after this one."""
        self._lost = self._lost or _last(self._work)[0] > self._number
        if not self._lost:
            with suppress(OSError):  # a disk without room: the next beat tries again
                self._write(released=False)

    def release(self) -> None:
        """Let it go. The file stays and says so, or its number would be used again."""
        with suppress(OSError):
            self._write(released=True)

    def _write(self, *, released: bool) -> None:
        values = self._values | {"released": released, "step": self.step}
        replace_fast(json.dumps(values).encode(), self.path)


@contextmanager
def claimed(work: Path, alive: Callable[[], object] = lambda: None) -> Iterator[Held | Lease]:
    """Inside, this process holds the run's lease; yields the Lease of another instead where a living one has it.

    `alive` is called at every beat, by another thread.
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
    number, path = _last(work)
    if path is not None and (holder := _living(path)):
        return holder
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
    if created:  # a number that others have used and forgotten since it was looked for
        taken.path.unlink(missing_ok=True)
    return _claim(work)


def _last(work: Path) -> tuple[int, Path | None]:
    """The highest number of a lease, and its file; 0 where there was none."""
    found = [(int(match[1]), name) for name in _names(work) if (match := _NAME.fullmatch(name))]
    number, name = max(found, default=(0, ""))
    return number, work / name if name else None


def _names(work: Path) -> list[str]:
    try:
        return os.listdir(work)
    except FileNotFoundError:
        return []


def _forget(work: Path, below: int) -> None:
    """Remove leases that are over; the newest stays."""
    for name in _names(work):
        if (match := _NAME.fullmatch(name)) and int(match[1]) <= below:
            (work / name).unlink(missing_ok=True)


def _living(path: Path) -> Lease | None:
    """The lease in a file where its holder lives; what cannot be read is judged by the age of the file alone."""
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
    """Whether the very process that took the lease is still there; the start tells it from another of that number."""
    try:
        process = psutil.Process(lease.pid)
        return abs(process.create_time() - lease.started) < 2 and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True


def _now(folder: Path) -> float:
    """The time by the clock of the folder's file system, which a server of files keeps."""
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".now-") as file:
        return os.fstat(file.fileno()).st_mtime


def _machine() -> str:
    """What processes share that see each other's numbers."""
    boot = limits.text(Path("/proc/sys/kernel/random/boot_id")).strip()
    facts: list[Any] = [platform.node(), boot or "?"]
    with suppress(OSError):
        facts.append(os.stat("/proc/self/ns/pid").st_ino)
    return " ".join(map(str, facts))
