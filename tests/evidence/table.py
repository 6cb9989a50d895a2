"""The README's table of accuracies, from the committed records: `python -m tests.evidence.table`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from lra.core.environment import ROOT
from lra.scores import board
from lra.scores.board import Board
from lra.scores.tables import grid, markdown


def tables(results: Path = ROOT / "results") -> str:
    """For each preset's current version the leaderboard's table without what was not trained: speeds and counts."""
    found = board.boards(board.read(results)[0], speeds=None)
    return "\n\n".join(_table(each) for each in found if each.kind == each.preset)


def _table(each: Board) -> str:
    whole = grid(each)
    kept = 2 + len(each.columns) + len(each.averages)
    rows = tuple(row[:kept] for row in whole.rows)
    return f"**{whole.title}**\n\n{markdown(replace(whole, head=whole.head[:kept], rows=rows))}"


if __name__ == "__main__":
    print(tables())
