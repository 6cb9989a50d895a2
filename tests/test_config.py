"""A run's configuration: whatever its way in, a value is in its range, or one line refuses it before data is made."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from math import isfinite
from pathlib import Path
from typing import Any, cast, get_args, get_type_hints

import pytest
from annotated_types import Interval

import attention_impls
import tasks
from lra.bench.plan import make_plan
from lra.bench.wanted import Wanted
from lra.cli.main import main
from lra.core.config import Model, Run, Train, as_dict, from_dict, resolve
from lra.core.documents import yaml_text
from lra.core.errors import UserError
from lra.core.spec import parse_specs
from lra.model.weights import _encoder_size, initial_weights
from lra.training.session import train_all
from lra.training.trainer import Place, make_blueprint
from tests.small import smoke_run
from tests.watched import CELL

EVERY = {
    **{("options", name): attention_impls.load(name).card.options for name in attention_impls.names()},
    **{("data", name): tasks.load(name).options for name in tasks.names()},
    ("model", ""): Model,
    ("train", ""): Train,
    ("", ""): Run,
}
KINDS = {place: kind for place, kind in EVERY.items() if fields(kind)}
NONSENSE = (float("nan"), float("inf"), -float("inf"), -1, 1e308, "x", [], {}, 10**18, 10**400, 10**5000)


def hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


def intervals(hint: Any) -> Iterator[Interval]:
    """The ranges that a field declares, inside a union too."""
    yield from (each for each in getattr(hint, "__metadata__", ()) if isinstance(each, Interval))
    for part in get_args(hint):
        yield from intervals(part)


def whole(part: str, name: str) -> dict[str, Any]:
    """A run's plain values, those of one task or mechanism where the part has several."""
    task, attn = (name if part == kind else usual for kind, usual in (("data", "listops"), ("options", "softmax")))
    return as_dict(resolve(task, attn, preset="smoke"))


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.__module__)
def test_every_number_has_a_least_and_a_greatest_value(kind: type) -> None:
    for name, hint in hints(kind).items():
        plain = get_type_hints(kind)[name]
        if {int, float} & {plain, *get_args(plain)}:
            (found,) = intervals(hint)
            sides = [side for side in (found.ge, found.gt, found.le, found.lt) if side is not None]
            assert len(sides) == 2, name
            assert all(map(isfinite, cast(Any, sides))), name


@pytest.mark.parametrize("place", KINDS, ids="-".join)
def test_no_field_believes_nonsense(place: tuple[str, str]) -> None:
    part, _ = place
    for name, hint in get_type_hints(KINDS[place]).items():
        values = whole(*place)
        inner = values[part] if part else values
        of_no_kind = [value for value in (True, None) if type(value) not in (hint, *get_args(hint))]
        for wrong in (*NONSENSE, *of_no_kind):
            if wrong == {} and name in ("data", "options"):  # all of whose fields have defaults
                continue
            inner[name] = wrong
            with pytest.raises(UserError) as stop:
                from_dict(values, "here")
            line = str(stop.value)
            assert line.startswith((f"here: {part}.{name} " if part else f"here: {name} ", "here: unknown "))
            assert "\n" not in line
            assert len(line) < 400


def by_yaml(part: str, name: str, value: Any, folder: Path) -> None:
    values = as_dict(smoke_run(attn="primal"))
    values[part][name] = value
    (folder / "a.yaml").write_text(yaml_text(values))
    cli("--config", str(folder / "a.yaml"))


def by_record(part: str, name: str, value: Any, folder: Path) -> None:
    values = as_dict(smoke_run(attn="primal"))
    values[part][name] = value
    (folder / "a.json").write_text(json.dumps({"config": values}))
    cli("--config", str(folder / "a.json"))


def by_flag(part: str, name: str, value: Any, folder: Path) -> None:
    flag = f"--{'attn' if part == 'options' else part}.{name.replace('_', '-')}"
    cli("--task", "listops", "--attn", "primal", "--preset", "smoke", flag, str(value))


def by_library(part: str, name: str, value: Any, folder: Path) -> None:
    run = smoke_run(attn="primal")
    replace(run, **{part: replace(getattr(run, part), **{name: value})})


def by_check(part: str, name: str, value: Any, folder: Path) -> None:
    replace(CELL, attn="primal", changes={part: {name: value}}).run(0)


def by_bench(part: str, name: str, value: Any, folder: Path) -> None:
    assert part == "options", "bench takes no other part of a run"
    make_plan(Wanted(attn=parse_specs(f"primal@{name}={value}"), lengths=(64,)), "cpu")


def cli(*words: str) -> None:
    """Run a command; what it refuses is raised again, from the one line that it printed."""
    with pytest.MonkeyPatch.context() as patch:
        said: list[str] = []
        patch.setattr("lra.terminal.failures.fail", lambda message, code: said.append(message) or code)
        assert main(words) == 2
    raise UserError(*said)


WAYS = (by_yaml, by_record, by_flag, by_library, by_check)
WRONG = [
    ("train", "beta2", 1.5, "expected at least 0 and less than 1"),
    ("train", "beta1", 1.0, "expected at least 0 and less than 1"),
    ("train", "learning_rate", -0.1, "expected more than 0 and at most 1e+09"),
    ("train", "weight_decay", -1.0, "expected at least 0 and at most 100"),
    ("train", "epsilon", 0.0, "expected at least 1e-30 and at most 1"),
    ("train", "steps", 10**18, "expected at least 1 and at most 1,000,000,000"),
    ("train", "batch_size", 10**12, "expected at least 1 and at most 1,000,000"),
    ("model", "width", 0, "expected at least 1 and at most 100,000"),
    ("model", "classifier", 10**15, "expected at least 0 and at most 1,000,000"),
    ("data", "seed", -1, "expected at least 0 and less than 4,294,967,296"),
    ("data", "max_depth", 10**18, "expected at least 1 and at most 1,000"),
    ("options", "rank", 0, "expected at least 1 and at most 1,000"),
    ("options", "eta", -1.0, "expected at least 0 and at most 1,000"),
]


@pytest.mark.parametrize(
    ("way", "part", "name", "value", "told"),
    [(way, *case) for case in WRONG for way in (*WAYS, *([by_bench] if case[0] == "options" else []))],
)
def test_every_way_in_has_the_same_ranges(
    way: Callable[[str, str, Any, Path], None], part: str, name: str, value: Any, told: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError) as stop:
        way(part, name, value, tmp_path)
    assert str(stop.value).endswith(f"{part}.{name} is {value}, {told}")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"preset": "mine"}, "preset is 'mine', expected 'smoke' or 'quick' or 'standard' or 's4'"),
        ({"backend": []}, "backend is [], expected 'torch' or 'jax'"),
        ({"seed": True}, "seed is True, expected a whole number, at least 0 and less than 4,294,967,296"),
        ({"seed": 2**32}, "seed is 4294967296, expected at least 0 and less than 4,294,967,296"),
        ({"task": []}, "task is [], expected text"),
        ({"task": "listop"}, "unknown task 'listop': did you mean 'listops'?"),
        ({"attn": "sofmax"}, "unknown attention 'sofmax': did you mean 'softmax'?"),
        ({"sed": 1}, "unknown key 'sed': did you mean 'seed'?"),
        ({"model": None}, "model is None, expected a mapping of width, depth"),
        ({"train": {}}, "train has no steps, batch_size"),
        ({"options": {"local_con": True}}, "options: unknown key 'local_con': did you mean 'local_conv'?"),
    ],
    ids=str,
)
def test_a_whole_that_is_no_run_is_refused(change: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError) as stop:
        from_dict(as_dict(smoke_run()) | change, "here")
    assert str(stop.value).startswith(f"here: {told}")


@pytest.mark.parametrize("values", [None, [], "x", 3, {}, [{"a": 1}]], ids=str)
def test_what_is_no_mapping_of_a_run_is_refused(values: Any) -> None:
    with pytest.raises(UserError, match=r"^here (is .*, expected a mapping of|has no) task, attn"):
        from_dict(values, "here")


def test_a_refused_file_leaves_nothing_behind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.yaml").write_text(yaml_text(as_dict(smoke_run()) | {"preset": "mine"}))
    results = tmp_path / "results"
    assert main(["--config", str(tmp_path / "a.yaml"), "--results", str(results)]) == 2
    told = capsys.readouterr()
    assert told.err.splitlines() == [
        f"error: {tmp_path}/a.yaml: preset is 'mine', expected 'smoke' or 'quick' or 'standard' or 's4'"
    ]
    assert told.out == ""
    assert not results.exists()


@pytest.mark.parametrize(
    ("part", "change", "told"),
    [
        ("train", {"warmup": 6}, "train.warmup is 6, expected less than train.steps=6"),
        ("train", {"cycle": 5}, "train.cycle is 5, expected at least 6 steps"),
        ("model", {"dropout": 0, "embedding_dropout": 0.2}, "model.embedding_dropout is 0.2, expected 0 or None, as"),
        ("model", {"heads": 3}, "model.heads is 3, expected a divisor of model.width=64"),
        ("model", {"ffn": 70_000, "dropout": 0.1}, "model.ffn is 70000, expected at most 65,536 with dropout, or m"),
        ("model", {"width": 65_538, "dropout": 0.1}, "model.width is 65538, expected at most 65,536 with dropout"),
        ("data", {"min_length": 64}, "no ListOps expression has more than 64"),
    ],
)
def test_what_does_not_go_together_is_refused(part: str, change: dict[str, Any], told: str) -> None:
    values = as_dict(smoke_run())
    values[part] |= change
    with pytest.raises(Exception, match=told) as stop:
        from_dict(values, "here")
    assert type(stop.value) is UserError


def test_data_is_that_of_the_task() -> None:
    with pytest.raises(UserError, match="data is a Text, expected a ListOps, as listops has it"):
        replace(smoke_run(), data=resolve("text", "softmax").data)


def test_a_whole_number_may_stand_for_any_and_a_list_for_a_tuple() -> None:
    values = as_dict(smoke_run())
    values["train"]["weight_decay"] = 1
    assert json.dumps(as_dict(from_dict(values, "here"))["train"]["weight_decay"]) == "1.0"


@pytest.mark.parametrize(
    ("task", "changes"), [("listops", {}), ("retrieval", {"depth": 3, "ffn": 24, "classifier": 40})]
)
def test_the_size_of_the_encoder_is_that_of_its_matrices(task: str, changes: dict[str, int]) -> None:
    run = resolve(task, "softmax", preset="smoke")
    plan = make_blueprint(replace(run, model=replace(run.model, **changes)), tasks.load(task))
    assert _encoder_size(plan) == sum(array.size for array in initial_weights(plan).values() if array.ndim == 2)


def test_a_model_that_no_machine_holds_is_refused() -> None:
    run = smoke_run()
    huge = replace(run, model=replace(run.model, width=65_000, depth=1000, heads=1))
    with pytest.raises(UserError, match=r"^the initial weights need [\d,.]+ GB, expected at most the [\d,.]+ GB"):
        make_blueprint(huge, tasks.load("listops"))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[1]", "expected smoke, quick, standard, with mappings data, model and train"),
        ("standard: {data: {}, model: {}}\nsmoke: {}", "expected smoke, quick, standard, with mappings"),
        ("standard: {data: {}, model: {}, train: {}}\nsmoke: []", "expected smoke, quick, standard, with mappings"),
        ("standard: {data: {}, model: {}, train: {}}\nsmoke: {}", "listops, preset smoke: model has no width"),
        ("standard: {data: {tran: 1}, model: {}, train: {}}\nsmoke: {}", "unknown key 'tran': did you mean 'train'?"),
    ],
)
def test_a_preset_that_was_edited_wrongly_is_told(
    text: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "listops.yaml").write_text(text)
    monkeypatch.setattr("lra.core.presets.CONFIGS", tmp_path)
    with pytest.raises(UserError, match=re.escape(told)):
        resolve("listops", "softmax", preset="smoke")


def test_a_task_without_its_values_is_told_where_they_stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lra.core.presets.CONFIGS", tmp_path)
    with pytest.raises(UserError, match=r"listops\.yaml is missing: write the presets of task listops there"):
        resolve("listops", "softmax")


@pytest.mark.parametrize("seeds", [0, -1, 10**18])
def test_the_seeds_of_one_command_are_counted(seeds: int) -> None:
    with pytest.raises(UserError, match="expected at least 1 and at most 1,000"):
        train_all([smoke_run()], seeds, Place(results=Path()))
