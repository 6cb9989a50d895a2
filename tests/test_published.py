"""Published numbers: complete, sourced, kept as printed."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean

import pytest

from lra.core.errors import UserError
from lra.scores.published import load

TABLES = {table.id: table for table in load()}
MISPRINTS = {("google", "Sinkhorn"), ("flashattention", "Transformer"), ("state-spaces", "LION-D (HiPPO)")}


def test_every_table_has_a_source_and_says_what_differs() -> None:
    assert len(TABLES) > 15
    for table in TABLES.values():
        assert len(table.citation) > 20, table.id
        assert len(table.differs) > 20, table.id


@pytest.mark.parametrize("count", [("average of five", 5), ("average of six", 6)], ids=lambda value: value[0])
def test_averages_are_those_of_their_rows(count: tuple[str, int]) -> None:
    """Within rounding, except where the source itself misprints one or rounds its parts otherwise."""
    column, tasks = count
    wrong = set()
    checked = 0
    for table in TABLES.values():
        if column not in table.columns or len(table.columns) <= tasks:
            continue
        for name, cells in table.rows.items():
            parts, printed = cells[:tasks], cells[table.columns.index(column)]
            if not all(part.replace(".", "", 1).isdigit() for part in [*parts, printed]):
                continue
            checked += 1
            if abs(fmean(map(float, parts)) - float(printed)) > 0.0501:
                wrong.add((table.id, name))
    assert checked >= 9
    assert wrong <= MISPRINTS


def test_digits_stay_as_printed() -> None:
    assert TABLES["nystromformer"].rows["Standard"][0] == "37.10"
    assert TABLES["primal"].rows["Reformer"][4] == "69.4"


def test_the_elfatt_row_holds_what_its_abstract_states_and_nothing_else() -> None:
    rows = [(table.id, name) for table in TABLES.values() for name in table.rows if "elfatt" in name.lower()]
    assert rows == [("elfatt", "ELFATT")]
    accuracy, speed = TABLES["elfatt"].rows["ELFATT"]
    assert not any(character.isdigit() for character in accuracy)
    assert speed == "1.2–2.3× over FlashAttention-2"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- {id: a, title: b}", "missing"),
        ("- {id: a, title: b, citation: c, protocol: ours, unit: d, differs: e, columns: [x], rows: {}}", "protocol"),
        (
            "- {id: a, title: b, citation: c, protocol: ssm, unit: d, differs: e, columns: [x], rows: {m: [1, 2]}}",
            "row 'm' has 2 cells, expected 1",
        ),
        (
            "- {id: a, title: b, citation: c, protocol: ssm, unit: d, differs: e, columns: [x], rows: {m: [1]}, "
            "mechanisms: {n: softmax}}",
            "mechanisms has 'n', which is not a row",
        ),
        ("- [", "expected"),
    ],
)
def test_a_mistake_in_the_file_is_named(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "published.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=said):
        load(path)
