"""The parts of a record's open mappings that are always there. Tables, plots and pages read them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from lra.core.layout import Holds, Line, Matches
from lra.core.tuning import SPELLING

Values = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Data:
    """Known parts of a configuration's data."""

    source: Line = "official"
    """Tasks with a single source have no such field."""


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """Known parts of a configuration."""

    data: Annotated[Values, Holds(Data)]
    options: Values
    model: Values
    train: Values
    tuned: Annotated[str, Matches(SPELLING)] = ""
    """The search that chose the rates: the grid, the steps and the seed of its runs. Missing: no search."""


@dataclass(frozen=True, kw_only=True)
class RunEnvironment:
    """Known facts about the machine and the framework."""

    device: Line
    """cpu, or the name of the GPU."""
    framework: Line
    """The framework's name and version."""
    cpu: Line | None = None


@dataclass(frozen=True, kw_only=True)
class Git:
    """Known facts about the code's commit."""

    commit: Line | None
    clean: bool | None
