"""A child process of the local engine. It performs one order, and ends with its parent."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from lra.core.workers import serve
from lra.sweep.work import Answer, attempted, benchmark, perform, probe, values_of
from lra.terminal.console import open_streams
from lra.terminal.failures import told
from lra.training.session import Job


def answer(order: Any) -> dict[str, Any]:
    """Perform the order. Returns an Answer or a Probe as plain values."""
    open_streams()
    _stay_on(order.get("cores"))
    found: dict[str, Any] = values_of(Answer(state="stopped"))

    def work() -> int:
        found.update(_done(order))
        return 0

    told(work)  # a request to end does not change the answer
    return found


def _done(order: Any) -> dict[str, Any]:
    if "probe" in order:
        probed: dict[str, Any] = {}

        def take() -> Answer:
            probed.update(values_of(probe(Job.from_values(order["probe"]))))
            return Answer(state="done")

        return {**values_of(attempted(take)), **probed}
    if "bench" in order:
        return values_of(attempted(lambda: benchmark(order["bench"], Path(order["results"]))))
    return values_of(attempted(lambda: perform(Job.from_values(order["run"]), _end_with_parent())))


def _stay_on(cores: list[int] | None) -> None:
    """Restrict the process to these cores, before a framework counts them."""
    if cores and hasattr(psutil.Process, "cpu_affinity"):
        psutil.Process().cpu_affinity(cores)


def _end_with_parent() -> Callable[[], None]:
    """Save the run and end this process once its parent is gone, since nobody then divides the machine."""
    parent = os.getppid()

    def look() -> None:
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGTERM)

    return look


if __name__ == "__main__":
    serve(answer)
