"""A small slice of the campaign of faults (`python -m tests.evidence.faults`), and that it would see a bad reader."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lra.core.environment import ROOT
from tests.evidence.faults import BAD, BELIEVED, HANG, HELD, TRACEBACK, campaign, limited, outcome
from tests.faulty_inputs import Input, inputs
from tests.faulty_machines import wrong


@pytest.mark.parametrize("each", [*inputs()], ids=lambda each: each.name)
def test_no_fault_is_believed_hangs_or_ends_in_a_traceback(each: Input) -> None:
    if "tfds" in each.name or "3.0.2" in each.name:
        pytest.importorskip("tensorflow_datasets")
    found = list(campaign(4, seed=1, chosen=[each]))
    assert [trial for trial in found if trial.outcome in BAD] == []
    assert len(found) == 4


def test_a_reader_that_believes_or_fails_is_seen() -> None:
    record = next(iter(inputs()))
    blind = replace(record, read=lambda folder: sum(path.stat().st_size for path in folder.glob("*.json")))
    raw = replace(record, read=lambda folder: (folder / "a.json").read_bytes().decode())
    for reader, bad in ((blind, BELIEVED), (raw, TRACEBACK)):
        assert bad in Counter(trial.outcome for trial in campaign(30, seed=0, chosen=[reader]))


def test_a_reader_that_hangs_or_tells_no_file_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def endless() -> Any:
        while True:
            pass

    monkeypatch.setattr("tests.evidence.faults.SECONDS", 0.05)
    assert outcome(endless, tmp_path, None, sealed=False)[0] == HANG
    assert outcome(lambda: 1, tmp_path, 1, sealed=True)[0] == HELD
    with limited(0.05):
        pass
    assert wrong(1, "Traceback (most recent call last):\nKeyError")
    assert wrong(1, "it failed")
    assert not wrong(1, "error: it failed")


def test_the_page_has_every_input() -> None:
    page = (ROOT / "results" / "evidence" / "faults.md").read_text(encoding="utf-8")
    for name in [each.name for each in inputs()]:
        assert f"| {name} | " in page
    (total,) = (line for line in page.splitlines() if line.startswith("| all |"))
    assert total.split(" | ")[3:] == ["0", "0", "0 |"]
