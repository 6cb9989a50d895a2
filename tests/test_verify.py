"""Records of others: what is checked, what cannot be compared, and what is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from attention_impls.saved import record_checksum
from lra.cli.main import main
from lra.core.environment import ROOT
from lra.training import data, record
from lra.training.callbacks import Silent
from lra.training.record import Record
from lra.training.trainer import train
from lra.verification import command, losses, submit
from lra.verification.findings import Finding
from lra.verification.losses import Here
from tasks.base import Source
from tests.small import place, smoke_run

HERE = Here(device="cpu", minutes=1.0)
PAPER = Here(device="cpu", minutes=0.0)
RUN = smoke_run("listops", "linear", backend="torch")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Record]:
    """A run of this very code, and its file."""
    pytest.importorskip("torch")
    results = tmp_path_factory.mktemp("trained")
    prepared = data.prepare(RUN.task, RUN.data, Source())
    made, path = train(RUN, prepared, place(results), Silent())
    return path, made


def put(made: Record, folder: Path, **changes: Any) -> Path:
    """The record with changes, sealed as its writer would."""
    values = asdict(made) | changes
    path = folder / f"{record.name(made, values['run_id'])}.json"
    path.write_text(json.dumps(values | {"checksum": record_checksum(values)}), encoding="utf-8")
    return path


def found(path: Path, here: Here = PAPER, among: list[Path] | None = None) -> dict[str, Finding]:
    return {each.check: each for each in command.checks(path, here, among)}


def outcomes(path: Path, here: Here = PAPER) -> dict[str, str]:
    return {name: each.outcome for name, each in found(path, here).items()}


def test_an_honest_record_passes_bit_for_bit(trained: tuple[Path, Record]) -> None:
    checked = found(trained[0], HERE, [trained[0]])
    assert {name: each.outcome for name, each in checked.items()} == dict.fromkeys(
        ["layout", "checksum", "id", "data", "accuracies", "first losses", "full run"], "passed"
    )
    assert checked["first losses"].why == "6 of 6, bit for bit"
    assert checked["full run"].why.startswith("the same curve, bit for bit")


def curve(made: Record, **changes: Any) -> list[dict[str, Any]]:
    points = [asdict(point) for point in made.curve]
    points[-1] |= changes
    return points


LIES: dict[str, tuple[str, Callable[[Record], dict[str, Any]], str]] = {
    "another id": ("id", lambda made: {"run_id": "0123456789ab"}, "that of its configuration, data and revisions is"),
    "another seed": ("id", lambda made: {"seed": 9}, "seed is 9, its configuration has 0"),
    "another rate": (
        "id",
        lambda made: {"config": made.config | {"train": made.config["train"] | {"learning_rate": 1.0}}},
        "that of its configuration",
    ),
    "an impossible configuration": (
        "id",
        lambda made: {"config": made.config | {"train": made.config["train"] | {"steps": 0}}},
        "train.steps is 0, expected at least 1",
    ),
    "no revision": ("id", lambda made: {"revisions": {}}, "its revisions have no"),
    "an accuracy between examples": ("accuracies", lambda made: {"test_accuracy": 0.123}, "no share of 50 examples"),
    "more examples": ("accuracies", lambda made: {"test_examples": 100}, "test_examples is 100, its data has 50"),
    "a better validation": (
        "accuracies",
        lambda made: {"validation_accuracy": 0.98},
        "validation_accuracy is 0.98 at step",
    ),
    "a curve between examples": (
        "accuracies",
        lambda made: {"curve": curve(made, validation_accuracy=0.001)},
        "at step 6 is no share of 50 examples",
    ),
    "a curve cut short": (
        "accuracies",
        lambda made: {
            "curve": curve(made)[:1],
            "best_step": 3,
            "validation_accuracy": made.curve[0].validation_accuracy,
        },
        "its curve is not of every 3 steps up to 6",
    ),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_that_is_sealed_is_found(lie: str, trained: tuple[Path, Record], tmp_path: Path) -> None:
    check, change, said = LIES[lie]
    checked = found(put(trained[1], tmp_path, **change(trained[1])))
    assert checked[check].outcome == "failed", checked[check]
    assert said in checked[check].why


def test_other_data_under_its_own_id_is_found(trained: tuple[Path, Record], tmp_path: Path) -> None:
    """Whoever changes the hash can compute the id anew: the data itself tells."""
    from lra.core.identity import run_id

    path = put(trained[1], tmp_path, data_hash="ab" * 32, run_id=run_id(RUN, "ab" * 32))
    assert outcomes(path)["id"] == "passed"
    assert outcomes(path)["data"] == "failed"


@pytest.mark.parametrize(("factor", "outcome"), [(1.0 + 1e-7, "failed"), (1.01, "failed")])
def test_losses_are_the_same_bits_on_the_same_machine(
    factor: float, outcome: str, trained: tuple[Path, Record], tmp_path: Path
) -> None:
    told = [each * factor for each in trained[1].first_losses]
    checked = found(put(trained[1], tmp_path, first_losses=told), HERE)
    assert checked["first losses"].outcome == outcome


@pytest.mark.parametrize("other", ["cpu", "numpy", "framework", "commit", "number of devices"])
def test_elsewhere_losses_agree_within_a_thousandth(other: str, trained: tuple[Path, Record], tmp_path: Path) -> None:
    made = trained[1]
    changes: dict[str, Any] = {"environment": made.environment | {other: "another"}}
    if other == "commit":
        changes = {"git": {"commit": "0" * 40, "clean": True}}
    if other == "number of devices":
        changes = {"devices": 2}
    for factor, outcome in ((1.0 + 1e-5, "passed"), (1.002, "failed")):
        told = [each * factor for each in made.first_losses]
        checked = found(put(made, tmp_path, first_losses=told, **changes), HERE)["first losses"]
        assert checked.outcome == outcome
        assert outcome == "failed" or f"another {other}" in checked.why


NOT_HERE: dict[str, Callable[[Record], dict[str, Any]]] = {
    "a GPU's": lambda made: {"environment": made.environment | {"device": "NVIDIA H100"}},
    "another precision": lambda made: {"precision": "bfloat16 products, float32 sums"},
}


@pytest.mark.parametrize("what", NOT_HERE)
def test_another_device_or_precision_is_not_comparable(
    what: str, trained: tuple[Path, Record], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(losses, "_trained", lambda *words: pytest.fail("nothing is to be trained"))
    path = put(trained[1], tmp_path, **NOT_HERE[what](trained[1]))
    assert found(path, HERE)["first losses"].outcome == "not comparable"
    assert main(["verify", str(path), "--device", "cpu"]) == 0


def test_another_revision_is_not_comparable(trained: tuple[Path, Record], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(losses, "revisions", lambda run: {"task": 1, "attention": 7, "training": 1})
    checked = found(trained[0], HERE)["first losses"]
    assert checked.outcome == "not comparable"
    assert "of its attention, this is 7" in checked.why


def test_what_is_not_here_is_not_checked(
    trained: tuple[Path, Record], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(losses, "installed", lambda name: False)
    assert found(trained[0], HERE)["first losses"].why == "torch is not installed"
    monkeypatch.undo()
    assert found(trained[0])["first losses"].outcome == "not checked"
    monkeypatch.setenv("LRA_HOME", str(tmp_path))
    monkeypatch.setattr(command.paper, "QUICK_BYTES", 0)
    assert {name: outcomes(trained[0], HERE)[name] for name in ("data", "first losses")} == dict.fromkeys(
        ("data", "first losses"), "not checked"
    )


def test_no_code_of_others_is_run(trained: tuple[Path, Record], tmp_path: Path) -> None:
    folder = tmp_path / "theirs"
    folder.mkdir()
    (folder / "__init__.py").write_text("raise SystemExit('it ran')", encoding="utf-8")
    made = trained[1]
    path = put(made, tmp_path, attn=str(folder), config=made.config | {"attn": str(folder)})
    checked = found(path, HERE)
    assert checked["id"].outcome == "not checked"
    assert "code of others" in checked["id"].why
    path = put(made, tmp_path, attn="nowhere")
    assert found(path)["id"].outcome == "not comparable"


def test_time_that_is_too_short_checks_nothing(trained: tuple[Path, Record], monkeypatch: pytest.MonkeyPatch) -> None:
    def no_time(run: Any, ready: Any, here: Any, watch: Any) -> None:
        raise losses._Enough

    monkeypatch.setattr(losses, "_trained", no_time)
    checked = found(trained[0], HERE)["first losses"]
    assert (checked.outcome, checked.why) == ("not checked", "not one step fits into 1 minutes: raise --minutes")


def test_the_spread_of_seeds_says_whether_a_full_run_holds(
    trained: tuple[Path, Record], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = trained[1]
    seeds = [put(made, tmp_path, test_accuracy=0.5 + 0.02 * number, run_id=f"{number:08x}0000") for number in range(8)]
    monkeypatch.setattr(losses, "first_losses", lambda *words: None)
    for accuracy, outcome in ((0.48, "passed"), (0.2, "failed")):
        monkeypatch.setattr(losses, "_trained", lambda *words, accuracy=accuracy: replace(made, test_accuracy=accuracy))
        records = [record.load(path) for path in seeds]
        ready = data.prepare(RUN.task, RUN.data, Source())
        assert losses.whole_run(records[0], RUN, ready, HERE, records[1:]).outcome == outcome
        assert losses.whole_run(records[0], RUN, ready, HERE, []).outcome == "not checked"
    assert len(command._other_seeds(records[0], seeds)) == 7


def test_every_committed_record_holds_on_paper(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command.paper.store, "load", lambda task, options: None)
    monkeypatch.setattr(command.paper, "QUICK_BYTES", 0)
    paths = sorted((ROOT / "results" / "runs").glob("*.json"))
    bad = {path.name: each for path in paths for each in command.checks(path, PAPER) if each.outcome == "failed"}
    assert len(paths) > 100
    assert bad == {}


@pytest.mark.parametrize("words", [["verify"], ["submit"], ["verify", "nowhere.json"], ["submit", "nowhere.json"]])
def test_a_file_that_is_not_there_is_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_what_is_no_record_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.json"
    path.write_text("{}", encoding="utf-8")
    assert main(["verify", str(path)]) == 1
    assert "1 of 1 failed" in capsys.readouterr().err
    assert main(["submit", str(path)]) == 1


def test_a_clean_record_may_be_submitted(
    trained: tuple[Path, Record], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = put(trained[1], tmp_path, git={"commit": "a" * 40, "clean": True})
    assert main(["submit", str(path)]) == 0
    said = capsys.readouterr().out
    assert f"| listops · linear · torch · smoke · seed 0 | {100 * trained[1].test_accuracy:.2f} |" in said
    assert re.search(r"Check: `python run_lra.py verify results/runs/listops-linear-torch-smoke-s0-\w{8}.json`", said)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "changes": ({"git": {"commit": "a" * 40, "clean": False}}, "from a clean commit"),
    "no commit": ({"git": {"commit": None, "clean": None, "why": "no git"}}, "from a clean commit"),
    "an older preset": ({"preset_version": 7}, "is superseded"),
    "a lie": ({"test_accuracy": 0.123}, "no share of 50 examples"),
}


@pytest.mark.parametrize("why", REFUSED)
def test_what_the_policy_refuses_is_told(why: str, trained: tuple[Path, Record], tmp_path: Path) -> None:
    changes, said = REFUSED[why]
    clean = {"git": {"commit": "a" * 40, "clean": True}}
    assert any(said in each for each in submit.problems(put(trained[1], tmp_path, **(clean | changes))))


def test_another_name_is_refused(trained: tuple[Path, Record], tmp_path: Path) -> None:
    path = put(trained[1], tmp_path, git={"commit": "a" * 40, "clean": True})
    renamed = path.rename(tmp_path / "mine.json")
    assert list(submit.problems(renamed)) == [f"expected the name {path.name}"]
