"""The process that times one cell: it answers a line of JSON with another, and sleeps in between.

`prepare` checks the mechanism against its reference, makes the first call (which compiles and autotunes), measures
the peak memory and finds how many calls make a sample; `sample` takes one. What the frameworks print goes to stderr.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from lra import backends
from lra.backends import Clock
from lra.bench import memory as bench_memory
from lra.bench import operations
from lra.bench import parity as bench_parity
from lra.bench.operations import Cost
from lra.bench.plan import COPY_BYTES, PRODUCT_SIDE, Cell, blueprint_of
from lra.bench.record import FAILED, MEASURED, OUT_OF_MEMORY, UNEQUAL
from lra.core.documents import json_text, parse_json
from lra.core.errors import UserError
from lra.model.batches import Chunk
from lra.model.weights import initial_weights, parameter_count
from lra.training.clock import AwakeClock

LEAST = 0.2  # seconds of a sample
MARGIN = 1.25  # so that a machine that gets faster later still fills them
LONG = 1.0  # a call of so many seconds needs none before it to warm up
ITEMSIZE = {"float32": 4, "bfloat16": 2}
OUT_OF_MEMORY_WORDS = ("out of memory", "resource_exhausted", "allocate memory", "bad_alloc", "alloc_failed")


class Subject(Protocol):
    """What is timed: `load` puts its arrays on the device, `drop` lets go of them, `call` uses them once."""

    def load(self) -> None: ...
    def drop(self) -> None: ...
    def call(self) -> Any: ...
    def cost(self) -> Cost: ...
    def environment(self) -> dict[str, Any]: ...


class Attending:
    """The mechanism alone, forward and backward."""

    def __init__(self, cell: Cell, clock: Clock) -> None:
        self._cell, self._clock = cell, clock
        self._blueprint = blueprint_of(cell)
        self._drawn = bench_parity.draw(self._blueprint, cell.batch, cell.length, cell.seed)
        self._attend = clock.attend(self._blueprint)
        self._placed: list[dict[str, Any]] = []

    def load(self) -> None:
        self._placed = [self._clock.place(arrays, self._cell.dtype) for arrays in self._drawn]

    def drop(self) -> None:
        self._placed = []

    def call(self) -> Any:
        return self._attend(*self._placed[:3], self._placed[3]["cotangent"])

    def cost(self) -> Cost:
        return operations.attend_cost(self._blueprint, self._cell.batch, self._cell.length, ITEMSIZE[self._cell.dtype])

    def environment(self) -> dict[str, Any]:
        return _environment(self._cell) | {"precision": self._cell.dtype}


class Stepping:
    """Training steps, or forward passes, of the standard model, as the backend takes them."""

    def __init__(self, cell: Cell, clock: Clock) -> None:
        self._cell = cell
        self._blueprint = blueprint_of(cell)
        self._backend = backends.get(cell.backend, self._blueprint, cell.device)
        self._weights = initial_weights(self._blueprint)
        self._chunk = random_chunk(cell)
        self._state: Any = None

    def load(self) -> None:
        self._state = self._backend.start(self._weights)

    def drop(self) -> None:
        self._state = None

    def call(self) -> Any:
        if self._cell.kind == "infer":
            return self._backend.evaluate(self._state, self._chunk)
        self._state, _ = self._backend.train_steps(self._state, self._chunk)
        return self._state

    def cost(self) -> Cost:
        sizes = (self._blueprint, self._cell.batch, self._cell.length, ITEMSIZE[self._cell.dtype])
        if self._cell.kind == "infer":
            return operations.infer_cost(*sizes)
        return operations.train_cost(*sizes, parameter_count(self._weights))

    def environment(self) -> dict[str, Any]:
        return self._backend.environment()


class Ceiling:
    """A large matrix product, or a large copy: what the device can do at best."""

    def __init__(self, cell: Cell, clock: Clock) -> None:
        self._cell, self._clock = cell, clock
        self._side = PRODUCT_SIDE[cell.device]
        self._call: Callable[[], Any] | None = None

    def load(self) -> None:
        if self._cell.kind == "product":
            rng = np.random.default_rng(self._cell.seed)
            drawn = {
                name: rng.standard_normal((self._side, self._side), dtype=np.float32) for name in ("left", "right")
            }
            self._call = self._clock.product(**self._clock.place(drawn, self._cell.dtype))
        else:
            ones = np.ones(COPY_BYTES[self._cell.device] // ITEMSIZE[self._cell.dtype], np.float32)
            self._call = self._clock.copy(self._clock.place({"array": ones}, self._cell.dtype)["array"])

    def drop(self) -> None:
        self._call = None

    def call(self) -> Any:
        assert self._call is not None, "load comes first"
        return self._call()

    def cost(self) -> Cost:
        if self._cell.kind == "product":
            return Cost(flop=2 * self._side**3, bytes=3 * self._side**2 * ITEMSIZE[self._cell.dtype])
        return Cost(flop=0, bytes=2 * COPY_BYTES[self._cell.device])

    def environment(self) -> dict[str, Any]:
        return {}


class Worker:
    """One cell, from its preparation through its samples."""

    def __init__(self, cell: Cell) -> None:
        self._cell = cell
        self._clock = backends.get_clock(cell.backend, cell.device)
        if cell.device == "cpu":  # after the framework was loaded, whose size is not the cell's
            bench_memory.allow(cell.memory)
        self._awake = AwakeClock()
        self._calls = 1
        self._long = False
        self._subject: Subject

    @property
    def backend(self) -> str:
        """The framework whose cell this is."""
        return self._cell.backend

    def prepare(self, parity: dict[str, float] | None) -> dict[str, Any]:
        """Everything that comes before the clock; the answer to the parent, who may know the parity already."""
        if parity is None:
            parity = {} if self._cell.kind in ("product", "copy") else bench_parity.check(self._cell, self._clock)
        for part in ("output", "gradient") if parity else ():
            if not parity[part] <= (bound := parity[f"{part}_bound"]):
                return {
                    "status": UNEQUAL,
                    "why": f"its {part} is {parity[part]:.1e} from the reference, {bound:.0e} is allowed",
                }
        kinds: dict[str, type] = {"attend": Attending, "product": Ceiling, "copy": Ceiling}
        self._subject = kinds.get(self._cell.kind, Stepping)(self._cell, self._clock)
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
        """Seconds of one sample; a call before it wakes caches and pages.

        It is taken again where the process was stopped meanwhile, for so many seconds as `stopped` says.
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
        """Seconds and calls of a sample that is long enough."""
        seconds, calls = 0.0, 0
        while seconds < LEAST:  # once more where the machine has become faster since the calibration
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
        """Of two calls, from before their arrays are placed, when everything that stays has been loaded."""
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
        """Leave memory to the others while this process sleeps."""
        self._clock.release()
        bench_memory.give_back()


def random_chunk(cell: Cell) -> Chunk:
    """Steps of random bytes, every document full."""
    rng = np.random.default_rng(cell.seed)
    shape = (cell.chunk, cell.batch)
    return Chunk(
        tokens=rng.integers(1, 256, (*shape, 1, cell.length), dtype=np.uint8),
        lengths=None,
        labels=rng.integers(0, 2, shape, dtype=np.int32),
        steps=np.arange(cell.chunk, dtype=np.int32),
        rates=np.full(cell.chunk, 1e-4 if cell.kind == "train" else 0.0),
        places=np.tile(np.arange(cell.batch, dtype=np.int32), (cell.chunk, 1)),
        sizes=(cell.length,),
        size_of=np.zeros((cell.chunk, 1), np.int32),
    )


def answer(order: dict[str, Any], workers: list[Worker]) -> dict[str, Any]:
    """Do what the parent asks; every failure is an answer, in one line."""
    try:
        if "cell" in order:
            workers[:] = [Worker(Cell(**order["cell"]))]
        with backends.pinned(workers[0].backend):
            return workers[0].prepare(order.get("parity")) if "cell" in order else workers[0].sample()
    except Exception as error:  # whatever a mechanism or a framework raises is this cell's outcome
        return {"status": OUT_OF_MEMORY if is_out_of_memory(error) else FAILED, "why": _one_line(error)}


def is_out_of_memory(error: BaseException) -> bool:
    """Whether that is how Python, PyTorch, JAX or CUDA says so."""
    said = f"{type(error).__name__} {error}".lower()
    return isinstance(error, MemoryError) or any(words in said for words in OUT_OF_MEMORY_WORDS)


def _environment(cell: Cell) -> dict[str, Any]:
    return backends.get(cell.backend, blueprint_of(cell), cell.device).environment()


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    told = text if isinstance(error, UserError | FileNotFoundError) else f"{type(error).__name__}: {text}"
    return told if len(told) <= 300 else f"{told[:299]}…"


def main() -> None:
    """Answer orders until the parent closes the pipe."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    # Cells share the device: JAX must not take most of its memory at the start.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    workers: list[Worker] = []
    for line in sys.stdin:
        answers.write(json_text(answer(parse_json(line, "the order"), workers)) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
