"""Numbers from papers: results/published.yaml, read as printed and never computed with."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import dacite

from lra.core.documents import read_yaml
from lra.core.environment import DATA
from lra.core.errors import UserError

PATH = DATA / "results" / "published.yaml"


@dataclass(frozen=True, kw_only=True)
class Table:
    """One published table. Cells are the source's own digits; "–" where it has none."""

    id: str
    title: str
    citation: str
    protocol: Literal["google", "small", "ssm", "mixed", "unknown"]
    """The family whose numbers these might be compared with."""
    unit: str
    differs: str
    """What keeps its numbers apart from ours and from other tables'."""
    columns: list[str]
    rows: dict[str, list[str]]
    mechanisms: dict[str, str] = field(default_factory=dict)
    """Rows that are a mechanism of ours with its default options, and its name here."""
    notes: list[str] = field(default_factory=list)


def load(path: Path = PATH) -> list[Table]:
    """Every table, in the file's order; UserError names what is wrong with one."""
    blocks = read_yaml(path, as_text=True)  # 58.40 stays 58.40
    try:
        tables = [dacite.from_dict(Table, block, dacite.Config(strict=True)) for block in blocks]
    except (AttributeError, TypeError, dacite.DaciteError) as error:
        raise UserError(f"{path}: {error}") from error
    for table in tables:
        if strange := table.mechanisms.keys() - table.rows.keys():
            raise UserError(f"{path}: {table.id}: mechanisms names {min(strange)!r}, which is no row of the table")
        for name, cells in table.rows.items():
            if len(cells) != len(table.columns):
                raise UserError(
                    f"{path}: {table.id}: row {name!r} has {len(cells)} cells, expected {len(table.columns)}"
                )
    return tables
