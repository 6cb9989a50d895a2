"""A clock that stands still while the process does: stopped by a signal, frozen with its container or its machine."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType

BEAT = 0.05  # seconds between two looks at the time
LEAST = 0.5  # seconds without a look that may have been a stop
ACTIVE = 0.5  # share of such a gap above which the process ran, or wanted to


class AwakeClock:
    """Seconds in which the process was not stopped; call it for the time. A context, inside which it is exact.

    Inside, a thread looks at the time every BEAT seconds, and so does every call. A gap between two looks was a stop
    if the process neither computed in it nor waited for a core: a long call that keeps other threads from running
    computes. A stop is counted to within BEAT. One shorter than LEAST goes unseen, and so may one shorter than
    2 · BEAT · (the cores that were busy before it); its time then counts, which makes the run slower, never faster.
    """

    def __init__(
        self, wall: Callable[[], float] = time.perf_counter, active: Callable[[], float] | None = None
    ) -> None:
        self._wall, self._active = wall, active or _active_seconds()
        self._lock, self._over = threading.Lock(), threading.Event()
        self._thread: threading.Thread | None = None
        self._seen = self._wall(), self._active()
        self.asleep = 0.0
        """Seconds of stops so far."""

    def __call__(self) -> float:
        """Seconds awake; only differences mean something."""
        with self._lock:
            now, active = self._wall(), self._active()
            gap = now - self._seen[0]
            if gap > LEAST and active - self._seen[1] < ACTIVE * gap:
                self.asleep += gap - BEAT
            self._seen = now, active
            return now - self.asleep

    def __enter__(self) -> AwakeClock:
        self._over.clear()
        self._seen = self._wall(), self._active()  # what was before is nobody's time
        self._thread = threading.Thread(target=self._beat, name="awake", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        assert self._thread is not None, "entered before"
        self._thread.join()

    def _beat(self) -> None:
        while not self._over.wait(BEAT):
            self()


def _active_seconds() -> Callable[[], float]:
    """Seconds in which this process computed, over all its threads, or its main thread waited for a core.

    Linux keeps the latter as the second number of schedstat, in nanoseconds (kernel.org, scheduler/sched-stats.rst).
    """
    waited = None
    with suppress(OSError):
        waited = open("/proc/self/schedstat", "rb", buffering=0)  # noqa: SIM115 - kept open: it is read at every beat

    def active() -> float:
        waiting = int(os.pread(waited.fileno(), 64, 0).split()[1]) * 1e-9 if waited else 0.0
        return time.process_time() + waiting

    return active
