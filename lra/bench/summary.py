"""Every figure that follows from a benchmark's record, computed once. Tables, terminal and plots only render it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from lra.bench.record import MEASURED, BenchRecord, Timing
from lra.bench.statistics import Crossover, Curve, Spread, crossover, spread, unstable

BASELINE = "softmax"  # the mechanism of crossovers


@dataclass(frozen=True, kw_only=True)
class Ceilings:
    """The ceilings of the device, by the fastest framework's median; None if not measured."""

    product: float | None = None
    """FLOP/s of the large matrix product."""
    copy: float | None = None
    """Bytes/s of the large copy."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The figures of one measured cell; None if unknown."""

    cell: Timing
    ceilings: Ceilings = Ceilings()

    @cached_property
    def step(self) -> Spread:
        """Seconds of one step."""
        return spread(step_seconds(self.cell))

    @property
    def example(self) -> Spread:
        """Seconds of one example."""
        step, batch = self.step, self.cell.batch
        return Spread(median=step.median / batch, low=step.low / batch, high=step.high / batch)

    @property
    def example_bytes(self) -> float | None:
        """Peak bytes per example of the batch; None if no memory was measured."""
        return self.cell.memory_bytes / self.cell.batch if self.cell.memory_bytes else None

    @property
    def examples_per_second(self) -> float:
        """Examples per second, by the median."""
        return self.cell.batch / self.step.median

    @property
    def flop_per_second(self) -> float | None:
        """Operations per second, by the median."""
        return None if self.cell.flop is None else self.cell.flop / self.step.median

    @property
    def bytes_per_second(self) -> float | None:
        """Bytes per second, by the median."""
        return None if self.cell.bytes is None else self.cell.bytes / self.step.median

    @property
    def share_of_product(self) -> float | None:
        """Operations per second as a share of the large matrix product's."""
        return _over(self.flop_per_second, self.ceilings.product)

    @property
    def share_of_copy(self) -> float | None:
        """Bytes per second as a share of the large copy's."""
        return _over(self.bytes_per_second, self.ceilings.copy)

    @property
    def share_of_limit(self) -> float | None:
        """The greater of both shares: the distance to the nearer ceiling."""
        shares = [share for share in (self.share_of_product, self.share_of_copy) if share is not None]
        return max(shares, default=None)

    @property
    def warnings(self) -> list[str]:
        """The reasons why the samples may be unstable, by pyperf's rules."""
        return unstable(step_seconds(self.cell), shortest=min(self.cell.samples))


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """How many times as fast the first is as the second, round by round of one benchmark."""

    first: str
    second: str
    length: int
    rounds: list[float]
    shape: str = ""
    """The length, as in a cell."""

    @property
    def spread(self) -> Spread:
        """Median and quartiles over the rounds."""
        return spread(self.rounds)


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """The growth of one mechanism's time and memory with length, in one framework."""

    cells: tuple[Measured, ...]
    """The figures by length, at least one."""
    crossover: Crossover | None
    """The crossing with the baseline in the same framework. None for the baseline, and without a common length."""

    @property
    def cell(self) -> Timing:
        """The first cell, for the common values: mechanism, options, framework."""
        return self.cells[0].cell

    @property
    def shapes(self) -> dict[int, str]:
        """The names of lengths that are shapes."""
        return {each.cell.length: each.cell.shape for each in self.cells if each.cell.shape}

    @cached_property
    def time(self) -> Curve:
        """Seconds of one example."""
        return _time(self.cells)

    @cached_property
    def memory(self) -> Curve:
        """Bytes of one example, without lengths whose memory was not measured."""
        known = [(each.cell.length, each.example_bytes) for each in self.cells]
        seen = [(length, value) for length, value in known if value is not None]
        return Curve(lengths=tuple(length for length, _ in seen), values=tuple(value for _, value in seen))


@dataclass(frozen=True, kw_only=True)
class Summary:
    """All figures of one record."""

    record: BenchRecord
    ceilings: Ceilings
    cells: tuple[Measured | None, ...]
    """Figures for each cell of the record; None for cells that were not measured."""
    references: tuple[Measured | None, ...]
    """Figures for each ceiling likewise."""
    ratios: tuple[Ratio, ...]
    scalings: tuple[Scaling, ...]
    """The growth of each measured mechanism in each framework."""


def summarize(record: BenchRecord) -> Summary:
    """The figures of a record."""
    references = tuple(_measured(cell) for cell in record.ceilings)
    limits = _ceilings([each for each in references if each])
    cells = tuple(_measured(cell, limits) for cell in record.cells)
    series: dict[tuple[str, str], list[Measured]] = {}
    for each in sorted((each for each in cells if each), key=lambda each: each.cell.length):
        series.setdefault((each.cell.label, each.cell.backend), []).append(each)
    usual = {backend: these for (label, backend), these in series.items() if label == BASELINE}
    return Summary(
        record=record,
        ceilings=limits,
        cells=cells,
        references=references,
        ratios=tuple(ratios(record)),
        scalings=tuple(scaling(these, usual) for these in series.values()),
    )


def scaling(cells: Sequence[Measured], baselines: Mapping[str, Sequence[Measured]]) -> Scaling:
    """The growth of one mechanism in one framework, by increasing length; `baselines` has the baseline's times."""
    theirs = baselines.get(cells[0].cell.backend)
    other = theirs is not None and theirs is not cells
    found = crossover(_time(cells), _time(theirs)) if theirs and other else None
    return Scaling(cells=tuple(cells), crossover=found)


def ratios(record: BenchRecord) -> list[Ratio]:
    """The ratio of each pair at each length, within each framework; or of each mechanism between two frameworks."""
    found = []
    measured = [cell for cell in record.cells if cell.status == MEASURED]
    for first, second in record.compare:
        for one in measured:
            for other in measured:
                across = (one.backend, other.backend) == (first, second) and one.label == other.label
                within = (one.label, other.label) == (first, second) and one.backend == other.backend
                if one.length == other.length and (across or within):
                    found.append(ratio(one, other))
    return found


def ratio(one: Timing, other: Timing) -> Ratio:
    """The ratio of two measured cells at one length. After a stop, the last round may have the first cell alone."""
    names = [f"{cell.label} ({cell.backend})" for cell in (one, other)]
    rounds = [b / a for a, b in zip(step_seconds(one), step_seconds(other), strict=False)]
    return Ratio(first=names[0], second=names[1], length=one.length, shape=one.shape, rounds=rounds)


def step_seconds(cell: Timing) -> list[float]:
    """Seconds of one step, sample by sample."""
    return [sample / (calls * cell.steps) for sample, calls in zip(cell.samples, cell.calls, strict=True)]


def parity_error(cell: Timing) -> float | None:
    """The greater of a cell's two errors against the reference."""
    return max(cell.parity["output"], cell.parity["gradient"]) if cell.parity else None


def _measured(cell: Timing, limits: Ceilings | None = None) -> Measured | None:
    return Measured(cell=cell, ceilings=limits or Ceilings()) if cell.status == MEASURED else None


def _ceilings(cells: Sequence[Measured]) -> Ceilings:
    products = [each.flop_per_second or 0 for each in cells if each.cell.label == "product"]
    copies = [each.bytes_per_second or 0 for each in cells if each.cell.label == "copy"]
    return Ceilings(product=max(products, default=0) or None, copy=max(copies, default=0) or None)


def _time(cells: Sequence[Measured]) -> Curve:
    times = [each.example for each in cells]
    return Curve(
        lengths=tuple(each.cell.length for each in cells),
        values=tuple(each.median for each in times),
        low=tuple(each.low for each in times),
        high=tuple(each.high for each in times),
    )


def _over(value: float | None, ceiling: float | None) -> float | None:
    return None if value is None or ceiling is None else value / ceiling
