"""The data of the HTML page as plain values, from boards and records."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

from docstring_parser import parse_from_object

import attention_impls
import tasks
from attention_impls.__main__ import costs
from lra.leaderboard.page import about_speeds, controls, facts
from lra.plotting.figures import Growth, Panel, Picture, pareto, pictures
from lra.report.runs import Values, named
from lra.scores.beside import beside, grid
from lra.scores.board import FOREIGN, GENERATED, OFFICIAL, Board, Cell, Column, Row
from lra.scores.published import Table
from lra.scores.significance import Estimate
from lra.scores.speeds import Speeds
from lra.scores.tables import NO_RULE, Grid, best_rule, heading, labels, parameters, rate
from lra.scores.throughput import ABOUT, TITLE, throughput
from lra.training.record import Record

ORIGINS = {
    OFFICIAL: "Official data",
    GENERATED: "Generated, not the release",
    FOREIGN: "Not an official set",
}


def board_values(board: Board, runs: Mapping[str, Record], tables: Sequence[Table]) -> Values:
    """One preset's table. Columns are grouped by the origin of their data."""
    names = {id(each): identity for identity, each in runs.items()}
    order = sorted(range(len(board.columns)), key=lambda i: [*ORIGINS].index(board.columns[i].origin))
    columns = [board.columns[i] for i in order]
    best = {id(row): marks for row, marks in zip(board.rows, board.best(), strict=True)}
    spans = {origin: sum(column.origin == origin for column in columns) for origin in ORIGINS}
    return {
        "preset": board.preset,
        "title": heading(board),
        "groups": [(ORIGINS[origin], span) for origin, span in spans.items() if span],
        "columns": [_column(board.columns[i], labels(board)[i]) for i in order],
        "averages": [average.title for average in board.averages],
        "length": board.speeds.length if board.speeds else None,
        "references": [_reference(columns, name) for name in (*NO_RULE, "best trivial rule")],
        "rows": [{"title": ""} | _row(board, row, order, best[id(row)], names) for row in board.rows],
        "controls": [
            {"title": title} | (_row(board, row, order, best[id(row)], names) if row else {})
            for title, row in controls(board)
        ],
        "beside": _printed(grid(near)) if (near := beside(board, tables)) else None,
        "facts": facts(board),
    }


def throughput_values(speeds: Speeds) -> Values:
    """The table of speeds, and the text above it."""
    return {"title": TITLE, "about": (ABOUT, about_speeds(speeds)), "printed": _printed(throughput(speeds))}


def published_values(table: Table) -> Values:
    """A published table for the page."""
    return {"head": ("model", *table.columns), "rows": [(name, *cells) for name, cells in table.rows.items()]}


def _printed(table: Grid) -> Values:
    return {"head": table.head, "rows": [[cell.text for cell in row] for row in table.rows]}


def _column(column: Column, label: str) -> Values:
    about = label.partition("): ")[2]
    return {
        "task": column.task,
        "title": tasks.load(column.task).title,
        "about": f"v{column.version}: {about}",
        "data": column.data_hash[:8],
    }


def _reference(columns: Sequence[Column], name: str) -> Values:
    keys = [name if name in column.references else best_rule(column) for column in columns]
    cells = [
        {"text": f"{100 * column.references[key]:.1f}", "rule": key if key not in NO_RULE else ""} if key else None
        for key, column in zip(keys, columns, strict=True)
    ]
    return {"name": name, "cells": cells}


def _row(board: Board, row: Row, order: Sequence[int], best: Sequence[bool], names: Mapping[int, str]) -> Values:
    averages = range(len(board.columns), len(board.columns) + len(board.averages))
    places = [*order, *averages]
    cells = [row.cells[i] if i < len(board.columns) else None for i in places]
    estimates = [board.estimate(row, i) for i in places]
    left = sum(cell.converged for cell in row.cells if cell)
    memory = row.training.peak_memory_bytes if row.training else None
    return {
        **named(row.attn, [*row.words, *filter(None, [row.tuned])]),
        "backend": row.backend,
        "cells": [_cell(cell, found, best[i], names) for cell, found, i in zip(cells, estimates, places, strict=True)],
        "converged": f"{left} of {len(row.runs)}",
        "left": left / len(row.runs),
        "parameters": parameters(row),
        "most": max(run.parameters for run in row.runs),
        "speeds": [rate(row.training), rate(row.inference), memory and memory / 1e6],
    }


def _cell(cell: Cell | None, estimate: Estimate | None, best: bool, names: Mapping[int, str]) -> Values | None:
    if estimate is None:
        return None
    single = cell is not None and math.isinf(estimate.freedom)
    error = estimate.error if cell is None or single else cell.std or 0.0
    values = {
        "value": round(100 * estimate.mean, 4),
        "mean": f"{100 * estimate.mean:.1f}",
        "error": f"{100 * error:.1f}",
        "single": single,
        "best": best,
        "count": len(cell.runs) if cell else 0,
        "note": "",
        "run": None,
    }
    if cell and cell.converged < len(cell.runs):
        values["note"] = f"converged {cell.converged} of {len(cell.runs)}"
    return values | ({"run": names[id(cell.runs[0])]} if cell else {})


def picture_values(boards: Sequence[Board], growths: Sequence[Picture]) -> list[Values]:
    """Every plot of the Markdown page, with the task of each panel for the filters."""
    found = []
    for board in boards:
        named = dict(zip(labels(board), board.columns, strict=True))
        curves = iter(board.columns)
        for picture in pictures([board]):
            column = next(curves) if picture.kind == "curves" else None
            panels = [
                _rounded(asdict(panel))
                | {"task": (column or named[panel.title]).task if column or panel.title in named else ""}
                | {"front": [panel.points.index(point) for point in pareto(panel.points)]}
                for panel in picture.panels
            ]
            found.append(_picture(picture, column) | {"panels": panels})
    return found + [_picture(each, None) | {"panels": [_grown(panel) for panel in each.panels]} for each in growths]


def _grown(panel: Panel) -> Values:
    """A panel of times or memory with four significant digits."""

    def digits(each: Growth) -> Values:
        shown = {name: getattr(each, name) for name in ("values", "low", "high", "crossing")}
        return {name: numbers and [float(f"{x:.4g}") for x in numbers] for name, numbers in shown.items()}

    short = [asdict(each) | digits(each) for each in panel.growths]
    return {"title": panel.title, "task": "", "growths": short}


def _picture(picture: Picture, column: Column | None) -> Values:
    kept = {name: getattr(picture, name) for name in ("kind", "name", "preset", "title", "caption", "speed_label")}
    return kept | {"about": f"{column.task} v{column.version} ({column.origin}): {column.data}" if column else ""}


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_rounded(each) for each in value]
    return round(value, 1) if isinstance(value, float) else value


def mechanism_values() -> list[Values]:
    """A card for each mechanism. Counting parameters draws them, which takes 300 MB for a moment."""
    found = []
    for name in attention_impls.names():
        mechanism = attention_impls.load(name)
        card = mechanism.card
        defaults, told = card.options(), _told(card.options)
        laws = {law.name: getattr(card.laws, law.name) for law in fields(card.laws)}
        found.append(
            {
                "name": name,
                "card": card,
                "papers": [str(paper) for paper in card.papers] or [str(card.paper)],
                "bibtex": "\n\n".join(paper.bibtex() for paper in card.papers),
                "equations": card.formulas,
                "costs": costs(mechanism),
                "backends": mechanism.backends,
                "options": [(f.name, repr(getattr(defaults, f.name)), told.get(f.name, "")) for f in fields(defaults)],
                "laws": [
                    (law.replace("_", " "), _told(type(card.laws))[law], "" if reason is True else reason)
                    for law, reason in laws.items()
                ],
                "equalities": list(dict.fromkeys(each.why for each in card.equals_softmax_when)),
            }
        )
    return found


def _told(kind: type) -> dict[str, str]:
    """The docstring of each field of a dataclass."""
    return {each.arg_name: each.description or "" for each in parse_from_object(kind).params}
