"""The memory that this process takes on the host, counted from a chosen start, and a limit for it."""

from __future__ import annotations

import ctypes
import ctypes.util
import gc
import re
import resource
from pathlib import Path

import psutil

from lra.core.environment import free_memory

SPARED = 0.1  # share of the free memory that is left to the system

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")


class ResidentMeter:
    """The greatest resident size since `restart`, minus the size at that moment.

    Linux resets its high-water mark on demand. Other systems only have the mark of the whole process, so a larger size
    from before `restart` may hide a later peak.
    """

    def __init__(self) -> None:
        self._before = 0

    def restart(self) -> None:
        """Release unused memory, and count from here."""
        give_back()
        self._before = psutil.Process().memory_info().rss
        try:
            _CLEAR.write_text("5", encoding="utf-8")
        except OSError:
            return

    def peak(self) -> int:
        """Peak bytes above the start, at least 0."""
        return max(_high_water() - self._before, 0)


def give_back() -> None:
    """Return unused memory to the system: Python's garbage, and buffers that glibc's allocator keeps."""
    gc.collect()
    library = ctypes.util.find_library("c")
    trim = getattr(ctypes.CDLL(library), "malloc_trim", None) if library else None
    if trim is not None:
        trim(0)


def allow(more: int | None) -> None:
    """Limit this process to this many more bytes. Default: nine tenths of what is free.

    Allocations beyond the limit fail. So a cell that is too large ends itself and not its neighbours.
    """
    more = round((1 - SPARED) * free_memory()) if more is None else more
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    wanted = _status("VmData", psutil.Process().memory_info().vms) + more
    resource.setrlimit(resource.RLIMIT_DATA, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))


def _high_water() -> int:
    return _status("VmHWM", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


def _status(name: str, otherwise: int) -> int:
    """A memory size of this process, as Linux reports it, in bytes."""
    try:
        found = re.search(rf"^{name}:\s+(\d+) kB$", _STATUS.read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        return otherwise
    return int(found[1]) * 1024 if found else otherwise
