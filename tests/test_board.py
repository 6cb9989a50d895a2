"""From records to rows, columns and averages: what is put together and what never is."""

from __future__ import annotations

from dataclasses import field, make_dataclass, replace
from pathlib import Path

import pytest
from board_records import made, write

from lra.core.config import Train, from_dict
from lra.core.presets import preset_options
from lra.scores import overrides as variant
from lra.scores.board import FIVE, boards, read
from lra.scores.tables import grid, labels
from lra.training.record import Record

AAN = ("listops", "text", "retrieval-aan1818", "image", "pathfinder")


def table(*records: Record) -> list[tuple[str, str, list[str]]]:
    """Name, backend and texts of each row of the only board, references aside."""
    (board,) = boards(records, None)
    found = grid(board)
    return [(row[0].text, row[1].text, [cell.text for cell in row[2:]]) for row in found.rows[found.lead :]]


def test_seeds_become_mean_std_and_count() -> None:
    rows = table(*(made("listops", "softmax", value, seed) for seed, value in enumerate((0.30, 0.40, 0.50))))
    assert rows[0][2][:2] == ["40.0 ± 10.0 (3)", "3 of 3"]


def test_one_seed_shows_the_error_of_its_test_set() -> None:
    assert table(made("listops", "softmax", 0.5))[0][2][0] == "50.0 ± 1.1† (1)"


def test_a_precision_set_by_hand_is_a_row_of_its_own_and_older_records_have_none() -> None:
    older = made("listops", "softmax", 0.3)
    del older.config["train"]["precision"]
    own = made("listops", "softmax", 0.5, train={"precision": "bfloat16"})
    assert from_dict(older.config, "an older record").train.precision == "auto"
    assert variant.key(older) == variant.key(made("listops", "softmax", 0.4, seed=1))
    assert variant.words(own) == ("--train.precision", "bfloat16")
    assert len(table(older, own)) == 2


def test_a_record_from_before_an_option_is_named_by_what_was_fixed_then() -> None:
    older = made("listops", "performer", 0.3, command="python run_lra.py --task listops --attn performer")
    del older.options["epsilon"]
    same = made("listops", "performer", 0.3, 1, options={"epsilon": 1e-4})
    assert variant.words(older) == ("--attn.epsilon", "0.0001")
    assert variant.key(older) == variant.key(same) != variant.key(made("listops", "performer", 0.4))
    assert variant.command(older) == f"{older.command} --attn.epsilon 0.0001"
    assert variant.command(same) == same.command


def test_any_later_field_is_named_by_its_neutral_value(monkeypatch: pytest.MonkeyPatch) -> None:
    later = make_dataclass(
        "Later", [("taps", int, field(default=3, metadata={"neutral": 1}))], bases=(Train,), kw_only=True, frozen=True
    )
    kinds = variant._kinds("listops") | {"train": later}
    monkeypatch.setattr(variant, "_kinds", lambda task: kinds)
    monkeypatch.setattr(variant, "_preset", variant._preset.__wrapped__)
    assert variant.words(made("listops", "softmax", 0.3)) == ("--train.taps", "1")
    assert variant.words(made("listops", "softmax", 0.3, train={"taps": 3})) == ()


def test_a_precision_that_the_device_takes_by_itself_is_no_change() -> None:
    gpu = {"device": "NVIDIA H200", "cpu": "a CPU", "framework": "torch 1.0"}
    usual = made("listops", "softmax", 0.3)
    for precision, environment, change in (
        ("float32", usual.environment, False),
        ("bfloat16", usual.environment, True),
        ("bfloat16", gpu, False),
        ("float32", gpu, True),
    ):
        own = made("listops", "softmax", 0.5, train={"precision": precision}, environment=environment)
        assert bool(variant.words(own)) is change


def test_a_run_at_chance_counts_as_not_converged() -> None:
    rows = table(made("pathfinder", "linear", 0.5, 0), made("pathfinder", "linear", 0.7, 1))
    assert rows[0][2][0].endswith("(2), converged 1 of 2")
    assert rows[0][2][1] == "1 of 2"


def test_a_seed_trained_twice_counts_once_and_the_newest_holds(tmp_path: Path) -> None:
    write(made("listops", "softmax", 0.3), tmp_path, "a.json")
    write(made("listops", "softmax", 0.4), tmp_path, "a.10.json")
    write(made("listops", "softmax", 0.5), tmp_path, "a.2.json")
    records, _ = read(tmp_path)
    assert table(*records)[0][2][0].startswith("40.0")


@pytest.mark.parametrize("newer", ["a.json", "b.json"])
def test_of_two_records_of_one_seed_the_later_revision_holds(tmp_path: Path, newer: str) -> None:
    """A file's name has the hash of the run, which says nothing about its age."""
    for name in ("a.json", "b.json"):
        accuracy, revision = (0.4, 2) if name == newer else (0.3, 1)
        revisions = {"task": 1, "attention": 1, "training": revision}
        write(made("listops", "softmax", accuracy, revisions=revisions), tmp_path, name)
    assert table(*read(tmp_path)[0])[0][2][0].startswith("40.0")


def test_a_record_of_a_preset_that_is_not_there_is_told_and_hides_no_other(tmp_path: Path) -> None:
    write(made("listops", "softmax", 0.5), tmp_path)
    write(made("listops", "softmax", 0.6, seed=1, preset_version=77), tmp_path, "newer.json")
    write(replace(made("listops", "s4", 0.6, preset="s4"), task="path256"), tmp_path, "odd.json")
    records, complaints = read(tmp_path)
    assert table(*records)[0][2][0] == "50.0 ± 1.1† (1)"
    assert "newer.json: preset quick of version 77 is not in" in complaints[0]
    assert "odd.json: task path256 has no preset s4" in complaints[1]


def test_options_that_a_preset_sets_for_each_task_are_one_row() -> None:
    records = [
        made(task, "s4", 0.5, preset="s4", options=preset_options(task, "s4", "s4")) for task in ("listops", "image")
    ]
    assert records[0].options["state"] != records[1].options["state"]
    (board,) = boards(records, None)
    (row,) = board.rows
    assert row.name == "s4"
    assert [cell is not None for cell in row.cells] == [True, True]
    assert "state" not in row.options


def test_a_value_that_was_taken_away_is_a_change() -> None:
    """None is a value as any other: S4's preset sets the rate of a state matrix."""
    usual = made("listops", "s4", 0.5, preset="s4")
    assert usual.config["train"]["state_rate"] is not None
    taken = made("listops", "s4", 0.4, preset="s4", train={"state_rate": None})
    assert variant.words(taken) == ("--train.state-rate", "None")
    assert variant.key(taken) != variant.key(usual)


@pytest.mark.parametrize(
    "change",
    [{"task_version": 2}, {"data": {"max_length": 32}}, {"data_hash": "other"}],
    ids=["version", "length", "hash"],
)
def test_other_versions_lengths_and_data_have_columns_of_their_own(change: dict) -> None:
    if change.get("data"):
        other = made("listops", "softmax", 0.9, data=change["data"])
    else:
        other = made("listops", "softmax", 0.9, **change)
    (board,) = boards([made("listops", "softmax", 0.5), other], None)
    assert len(board.columns) == len(set(labels(board))) == 2
    (row,) = board.rows
    assert sorted(cell.mean for cell in row.cells if cell) == [0.5, 0.9]


def test_presets_have_boards_of_their_own_and_smoke_none(tmp_path: Path) -> None:
    for preset in ("smoke", "quick", "standard"):
        write(made("listops", "softmax", 0.5, preset=preset), tmp_path)
    records, complaints = read(tmp_path)
    assert [board.preset for board in boards(records, None)] == ["standard", "quick"]
    assert complaints == []
    (_, quick) = boards(records, None)
    assert "does it learn: undertrained, not a ranking" in grid(quick).title


def test_options_and_changed_configurations_have_rows_of_their_own() -> None:
    rows = table(
        made("listops", "softmax", 0.5),
        made("listops", "softmax", 0.6, backend="jax"),
        made("listops", "softmax", 0.7, options={"local_conv": True}),
        made("listops", "softmax", 0.8, train={"steps": 4000}),
        made("listops", "softmax", 0.5, 1, train={"chunk": 1}),  # a way of computing, not of training
    )
    assert [row[:2] for row in rows] == [
        ("softmax", "jax"),
        ("softmax", "torch"),
        ("softmax --attn.local-conv", "torch"),
        ("softmax --train.steps 4000", "torch"),
    ]
    assert "(2)" in rows[1][2][0]


def test_a_record_older_than_an_option_counts_as_its_default() -> None:
    old = made("listops", "elfatt", 0.5, 1)
    del old.options["global_share"]
    assert len(table(made("listops", "elfatt", 0.6), old)) == 1


def test_no_average_without_all_five_tasks() -> None:
    records = [made(task, "softmax", 0.6) for task in FIVE[:4]]
    assert not boards(records, None)[0].averages


def test_averages_name_what_is_generated_or_not_official() -> None:
    records = [made(task, "linear", 0.6, preset="standard") for task in AAN]
    for task, value in zip(FIVE, (0.4, 0.6, 0.7, 0.3, 0.5), strict=True):
        records.append(made(task, "softmax", value, preset="standard"))
        official = {"source": "official"} if task in ("listops", "pathfinder") else {}
        records.append(made(task, "efficient", 0.5, preset="standard", data=official))
    (board,) = boards(records, None)
    assert [average.title for average in board.averages] == [
        "average",
        "average (five tasks; listops, pathfinder generated)",
        "average (five tasks; listops, pathfinder generated; retrieval-aan1818)",
    ]
    first = len(board.columns)
    found = {row.name: [board.estimate(row, first + number) for number in range(3)] for row in board.rows}
    assert [each and pytest.approx(each.mean) for each in found["softmax"]] == [None, 0.5, None]
    assert [each is not None for each in found["linear"]] == [False, False, True]
    assert [each is not None for each in found["efficient"]] == [True, False, False]


def test_data_that_is_not_the_presets_enters_no_average() -> None:
    records = [made(task, "softmax", 0.6, data={"test": 100} if task == "text" else {}) for task in FIVE]
    assert not boards(records, None)[0].averages


def test_columns_say_where_their_data_comes_from() -> None:
    (board,) = boards([made(task, "softmax", 0.6) for task in (*FIVE, "retrieval-aan1818")], None)
    assert [(column.task, column.origin) for column in board.columns] == [
        ("listops", "generated"),
        ("text", "official"),
        ("retrieval", "official"),
        ("retrieval-aan1818", "not an official set"),
        ("image", "official"),
        ("pathfinder", "generated"),
    ]


def test_standard_is_ranked_by_its_average_and_quick_is_not() -> None:
    for preset, order in (("standard", ["softmax", "efficient"]), ("quick", ["efficient", "softmax"])):
        records = [made(task, "efficient", 0.5, preset=preset) for task in FIVE]
        records += [made(task, "softmax", 0.6, preset=preset) for task in FIVE]
        assert [row.name for row in boards(records, None)[0].rows] == order


def test_differences_are_to_the_same_backend() -> None:
    records = [made("listops", "softmax", 0.4), made("listops", "softmax", 0.5, backend="jax")]
    records += [made("listops", "elfatt", 0.6), made("listops", "elfatt", 0.45, backend="jax")]
    (board,) = boards(records, None)
    found = grid(board, relative_to="softmax")
    assert found.title.endswith("relative to softmax")
    texts = {(row[0].text, row[1].text): row[2].text for row in found.rows[found.lead :]}
    assert texts[("elfatt", "torch")].startswith("+20.0 ± 1.5")
    assert texts[("elfatt", "jax")].startswith("−5.0 ± ")
    assert texts[("softmax", "torch")] == "0"
