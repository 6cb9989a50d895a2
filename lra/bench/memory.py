"""How much memory this process takes on the host, counted from a start of one's own, and how to bound it."""

from __future__ import annotations

import ctypes
import ctypes.util
import gc
import re
import resource
from pathlib import Path

import psutil

from lra.core.environment import free_memory

SPARED = 0.1  # share of the free memory that a cell may not take, left to the system

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")


class ResidentMeter:
    """The greatest resident size since `restart`, above the size then.

    Linux forgets its high-water mark on demand; elsewhere the mark of the whole process life is all there is, and
    what the process held before may hide what it held since.
    """

    def __init__(self) -> None:
        self._before = 0

    def restart(self) -> None:
        """Give back what is not used, and count from here."""
        give_back()
        self._before = psutil.Process().memory_info().rss
        try:
            _CLEAR.write_text("5", encoding="utf-8")
        except OSError:
            return

    def peak(self) -> int:
        """Bytes above the start, 0 at least."""
        return max(_high_water() - self._before, 0)


def give_back() -> None:
    """Return memory that nothing holds to the system: Python's garbage, and what glibc's allocator keeps for later."""
    gc.collect()
    library = ctypes.util.find_library("c")
    trim = getattr(ctypes.CDLL(library), "malloc_trim", None) if library else None
    if trim is not None:
        trim(0)


def allow(more: int | None) -> None:
    """Let this process take so many bytes more, by default nine tenths of what is free.

    Beyond that allocations fail, so that a cell that is too large ends itself and not its neighbours.
    """
    more = round((1 - SPARED) * free_memory()) if more is None else more
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    wanted = _status("VmData", psutil.Process().memory_info().vms) + more
    resource.setrlimit(resource.RLIMIT_DATA, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))


def _high_water() -> int:
    return _status("VmHWM", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


def _status(name: str, otherwise: int) -> int:
    """A size that Linux keeps of this process, in bytes."""
    try:
        found = re.search(rf"^{name}:\s+(\d+) kB$", _STATUS.read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        return otherwise
    return int(found[1]) * 1024 if found else otherwise
