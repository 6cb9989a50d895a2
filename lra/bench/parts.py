"""The parts of a benchmark record's open mappings and samples that are always there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from annotated_types import Interval

from lra.core.layout import Count, Holds, Line

# The range of a clock and of a record, so that no quotient of seconds and calls is zero or infinite.
Sample = Annotated[float, Interval(ge=1e-9, le=1e9)]
Calls = Annotated[int, Interval(ge=1, le=1_000_000_000)]


@dataclass(frozen=True, kw_only=True)
class Framework:
    """Known facts about a framework in a record's environment."""

    framework: Line
    """The framework's name and version."""
    device: Line
    """cpu, or the name of the GPU."""


@dataclass(frozen=True, kw_only=True)
class BenchEnvironment:
    """Known facts in a record's environment."""

    backends: dict[str, Annotated[dict[str, Any], Holds(Framework)]]
    cpu: Line
    cores: Count | None
    """Cores of the machine."""
    usable_cores: Count | None = None
    """Cores that the benchmark could use. The first records lack it."""
    threads: Line | None = None
    """The value of OMP_NUM_THREADS."""
    timing: str | None = None
    busy_at_start: bool | None = None
    """The first records have this field and the next one instead of `timing`."""
    load_at_start: float = 0.0
