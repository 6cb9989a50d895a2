"""Speed and memory from bench records, for the tables and plots beside the accuracies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lra import bench_record
from lra.bench_record import MEASURED, BenchRecord
from lra.config import UserError

What = Literal["train", "infer"]


@dataclass(frozen=True, kw_only=True)
class Timing:
    """How fast one mechanism trains or infers at one length, alone on one device."""

    attn: str
    options: dict[str, Any]
    backend: str
    device: str
    what: What
    length: int
    """Tokens of a sequence."""
    samples_per_second: float
    peak_memory_bytes: int


@dataclass(frozen=True, kw_only=True)
class Speeds:
    """The timings that share a table's columns: all of one device and of one length."""

    device: str
    length: int
    timings: tuple[Timing, ...]

    def of(self, attn: str, options: dict[str, Any], backend: str, what: What) -> Timing | None:
        """The timing of one mechanism; options it does not mention do not count."""
        for each in self.timings:
            known = all(options.get(name) == value for name, value in each.options.items())
            if (each.attn, each.backend, each.what) == (attn, backend, what) and known:
                return each
        return None


def read(results: Path) -> tuple[list[Timing], list[str]]:
    """Every timing under results/bench, if there are any, and a line for each file that is not understood."""
    timings: list[Timing] = []
    complaints = []
    for path in sorted((results / "bench").glob("*.json")):
        try:
            timings += _timings(bench_record.load(path))
        except UserError as error:
            complaints.append(f"{error}: mend or remove it")
    return timings, complaints


def _timings(record: BenchRecord) -> list[Timing]:
    """The cells that were measured; attention alone is not a model's speed and is left out."""
    if record.what not in ("train", "infer"):
        return []
    return [
        Timing(
            attn=cell.attn,
            options=cell.options,
            backend=cell.backend,
            device=record.device,
            what=record.what,
            length=cell.length,
            samples_per_second=cell.batch / cell.spread.median,
            peak_memory_bytes=cell.memory_bytes or 0,
        )
        for cell in record.cells
        if cell.status == MEASURED
    ]


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
