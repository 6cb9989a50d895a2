"""The process that times one cell. It answers orders, and sleeps between them.

`prepare` checks the mechanism against its reference. It makes the first call, which compiles and autotunes. Then it
measures the peak memory and finds the number of calls in a sample. `sample` takes one sample.
"""

from __future__ import annotations

import math
import os
from typing import Any

from lra import backends
from lra.bench import memory as bench_memory
from lra.bench import parity as bench_parity
from lra.bench.plan import BenchCell
from lra.bench.record import FAILED, MEASURED, OUT_OF_MEMORY, UNEQUAL
from lra.bench.subjects import Subject, subject
from lra.core.errors import UserError, is_out_of_memory
from lra.core.workers import serve
from lra.training.clock import AwakeClock

LEAST = 0.2  # seconds of a sample
MARGIN = 1.25  # so that samples are long enough on a machine that gets faster later
LONG = 1.0  # seconds; a longer call needs no warm-up call before it


class Worker:
    """One cell: its preparation and its samples."""

    def __init__(self, cell: BenchCell) -> None:
        self._cell = cell
        self._clock = backends.get_clock(cell.backend, cell.device)
        if cell.device == "cpu":  # after the framework was loaded, whose size does not count
            bench_memory.allow(cell.memory)
        self._awake = AwakeClock()
        self._calls = 1
        self._long = False
        self._subject: Subject

    @property
    def backend(self) -> str:
        """The framework of the cell."""
        return self._cell.backend

    def prepare(self, parity: dict[str, float] | None) -> dict[str, Any]:
        """Prepare the cell and return the answer to the parent. A known parity is not checked again."""
        if parity is None:
            parity = {} if self._cell.kind in ("product", "copy") else bench_parity.check(self._cell, self._clock)
        for part in ("output", "gradient") if parity else ():
            if not parity[part] <= (bound := parity[f"{part}_bound"]):
                return {
                    "status": UNEQUAL,
                    "why": f"its {part} is {parity[part]:.1e} from the reference, {bound:.0e} is allowed",
                }
        self._subject = subject(self._cell, self._clock)
        self._subject.load()
        with self._awake:
            first = self._timed(1)
            self._timed(1)
            memory = self._peak_memory()
            self._calibrate()
        self._rest()
        cost = self._subject.cost()
        return {
            "status": MEASURED,
            "parity": parity,
            "first_seconds": first,
            "memory_bytes": memory,
            "flop": cost.flop,
            "bytes": cost.bytes,
            "environment": self._subject.environment(),
        }

    def sample(self) -> dict[str, Any]:
        """Seconds of one sample, after a call that warms caches and pages.

        If the process was stopped meanwhile, the sample is taken again; `stopped` has the seconds of the stop.
        """
        before = self._awake.asleep
        with self._awake:
            if not self._long:
                self._timed(1)
            while True:
                asleep = self._awake.asleep
                seconds, calls = self._filled()
                if self._awake.asleep == asleep:
                    break
        self._rest()
        return {"seconds": seconds, "calls": calls, "stopped": self._awake.asleep - before}

    def _filled(self) -> tuple[float, int]:
        """Seconds and calls of a sample of at least LEAST seconds."""
        seconds, calls = 0.0, 0
        while seconds < LEAST:  # again, if the machine is faster than at calibration
            seconds += self._timed(self._calls)
            calls += self._calls
        return seconds, calls

    def _timed(self, calls: int) -> float:
        result: Any = None
        began = self._awake()
        for _ in range(calls):
            result = self._subject.call()
        self._clock.wait(result)
        return self._awake() - began

    def _peak_memory(self) -> int:
        """Peak memory of two calls, counted from before their arrays are placed on the device."""
        meter = bench_memory.ResidentMeter()
        self._subject.drop()
        self._clock.release()
        meter.restart()
        self._clock.restart_peak_memory()
        self._subject.load()
        self._timed(2)
        allocated = self._clock.peak_memory()
        return meter.peak() if allocated is None else allocated

    def _calibrate(self) -> None:
        """Raise the number of calls until a sample takes LEAST seconds."""
        while (seconds := self._timed(self._calls)) < LEAST * MARGIN:
            grown = math.ceil(self._calls * LEAST * MARGIN / max(seconds, 1e-9))
            self._calls = min(max(grown, self._calls + 1), 10 * self._calls)
        self._long = seconds / self._calls >= LONG

    def _rest(self) -> None:
        """Free memory for other processes while this one sleeps."""
        self._clock.release()
        bench_memory.give_back()


def answer(order: dict[str, Any], workers: list[Worker]) -> dict[str, Any]:
    """Perform an order of the parent. Every failure becomes an answer in one line."""
    try:
        if "cell" in order:
            workers[:] = [Worker(BenchCell(**order["cell"]))]
        with backends.pinned(workers[0].backend):
            return workers[0].prepare(order.get("parity")) if "cell" in order else workers[0].sample()
    except Exception as error:  # any error of a mechanism or a framework is the cell's outcome
        return {"status": OUT_OF_MEMORY if is_out_of_memory(error) else FAILED, "why": _one_line(error)}


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    told = text if isinstance(error, UserError | FileNotFoundError) else f"{type(error).__name__}: {text}"
    return told if len(told) <= 300 else f"{told[:299]}…"


def main() -> None:
    """Answer orders until the parent closes the pipe."""
    # Cells share the device: JAX must not take most of its memory at the start.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    workers: list[Worker] = []
    serve(lambda order: answer(order, workers))


if __name__ == "__main__":
    main()
