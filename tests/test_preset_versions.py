"""A preset whose values change gets a version; records of older values keep a board and a command of their own."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path

import pytest
import yaml
from board_records import made

from lra.cli.chosen import Chosen
from lra.cli.train import _read
from lra.core import presets
from lra.core.config import as_dict, from_dict
from lra.core.errors import UserError
from lra.core.spec import Spec
from lra.plotting.figures import pictures
from lra.scores import board, overrides
from lra.scores.tables import heading
from lra.training.record import Record


@pytest.fixture
def versioned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """ListOps' quick preset with other steps, as version 2."""
    blocks = yaml.safe_load((presets.CONFIGS / "listops.yaml").read_text(encoding="utf-8"))
    assert "version" not in blocks["quick"], "the test makes version 2 itself"
    blocks["quick v1"] = deepcopy(blocks["quick"])
    blocks["quick"] |= {"version": 2}
    blocks["quick"]["train"]["steps"] = 7000
    (tmp_path / "listops.yaml").write_text(yaml.safe_dump(blocks), encoding="utf-8")
    monkeypatch.setattr(presets, "CONFIGS", tmp_path)
    caches = (overrides._preset, overrides._version)
    for cache in caches:
        cache.cache_clear()
    yield
    for cache in caches:
        cache.cache_clear()


def made_before() -> Record:
    """A record of version 1."""
    return made("listops", "linear", 0.5, train={"steps": 2000}, preset_version=1)


@pytest.mark.usefixtures("versioned")
def test_each_version_has_its_board_and_no_words_in_it() -> None:
    new, old = made("listops", "linear", 0.5), made_before()
    today, superseded = board.boards([old, new], None)
    assert (today.preset, superseded.preset) == ("quick", "quick v1")
    assert [row.words for each in (today, superseded) for row in each.rows] == [(), ()]
    assert "older values" in heading(superseded)
    assert superseded.slug == "quick-v1"
    assert [each.preset for each in pictures([today, superseded])] == ["quick", "quick"]  # the older one is a table


@pytest.mark.usefixtures("versioned")
def test_the_command_of_an_older_record_makes_its_run_again() -> None:
    old = made_before()
    words = shlex.split(overrides.command(old))
    assert words[:2] == ["python", "run_lra.py"]
    run, _, _ = _read(Chosen.of(words[2:]), Spec("linear"), words[2:], [])
    assert as_dict(run) == as_dict(from_dict(old.config, "the record"))


@pytest.mark.usefixtures("versioned")
def test_a_version_without_a_block_is_told() -> None:
    assert presets.preset_version("listops", "quick") == 2
    assert presets.preset_values("listops", "quick", version=1)["train"]["steps"] == 2000
    with pytest.raises(UserError, match="preset quick of version 3 is not in"):
        presets.preset_values("listops", "quick", version=3)
