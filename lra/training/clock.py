"""A clock that does not count time in which the process is stopped: by a signal, or with its container or machine."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType

BEAT = 0.05  # seconds between two readings
LEAST = 0.5  # seconds; a longer gap between readings may have been a stop
ACTIVE = 0.5  # if the process was active for more than this share of a gap, it was not a stop


class AwakeClock:
    """Seconds in which the process was not stopped. Call the object for the time; as a context it is exact.

    Within the context, a thread reads the time every BEAT seconds; so does every call. A gap between two readings was
    a stop if the process neither computed in it nor waited for a core. (A long call that keeps other threads from
    running computes.) A stop is measured to within BEAT. A stop shorter than LEAST is not seen; one shorter than
    2 · BEAT · (the cores that were busy before it) may not be seen. Its time then counts, so a run may look slower,
    never faster.
    """

    def __init__(
        self, wall: Callable[[], float] = time.perf_counter, active: Callable[[], float] | None = None
    ) -> None:
        self._wall, self._active = wall, active or _active_seconds()
        self._lock, self._over = threading.Lock(), threading.Event()
        self._thread: threading.Thread | None = None
        self._seen = self._wall(), self._active()
        self.asleep = 0.0
        """Total seconds of stops."""

    def __call__(self) -> float:
        """Seconds without stops; only differences have a meaning."""
        with self._lock:
            now, active = self._wall(), self._active()
            gap = now - self._seen[0]
            if gap > LEAST and active - self._seen[1] < ACTIVE * gap:
                self.asleep += gap - BEAT
            self._seen = now, active
            return now - self.asleep

    def __enter__(self) -> AwakeClock:
        self._over.clear()
        self._seen = self._wall(), self._active()  # earlier time does not count
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
    """Seconds in which threads of this process computed, plus those in which its main thread waited for a core.

    Linux has the waiting time as the second number of schedstat, in nanoseconds (kernel.org, sched-stats.rst).
    """
    waited = None
    with suppress(OSError):
        waited = open("/proc/self/schedstat", "rb", buffering=0)  # noqa: SIM115 - kept open: it is read at every beat

    def active() -> float:
        waiting = int(os.pread(waited.fileno(), 64, 0).split()[1]) * 1e-9 if waited else 0.0
        return time.process_time() + waiting

    return active
