"""`run_lra.py check`: what holds, what regresses, what cannot be compared, and how each is told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any
from xml.etree import ElementTree

import pytest

from lra.bench.summary import Ratio
from lra.cli.main import main
from lra.core.errors import UserError
from lra.core.spec import Spec
from lra.regression import baselines
from lra.regression import command as regress
from lra.regression.baselines import Baselines, SpeedRule
from lra.regression.command import CheckFlags
from lra.regression.report import changes, clean_alarms, lines, save_junit
from lra.regression.trial import first_losses, prepare, ratio, records
from lra.regression.verdict import HELD, REGRESSED, UNKNOWN, exit_code, of_accuracy, of_curve, of_nothing, of_throughput
from lra.training.history import FIRST_STEPS
from tests.watched import CELL, baseline, save, with_baseline

HIGH = [0.9, 0.91, 0.89, 0.9, 0.92, 0.88, 0.9, 0.9]
SPEED = SpeedRule(length=33, batch=1, rounds=4, factor=1.5)


@pytest.mark.parametrize(("accuracies", "status"), [([0.5], HELD), ([0.47], HELD), ([0.45], REGRESSED), ([0.6], HELD)])
def test_only_a_loss_beyond_chance_is_one(accuracies: list[float], status: str) -> None:
    verdict = of_accuracy(CELL, baseline(), accuracies, 0.01)
    assert (verdict.status, verdict.p is not None and verdict.p < 0.01) == (status, status == REGRESSED)


def test_more_seeds_see_a_smaller_loss() -> None:
    assert of_accuracy(CELL, baseline(), [0.47], 0.01).status == HELD
    assert of_accuracy(CELL, baseline(), [0.47] * 4, 0.01).status == REGRESSED


@pytest.mark.parametrize(
    ("loss", "status"), [(2.0, HELD), (2.0019, HELD), (2.0021, REGRESSED), (1.99, REGRESSED), (float("nan"), REGRESSED)]
)
def test_one_loss_off_its_golden_value_is_enough(loss: float, status: str) -> None:
    verdict = of_curve(CELL, baseline(), [2.0] * 11 + [loss] + [2.0] * 8)
    assert verdict.status == status
    assert status == HELD or verdict.got.endswith("off at step 12")


@pytest.mark.parametrize(
    ("rounds", "status"),
    [([1.0] * 8, HELD), ([0.5] * 5 + [1.0] * 3, HELD), ([0.5] * 7 + [1.0], REGRESSED), ([0.7] * 8, HELD)],
)
def test_a_few_disturbed_rounds_are_no_loss(rounds: list[float], status: str) -> None:
    found = Ratio(first="elfatt", second="softmax", length=33, rounds=rounds)
    assert of_throughput(replace(CELL, speed=SPEED), baseline(ratio=1.0), found).status == status


@pytest.mark.parametrize(
    ("statuses", "code"), [([HELD], 0), ([HELD, REGRESSED, UNKNOWN], 1), ([HELD, UNKNOWN], 2), ([REGRESSED], 1)]
)
def test_exit_codes(statuses: list[str], code: int) -> None:
    assert exit_code([replace(of_nothing(CELL, ""), status=status) for status in statuses]) == code


def test_filters_choose_cells() -> None:
    cells = [CELL, replace(CELL, name="other", attn="elfatt"), replace(CELL, name="third", backend="jax")]
    known = Baselines(schema=1, level=0.01, cells=cells)

    def names(**given: Any) -> list[str]:
        return [cell.name for cell in regress.chosen(known, CheckFlags(baselines=Path("b.yaml"), **given))]

    assert names() == ["tiny", "other", "third"]
    assert names(cell="third,tiny") == ["tiny", "third"]
    assert names(attn=(Spec("elfatt"),)) == ["other"]
    assert names(attn=(Spec("elfatt", {"block_size": 8}), Spec("softmax"))) == ["tiny", "third"]
    assert names(backend="torch", task="listops") == ["tiny", "other"]
    with pytest.raises(UserError, match="tiny, other, third"):
        names(cell="nothing")
    with pytest.raises(UserError, match="no cell"):
        names(attn=(Spec("elfatt"),), backend="jax")


def test_clean_checks_take_as_many_seeds_as_a_check() -> None:
    cell = replace(CELL, check_seeds=[100, 101])
    assert clean_alarms(cell, baseline(clean=[0.5, 0.5, 0.1, 0.1, 0.5]), 0.01) == (2, 1)


def test_the_level_is_shared_by_the_cells() -> None:
    told = lines([with_baseline(), replace(with_baseline(clean=[0.5] * 20), name="other")], 0.01)
    assert "0.5 % for each of 2" in told[0]
    assert "0 false alarms in 20 clean checks, so at most 14 %" in told[2]


def test_junit_tells_a_failure_from_an_error(tmp_path: Path) -> None:
    cell = with_baseline()
    verdicts = [
        of_accuracy(cell, baseline(), [0.5], 0.01),
        of_accuracy(cell, baseline(), [0.3], 0.01),
        of_nothing(cell, "no <data>"),
    ]
    save_junit(verdicts, tmp_path / "check.xml")
    suite = ElementTree.parse(tmp_path / "check.xml").getroot()
    assert [suite.get(name) for name in ("tests", "failures", "errors")] == ["3", "1", "1"]
    assert [[child.tag for child in case] for case in suite] == [["system-out"], ["failure"], ["error"]]
    assert "commit 1234567" in str(suite[1][0].get("message"))
    assert suite[2][0].get("message") == "no <data>"


def test_an_update_says_what_changed() -> None:
    told = changes(with_baseline(), with_baseline(mean=0.4, curve=[2.02] * 20, commit="abcdefgh"))
    assert told == [
        "tiny: accuracy: 50.00 ± 1.20 % (8) → 40.00 ± 1.20 % (8)",
        "tiny: commit: 1234567 → abcdefg",
        "tiny: first losses: largest difference to the former 1.0e-02",
    ]


@pytest.fixture(scope="module")
def updated(tmp_path_factory: pytest.TempPathFactory, lra_home: Path) -> Path:
    """The tiny cell with the baseline that --update measured."""
    pytest.importorskip("torch")
    path = save(tmp_path_factory.mktemp("check") / "b.yaml", CELL)
    assert main(["check", "--update", "--baselines", str(path)]) == 0
    return path


def test_unchanged_code_holds(updated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--baselines", str(updated), "--junit", str(tmp_path / "check.xml")]) == 0
    said = capsys.readouterr().out
    assert "90 of 100 checks detect a loss of" in said
    assert len(said.splitlines()) <= 24
    suite = ElementTree.parse(tmp_path / "check.xml").getroot()
    assert [case.get("name") for case in suite] == ["curve", "accuracy"]


@pytest.mark.parametrize(
    ("changed", "code", "said"),
    [
        ({"accuracies": HIGH, **baselines.spread(HIGH)}, 1, "accuracy"),
        ({"curve": [2.0] * 20}, 1, "curve"),
        ({"data_hash": "0" * 64}, 2, "its data is"),
    ],
)
def test_what_differs_from_the_baseline_is_told(
    changed: dict, code: int, said: str, updated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (cell,) = baselines.load(updated).cells
    assert cell.baseline is not None
    path = save(tmp_path / "b.yaml", replace(cell, baseline=replace(cell.baseline, **changed)))
    assert main(["check", "--baselines", str(path)]) == code
    told = capsys.readouterr()
    assert said in (told.err if code == 2 else told.out)


def test_a_cell_without_a_baseline_cannot_be_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--baselines", str(save(tmp_path / "b.yaml", CELL))]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "tiny: all could not run: it has no baseline: run run_lra.py check --update --cell tiny"


@pytest.mark.parametrize(
    ("changes", "statuses"),
    [({"train": {"learning_rate": 1e9}}, [REGRESSED, REGRESSED]), ({"train": {"steps": 20}}, [UNKNOWN, HELD])],
)
def test_a_trial_that_fails_is_that_tests_outcome(changes: dict, statuses: list[str], updated: Path) -> None:
    (cell,) = baselines.load(updated).cells
    cell = replace(cell, changes={**cell.changes, "train": {**cell.changes["train"], **changes["train"]}})
    assert [verdict.status for verdict in regress._tried(cell, 1e-9, timed=False)] == statuses


@pytest.mark.slow
def test_seeds_at_chance_make_no_baseline(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    idle = replace(CELL, changes={**CELL.changes, "train": {**CELL.changes["train"], "learning_rate": 1e-30}})
    path = save(tmp_path / "b.yaml", idle)
    assert main(["check", "--update", "--baselines", str(path)]) == 2
    assert "is at chance with seeds" in capsys.readouterr().err
    assert baselines.load(path).cells == [idle]


def test_a_file_that_cannot_be_written_is_told_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = save(tmp_path / "b.yaml", CELL)
    monkeypatch.setattr("lra.regression.baselines.os.access", lambda place, mode: place != path)
    assert main(["check", "--update", "--baselines", str(path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {path} cannot be written")


def test_the_first_losses_are_those_of_the_run() -> None:
    pytest.importorskip("torch")
    prepared = prepare(CELL)
    (record,) = records(CELL, CELL.seeds[:1], prepared)
    losses = first_losses(CELL, prepared)
    assert len(losses) == FIRST_STEPS == record.curve[0].step
    assert fmean(losses) == pytest.approx(record.curve[0].train_loss, rel=1e-5)


@pytest.mark.slow
def test_throughput_is_a_ratio_to_softmax_round_by_round() -> None:
    pytest.importorskip("torch")
    found = ratio(replace(CELL, attn="linear", speed=SPEED))
    assert (found.first, found.second, len(found.rounds)) == ("linear (torch)", "softmax (torch)", 4)
    assert min(found.rounds) > 0
