"""A board as flat records for programs, in CSV or JSON: one for each row; accuracies in per cent, memory in bytes."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

from lra.core.documents import json_document, json_text
from lra.core.markup import in_csv
from lra.leaderboard.page import controls
from lra.scores.board import Board, Cell, Row
from lra.scores.tables import REFERENCES, best_rule, labels, origins, rate


def fields(board: Board, relative_to: str | None = None) -> list[dict[str, Any]]:
    """A record for each row, rules without learning first. With `relative_to`, also differences and speed ratios."""
    bases = {row.backend: row for row in board.rows if row.name == relative_to}
    records = [_reference_fields(board, name) for name in REFERENCES]
    beside = [row for _, row in controls(board)]
    for row, best in zip(board.rows, board.best(), strict=True):
        values: dict[str, Any] = {"preset": board.preset, "attention": row.name, "backend": row.backend}
        values |= {"options": json_text(row.options), "tuned": row.tuned}
        values |= {"elfatt or its control": any(row is each for each in beside)}
        for index, name in enumerate(labels(board)):
            values |= _cell_fields(name, row.cells[index], best[index])
        for index, average in enumerate(board.averages, start=len(board.columns)):
            found = board.estimate(row, index)
            values |= {f"{average.title}: mean": _long(found and found.mean), f"{average.title}: best": best[index]}
        values |= _speed_fields(board, row) | _origin_fields(row)
        base = bases.get(row.backend)
        if relative_to and base:
            values |= _relative_fields(board, row, base, relative_to)
        records.append(values)
    return records


def _reference_fields(board: Board, name: str) -> dict[str, Any]:
    values: dict[str, Any] = {"preset": board.preset, "attention": f"({name})"}
    for label, column in zip(labels(board), board.columns, strict=True):
        key = name if name in column.references else best_rule(column)
        values[f"{label}: mean"] = _long(column.references[key]) if key else None
    return values


def _cell_fields(name: str, cell: Cell | None, best: bool) -> dict[str, Any]:
    values = {
        "mean": cell and _long(cell.mean),
        "std": cell and _long(cell.std),
        "standard error": cell and _long(cell.estimate.error),
        "n": len(cell.runs) if cell else 0,
        "converged": cell and cell.converged,
        "not distinguishable from the best": best if cell else None,
        "parameters": cell and cell.runs[0].parameters,
    }
    return {f"{name}: {key}": value for key, value in values.items()}


def _speed_fields(board: Board, row: Row) -> dict[str, Any]:
    return {
        "training samples/s": _short(rate(row.training)),
        "inference samples/s": _short(rate(row.inference)),
        "peak training memory bytes": row.training.peak_memory_bytes if row.training else None,
        "timed at tokens": board.speeds.length if board.speeds else None,
        "timed on": board.speeds.device if board.speeds else None,
    }


def _origin_fields(row: Row) -> dict[str, str]:
    return {name: "; ".join(values) for name, values in origins(row.runs).items()}


def _relative_fields(board: Board, row: Row, base: Row, relative_to: str) -> dict[str, Any]:
    values = {}
    for index, name in enumerate([*labels(board), *(average.title for average in board.averages)]):
        one, other = board.estimate(row, index), board.estimate(base, index)
        values[f"{name}: difference to {relative_to}"] = _long(one.mean - other.mean) if one and other else None
    for name, mine, usual in (
        ("training", row.training, base.training),
        ("inference", row.inference, base.inference),
    ):
        ratio = mine.samples_per_second / usual.samples_per_second if mine and usual else None
        values[f"{name} speed over {relative_to}"] = _short(ratio)
    return values


def _short(rate_or_ratio: float | None) -> float | None:
    """A number with six digits, more than a clock gives."""
    return None if rate_or_ratio is None else float(f"{rate_or_ratio:.6g}")


def _long(fraction: float | None) -> float | None:
    return None if fraction is None else round(100 * fraction, 3)


def to_csv(records: Sequence[dict[str, Any]]) -> str:
    """Records as CSV. The record with most fields decides the order of columns."""
    names = list(dict.fromkeys(name for each in sorted(records, key=len, reverse=True) for name in each))
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(map(in_csv, names))
    writer.writerows([_csv(each.get(name, "")) for name in names] for each in records)
    return file.getvalue()


def _csv(value: Any) -> Any:
    return in_csv(value) if isinstance(value, str) else value


def to_json(records: Sequence[dict[str, Any]]) -> str:
    """Records as a JSON list."""
    return json_document(records).decode()
