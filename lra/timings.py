"""Speed and memory from bench records, for the tables and plots beside the accuracies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from lra import bench_record
from lra.bench_record import MEASURED, BenchRecord
from lra.config import UserError
from lra.variant import defaults

What = Literal["train", "infer"]


@dataclass(frozen=True, kw_only=True)
class Timing:
    """How fast one mechanism trains or infers in the standard model, at one length on one device."""

    attn: str
    options: dict[str, Any]
    """All of them, those at their defaults too."""
    backend: str
    device: str
    """Its name, and the precision and the heads that are part of the measurement."""
    what: What
    length: int
    """Tokens of a sequence."""
    samples_per_second: float
    peak_memory_bytes: int | None
    started: str
    """When its benchmark began; the newest of several holds."""


@dataclass(frozen=True, kw_only=True)
class Speeds:
    """The timings that share a table's columns: all of one device and of one length."""

    device: str
    length: int
    timings: tuple[Timing, ...]

    def of(self, attn: str, options: dict[str, Any], backend: str, what: What) -> Timing | None:
        """The newest timing of one mechanism with exactly these options."""
        wanted = (attn, options, backend, what)
        fitting = [each for each in self.timings if (each.attn, each.options, each.backend, each.what) == wanted]
        return max(fitting, key=lambda each: each.started, default=None)


def read(results: Path) -> tuple[list[Timing], list[str]]:
    """Every timing under results/bench, if there are any, and a line for each file that is not understood."""
    timings: list[Timing] = []
    complaints = []
    for path in sorted((results / "bench").glob("*.json")):
        try:
            timings += _timings(bench_record.load(path))
        except (UserError, KeyError) as error:
            complaints.append(f"{path} is no bench record ({type(error).__name__}: {error}): mend or remove it")
    return timings, complaints


def _timings(record: BenchRecord) -> list[Timing]:
    """The cells that were measured; attention alone is not a model's speed and is left out."""
    if record.what not in ("train", "infer"):
        return []
    return [_timing(record, cell) for cell in record.cells if cell.status == MEASURED]


def _timing(record: BenchRecord, cell: bench_record.Timing) -> Timing:
    device = record.environment["backends"][cell.backend]["device"]
    named = f"{device} ({record.environment['cpu']})" if device == "cpu" else device
    return Timing(
        attn=cell.attn,
        options=defaults(cell.attn) | cell.options,
        backend=cell.backend,
        device=f"{named}, {record.dtype}, {record.heads} heads of {record.head_dim}",
        what=cast(What, record.what),
        length=cell.length,
        samples_per_second=cell.batch / cell.spread.median,
        peak_memory_bytes=cell.memory_bytes,
        started=record.started,
    )


def choose(timings: Sequence[Timing], device: str | None = None) -> Speeds | None:
    """The device (whose name has `device` in it, if given) and then the length that most timings are of."""
    names = Counter(each.device for each in timings if device is None or device.lower() in each.device.lower())
    if device is not None and not names:
        known = ", ".join(sorted({each.device for each in timings})) or "none"
        raise UserError(f"--device {device}: no bench record of it; devices with bench records: {known}")
    if not names:
        return None
    chosen = max(names, key=lambda name: (names[name], name))
    lengths = Counter(each.length for each in timings if each.device == chosen)
    length = max(lengths, key=lambda tokens: (lengths[tokens], tokens))
    return Speeds(
        device=chosen,
        length=length,
        timings=tuple(each for each in timings if (each.device, each.length) == (chosen, length)),
    )
