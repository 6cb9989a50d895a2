"""What a run says of the search that chose its rates, and the row of its own that it gets."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path

import pytest
from board_records import made, put, write

from lra.cli.chosen import Chosen
from lra.cli.train import _read
from lra.core.config import as_dict, from_dict, resolve
from lra.core.errors import UserError
from lra.core.identity import run_id
from lra.core.tuning import Tuning
from lra.leaderboard.page import facts
from lra.leaderboard.sheets import fields, to_csv
from lra.scores import beside, overrides, published
from lra.scores.board import boards
from lra.terminal.flags import command_of
from lra.training import record
from lra.training.record import Record
from tests.small import smoke_run

GRID = "learning_rate=0.0001,0.0003,0.001@weight_decay=0.0,0.01"
TUNED = f"{GRID}@steps=1000@seed=0"


def tuned(task: str, accuracy: float, seed: int = 0, steps: int = 1000, search: str = GRID) -> Record:
    """A record of `standard` whose rates were searched for."""
    base = made(task, "softmax", accuracy, seed, preset="standard", train={"learning_rate": 3e-4})
    return replace(base, config=base.config | {"tuned": f"{search}@steps={steps}@seed=0"})


def test_a_search_is_read_back_as_it_is_written() -> None:
    found = Tuning.parse(TUNED)
    assert str(found) == TUNED
    assert (found.runs, found.steps, found.seed) == (6, 1000, 0)
    assert found.grid == {"learning_rate": (1e-4, 3e-4, 1e-3), "weight_decay": (0.0, 0.01)}
    words = Tuning(grid={"schedule": ("one_cycle", "cosine"), "bias_decay": (None, 0.1)}, steps=2, seed=1)
    assert Tuning.parse(str(words)) == words


@pytest.mark.parametrize(
    "text",
    ["x", "steps=3@seed=0", "learning_rate=@steps=1@seed=0", "learning_rate=1@steps=0@seed=0", "a=1@a=2@steps=1@seed=0",
     "a=[@steps=1@seed=0", "learning_rate=1@seed=0@steps=1", "learning_rate=1@steps=1@seed=0\n"],
)  # fmt: skip
def test_another_text_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(UserError, match=r"^tuned is .*, expected a search such as [^\n]*$"):
        Tuning.parse(text)


def test_a_run_keeps_its_id_without_a_search_and_gets_another_with_one() -> None:
    run = smoke_run()
    assert "tuned" not in as_dict(run)
    searched = replace(run, tuned=f"learning_rate={run.train.learning_rate}@steps=2@seed=0")
    assert from_dict(as_dict(searched), "here") == searched
    assert run_id(searched, "data") != run_id(run, "data") == run_id(replace(searched, tuned=""), "data")


def test_the_command_of_a_tuned_run_makes_it_again() -> None:
    run = smoke_run()
    searched = replace(run, tuned=f"learning_rate={run.train.learning_rate}@steps=2@seed=0")
    words = command_of(searched).split()[2:]
    chosen = Chosen.of(words)
    [spec] = chosen.specs()
    assert _read(chosen, spec, words)[0] == searched


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("learning_rate=7.0@steps=2@seed=0", "expected a value that the search tried"),
        ("learning_rat=7.0@steps=2@seed=0", "did you mean 'learning_rate'"),
        ("batch_size=8@steps=2@seed=0", "changes the cost of a run"),
    ],
)
def test_a_run_that_its_search_cannot_have_chosen_is_refused(text: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        replace(smoke_run(), tuned=text)


def test_tuned_seeds_are_a_row_of_their_own_with_the_budget_in_its_name() -> None:
    plain = made("listops", "softmax", 0.36, preset="standard")
    (board,) = boards([plain, tuned("listops", 0.38), tuned("listops", 0.40, 1)], None)
    default, own = board.rows
    assert (default.name, default.plain, len(default.runs)) == ("softmax", True, 1)
    assert (own.name, own.plain, len(own.runs)) == ("softmax, tuned (6 runs of 1,000 steps)", False, 2)
    told = [each for each in facts(board) if each.startswith(own.name)]
    assert len(told) == 1
    assert "tried learning_rate 0.0001, 0.0003, 0.001 × weight_decay 0.0, 0.01, each once with seed 0" in told[0]
    assert told[0].endswith("learning_rate=0.0003, weight_decay=0.0")
    sheet = list(csv.DictReader(io.StringIO(to_csv(fields(board)))))
    assert [each["tuned"] for each in sheet[-2:]] == ["", "tuned (6 runs of 1,000 steps)"]


def test_tasks_share_a_row_by_the_share_of_their_steps_and_other_grids_do_not() -> None:
    full = resolve("text", "softmax", preset="standard").train.steps
    (board,) = boards([tuned("listops", 0.38), tuned("text", 0.6, steps=full // 5)], None)
    assert [row.name for row in board.rows] == [f"softmax, tuned (6 runs of 1,000 to {full // 5:,} steps)"]
    other = tuned("listops", 0.4, 1, search="learning_rate=0.0003,0.001")
    (board,) = boards([tuned("listops", 0.38), other], None)
    assert len(board.rows) == 2


def test_a_tuned_row_is_beside_no_published_one() -> None:
    (board,) = boards([tuned("listops", 0.38)], None)
    assert beside.beside(board, published.load(published.PATH)) == []
    (board,) = boards([made("listops", "softmax", 0.36, preset="standard")], None)
    assert beside.beside(board, published.load(published.PATH))


def test_a_superseded_record_is_made_again_with_its_search() -> None:
    old = replace(tuned("listops", 0.38), preset_version=0)
    assert overrides.command(old).endswith(f"--train.learning-rate 0.0003 --tuned {TUNED}")


def test_a_record_with_a_search_that_is_none_is_no_record(tmp_path: Path) -> None:
    path = write(tuned("listops", 0.38), tmp_path)
    assert overrides.tuning(record.load(path))
    for text in ("learning_rate=.@steps=1@seed=0@", "x=1", 5):
        values = record.asdict(record.load(path))
        values["config"]["tuned"] = text
        with pytest.raises(UserError, match=r"is not a valid record: config(\.|: )tuned is "):
            record.load(put(values, tmp_path / "other.json"))
