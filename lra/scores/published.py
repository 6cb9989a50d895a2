"""Numbers from papers, in results/published.yaml, kept as the papers print them."""

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
    """One published table. Cells have the digits of the source; "–" for a missing number."""

    id: str
    title: str
    citation: str
    protocol: Literal["google", "small", "ssm", "mixed", "unknown"]
    """The protocol family, within which numbers may be compared."""
    unit: str
    differs: str
    """The differences to our protocol and to other tables."""
    columns: list[str]
    rows: dict[str, list[str]]
    mechanisms: dict[str, str] = field(default_factory=dict)
    """Our mechanism for each row that is equal to one with default options."""
    notes: list[str] = field(default_factory=list)


def load(path: Path = PATH) -> list[Table]:
    """Every table, in the file's order. UserError names a fault."""
    blocks = read_yaml(path, as_text=True)  # 58.40 stays 58.40
    try:
        tables = [dacite.from_dict(Table, block, dacite.Config(strict=True)) for block in blocks]
    except (AttributeError, TypeError, dacite.DaciteError) as error:
        raise UserError(f"{path}: {error}") from error
    for table in tables:
        if strange := table.mechanisms.keys() - table.rows.keys():
            raise UserError(f"{path}: {table.id}: mechanisms has {min(strange)!r}, which is not a row of the table")
        for name, cells in table.rows.items():
            if len(cells) != len(table.columns):
                raise UserError(
                    f"{path}: {table.id}: row {name!r} has {len(cells)} cells, expected {len(table.columns)}"
                )
    return tables
