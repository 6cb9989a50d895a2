"""The README's table of accuracies, from the committed records: `python -m tests.evidence.table`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from lra.core.environment import ROOT
from lra.scores import board
from lra.scores.tables import grid, markdown

PRESET = "standard"
SHOWN = ("elfatt", "softmax", "efficient", "linear")  # trained in PyTorch with the options of their cards


def table(results: Path = ROOT / "results") -> str:
    """A few rows of the leaderboard's table of `standard`, without speeds and counts."""
    (found,) = (each for each in board.boards(board.read(results)[0], speeds=None) if each.preset == PRESET)
    whole = grid(found, [(row.name, row) for row in found.rows if row.name in SHOWN and row.backend == "torch"])
    kept = 2 + len(found.columns) + len(found.averages)
    rows = tuple(row[:kept] for row in whole.rows)
    return f"**{whole.title}**\n\n{markdown(replace(whole, head=whole.head[:kept], rows=rows))}"


if __name__ == "__main__":
    print(table())
