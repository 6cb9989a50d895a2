"""The collector of cycles rests within a command that holds many records, and only there."""

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lra.core.collector import resting_collector
from lra.core.errors import UserError
from lra.leaderboard.command import LeaderboardFlags, leaderboard
from lra.report.command import ReportFlags, report
from lra.scores import board


@resting_collector()
def fails() -> None:
    assert not gc.isenabled()
    raise UserError("as any command may")


def test_it_rests_within_and_goes_on_after_an_error() -> None:
    with pytest.raises(UserError):
        fails()
    assert gc.isenabled()


def test_a_collector_that_its_user_has_turned_off_stays_off() -> None:
    gc.disable()
    try:
        with resting_collector():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


@pytest.mark.parametrize(("command", "flags"), [(leaderboard, LeaderboardFlags), (report, ReportFlags)])
def test_both_commands_over_all_records_rest_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Callable[[Any], int], flags: Callable[..., Any]
) -> None:
    resting = []

    def read(_: Path) -> tuple[list, list]:
        resting.append(not gc.isenabled())
        return [], []

    monkeypatch.setattr(board, "read", read)
    with pytest.raises(UserError):
        command(flags(results=tmp_path))
    assert resting == [True]
    assert gc.isenabled()
