"""`tune`: which runs it asks for, what it chooses, and what it leaves behind."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tyro
from board_records import made

from lra.cli.chosen import Chosen
from lra.cli.main import main
from lra.core.config import Run, resolve
from lra.core.errors import UserError
from lra.core.tuning import FOLDER
from lra.leaderboard.page import facts
from lra.scores import searches
from lra.scores.board import boards, read
from lra.sweep import tune
from lra.sweep.choice import Search, shortened
from lra.sweep.estimate import Known
from lra.sweep.items import Item
from lra.sweep.plan import Planned
from lra.sweep.tune import TuneFlags
from lra.training import record
from lra.training.record import Record

GRID = "--grid train.learning_rate=1e-4,3e-4,1e-3 --grid train.weight_decay=0,0.01"
SMOKE = "--task listops --attn linear --preset smoke --backend torch --device cpu"


def flags(words: str) -> TuneFlags:
    found = tyro.cli(TuneFlags, args=shlex.split(words))
    found.check()
    return found


def search(words: str = f"--task listops --attn softmax --backend torch {GRID}") -> Search:
    [(found, _)] = flags(words).searches
    return found


def scored(found: Search, accuracies: list[float | None]) -> list[Record | None]:
    """A record of each candidate with that validation accuracy; its test accuracy says the contrary."""
    return [
        None
        if each is None
        else made(
            run.task, run.attn, 1 - each, preset=run.preset, validation_accuracy=each, train=vars(run.train).copy()
        )
        for run, each in zip(found.runs, accuracies, strict=True)
    ]


def test_every_combination_is_a_candidate_of_a_fifth_of_the_steps() -> None:
    found = search()
    assert [found.values(run) for run in found.runs] == [
        {"learning_rate": rate, "weight_decay": decay} for rate in (1e-4, 3e-4, 1e-3) for decay in (0.0, 0.01)
    ]
    assert {(run.train.steps, run.train.warmup, run.train.evaluate_every) for run in found.runs} == {(1000, 200, 50)}
    assert str(found.tuning) == "learning_rate=0.0001,0.0003,0.001@weight_decay=0.0,0.01@steps=1000@seed=0"
    assert {run.tuned for run in found.runs} == {""}


def test_a_shorter_run_keeps_the_shape_of_its_schedule() -> None:
    base = resolve("listops", "softmax", preset="standard", backend="torch")
    whole = replace(base, train=replace(base.train, cycle=10_000))
    assert shortened(whole, 500).train.cycle == 1000
    assert shortened(base, 2).train.warmup == 1
    assert shortened(base, 20).train.evaluate_every == 20
    assert shortened(base, base.train.steps) == base
    for steps in (1, base.train.steps + 1):
        with pytest.raises(UserError, match="expected 2 to 5,000, the steps of standard"):
            shortened(base, steps)


def test_the_best_on_validation_is_chosen_whatever_the_test_split_says() -> None:
    found = search()
    assert found.chosen(scored(found, [0.2, 0.3, 0.25, 0.4, 0.1, 0.3])) == 3
    assert found.chosen(scored(found, [0.2, 0.3, 0.25, None, 0.1, 0.3])) == 1
    assert found.chosen([None] * 6) is None


def test_of_equal_ones_it_is_the_presets_own_else_the_first() -> None:
    assert search().chosen(scored(search(), [0.3] * 6)) == 0
    other = search("--task listops --attn softmax --backend torch --grid train.learning_rate=1e-3,3e-4,1e-4")
    assert other.chosen(scored(other, [0.3, 0.3, 0.3])) == 2
    assert other.chosen(scored(other, [0.3, 0.3, 0.2])) == 0


def test_a_choice_is_trained_at_full_length_and_says_how_it_was_tuned() -> None:
    found = search()
    full = found.full(3)
    assert (full.train.steps, full.train.learning_rate, full.train.weight_decay) == (5000, 3e-4, 0.01)
    assert full.tuned == str(found.tuning)
    assert replace(full, tuned="", train=found.base.train) == found.base


def test_its_file_has_another_name_for_another_search() -> None:
    names = {
        search(f"--task listops --attn softmax --backend torch {words}").name
        for words in (GRID, f"{GRID} --steps 900", f"{GRID} --seed 1", "--grid train.learning_rate=1e-4,3e-4,1e-3")
    }
    assert len(names) == 4
    assert search().name in names


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("", "tune needs --grid"),
        ("--grid model.width=8", "fields of train only"),
        ("--grid train.batch_size=8,16", "train.batch_size changes the cost of a run"),
        ("--grid train.learning_rat=1", "did you mean 'learning_rate'"),
        ("--grid train.learning_rate=1e-3,-1", "train.learning_rate is -1, expected more than 0"),
        ("--grid train.beta1=0.9 --grid train.beta1=0.8", "another --grid has"),
        ("--grid train.weight-decay=0 --grid train.weight_decay=1", "another --grid has"),
        ("--grid train.beta1=0.9 --steps 5 --share 0.2", "both --steps and --share are given"),
        ("--grid train.beta1=0.9 --share 1.5", "share is 1.5"),
        ("--grid train.beta1=0.9 --steps 7", "7 steps, expected 2 to 6, the steps of smoke"),
    ],
)
def test_what_cannot_be_is_told_in_one_line_and_nothing_is_written(
    words: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tune", *shlex.split(f"{SMOKE} {words} --results {tmp_path}")]) == 2
    line = capsys.readouterr().err.strip()
    assert told in line.replace("\n", " ")
    assert not list(tmp_path.iterdir())


def test_the_command_that_continues_is_read_back() -> None:
    found = flags(f"--task listops,text --attn elfatt,softmax@local_conv=true {GRID} --share 0.5 --minutes 3")
    assert tyro.cli(TuneFlags, args=shlex.split(found.again)[3:]) == found


def performed(accuracies: list[float | None], left: int = 0) -> Any:
    """What stands for the sweep: each candidate has a record of that accuracy, or failed; the last ones are left."""

    def perform(pieces: list[Planned], flags: TuneFlags, results: Path, again: str, split: str) -> Any:
        assert split == "validation"
        found = []
        for number, (piece, each) in enumerate(zip(pieces, accuracies, strict=True)):
            run = piece.run
            assert run is not None
            item = Item(title=piece.title, run=run, status="failed", why="the loss is NaN")
            if number >= len(pieces) - left:
                item = Item(title=piece.title, run=run)
            elif each is not None:
                own = made(run.task, run.attn, 0.5, preset=run.preset, validation_accuracy=each)
                item = Item(title=piece.title, run=run, status="done", record=record.save(own, results))
            found.append(item)
        return found, 0

    return perform


def test_a_search_leaves_its_choice_and_prints_the_command_that_trains_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tune, "perform", performed([0.2, 0.4, None, 0.3]))
    words = f"{SMOKE} --attn linear,softmax --steps 4 --grid train.learning_rate=1e-4,1e-3 --results {tmp_path}"
    assert main(["tune", *shlex.split(words)]) == 0
    told = capsys.readouterr().out
    paths = sorted((tmp_path / "tuning").glob("*.json"))
    assert [path.name.split("-")[1] for path in paths] == ["linear", "softmax"]
    first, second = (json.loads(path.read_text()) for path in paths)
    assert first["budget"] == {"runs": 2, "steps": 4, "of_steps": 6, "seed": 0}
    assert [each["validation_accuracy"] for each in first["candidates"]] == [0.2, 0.4]
    assert first["chosen"] == {"learning_rate": 1e-3}
    assert second["candidates"][0] == {"learning_rate": 1e-4, "validation_accuracy": None, "failed": "the loss is NaN"}
    assert "test" not in json.dumps([each for one in (first, second) for each in one["candidates"]])
    assert f"--config {paths[0]} --seeds 3 --results {tmp_path}" in told.replace("\n", " ").replace("  ", " ")
    run = Chosen.of(["--config", str(paths[0])]).run(None)[0]
    assert isinstance(run, Run)
    assert (run.train.steps, run.train.learning_rate) == (6, 1e-3)
    assert run.tuned == "learning_rate=0.0001,0.001@steps=4@seed=0"
    assert not (tmp_path / "runs").exists()
    found, complaints = searches.read(tmp_path)
    assert complaints == []
    shown = searches.section(found)[-1].splitlines()[2:]
    assert [re.sub(r" \| [0-9]* \| ", " | … | ", line).split(" | ", 4)[4] for line in shown] == [
        "learning_rate=0.0001 | 20.00 | … |  | 2 × 4 of 6 steps |",
        "learning_rate=0.001 | 40.00 | … | chosen | 2 × 4 of 6 steps |",
        "learning_rate=0.0001 | failed | … |  | 2 × 4 of 6 steps |",
        "learning_rate=0.001 | 30.00 | … | chosen | 2 × 4 of 6 steps |",
    ]


@pytest.mark.parametrize("text", ["{", "[]", '{"task": "listops"}'])
def test_a_file_that_is_no_search_is_named_and_left_out(text: str, tmp_path: Path) -> None:
    (tmp_path / FOLDER).mkdir()
    path = tmp_path / FOLDER / "a.json"
    path.write_text(text)
    found, [complaint] = searches.read(tmp_path)
    assert found == []
    assert "not the file of a search: " in complaint
    assert complaint.count(str(path)) == 1


def test_nothing_is_chosen_before_all_have_ended_or_where_all_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = shlex.split(f"{SMOKE} --grid train.learning_rate=1e-4,1e-3 --results {tmp_path}")
    for perform, told in (
        (performed([0.2, 0.3], left=1), "nothing is chosen yet, 1 of 2 runs are left"),
        (performed([None, None]), "nothing is chosen, every run failed"),
    ):
        monkeypatch.setattr(tune, "perform", perform)
        main(["tune", *words])
        assert told in capsys.readouterr().err.replace("\n", " ")
    assert not list((tmp_path / "tuning").glob("*.json"))


@pytest.mark.slow
def test_a_search_from_the_grid_to_the_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = f"tune {SMOKE} --steps 3 --no-probe --grid train.learning_rate=1e-4,1e-2 --results {tmp_path}"
    assert main(shlex.split(words)) == 0
    assert "on the validation split" in capsys.readouterr().out.replace("\n", " ")
    assert len(list((tmp_path / "tuning" / "runs").glob("*.json"))) == 2
    (path,) = (tmp_path / "tuning").glob("*.json")
    assert main(["--config", str(path), "--results", str(tmp_path), "--device", "cpu"]) == 0
    found = [record.load(each) for each in (tmp_path / "runs").glob("*.json")]
    [board] = [each for each in boards(found, None) if each.preset == "smoke"]
    [row] = board.rows
    assert row.name == "linear, tuned (2 runs of 3 steps)"
    assert any("tried learning_rate 0.0001, 0.01, each once with seed 0" in each for each in facts(board))
    before = sorted(tmp_path.rglob("*.json"))
    assert main(shlex.split(words)) == 0
    assert sorted(tmp_path.rglob("*.json")) == before, "a search that is done trains nothing again"


def test_a_mechanism_without_the_framework_has_no_search(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tune.plan, "pieces", lambda block, where: [])
    with pytest.raises(UserError, match="softmax is not written in torch"):
        search()


def test_records_of_searches_enter_no_table_and_tell_how_long_a_run_takes(tmp_path: Path) -> None:
    found = search()
    record.save(made("listops", "softmax", 0.3, preset="standard"), tmp_path / FOLDER)
    assert read(tmp_path) == ([], [])
    assert Known.of(tmp_path, on_gpu=False).estimate(found.base).source.startswith("1 earlier run")
