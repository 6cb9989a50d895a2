"""Ours beside published rows: the same mechanism and task alone, with the error of both."""

import math
from dataclasses import replace

import pytest
from board_records import made

from lra.core.errors import UserError
from lra.scores import published
from lra.scores.beside import beside, grid
from lra.scores.board import boards

TABLE = published.Table(
    id="small",
    title="A paper, accuracy",
    citation="",
    protocol="small",
    unit="accuracy %",
    differs="",
    columns=["ListOps", "Text"],
    rows={"Vanilla": ["40.0", "65"], "Other": ["30.0", "60"]},
    mechanisms={"Vanilla": "softmax"},
)
RECORDS = [
    made("listops", "softmax", 0.37, preset="standard"),
    made("listops", "softmax", 0.36, preset="standard", train={"learning_rate": 1.0}),
    made("listops", "elfatt", 0.38, preset="standard"),
    made("listops", "softmax", 0.35),
]


def test_a_row_without_changes_stands_beside_the_same_mechanism() -> None:
    standard, quick = boards(RECORDS, None)
    (found,) = beside(standard, [TABLE])
    assert (found.ours.mean, found.theirs, found.name) == (0.37, 0.40, "Vanilla")
    theirs = math.sqrt(0.4 * 0.6 / standard.columns[0].examples)
    assert found.error == pytest.approx(math.hypot(found.ours.error, theirs))
    assert found.difference == pytest.approx(-0.03)
    assert not beside(quick, [TABLE])


def test_another_protocol_is_no_neighbour() -> None:
    assert not beside(boards(RECORDS, None)[0], [replace(TABLE, protocol="google")])


def test_the_table_says_what_lies_between_them_and_whose_it_is() -> None:
    ((*_, difference, errors, source),) = grid(beside(boards(RECORDS, None)[0], [TABLE])).rows
    assert difference.text.startswith("−3.0 ± ")
    assert errors.text.startswith("−")
    assert source.text == "A paper: Vanilla"


def test_a_cell_that_is_no_accuracy_is_told() -> None:
    with pytest.raises(UserError, match="expected an accuracy"):
        beside(boards(RECORDS, None)[0], [replace(TABLE, rows={"Vanilla": ["fail", "65"]})])
