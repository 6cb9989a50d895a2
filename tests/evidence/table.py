"""The README's tables of runs, from the committed records: `python -m tests.evidence.table`."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

from lra import record
from lra.environment import ROOT
from lra.record import Record

HEAD = ("attention", "backend", "seed", "test accuracy % ± s.e.", "parameters")


def tables(results: Path = ROOT / "results") -> str:
    """For each task, preset and data a Markdown table with one row a record, by attention."""
    records = sorted((record.load(path) for path in (results / "runs").glob("*.json")), key=_order)
    return "\n\n".join(_table(title, list(group)) for title, group in groupby(records, key=_title))


def _table(title: str, records: list[Record]) -> str:
    lines = ", ".join(f"{name} {100 * accuracy:.1f}" for name, accuracy in records[0].references.items())
    rows = [HEAD, ("---",) * len(HEAD), *(_row(each) for each in records)]
    body = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return f"**{title}.** Without learning: {lines} %.\n\n{body}"


def _title(each: Record) -> str:
    return f"{each.task}, {each.preset}: {each.data}"


def _order(each: Record) -> tuple[str, str, str, int]:
    return _title(each), _attention(each), each.backend, each.seed


def _attention(each: Record) -> str:
    """The mechanism, and what its command line sets beside the preset."""
    words = each.command.split()
    return " ".join([each.attn, *words[words.index("--seed") + 2 :]])


def _row(each: Record) -> tuple[str, ...]:
    return (
        f"`{_attention(each)}`",
        each.backend,
        str(each.seed),
        f"{100 * each.test_accuracy:.1f} ± {100 * each.standard_error:.1f}{' (at chance)' if each.at_chance else ''}",
        f"{each.parameters:,}",
    )


if __name__ == "__main__":
    print(tables())
