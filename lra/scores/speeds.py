"""Speed and memory from bench records, for the tables and plots beside the accuracies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

from lra.bench import record as bench_record
from lra.bench.record import BenchRecord, Timing
from lra.bench.summary import BASELINE, Measured, ratio, summarize
from lra.core.errors import UserError
from lra.scores.overrides import defaults

What = Literal["train", "infer"]


@dataclass(frozen=True, kw_only=True)
class RowSpeed:
    """How fast one mechanism trains or infers in the standard model, at one length on one device."""

    measured: Measured
    """Its figures; the options of its cell are all of them, those at their defaults too."""
    device: str
    """Its name, and the threads, the precision and the heads that are part of the measurement."""
    what: What
    started: str
    """When its benchmark began; the newest of several holds."""
    over_baseline: float | None
    """How many times as fast as softmax in the same record, backend and length: the median over paired rounds."""

    @property
    def cell(self) -> Timing:
        """What was timed."""
        return self.measured.cell

    @property
    def samples_per_second(self) -> float:
        """Examples over the median second."""
        return self.measured.examples_per_second

    @property
    def peak_memory_bytes(self) -> int | None:
        """Of the whole batch."""
        return self.cell.memory_bytes

    @property
    def mechanism(self) -> tuple[str, str, str]:
        """The same for timings of one mechanism, one set of options and one backend."""
        return self.cell.attn, repr(sorted(self.cell.options.items())), self.cell.backend


@dataclass(frozen=True, kw_only=True)
class Speeds:
    """The timings of one device, one for each mechanism, kind of step and length."""

    device: str
    length: int
    """Tokens: what tables and plots that show one length take."""
    timings: tuple[RowSpeed, ...]
    every: tuple[RowSpeed, ...]
    """All timings of the device, those that a newer one replaces too."""
    others: tuple[str, ...] = ()
    """Devices that there are timings of, too."""

    def of(self, attn: str, options: dict[str, Any], backend: str, what: What) -> RowSpeed | None:
        """The timing of one mechanism with exactly these options at the length shown."""
        wanted = (attn, options, backend, what, self.length)
        for each in self.timings:
            cell = each.cell
            if (cell.attn, cell.options, cell.backend, each.what, cell.length) == wanted:
                return each
        return None

    def batches(self) -> list[int]:
        """The batch sizes behind the length shown; those that a user chose may differ."""
        return sorted({each.cell.batch for each in self.timings if each.cell.length == self.length})


def read(results: Path) -> tuple[list[RowSpeed], list[str]]:
    """Every timing under results/bench, if there are any, and a line for each file that is not understood."""
    found, complaints = records(results)
    return timings(found), complaints


def records(results: Path) -> tuple[list[tuple[str, BenchRecord]], list[str]]:
    """Every bench record with its file's name, and a line for each file that is not understood."""
    found, complaints = [], []
    for path in sorted((results / "bench").glob("[!.]*.json")):
        try:
            found.append((path.name, bench_record.load(path)))
        except UserError as error:
            complaints.append(f"{error}: repair or remove it")
    return found, complaints


def timings(found: Sequence[tuple[str, BenchRecord]]) -> list[RowSpeed]:
    """Every timing of a whole model in these records."""
    return [each for _, record in found for each in _timings(record)]


def _timings(record: BenchRecord) -> list[RowSpeed]:
    """The cells that were measured; attention alone is not a model's speed, nor are a task's documents full ones."""
    if record.what not in ("train", "infer") or record.documents:
        return []
    measured = [each for each in summarize(record).cells if each]
    usual = {(each.cell.backend, each.cell.length): each.cell for each in measured if each.cell.label == BASELINE}
    return [_timing(record, each, usual.get((each.cell.backend, each.cell.length))) for each in measured]


def _timing(record: BenchRecord, measured: Measured, usual: Timing | None) -> RowSpeed:
    cell = measured.cell
    return RowSpeed(
        measured=replace(measured, cell=replace(cell, options=defaults(cell.attn) | cell.options)),
        device=f"{device_of(record, cell.backend)}, {record.dtype}, {record.heads} heads of {record.head_dim}",
        what=cast(What, record.what),
        started=record.started,
        over_baseline=ratio(cell, usual).spread.median if usual else None,
    )


def device_of(record: BenchRecord, backend: str) -> str:
    """A GPU's name; a CPU's with what a program may use of it, since machines of one CPU differ in that."""
    facts = record.environment
    device = facts["backends"][backend]["device"]
    if device != "cpu":
        return device
    threads = f", OMP_NUM_THREADS={facts['threads']}" if facts.get("threads") else ""
    return f"cpu ({facts['cpu']}, {record.cores} cores{threads})"


def choose(timings: Sequence[RowSpeed], device: str | None = None) -> Speeds | None:
    """The device (whose name has `device` in it, if given) and then the length that most cells were timed on.

    A cell that was timed again counts once, by its newest timing. Where two devices have as many, the one timed last
    is taken; of two lengths the longer.
    """
    newest = {
        (each.device, *each.mechanism, each.what, each.cell.length): each
        for each in sorted(timings, key=lambda each: each.started)
    }
    by_device: dict[str, list[RowSpeed]] = {}
    for each in newest.values():
        by_device.setdefault(each.device, []).append(each)
    fitting = [name for name in by_device if device is None or device.lower() in name.lower()]
    if device is not None and not fitting:
        known = ", ".join(sorted(by_device)) or "none"
        raise UserError(f"--device {device}: no bench record of it; devices with bench records: {known}")
    if not fitting:
        return None
    chosen = max(fitting, key=lambda name: (len(by_device[name]), max(each.started for each in by_device[name]), name))
    lengths = [each.cell.length for each in by_device[chosen]]
    return Speeds(
        device=chosen,
        length=max(lengths, key=lambda tokens: (lengths.count(tokens), tokens)),
        timings=tuple(by_device[chosen]),
        every=tuple(each for each in timings if each.device == chosen),
        others=tuple(sorted(by_device.keys() - {chosen})),
    )
