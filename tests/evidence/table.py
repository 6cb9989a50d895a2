"""The README's table of accuracies, from the committed records: `python -m tests.evidence.table`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from lra.core.config import from_dict
from lra.core.environment import ROOT
from lra.core.identity import run_id
from lra.scores import board
from lra.scores.tables import grid, markdown
from lra.training.record import Record

PRESET = "standard"
SHOWN = ("elfatt", "softmax", "efficient", "linear")  # trained in PyTorch with the options of their cards


def table(results: Path = ROOT / "results") -> str:
    """A few rows of the leaderboard's table of `standard`, without speeds and counts."""
    (found,) = (each for each in board.boards(board.read(results)[0], speeds=None) if each.preset == PRESET)
    whole = grid(found, [(row.name, row) for row in found.rows if row.name in SHOWN and row.backend == "torch"])
    kept = 2 + len(found.columns) + len(found.averages)
    rows = tuple(row[:kept] for row in whole.rows)
    return f"**{whole.title}**\n\n{markdown(replace(whole, head=whole.head[:kept], rows=rows))}"


def shown_records(results: Path = ROOT / "results") -> list[Record]:
    """The records behind these tables, but for those of an older revision, which no command makes again."""
    found = board.boards(board.read(results)[0], speeds=None)
    records = [run for each in found if each.kind == each.preset for row in each.rows for run in row.runs]
    return [each for each in records if _of_today(each)]


def _of_today(each: Record) -> bool:
    """Whether the code has the revisions that made it: its configuration has its id."""
    run = from_dict(each.config, each.run_id)
    return run_id(run, each.data_hash) == each.run_id


if __name__ == "__main__":
    print(table())
