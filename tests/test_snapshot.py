"""Snapshots: whatever is not what this run wrote is refused in one line, before a backend sees it, and kept."""

from __future__ import annotations

import re
import signal
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from lra import backends
from lra.core.errors import UserError
from lra.core.files import set_aside
from lra.model.weights import Weights, initial_weights, learned
from lra.training import checkpoint, data, snapshot
from lra.training.history import History
from lra.training.loop import Diverged, Interrupted, Lane, Loop
from lra.training.snapshot import NEXT, SNAPSHOT
from lra.training.trainer import train
from tasks.base import Source
from tests.small import Quiet, blueprint, place, smoke_run

RUN = smoke_run("listops", "elfatt", steps=8, evaluate_every=4, chunk=2)
BLUEPRINT = blueprint("elfatt")
ID = "0123456789ab"
FACTS = snapshot.facts(RUN, ID)
KERNEL = "layers.0.query.kernel"


def state(weights: Weights, count: int = 0) -> Weights:
    """What a backend would save of these weights."""
    moments = {f"adam.{kind}/{name}": array * 0 for kind in ("mu", "nu") for name, array in learned(weights).items()}
    return {f"weights/{name}": array for name, array in weights.items()} | moments | {"adam.count": np.array(count)}


def arrays() -> Weights:
    """A snapshot after six of eight steps."""
    weights = initial_weights(BLUEPRINT)
    history = History(step=6, curve=[[4.0, 2.3, 0.1, 2.2, 0.2]], best=weights, loss=9.0, correct=3, count=16)
    return state(weights, 6) | history.arrays()


def read(path: Path) -> snapshot.Snapshot:
    return snapshot.read(path, RUN, ID, BLUEPRINT)


def written(tmp_path: Path, values: Weights, facts: dict[str, Any] = FACTS) -> Path:
    """A file whose checksum is right, whatever else it is."""
    path = tmp_path / "a.safetensors"
    checkpoint.save_atomically(values, path, facts)
    return path


def test_a_snapshot_comes_back(tmp_path: Path) -> None:
    found = read(written(tmp_path, arrays()))
    assert found.diverged is None
    assert found.arrays.keys() == arrays().keys()
    assert all((found.arrays[name] == array).all() for name, array in arrays().items())


def test_the_snapshot_of_a_long_run_needs_no_list_of_all_its_evaluations() -> None:
    own, plan = arrays(), replace(RUN.train, steps=400_000)
    tracemalloc.start()
    try:
        assert list(snapshot._impossible_history(own, plan)) == []
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


def test_the_same_arrays_are_the_same_bytes(tmp_path: Path) -> None:
    assert len({written(tmp_path, arrays()).read_bytes() for _ in range(3)}) == 1


def test_no_flipped_bit_is_believed(tmp_path: Path) -> None:
    path = written(tmp_path, arrays())
    content, rng = path.read_bytes(), np.random.default_rng(0)
    header = 8 + int.from_bytes(content[:8], "little")
    for position in [*rng.integers(0, header, 80), *rng.integers(header, len(content), 80)]:
        damaged = bytearray(content)
        damaged[position] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        with pytest.raises(checkpoint.Refused, match=r"is damaged|has no checksum"):
            read(path)


@pytest.mark.parametrize("kept", [0, 1, 7, 8, 9, 1000, -1])
def test_a_file_that_was_cut_off_is_damaged(kept: int, tmp_path: Path) -> None:
    path = written(tmp_path, arrays())
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(checkpoint.Refused, match="is damaged"):
        read(path)


OTHER_ARRAYS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "one number": lambda array: array.reshape(-1)[:1],
    "nothing": lambda array: array.reshape(-1)[:0],
    "flat": lambda array: np.concatenate([array.reshape(-1)] * 2),
    "one axis more": lambda array: array[None],
    "float16": lambda array: array.astype(np.float16),
    "float64": lambda array: array.astype(np.float64)[..., None],
    "bool": lambda array: array.astype(bool),
}


NAMES = [*(f"{part}{KERNEL}" for part in ("weights/", "adam.mu/", "adam.nu/", "best/")), "adam.count"]
NAMES += [f"history.{part}" for part in ("whole", "real", "curve")]


@pytest.mark.parametrize("change", OTHER_ARRAYS)
def test_an_array_of_another_shape_or_dtype_is_refused(change: str, tmp_path: Path) -> None:
    for name in NAMES:
        path = written(tmp_path, arrays() | {name: OTHER_ARRAYS[change](arrays()[name])})
        with pytest.raises(checkpoint.Refused, match=rf"has an array {re.escape(name)} of .*, expected"):
            read(path)


@pytest.mark.parametrize("name", NAMES)
def test_an_array_too_few_or_too_many_is_refused(name: str, tmp_path: Path) -> None:
    without = {each: array for each, array in arrays().items() if each != name}
    more = arrays() | {f"{name}2": np.zeros(2)}
    for values, said in ((without, f"has no array {name}"), (more, f"has an array {name}2, which is not expected")):
        with pytest.raises(checkpoint.Refused, match=re.escape(said)):
            read(written(tmp_path, values))


@pytest.mark.parametrize(
    ("name", "place", "value", "said"),
    [
        ("adam.count", (), 5, "its optimiser at 5"),
        ("history.whole", 0, 4, "is at step 4"),
        ("history.whole", 0, -1, "impossible counts"),
        ("history.whole", 1, 17, "impossible counts"),
        ("history.whole", 3, 7, "impossible counts"),
        ("history.curve", (0, 0), 3, "every 4 steps up to 6"),
        ("history.curve", (0, 2), 1.5, "not within 0 and 1"),
        ("history.curve", (0, 4), np.nan, "not within 0 and 1"),
        ("history.curve", (0, 1), np.inf, "history.curve with a value that is not finite"),
        ("history.real", 0, np.nan, "history.real with a value that is not finite"),
        (f"weights/{KERNEL}", (0, 0), np.nan, "not finite"),
        (f"best/{KERNEL}", (0, 0), np.inf, "not finite"),
        (f"adam.mu/{KERNEL}", (0, 0), -np.inf, "not finite"),
        (f"adam.nu/{KERNEL}", (0, 0), -1, "below 0"),
        (f"adam.nu/{KERNEL}", (0, 0), np.nan, "below 0"),
    ],
)
def test_an_impossible_value_is_refused(name: str, place: Any, value: float, said: str, tmp_path: Path) -> None:
    changed = arrays()[name].copy()
    changed[place] = value
    with pytest.raises(checkpoint.Refused, match=said):
        read(written(tmp_path, arrays() | {name: changed}))


def test_the_best_weights_are_there_with_a_curve_only(tmp_path: Path) -> None:
    without = {name: array for name, array in arrays().items() if not name.startswith("best/")}
    with pytest.raises(checkpoint.Refused, match="best weights"):
        read(written(tmp_path, without))


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        (FACTS | {"layout": 3}, "has layout 3, expected 2"),
        (FACTS | {"revisions": FACTS["revisions"] | {"attention": 7}}, "another revision of the code .*attention 7"),
        (FACTS | {"revisions": None}, "another revision of the code"),
        (FACTS | {"run": "another"}, "is of another run .another; this one is 0123456789ab"),
        ({}, "layout"),
    ],
)
def test_a_snapshot_of_something_else_is_refused(facts: dict, said: str, tmp_path: Path) -> None:
    with pytest.raises(checkpoint.Refused, match=said):
        read(written(tmp_path, arrays(), facts))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (save(arrays()), r"older version .*layout 1"),
        (save(arrays(), metadata={"lra": "[]"}), "not a mapping"),
        (save(arrays(), metadata={"lra": "{}"}), "checksum does not match"),
        (save(arrays(), metadata={"lra": "[" * 100_000}), "is damaged"),
        (save(arrays()).replace(b'"F32"', b'"F31"', 1), "is damaged"),
        (b"\x3c\0\0\0\0\0\0\0" + b'{"a":{"dtype":"F8_E4M3","shape":[2],"data_offsets":[0,2]}}  ' + b"ab", "is damaged"),
    ],
)
def test_a_file_that_was_never_a_snapshot_is_refused(content: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    with pytest.raises(checkpoint.Refused, match=said):
        read(path)


def test_a_file_that_may_not_be_read_is_left_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, arrays())
    monkeypatch.setattr(checkpoint.os, "access", lambda place, mode: place != path)
    with pytest.raises(UserError, match="cannot be read: change its permissions") as caught:
        read(path)
    assert not isinstance(caught.value, checkpoint.Refused)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """Results that hold a run that was stopped after two steps, and its data."""
    pytest.importorskip("torch")
    results, prepared = tmp_path_factory.mktemp("stopped"), data.prepare(RUN.task, RUN.data, Source())
    with pytest.raises(Interrupted):
        train(RUN, prepared, place(results), Quiet({2: lambda: signal.raise_signal(signal.SIGINT)}))
    return results, prepared


@pytest.mark.parametrize("how", ["cut", "folder"])
def test_what_is_refused_is_kept_and_the_run_starts_over(how: str, stopped: tuple[Path, Any]) -> None:
    results, prepared = stopped
    path = next(results.glob(f".work/*/{SNAPSHOT}"), None) or next(results.glob(".work/*")) / SNAPSHOT
    if how == "cut":
        path.write_bytes(path.read_bytes()[:-1])
    else:
        path.unlink(missing_ok=True)
        path.mkdir()
    kept = set_aside(path)
    kept.rename(path)
    with pytest.raises(UserError, match=rf"so it was renamed to {kept.name}: start over with --fresh") as caught:
        train(RUN, prepared, place(results, resume=True), Quiet())
    assert "\n" not in str(caught.value)
    assert kept.exists()
    assert not path.exists()
    with pytest.raises(UserError, match=r"no unfinished run .* without --resume"):
        train(RUN, prepared, place(results, resume=True), Quiet())
    train(RUN, prepared, place(results, fresh=True), Quiet())
    assert kept.exists()


def test_a_second_refused_file_takes_no_name_of_another(tmp_path: Path) -> None:
    path, names = tmp_path / "a.b", []
    for number in range(3):
        path.write_text(str(number))
        names.append(set_aside(path).name)
    assert names == ["a.refused.b", "a.refused.2.b", "a.refused.3.b"]
    assert [(tmp_path / name).read_text() for name in names] == ["0", "1", "2"]


def test_a_lane_that_diverged_is_one_after_a_resume(tmp_path: Path) -> None:
    lane = Lane(RUN, BLUEPRINT, tmp_path / ID, Quiet(), None)
    lane.diverged = Diverged("the loss is nan at step 1")
    lane.history.loss = float("nan")
    lane.save(state(lane.weights))
    again = Lane(RUN, BLUEPRINT, tmp_path / ID, Quiet(), read(tmp_path / ID / NEXT))
    loop = Loop.__new__(Loop)
    loop.lanes = [again]
    with pytest.raises(Diverged, match="nan at step 1"):
        loop._require_lane()


@pytest.mark.parametrize("name", ["torch", "jax"])
@pytest.mark.parametrize("array", ["adam.mu/norm.scale", "adam.nu/norm.scale", "weights/norm.scale", "adam.count"])
def test_a_backend_starts_from_no_array_of_another_shape(name: str, array: str) -> None:
    pytest.importorskip(name)
    plan = blueprint()
    weights = initial_weights(plan)
    backend = backends.get(name, [plan], "cpu")
    with pytest.raises(
        UserError, match=rf"the snapshot has an array {re.escape(array)} of .*: start the run without it"
    ):
        backend.start([weights], [state(weights) | {array: np.zeros(3, np.float32)}])
    with pytest.raises(UserError, match=f"the snapshot has no array {array}"):
        backend.start([weights], [{each: own for each, own in state(weights).items() if each != array}])


def test_no_moment_is_smaller_than_its_parameter() -> None:
    pytest.importorskip("torch")
    plan = blueprint()
    weights = initial_weights(plan) | {"norm.scale": np.ones(1, np.float32)}  # which a copy would spread
    with pytest.raises(UserError, match=r"adam.mu/norm.scale has shape \(1,\), expected \(16,\)"):
        backends.get("torch", [plan], "cpu").start([weights], [state(weights)])
