"""A run's id: the same as ever for what changed no number, another one for what did."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field, make_dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from small import smoke_run

import attention_impls
from lra.core import identity
from lra.core.config import Run, from_dict
from lra.core.environment import ROOT
from lra.core.identity import canonical_text, revisions, run_id

RECORDS = sorted((ROOT / "results" / "runs").glob("*.json"))


def test_every_committed_record_has_the_id_of_its_run() -> None:
    assert len(RECORDS) > 100
    for path in RECORDS:
        values = json.loads(path.read_text())
        run = from_dict(values["config"], path.name)
        text = canonical_text(run, values["data_hash"], _revisions(values, run))
        assert identity.digest(text) == values["run_id"], path.name
        assert path.name.split(".")[0].endswith(values["run_id"][:8])


def _revisions(values: dict[str, Any], run: Run) -> dict[str, int]:
    """Those under which a record was made; before schema 2 all but the task's were 1."""
    before = dict.fromkeys(revisions(run), 1) | {"task": values["task_version"]}
    return before if values["schema"] == 1 else values["revisions"]


@dataclass(frozen=True, kw_only=True)
class _Later:
    """Options with a field that was added later."""

    block: int = 4
    taps: int = field(default=1, metadata={"neutral": 1})


def test_a_later_field_changes_no_id_at_its_neutral_value_whatever_its_default() -> None:
    before = make_dataclass("Before", [("block", int, 4)])()
    run = smoke_run()
    first = run_id(replace(run, options=before), "0")
    assert run_id(replace(run, options=_Later()), "0") == first
    assert run_id(replace(run, options=_Later(taps=3)), "0") != first


def test_a_revision_enters_above_one(monkeypatch: pytest.MonkeyPatch) -> None:
    run = smoke_run()
    first = run_id(run, "0")
    mechanism = attention_impls.load(run.attn)
    revised = replace(mechanism, card=replace(mechanism.card, revision=2))
    monkeypatch.setattr(attention_impls, "load", lambda name: revised)
    assert revisions(run)["attention"] == 2
    assert run_id(run, "0") != first


def test_dropout_has_a_revision_of_its_own_and_a_run_without_it_keeps_its_id() -> None:
    run = smoke_run()
    dropping, plain = (replace(run, model=replace(run.model, dropout=rate)) for rate in (0.1, 0.0))
    assert revisions(dropping)["training"] > revisions(plain)["training"] == 1
    assert "revisions" not in json.loads(canonical_text(plain, "0", revisions(plain)))


def test_a_record_from_before_an_option_is_replayed_with_what_was_fixed_then_under_an_id_of_its_own() -> None:
    later = [json.loads(path.read_text()) for path in RECORDS if "-performer-" in path.name]
    assert later
    for values in later:
        assert "epsilon" not in values["config"]["options"]
        replay = from_dict(values["config"], "a record")
        assert replay.options.epsilon == 1e-4
        today = replace(replay, options=type(replay.options)())
        ids = {values["run_id"], run_id(replay, values["data_hash"]), run_id(today, values["data_hash"])}
        assert len(ids) == 3


@pytest.mark.parametrize("change", [{"seed": 1}, {"backend": "jax"}, {"preset": "quick"}], ids=str)
def test_whatever_decides_numbers_changes_the_id(change: dict[str, Any]) -> None:
    run = smoke_run(backend="torch")
    assert run_id(replace(run, **change), "0") != run_id(run, "0")
    assert run_id(run, "1") != run_id(run, "0")


def test_a_mechanism_from_outside_that_was_edited_is_another_one(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    shutil.copytree(ROOT / "attention_impls" / "linear", mine, ignore=shutil.ignore_patterns("__pycache__"))
    run = smoke_run(attn=str(mine))
    first = run_id(run, "0")
    (mine / "notes.txt").write_text("no source")
    (mine / "__pycache__").mkdir(exist_ok=True)
    (mine / "__pycache__" / "x.py").write_text("")
    assert run_id(run, "0") == first
    with (mine / "torch_impl.py").open("a", encoding="utf-8") as file:
        file.write("\n# another line\n")
    assert run_id(run, "0") != first
    assert attention_impls.load("linear").sources is None
