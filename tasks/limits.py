"""The cores and memory that this process may use: its CPU affinity and the limits of its control groups.

Linux has both; on other systems the limits are those of the machine. Files of control groups are described at
kernel.org, admin-guide/cgroup-v2.rst and admin-guide/cgroup-v1.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

import psutil

GROUPS = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")


def usable_cores() -> int:
    """Number of cores for this process: those it may run on, or a smaller quota of CPU time, rounded up."""
    return max(1, math.ceil(min([len(allowed_cores()), *_quotas()])))


def allowed_cores() -> set[int]:
    """The numbers of the cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def usable_memory() -> int:
    """Bytes of memory for this process: the machine's memory, or a smaller limit."""
    return min([psutil.virtual_memory().total, *(limit for limit, _ in memory_limits())])


def memory_limits() -> list[tuple[int, int]]:
    """The limit and the use, in bytes, of every control group that limits this process's memory."""
    names = (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes"))
    found = [(_number(group / limit), _number(group / used)) for group in groups("memory") for limit, used in names]
    return [(limit, used) for limit, used in found if limit is not None and used is not None]


def groups(controller: str) -> Iterator[Path]:
    """The folders of this process's control groups, from its own outwards. Some may not exist.

    They are those of version 2, and those of one controller of version 1. Inside a container the kernel may report the
    host's path. Its end then does not exist, and the outermost folder is the container's group.
    """
    for line in text(MEMBERSHIP).splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            roots = [GROUPS, GROUPS / "unified"]
        elif controller in controllers.split(","):
            roots = list(dict.fromkeys([GROUPS / controllers, GROUPS / controller]))
        else:
            continue
        own = Path(path.lstrip("/"))
        yield from (root / each for root in roots for each in (own, *own.parents))


def text(path: Path) -> str:
    """The content of a kernel file; empty if it does not exist."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _quotas() -> list[float]:
    """CPU seconds per second that the control groups allow."""
    found = []
    for group in groups("cpu"):
        words = text(group / "cpu.max").split()
        words = words or [text(group / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period")]
        if all(word.isdigit() for word in words):  # neither "max" nor -1 nor absent
            found.append(int(words[0]) / int(words[1]))
    return found


def _number(path: Path) -> int | None:
    said = text(path).strip()
    return int(said) if said.isdigit() else None
