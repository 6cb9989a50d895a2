"""The searches for rates that `tune` wrote under results/tuning, as a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from lra.core.documents import read_json
from lra.core.errors import UserError
from lra.core.layout import Count, Holds, Line, built
from lra.core.markup import in_markdown, pipe_table
from lra.core.tuning import FOLDER

TITLE = "Searches for rates"
ABOUT = """`tune` trained each candidate once, with the same number of steps, and chose by validation accuracy alone.
These runs are shorter than the preset's. So they are in no other table, and the test split was not used. A rate that
is best in a short run need not be best in a long one."""
HEAD = ("task", "mechanism", "framework", "preset", "candidate", "validation %", "best step", "", "budget")


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """The known parts of a candidate. Its other parts are the values of the fields that were searched."""

    validation_accuracy: float | None
    """A fraction; None for a run that failed."""
    best_step: Count | None = None
    run_id: Line | None = None
    failed: str | None = None


@dataclass(frozen=True, kw_only=True)
class Budget:
    """The cost of a search."""

    runs: Count
    steps: Count
    """Of each run."""
    of_steps: Count
    """Of a run of the preset."""
    seed: int


@dataclass(frozen=True, kw_only=True)
class Searched:
    """The file of a choice."""

    task: Line
    attn: Line
    backend: Line
    preset: Line
    budget: Budget
    rule: str
    candidates: list[Annotated[dict[str, Any], Holds(Candidate)]]
    chosen: dict[str, Any]
    """The values of the chosen candidate, by field of Train."""
    config: dict[str, Any]


def read(results: Path) -> tuple[list[Searched], list[str]]:
    """Every search under results/tuning, and a line for each file that cannot be read."""
    found, complaints = [], []
    for path in sorted((results / FOLDER).glob("[!.]*.json")):
        try:
            values = read_json(path)
        except UserError as error:
            complaints.append(f"not the file of a search: {error}: repair or remove it")
            continue
        try:
            found.append(built(Searched, values))
        except UserError as error:
            complaints.append(f"{path} is not the file of a search: {error}: repair or remove it")
    return found, complaints


def section(found: Sequence[Searched]) -> list[str]:
    """The title, the text and the table; nothing without searches."""
    return [f"## {TITLE}", ABOUT, pipe_table(HEAD, _rows(found), left=5)] if found else []


def _rows(found: Sequence[Searched]) -> Iterator[list[str]]:
    for each in found:
        cost = f"{each.budget.runs:,} × {each.budget.steps:,} of {each.budget.of_steps:,} steps"
        names = [each.task, each.attn, each.backend, each.preset]
        for candidate in each.candidates:
            values = {name: candidate.get(name) for name in each.chosen}
            told = ", ".join(f"{name}={value}" for name, value in values.items())
            yield [
                *map(in_markdown, [*names, told]),
                *_scores(candidate),
                "chosen" if values == each.chosen else "",
                in_markdown(cost),
            ]


def _scores(candidate: dict[str, Any]) -> list[str]:
    accuracy = candidate["validation_accuracy"]
    return ["failed", ""] if accuracy is None else [f"{100 * accuracy:.2f}", f"{candidate.get('best_step') or 0:,}"]
