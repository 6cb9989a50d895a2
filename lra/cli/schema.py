"""The command `schema`: writes the layout of a record as JSON Schema, for other programs."""

from __future__ import annotations

from dataclasses import dataclass

from lra.core.environment import RESULTS
from lra.terminal.arguments import Where
from lra.training.record_schema import write

DESCRIPTION = "Write the layout of a record as JSON Schema."


@dataclass(frozen=True, kw_only=True)
class SchemaFlags:
    """The arguments of the command."""

    results: Where = RESULTS
    """The folder in which record.schema.json is written."""


def schema(flags: SchemaFlags) -> int:
    """Write the file and print its path. Returns the exit code."""
    print(write(flags.results))
    return 0
