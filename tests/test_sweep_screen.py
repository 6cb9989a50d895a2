"""What a sweep shows: the plan with its estimates, and how it stands while it runs."""

from __future__ import annotations

import io
import time
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table

from lra.sweep import screen
from lra.sweep.estimate import RunCost
from lra.sweep.items import Item, Status
from lra.sweep.lease import Held, claimed
from lra.sweep.runner import Sweep
from lra.sweep.screen import SweepScreen, plan_line, plan_table
from tests.small import place
from tests.sweep_cases import item


def shown(table: Table) -> str:
    console = Console(file=io.StringIO(), width=160, markup=False)
    console.print(table)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def items(results: Path) -> list[Item]:
    """One that runs, two that wait, one that is done and one that cannot be."""
    found = [item(results, number) for number in range(5)]
    states: list[Status] = ["running", "waiting", "waiting", "done", "failed"]
    for number, (each, status) in enumerate(zip(found, states, strict=True)):
        each.title, each.status = f"cell [{number // 3}] · seed {number}", status
        each.estimate = RunCost(seconds=600.0, memory=2 * 10**9, source="a probe")
    found[4].title, found[4].why = "cell x · seed 0", "no"
    return found


def test_the_plan_has_a_row_for_each_cell(tmp_path: Path) -> None:
    text = shown(plan_table(items(tmp_path)))
    first = next(line for line in text.splitlines() if "cell [0]" in line)
    assert [cell.strip() for cell in first.split("│")[1:-1]] == [
        "cell [0]",
        "0 of 3",
        "10 min 00 s",
        "2.0 GB",
        "a probe",
    ]
    assert "impossible: no" in text


def test_what_nobody_knows_is_said(tmp_path: Path) -> None:
    found = items(tmp_path)
    assert plan_line(found, 2).endswith("3 left · 1 impossible: about 20 min 00 s with 2 at a time")
    found[0].estimate = RunCost()
    assert plan_line(found, 2).endswith("about 10 min 00 s with 2 at a time, and 1 of unknown time")


def test_a_running_item_shows_its_step_and_its_time(tmp_path: Path) -> None:
    found = items(tmp_path)
    work, run = found[0].work, found[0].run
    assert work is not None
    assert run is not None
    sweep = Sweep(found, place(tmp_path))
    sweep._began[0] = time.monotonic() - 60
    with claimed(work) as mine:
        assert isinstance(mine, Held)
        mine.step = run.train.steps // 2
        mine.beat()
        text = shown(SweepScreen(found, 1).table(sweep))
    assert "2 waiting, 1 running, 0 held, 1 done, 1 failed · 25 min 00 s left" in " ".join(text.split())
    row = next(line for line in text.splitlines() if "seed 0" in line)
    assert [cell.strip() for cell in row.split("│")[1:-1]] == ["cell [0] · seed 0", "3/6", "1 min 00 s", "5 min 00 s"]


def test_a_running_item_whose_folder_cannot_be_read_is_shown(tmp_path: Path) -> None:
    found = items(tmp_path)
    found[0].work = tmp_path / ("x" * 300)
    text = shown(SweepScreen(found, 1).table(Sweep(found, place(tmp_path), _began={0: time.monotonic() - 60})))
    assert "1 min 00 s" in text


def test_a_log_has_a_line_for_each_event(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = items(tmp_path)
    with SweepScreen(found, 1) as told:
        told.tell(found[0])
        found[0].deaths, found[0].status = 1, "waiting"
        told.tell(found[0])
        found[0].status, found[0].why = "held", "process 7 on n1"
        told.tell(found[0])
        told.tell(found[4])
        told.tell(Item(title="bench", status="done", why="its record is complete"))
        told.show(Sweep(found, place(tmp_path)))
    assert capsys.readouterr().out.splitlines() == [
        "[2 of 5] cell [0] · seed 0: starts",
        "[2 of 5] cell [0] · seed 0: its process died; it starts again",
        "[2 of 5] cell [0] · seed 0: waits for process 7 on n1",
        "[2 of 5] cell x · seed 0: failed: no",
        "[2 of 5] bench: done, its record is complete",
    ]
    assert screen.expected(Item(title="a")) == ("?", "?")
