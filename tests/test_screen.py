"""What a person sees of a run: its speed of late, the time left, and what its times are worth."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from board_records import made

from lra.core.config import resolve
from lra.model.sharing import Sharing
from lra.training.history import History
from lra.training.screen import (
    RecentSpeed,
    comparison_table,
    first_line,
    result_lines,
    seeds_table,
    untimed,
    verdict,
)


def calls(history: History, speed: RecentSpeed, count: int, seconds: float, beside: float = 0.0) -> Iterator[int]:
    """Calls of ten steps that take so many seconds each, and as many beside them."""
    for _ in range(count):
        history.add_steps(10, seconds, 0.0, 0, 1)
        history.elapsed += seconds + beside
        speed.notes(history)
        yield history.timed_steps


def test_the_speed_is_that_of_about_the_last_minute_and_the_estimate_follows() -> None:
    history = History()
    speed = RecentSpeed(history)
    history.add_steps(10, 30.0, 0.0, 0, 1)  # compiles: it counts nowhere
    speed.notes(history)
    [*_] = calls(history, speed, 600, 1.0)
    assert speed.steps_per_second(history) == pytest.approx(10)
    assert speed.seconds(history, 1000) == pytest.approx(100)
    [*_] = calls(history, speed, 11, 6.0)  # the machine has become slower
    assert history.steps_per_second > 9
    assert speed.steps_per_second(history) == pytest.approx(10 / 6)
    assert speed.seconds(history, 1000) == pytest.approx(600)


def test_the_estimate_has_evaluations_and_several_seeds_and_no_earlier_process() -> None:
    history = History(seconds=5000.0, timed_steps=50, step=60, first_call=(10, 30.0))
    speed = RecentSpeed(history)
    [*_] = calls(history, speed, 30, 1.0, beside=0.5)
    assert speed.seconds(history, 100) == pytest.approx(15)


def test_a_run_of_one_call_has_the_speed_of_that_call() -> None:
    history = History()
    speed = RecentSpeed(history)
    history.add_steps(10, 2.0, 0.0, 0, 1)
    speed.notes(history)
    assert speed.steps_per_second(history) == 5
    assert speed.seconds(history, 10) == 2


def test_times_that_are_no_timing_are_called_so() -> None:
    quiet, loud = made("listops", "elfatt", 0.5), made("listops", "elfatt", 0.5, 1, timing="niced 19")
    old = made("listops", "elfatt", 0.5, 2, timing=None)
    assert untimed([quiet, old]) == []
    assert untimed([quiet, loud]) == ["seed 1 of elfatt: these times are no timing: niced 19"]
    assert "these times are no timing: niced 19" in result_lines(loud)
    assert not [line for line in result_lines(quiet) if "timing" in line]


def test_speeds_of_several_devices_are_called_so() -> None:
    one, two = made("listops", "elfatt", 0.5), made("listops", "elfatt", 0.5, 1, devices=2)
    before = made("listops", "elfatt", 0.5, 2, devices=None)
    cells = lambda table: [" ".join(str(cell).split()) for cell in next(iter(table.columns)).cells]  # noqa: E731
    assert cells(seeds_table([one, two]))[:2] == ["seed 0", "seed 1, on 2 devices"]
    assert cells(comparison_table([one, before]))[0] == "elfatt"
    assert cells(comparison_table([one, two]))[0] == "elfatt, on 1 and 2 devices"
    assert "1 samples/s, on 2 devices" in result_lines(two)[1]
    assert "devices" not in result_lines(one)[1]
    run = resolve("listops", "elfatt", backend="torch", preset="smoke")
    assert first_line(run, "", "", 1, Sharing(4, 2)).endswith("6 steps of 8 on 4 devices in 2 parts")
    assert first_line(run, "", "").endswith("6 steps of 8")


def test_a_record_without_a_commit_says_why() -> None:
    lost = made("listops", "elfatt", 0.5, git={"commit": None, "clean": None, "why": "git is not installed"})
    assert "the record has no commit: git is not installed" in result_lines(lost)


@pytest.mark.parametrize(("best", "said"), [(1.0, "not clearly above rule (100.0 %)"), (0.2, "errors above rule")])
def test_a_rule_that_is_always_right_has_a_verdict(best: float, said: str) -> None:
    assert said in verdict(made("listops", "elfatt", 0.9, references={"chance": 0.1, "rule": best}))
