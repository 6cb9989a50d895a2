"""Speed and memory from bench records, for the tables and plots beside the accuracies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

from lra.bench import record as bench_record
from lra.bench.record import OUT_OF_MEMORY, BenchRecord, Timing
from lra.bench.summary import BASELINE, Measured, ratio, summarize
from lra.core.errors import UserError
from lra.scores.overrides import defaults

What = Literal["train", "infer"]


@dataclass(frozen=True, kw_only=True)
class TimedCell:
    """One mechanism in the standard model, in training or inference, at one length on one device.

    It was measured if it is a RowSpeed; else it ran out of memory.
    """

    cell: Timing
    """The kind of step. It has all options, also those at their defaults."""
    device: str
    """The device's name, with the threads, precision and heads of the measurement."""
    what: What
    started: str
    """The start of the benchmark. The newest of several timings counts."""
    commit: str | None
    """The commit of the code that was timed, or None where Git did not tell."""

    @property
    def mechanism(self) -> tuple[str, str, str]:
        """A key that timings of one mechanism, its options and one backend share."""
        return self.cell.attn, repr(sorted(self.cell.options.items())), self.cell.backend


@dataclass(frozen=True, kw_only=True)
class RowSpeed(TimedCell):
    """The timing of one mechanism."""

    measured: Measured
    """The figures of the cell."""
    over_baseline: float | None
    """Speed relative to softmax in the same record, backend and length: the median over paired rounds."""

    @property
    def samples_per_second(self) -> float:
        """Examples per second, by the median."""
        return self.measured.examples_per_second

    @property
    def peak_memory_bytes(self) -> int | None:
        """Peak memory of the whole batch in bytes."""
        return self.cell.memory_bytes


@dataclass(frozen=True, kw_only=True)
class Speeds:
    """The timings of one device: one for each mechanism, kind of step and length."""

    device: str
    length: int
    """The length in tokens for tables and plots that show one length."""
    timings: tuple[RowSpeed, ...]
    every: tuple[RowSpeed, ...]
    """All timings of the device, also those that a newer one replaces."""
    exhausted: tuple[TimedCell, ...] = ()
    """Cells that ran out of memory when they were last timed."""
    others: tuple[str, ...] = ()
    """Other devices with timings."""

    def of(self, attn: str, options: dict[str, Any], backend: str, what: What) -> RowSpeed | None:
        """The timing of one mechanism with exactly these options, at the length shown."""
        wanted = (attn, options, backend, what, self.length)
        for each in self.timings:
            cell = each.cell
            if (cell.attn, cell.options, cell.backend, each.what, cell.length) == wanted:
                return each
        return None

    def batches(self) -> list[int]:
        """The batch sizes at the length shown. They may differ, since users can choose them."""
        return sorted({each.cell.batch for each in self.timings if each.cell.length == self.length})


def read(results: Path) -> tuple[list[TimedCell], list[str]]:
    """Every timing under results/bench, and a line for each file that cannot be read."""
    found, complaints = records(results)
    return timings(found), complaints


def records(results: Path) -> tuple[list[tuple[str, BenchRecord]], list[str]]:
    """Every bench record with its file name, and a line for each file that cannot be read."""
    found, complaints = [], []
    for path in sorted((results / "bench").glob("[!.]*.json")):
        try:
            found.append((path.name, bench_record.load(path)))
        except UserError as error:
            complaints.append(f"{error}: repair or remove it")
    return found, complaints


def timings(found: Sequence[tuple[str, BenchRecord]]) -> list[TimedCell]:
    """Every timing of the standard model in these records, and every cell of it that ran out of memory."""
    return [each for _, record in found for each in _timings(record)]


def _timings(record: BenchRecord) -> list[TimedCell]:
    """The cells of the standard model on full documents, without those of attention alone."""
    if record.what not in ("train", "infer") or record.documents:
        return []
    figures = summarize(record).cells
    usual = {
        (each.cell.backend, each.cell.length): each.cell for each in figures if each and each.cell.label == BASELINE
    }
    found = []
    for cell, measured in zip(record.cells, figures, strict=True):
        if measured or cell.status == OUT_OF_MEMORY:
            found.append(_timed(record, cell, measured, usual.get((cell.backend, cell.length))))
    return found


def _timed(record: BenchRecord, cell: Timing, measured: Measured | None, usual: Timing | None) -> TimedCell:
    whole = replace(cell, options=defaults(cell.attn) | cell.options)
    commit = record.git.get("commit")
    timed = TimedCell(
        cell=whole,
        device=f"{device_of(record, cell.backend)}, {record.dtype}, {record.heads} heads of {record.head_dim}",
        what=cast(What, record.what),
        started=record.started,
        commit=commit if isinstance(commit, str) else None,
    )
    if measured is None:
        return timed
    over = ratio(cell, usual).spread.median if usual else None
    return RowSpeed(**vars(timed), measured=replace(measured, cell=whole), over_baseline=over)


def device_of(record: BenchRecord, backend: str) -> str:
    """The name of the GPU; or that of the CPU with its usable cores, which differ between machines."""
    facts = record.environment
    device = facts["backends"][backend]["device"]
    if device != "cpu":
        return device
    threads = f", OMP_NUM_THREADS={facts['threads']}" if facts.get("threads") else ""
    return f"cpu ({facts['cpu']}, {record.cores} cores{threads})"


def choose(timings: Sequence[TimedCell], device: str | None = None) -> Speeds | None:
    """The device, and then the length, with most timed cells. With `device`, only devices with this in their names.

    A cell that was timed again counts once, with its newest timing. Of two devices with equal numbers of cells the one
    timed last is chosen; of two lengths the longer.
    """
    newest = {
        (each.device, *each.mechanism, each.what, each.cell.length): each
        for each in sorted(timings, key=lambda each: each.started)
    }
    by_device: dict[str, list[RowSpeed]] = {}
    for each in newest.values():
        if isinstance(each, RowSpeed):
            by_device.setdefault(each.device, []).append(each)
    fitting = [name for name in by_device if device is None or device.lower() in name.lower()]
    if device is not None and not fitting:
        known = ", ".join(sorted(by_device)) or "none"
        raise UserError(f"--device {device}: no bench record of it: choose one of {known}")
    if not fitting:
        return None
    chosen = max(fitting, key=lambda name: (len(by_device[name]), max(each.started for each in by_device[name]), name))
    lengths = [each.cell.length for each in by_device[chosen]]
    return Speeds(
        device=chosen,
        length=max(lengths, key=lambda tokens: (lengths.count(tokens), tokens)),
        timings=tuple(by_device[chosen]),
        every=tuple(each for each in timings if each.device == chosen and isinstance(each, RowSpeed)),
        exhausted=tuple(each for each in newest.values() if each.device == chosen and not isinstance(each, RowSpeed)),
        others=tuple(sorted(by_device.keys() - {chosen})),
    )
