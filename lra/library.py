"""The suite as a library: quiet, typed, and without a trace in the caller's process.

import lra
record = lra.train(lra.resolve("listops", "elfatt@block_size=64", preset="smoke"))
print(record.test_accuracy)

The command line tells glibc to keep freed buffers, which is faster on a CPU. No call here changes the process that it
is in: lra.core.allocator.keep_buffers() does the same for yours.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lra import backends
from lra.bench.plan import make_plan
from lra.bench.record import BenchRecord
from lra.bench.runner import run_bench
from lra.bench.wanted import Wanted
from lra.core.config import Run, resolve, settled
from lra.core.environment import RESULTS
from lra.core.errors import UserError
from lra.core.frameworks import Device
from lra.terminal.console import console, errors
from lra.terminal.flags import command_line
from lra.training import data, record
from lra.training.callbacks import Silent
from lra.training.history import Callback
from lra.training.record import Record
from lra.training.trainer import Place, require_room
from lra.training.trainer import train as train_one

__all__ = ["benchmark", "load_records", "resolve", "train"]


def train(
    run: Run,
    *,
    results: Path | str = RESULTS,
    device: Device | None = None,
    resume: bool = False,
    fresh: bool = False,
    raw: Path | str | None = None,
    callback: Callback | None = None,
) -> Record:
    """Train and evaluate one run, `resolve`d or made by hand; its record, which is also saved under `results`.

    `raw` is the folder of your own raw files, `callback` is told how it goes. UserError for what cannot be trained,
    loop.Diverged for a loss that is no number, loop.Interrupted where a snapshot was saved for `resume`.
    """
    place = Place(results=Path(results), device=device, resume=resume, fresh=fresh)
    require_room(place)
    with _quiet():
        run = settled(run, on_gpu=backends.on_gpu(run.backend, device))
        prepared = data.prepare(run.task, run.data, data.source(None if raw is None else Path(raw), None))
        return train_one(run, prepared, place, callback or Silent())[0]


def benchmark(wanted: Wanted, *, results: Path | str = RESULTS, device: Device = "cpu") -> BenchRecord:
    """Time attentions against length; the record, which is also saved under `results`/bench.

    KeyboardInterrupt where it was stopped before there was a sample.
    """
    with _quiet():
        return run_bench(make_plan(wanted, device), Path(results), command_line("bench", wanted))[0]


def load_records(results: Path | str = RESULTS) -> list[Record]:
    """Every record under `results`/runs, by name of its file; a warning for each file that is none."""
    found = []
    for path in sorted(Path(results, "runs").glob("[!.]*.json")):
        try:
            found.append(record.load(path))
        except UserError as error:
            warnings.warn(str(error), stacklevel=2)
    return found


@contextmanager
def _quiet() -> Iterator[None]:
    """Inside, nothing is printed."""
    before = console.quiet, errors.quiet
    console.quiet = errors.quiet = True
    try:
        yield
    finally:
        console.quiet, errors.quiet = before
