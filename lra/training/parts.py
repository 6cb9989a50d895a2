"""What the open mappings of a record hold for certain: tables, plots and pages read these parts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from lra.core.layout import Holds, Line, Matches
from lra.core.tuning import SPELLING

Values = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Data:
    """Of a configuration's data."""

    source: Line = "official"
    """A task that has one source only has no such field."""


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """Of a configuration."""

    data: Annotated[Values, Holds(Data)]
    options: Values
    model: Values
    train: Values
    tuned: Annotated[str, Matches(SPELLING)] = ""
    """The search that chose the rates: the grid, the steps and the seed of its runs; none: there was none."""


@dataclass(frozen=True, kw_only=True)
class RunEnvironment:
    """Of the machine and the framework."""

    device: Line
    """cpu, or a GPU's name."""
    framework: Line
    """Its name and version."""
    cpu: Line | None = None


@dataclass(frozen=True, kw_only=True)
class Git:
    """Of where the code came from."""

    commit: Line | None
    clean: bool | None
