"""The file of baselines: read, written, refused; and the one that is committed can be trusted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from lra import baselines
from lra.config import UserError
from lra.environment import ROOT
from lra.record import CLEAR, standard_error
from lra.regress_report import clean_alarms
from lra.regress_trial import STEPS
from tests.watched import CELL, save, with_baseline

COMMITTED = baselines.load(ROOT / "results" / "baselines.yaml")


def test_a_file_comes_back_as_it_was_written(tmp_path: Path) -> None:
    cells = [CELL, replace(with_baseline(), name="other", clean_seeds=[7000], attn="elfatt")]
    assert baselines.load(save(tmp_path / "b.yaml", *cells)).cells == cells


def test_a_cell_changes_its_preset() -> None:
    run = CELL.run(5)
    assert (run.seed, run.preset, run.model.width, run.data.max_args) == (5, "smoke", 8, 10)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"seeds": [0, 1, 2]}, "3 baseline seeds, expected at least 8"),
        ({"check_seeds": [0]}, "no seed twice"),
        ({"check_seeds": []}, "expected check_seeds"),
        ({"speed": {"length": 64, "batch": 1, "rounds": 8, "factor": 0.9}}, "factor 0.9"),
        ({"sedes": [1]}, "sedes"),
    ],
)
def test_a_mistake_in_a_cell_is_told(changes: dict, said: str, tmp_path: Path) -> None:
    values = yaml.safe_load(save(tmp_path / "b.yaml", CELL).read_text())
    values["cells"][0] |= changes
    (tmp_path / "b.yaml").write_text(yaml.safe_dump(values))
    with pytest.raises(UserError, match=said):
        baselines.load(tmp_path / "b.yaml")


@pytest.mark.parametrize(("part", "said"), [("layers", "expected data, options"), ("model", "did you mean 'width'")])
def test_a_change_of_what_is_not_there_is_told(part: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        replace(CELL, changes={part: {"widths": 8}}).run(0)


def test_a_file_that_is_none_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no baselines"):
        baselines.load(tmp_path / "nowhere.yaml")


@pytest.mark.parametrize("cell", COMMITTED.cells, ids=lambda cell: cell.name)
def test_a_committed_baseline_learned_with_every_seed(cell: baselines.Cell) -> None:
    found = cell.baseline
    assert found is not None
    assert len(found.accuracies) == len(cell.seeds) >= baselines.SEEDS
    assert baselines.spread(found.accuracies) == {"mean": found.mean, "std": found.std, "n": found.n}
    rule = max(found.without_learning.values())
    assert min(found.accuracies) > rule + CLEAR * standard_error(rule, found.examples)
    assert len(found.curve) == STEPS
    assert len(found.clean) == len(cell.clean_seeds)
    assert found.clean_checkout


def test_a_committed_cell_was_tried_on_twenty_clean_checks() -> None:
    tried = [
        clean_alarms(cell, cell.baseline, COMMITTED.level)[0] for cell in COMMITTED.cells if cell.baseline is not None
    ]
    assert max(tried) >= 20
