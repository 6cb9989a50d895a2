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
from lra.model.sharing import Sharing
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
    devices: int = 1,
    accumulate: int = 1,
    callback: Callback | None = None,
) -> Record:
    """Train and evaluate one run, and save its record under `results`.

    Args:
        run: From `resolve`, or made by hand.
        results: The folder of records and snapshots.
        device: "cpu" or "gpu". A GPU where the framework sees one, if it is left out.
        resume: Continue from the snapshot of this run.
        fresh: Start over, and discard the snapshot of this run.
        raw: The folder of your own raw files.
        devices: So many devices share each batch.
        accumulate: Parts of a device's share of a batch, which are computed one after the other.
        callback: Is told how it goes.

    Returns:
        The record.

    Raises:
        UserError: The run cannot be trained.
        loop.Diverged: A loss is NaN or infinite.
        loop.Interrupted: The run was stopped, and a snapshot was saved for `resume`.
        DeviceFailed: One of several devices failed; the last snapshot stays.
    """
    sharing = Sharing(devices, accumulate)
    place = Place(results=Path(results), device=device, resume=resume, fresh=fresh, sharing=sharing)
    sharing.check(run.train.batch_size)
    require_room(place)
    with _quiet():
        backends.require_devices(run.backend, device, devices)
        run = settled(run, on_gpu=backends.on_gpu(run.backend, device))
        prepared = data.prepare(run.task, run.data, data.source(None if raw is None else Path(raw), None))
        return train_one(run, prepared, place, callback or Silent())[0]


def benchmark(wanted: Wanted, *, results: Path | str = RESULTS, device: Device = "cpu") -> BenchRecord:
    """Time attentions against length, and save the record under the folder `bench` of `results`.

    Args:
        wanted: What is timed: mechanisms, lengths and the rest.
        results: The folder of results.
        device: "cpu" or "gpu".

    Returns:
        The record, with every sample.

    Raises:
        KeyboardInterrupt: It was stopped before there was a sample.
    """
    with _quiet():
        return run_bench(make_plan(wanted, device), Path(results), command_line("bench", wanted))[0]


def load_records(results: Path | str = RESULTS) -> list[Record]:
    """Read every record under the folder `runs` of `results`.

    Args:
        results: The folder of results.

    Returns:
        The records, in the order of their files' names. A file that is no record is left out with a warning.
    """
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
