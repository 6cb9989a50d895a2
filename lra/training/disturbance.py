"""Whether measured times are valid as a timing: what else used the machine meanwhile."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import psutil

from tasks import limits

ALONE = "alone"
"""The value of `Disturbance.words` without any disturbance."""

OTHERS = 0.1  # share of the cores that other processes may take without a remark
THROTTLED = 0.05  # share of the time that a quota may cost without a remark


@dataclass(frozen=True, kw_only=True)
class Disturbance:
    """The disturbances of a period of time, in seconds, except `niced`. Two of them can be added."""

    seconds: float = 0.0
    """Length of the period."""
    niced: float = 0.0
    """The nice value of the process; of several periods the highest."""
    others: float = 0.0
    """CPU time of other processes on the cores of this one, and time that a hypervisor took."""
    throttled: float = 0.0
    """Time in which the quota of a control group stopped the process."""
    stopped: float = 0.0
    """Time in which the process was stopped by a signal."""

    def __add__(self, other: Disturbance) -> Disturbance:
        return Disturbance(
            seconds=self.seconds + other.seconds,
            niced=max(self.niced, other.niced),
            others=self.others + other.others,
            throttled=self.throttled + other.throttled,
            stopped=self.stopped + other.stopped,
        )

    def words(self) -> str:
        """ALONE, or the reasons why times of this period are not valid as a timing."""
        cores = len(limits.allowed_cores())
        found = [f"niced {self.niced:.0f}"] if self.niced > 0 else []
        if self.others > OTHERS * cores * self.seconds:
            found.append(f"others took {self.others / self.seconds:.1f} of {cores} cores")
        if self.throttled > THROTTLED * self.seconds:
            found.append(f"throttled for {self.throttled:.1f} s")
        if self.stopped > 0:
            found.append(f"stopped for {self.stopped:.1f} s")
        return "; ".join(found) or ALONE


class Meter:
    """Measures the disturbance of this process and its children."""

    def __init__(self, stopped: Callable[[], float]) -> None:
        """Start to measure. `stopped` returns the seconds of stops so far."""
        self._stopped = stopped
        self._last = self._counted()

    def take(self) -> Disturbance:
        """The disturbance since the last call, or since the start."""
        before, self._last = self._last, self._counted()
        seconds, others, throttled, stopped = (max(now - was, 0.0) for now, was in zip(self._last, before, strict=True))
        return Disturbance(
            seconds=seconds, niced=float(max(_niced(), 0)), others=others, throttled=throttled, stopped=stopped
        )

    def _counted(self) -> tuple[float, float, float, float]:
        return time.monotonic(), _busy() - _own(), _throttled(), self._stopped()


def _niced() -> int:
    return os.nice(0) if hasattr(os, "nice") else 0


def _busy() -> float:
    """CPU seconds of the cores of this process since the machine was started, with stolen time."""
    allowed = limits.allowed_cores()
    cores = [core for number, core in enumerate(psutil.cpu_times(percpu=True)) if number in allowed]
    return sum(_worked(core) for core in cores)


def _worked(core: Sequence[float]) -> float:
    """All times except idle and waiting; the user's time already has that of guests."""
    idle = ("idle", "iowait", "guest", "guest_nice")
    return sum(core) - sum(getattr(core, name, 0.0) for name in idle)


def _own() -> float:
    """CPU seconds of this process and of its children, running and ended."""
    process = psutil.Process()
    total = sum(process.cpu_times()[:4])
    for child in process.children(recursive=True):
        try:
            total += sum(child.cpu_times()[:4])
        except psutil.Error:  # it has just ended, so its parent's time includes it
            continue
    return total


def _throttled() -> float:
    """Seconds in which the narrowest quota has stopped this process's control group, since the group was made."""
    units = {"throttled_usec": 1e-6, "throttled_time": 1e-9}  # of version 2 and of version 1
    found = [0.0]
    for group in limits.groups("cpu"):
        lines = [line.split() for line in limits.text(group / "cpu.stat").splitlines()]
        found += [int(amount) * units[name] for name, amount in lines if name in units]
    return max(found)
