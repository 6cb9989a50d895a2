"""What the open mappings and the samples of a benchmark's record hold for certain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from annotated_types import Interval

from lra.core.layout import Count, Holds, Line

# What a clock can tell and a record can hold; so no quotient of seconds and calls is zero or infinite.
Sample = Annotated[float, Interval(ge=1e-9, le=1e9)]
Calls = Annotated[int, Interval(ge=1, le=1_000_000_000)]


@dataclass(frozen=True, kw_only=True)
class Framework:
    """What a record's environment tells of a framework, among other things."""

    framework: Line
    """Its name and version."""
    device: Line
    """cpu, or a GPU's name."""


@dataclass(frozen=True, kw_only=True)
class BenchEnvironment:
    """What a record's environment holds, among other things."""

    backends: dict[str, Annotated[dict[str, Any], Holds(Framework)]]
    cpu: Line
    cores: Count | None
    """Of the machine."""
    usable_cores: Count | None = None
    """Those that it could use; newer than the first records."""
    threads: Line | None = None
    """OMP_NUM_THREADS."""
    timing: str | None = None
    busy_at_start: bool | None = None
    """The first records have this and the next in the place of `timing`."""
    load_at_start: float = 0.0
