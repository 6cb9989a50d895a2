"""The file of baselines: read, written, refused; and the one that is committed can be trusted."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import replace
from functools import reduce
from pathlib import Path
from typing import Any

import pytest
import yaml

from lra.core.environment import ROOT
from lra.core.errors import UserError
from lra.regression import baselines
from lra.regression.report import clean_alarms
from lra.training.history import FIRST_STEPS
from lra.training.record import CLEAR, standard_error
from tests.watched import CELL, baseline, save, with_baseline

COMMITTED = baselines.load(ROOT / "results" / "baselines.yaml")


def test_a_file_comes_back_as_it_was_written(tmp_path: Path) -> None:
    cells = [CELL, replace(with_baseline(clean=[0.5]), name="other", clean_seeds=[7000], attn="elfatt")]
    assert baselines.load(save(tmp_path / "b.yaml", *cells)).cells == cells


def test_a_cell_changes_its_preset() -> None:
    run = CELL.run(5)
    assert (run.seed, run.preset, run.model.width, run.data.max_args) == (5, "smoke", 8, 10)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"seeds": [0, 1, 2]}, "3 baseline seeds, expected at least 8"),
        ({"check_seeds": [0]}, "each seed once"),
        ({"check_seeds": []}, "expected check_seeds"),
        ({"speed": {"length": 64, "batch": 1, "rounds": 8, "factor": 0.9}}, "factor is 0.9, expected more than 1"),
        ({"speed": {"length": 0, "batch": 1, "rounds": 8, "factor": 1.5}}, "length is 0, expected at least 1"),
        ({"seeds": [-1, *range(1, 8)]}, r"seeds\[0\] is -1"),
        ({"name": 3}, "has no name"),
        ({"baseline": 3}, "cell 1 .tiny.: baseline: expected fields and values, found int"),
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
    with pytest.raises(UserError, match="no baselines: "):
        baselines.load(tmp_path / "nowhere.yaml")


WRONG = {
    "NaN": float("nan"),
    "infinite": float("inf"),
    "negative": -1,
    "text": "0.5",
    "null": None,
    "a list": [],
    "true": True,
}


def numbers(values: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The place of the first number of each field, in values of lists and mappings."""
    if isinstance(values, dict):
        for name, each in values.items():
            yield from numbers(each, (*at, name))
    elif isinstance(values, list) and values:
        yield from numbers(values[0], (*at, 0))
    elif isinstance(values, int | float) and not isinstance(values, bool):
        yield at


VALUES = yaml.safe_load((ROOT / "results" / "baselines.yaml").read_text())
PLACES = [at for at in numbers(VALUES) if not {"changes", "made"} & set(at)]  # those two are free


@pytest.mark.parametrize("wrong", WRONG)
def test_no_number_is_believed_that_is_none(wrong: str) -> None:
    for *way, last in PLACES:
        values = deepcopy(VALUES)
        reduce(lambda inner, key: inner[key], way, values)[last] = WRONG[wrong]
        with pytest.raises(UserError) as caught:
            baselines._checked(values, Path("b.yaml"))
        said, field = str(caught.value), next(name for name in reversed([*way, last]) if isinstance(name, str))
        assert "\n" not in said
        assert field in said or wrong == "true", "of which the types that pytest checks speak first"
        assert not way or values["cells"][0]["name"] in said


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"mean": 0.4}, "mean is 0.4, but its accuracies give 0.5"),
        ({"std": 0.0}, "std is 0.0, but its accuracies give"),
        ({"n": 9}, "n is 9, but its accuracies give 8"),
        ({"accuracies": [0.5] * 9}, "accuracies has 9 numbers, expected 8"),
        ({"clean": [0.5]}, "clean has 1 numbers, expected 0"),
        ({"curve": [2.0]}, "curve has 1 numbers, expected 20"),
        ({"curve": [2.0] * 19 + [0.0]}, r"curve\[19\] is 0.0, expected more than 0"),
        ({"ratio": 1.5}, "ratio is 1.5, expected a number if and only if the cell has a speed"),
        ({"without_learning": {"chance": 1.1}}, "without_learning.chance is 1.1"),
    ],
)
def test_a_baseline_that_contradicts_itself_is_told(changes: dict, said: str, tmp_path: Path) -> None:
    cell = with_baseline(**changes)
    path = save(tmp_path / "b.yaml", cell)
    with pytest.raises(UserError, match=rf"cell 1 .tiny.: baseline: {said}.* run check --update --cell tiny"):
        baselines.load(path)
    assert baselines.load_for_update(path).cells == [CELL], "an update measures it anew"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("schema: 1\nschema: 1\nlevel: 0.01\ncells: []", "key 'schema' stands twice"),
        ("schema: 2\nlevel: 0.01\ncells: []", "schema is 2, expected 1"),
        ("schema: 1\nlevel: 0.5\ncells: []", "level is 0.5, expected more than 0 and less than 0.5"),
        (f"schema: 1\nlevel: {10**400}\ncells: []", "level is inf, expected a finite number"),
        ("schema: 1\nlevel: 0.01\nmore: 1\ncells: []", "more"),
        ("schema: 1\nlevel: 0.01\ncells: [3]", "cell 1 has no name"),
        ("- 1", "expected schema, level"),
        ("[" * 1000, "no baselines: "),
        ("a: [", "no baselines: "),
        ("\0", "no baselines: "),
    ],
)
def test_a_file_of_another_form_is_told_in_one_line(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_text(text)
    with pytest.raises(UserError, match=said) as caught:
        baselines.load(tmp_path / "b.yaml")
    assert "\n" not in str(caught.value)


def test_updates_at_once_lose_no_baseline(tmp_path: Path) -> None:
    cells = [replace(CELL, name=f"cell {number}") for number in range(8)]
    path = save(tmp_path / "b.yaml", *cells)
    with ThreadPoolExecutor(len(cells)) as pool:
        for done in [pool.submit(baselines.update, path, cell, baseline(commit=cell.name)) for cell in cells]:
            done.result()
    found = baselines.load(path).cells
    assert [cell.name for cell in found] == [cell.name for cell in cells]
    assert [cell.baseline and cell.baseline.commit for cell in found] == [cell.name for cell in cells]
    assert [each.name for each in tmp_path.iterdir() if not each.name.endswith(".lock")] == ["b.yaml"]


def test_an_update_keeps_what_stands_in_other_cells(tmp_path: Path) -> None:
    other = replace(with_baseline(mean=0.9), name="other")
    path = save(tmp_path / "b.yaml", CELL, other)
    baselines.update(path, CELL, baseline())
    first, second = yaml.safe_load(path.read_text())["cells"]
    assert (first["baseline"]["mean"], second["baseline"]["mean"]) == (0.5, 0.9)


def test_a_cell_that_changed_while_it_was_measured_is_told(tmp_path: Path) -> None:
    path = save(tmp_path / "b.yaml", replace(CELL, check_seeds=[101]))
    before = path.read_text()
    with pytest.raises(UserError, match="cell tiny has changed during its measurement"):
        baselines.update(path, CELL, baseline())
    assert path.read_text() == before


@pytest.mark.parametrize("cell", COMMITTED.cells, ids=lambda cell: cell.name)
def test_a_committed_baseline_learned_with_every_seed(cell: baselines.WatchedCell) -> None:
    found = cell.baseline
    assert found is not None
    assert len(found.accuracies) == len(cell.seeds) >= baselines.SEEDS
    assert baselines.spread(found.accuracies) == {"mean": found.mean, "std": found.std, "n": found.n}
    rule = max(found.without_learning.values())
    assert min(found.accuracies) > rule + CLEAR * standard_error(rule, found.examples)
    assert len(found.curve) == FIRST_STEPS
    assert len(found.clean) == len(cell.clean_seeds)
    assert found.clean_checkout


def test_a_committed_cell_was_tried_on_twenty_clean_checks() -> None:
    tried = [
        clean_alarms(cell, cell.baseline, COMMITTED.level)[0] for cell in COMMITTED.cells if cell.baseline is not None
    ]
    assert max(tried) >= 20
