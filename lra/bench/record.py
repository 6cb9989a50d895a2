"""What one benchmark leaves behind: every sample it took, and the figures that follow from them."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Ge, Interval, Len

from lra.bench.parts import BenchEnvironment, Calls, Sample
from lra.core.config import BackendName
from lra.core.documents import json_document, read_json
from lra.core.errors import UserError
from lra.core.files import write_atomically, write_new
from lra.core.layout import Count, Holds, Line, Whole, built

SCHEMA = 1
What = Literal["attend", "train", "infer"]
Status = Literal["measured", "out of memory", "unequal", "failed", "stopped"]
MEASURED: Status = "measured"
OUT_OF_MEMORY: Status = "out of memory"
UNEQUAL: Status = "unequal"
FAILED: Status = "failed"
STOPPED: Status = "stopped"

# pyperf's rules for results that may be unstable.
SPREAD = 0.1  # standard deviation over mean
OUTLIER = 0.5  # distance of an extreme sample from the mean, over the mean
SHORTEST = 1e-3  # seconds of a raw sample


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Median and quartiles."""

    median: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Timing:
    """One cell, or one ceiling of the device."""

    label: Line
    """The mechanism with the options that differ from its card's; "product" or "copy" for a ceiling."""
    attn: Line
    options: dict[str, Any]
    backend: BackendName
    length: Whole
    batch: Whole
    steps: Calls
    """Training steps, forward passes or attention calls in one call of the backend."""
    status: Status
    """measured; out of memory; unequal, to the mechanism's reference; failed; stopped, before a sample was taken."""
    why: str
    """What went wrong, in one line."""
    parity: dict[str, Annotated[float, Ge(0)]]
    """Greatest errors of output and gradient against the reference, what is allowed, and the seconds it took."""
    first_seconds: Annotated[float, Ge(0)] | None
    """The first call, compilation and autotuning included."""
    samples: list[Sample]
    """Seconds of each sample as measured, one a round, in the order of the rounds."""
    calls: list[Calls]
    """Calls of the backend in each sample."""
    memory_bytes: Whole | None
    """Peak while it ran: of the allocator on a GPU, above the start on a CPU."""
    flop: Whole | None
    """Operations of one step, counted as in lra.bench.operations."""
    bytes: Whole | None
    """Bytes of one step, counted likewise."""

    @property
    def seconds(self) -> list[float]:
        """Seconds of one step, sample by sample."""
        return [sample / (calls * self.steps) for sample, calls in zip(self.samples, self.calls, strict=True)]

    @property
    def spread(self) -> Spread:
        """Median and quartiles of one step's seconds."""
        return spread(self.seconds)

    @property
    def parity_error(self) -> float | None:
        """The greater of the two errors against the reference."""
        return max(self.parity["output"], self.parity["gradient"]) if self.parity else None

    @property
    def warnings(self) -> list[str]:
        """Why the samples may not be trusted, by pyperf's rules."""
        return unstable(self.seconds, shortest=min(self.samples))


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """How many times as fast the first is as the second, round by round of one run."""

    first: str
    second: str
    length: int
    rounds: list[float]

    @property
    def spread(self) -> Spread:
        """Median and quartiles over the rounds."""
        return spread(self.rounds)


@dataclass(frozen=True, kw_only=True)
class BenchRecord:
    """One run of `bench`."""

    schema: Annotated[int, Interval(ge=SCHEMA, le=SCHEMA)]
    started: Line
    """UTC, ISO 8601."""
    complete: bool
    """False while it runs, and where it was stopped."""
    what: What
    device: Line
    dtype: Line
    heads: Count
    head_dim: Count
    dropout: Annotated[float, Interval(ge=0, lt=1)]
    seed: Whole
    """Of the inputs, of the weights, and of the order in which cells are woken."""
    cells: list[Timing]
    ceilings: list[Timing]
    compare: list[Annotated[list[str], Len(2, 2)]]
    """Pairs of labels, or of backends."""
    environment: Annotated[dict[str, Any], Holds(BenchEnvironment)]
    git: dict[str, Any]
    command: str

    @property
    def cores(self) -> int:
        """Cores that it could use; of the whole machine in records from before that was noted."""
        return self.environment.get("usable_cores") or self.environment["cores"] or 0

    def ratios(self) -> list[Ratio]:
        """Each pair at each length, within each framework; or each mechanism between two frameworks."""
        found = []
        measured = [cell for cell in self.cells if cell.status == MEASURED]
        for first, second in self.compare:
            for one in measured:
                for other in measured:
                    across = (one.backend, other.backend) == (first, second) and one.label == other.label
                    within = (one.label, other.label) == (first, second) and one.backend == other.backend
                    if one.length == other.length and (across or within):
                        names = [f"{cell.label} ({cell.backend})" for cell in (one, other)]
                        rounds = [b / a for a, b in zip(one.seconds, other.seconds, strict=False)]
                        found.append(Ratio(first=names[0], second=names[1], length=one.length, rounds=rounds))
        return found

    def ceiling(self, kind: str) -> float | None:
        """FLOP/s of the large matrix product, or bytes/s of the large copy: the fastest framework's median."""
        amounts = [
            (each.flop if kind == "product" else each.bytes, each)
            for each in self.ceilings
            if each.label == kind and each.status == MEASURED
        ]
        return max((amount / each.spread.median for amount, each in amounts if amount), default=None)

    def series(self) -> dict[tuple[str, str], list[Timing]]:
        """The measured cells of each (mechanism, backend), by length."""
        found: dict[tuple[str, str], list[Timing]] = {}
        for cell in sorted(self.cells, key=lambda cell: cell.length):
            if cell.status == MEASURED:
                found.setdefault((cell.label, cell.backend), []).append(cell)
        return found


def spread(values: list[float]) -> Spread:
    """Median and quartiles, linear between samples."""
    low, median, high = np.percentile(values, (25, 50, 75))
    return Spread(median=float(median), low=float(low), high=float(high))


def unstable(seconds: list[float], shortest: float) -> list[str]:
    """pyperf's warnings about one step's seconds, and the shortest sample as measured; empty where there is none."""
    if len(seconds) < 2:
        return ["a single sample says nothing about its spread"]
    mean, deviation = float(np.mean(seconds)), float(np.std(seconds, ddof=1))
    found = []
    if deviation >= SPREAD * mean:
        found.append(f"the standard deviation is {deviation / mean:.0%} of the mean")
    for name, value in (("fastest", min(seconds)), ("slowest", max(seconds))):
        if abs(value - mean) >= OUTLIER * mean:
            found.append(f"the {name} sample is {abs(value - mean) / mean:.0%} off the mean")
    if shortest < SHORTEST:
        found.append(f"the shortest sample took {shortest * 1e3:.2g} ms, less than 1 ms")
    return found


def exponent(lengths: list[int], values: list[float]) -> float | None:
    """p of value ∝ length^p by least squares on logarithms; None for fewer than two lengths or a value of zero."""
    if len(lengths) < 2 or min(values) <= 0:
        return None
    return float(np.polyfit(np.log(lengths), np.log(values), 1)[0])


def crossover(ours: dict[int, float], theirs: dict[int, float]) -> tuple[str, float] | None:
    """From which length on `ours` takes less time than `theirs`, given seconds by length.

    ("at", length) where they cross, straight lines between logarithms; ("below", shortest) where ours is faster at
    every common length from there on; ("above", longest) where it is slower at the longest; None without one in common.
    """
    lengths = sorted(ours.keys() & theirs.keys())
    if not lengths:
        return None
    gap = [math.log(ours[n] / theirs[n]) for n in lengths]
    if gap[-1] >= 0:
        return "above", float(lengths[-1])
    if max(gap) < 0:
        return "below", float(lengths[0])
    i = max(place for place, each in enumerate(gap) if each >= 0)
    share = gap[i] / (gap[i] - gap[i + 1])
    return "at", math.exp(math.log(lengths[i]) + share * math.log(lengths[i + 1] / lengths[i]))


def save(record: BenchRecord, path: Path) -> None:
    """Write the record; an earlier state of the same run is replaced. UserError where `load` would refuse it."""
    write_atomically(_content(record), path)


def save_new(record: BenchRecord, path: Path) -> Path:
    """Write a run's first state beside every other record; its path, which has a number where `path` is taken."""
    return write_new(_content(record), path)


def _content(record: BenchRecord) -> bytes:
    try:
        _trusted(asdict(record))
    except UserError as error:
        raise UserError(f"the benchmark's record is not written, it would be none: {error}") from error
    return json_document(asdict(record))


def load(path: Path) -> BenchRecord:
    """Read a record back; one of another layout, or out of range, raises UserError."""
    try:
        values = read_json(path)
    except UserError as error:
        raise UserError(f"no benchmark's record: {error}") from error
    try:
        return _trusted(values)
    except UserError as error:
        raise UserError(f"{path} is no benchmark's record: {error}") from error


def _trusted(values: Any) -> BenchRecord:
    """The record of these values; UserError for the first part that is of another type or range, or does not fit."""
    record = built(BenchRecord, values)
    for number, cell in enumerate((*record.cells, *record.ceilings)):
        where = f"cell {number} ({cell.label})"
        if len(cell.samples) != len(cell.calls) or bool(cell.samples) != (cell.status == MEASURED):
            counts = f"{len(cell.samples)} samples and {len(cell.calls)} calls"
            raise UserError(f"{where} is {cell.status} and has {counts}")
        if cell.status == MEASURED and cell.backend not in record.environment["backends"]:
            raise UserError(f"{where} is of {cell.backend}, of which environment.backends says nothing")
        if number < len(record.cells) and 0 in (cell.length, cell.batch):
            raise UserError(f"{where} has length {cell.length} and batch {cell.batch}, expected at least 1")
        if cell.parity and not {"output", "gradient"} <= cell.parity.keys():
            raise UserError(f"{where} has a parity of {', '.join(cell.parity)}, expected output and gradient")
    return record
