"""The loop: records, resuming bit for bit, stopping, and refusing to guess."""

from __future__ import annotations

import json
import os
import shutil
import signal
from dataclasses import asdict, fields, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pytest
from board_records import made, write

from lra.core.config import Model, Run, Train
from lra.core.environment import ROOT, process_seconds
from lra.core.errors import UserError
from lra.core.identity import revisions
from lra.core.layout import layout
from lra.terminal.flags import command_of
from lra.training import data, record
from lra.training.loop import Diverged, Interrupted
from lra.training.trainer import first_losses, train
from tasks import limits
from tasks.base import Source
from tests.small import Quiet, place, smoke_run

BACKENDS = ["torch", "jax"]


@pytest.fixture(autouse=True)
def _framework(request: pytest.FixtureRequest) -> None:
    pytest.importorskip(
        request.node.callspec.params.get("backend", "torch") if hasattr(request.node, "callspec") else "torch"
    )


def prepared(run: Run) -> Any:
    return data.prepare(run.task, run.data, Source())


def outcome(result: record.Record) -> tuple:
    """What a run computed, without how long it took."""
    return result.test_accuracy, result.test_accuracy_last, result.best_step, result.curve, result.first_losses


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_run_leaves_a_whole_record(backend: str, tmp_path: Path) -> None:
    run = smoke_run(backend=backend)
    result, path = train(run, prepared(run), place(tmp_path), Quiet())
    assert record.load(path) == result
    assert result.command == command_of(run)
    assert [point.step for point in result.curve] == [3, 6]
    assert result.test_examples == 50
    assert result.first_steps_after is not None
    assert 0 < result.first_steps_after < process_seconds()
    assert 0 <= result.test_accuracy <= 1
    assert result.steps_per_second > 0
    assert result.peak_memory_bytes > 1e6
    assert {"chance", "majority", "root operator"} <= set(result.references)
    assert asdict(layout(record.Record).validate_json(path.read_bytes())) == asdict(result)
    assert len(result.first_losses) == run.train.steps
    assert fmean(result.first_losses[:3]) == pytest.approx(result.curve[0].train_loss, rel=1e-6)
    assert result.revisions == revisions(run)
    assert result.switches
    assert (result.precision, result.devices) == ("float32", 1)
    assert result.usable_cores == limits.usable_cores()
    assert result.usable_memory_bytes == limits.usable_memory()
    assert not list((tmp_path / ".work").glob("*/snapshot.safetensors"))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("how", [pytest.param("ctrl-c", marks=pytest.mark.slow), "crash"])
def test_resume_is_bit_exact(backend: str, how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = smoke_run("listops", "elfatt", backend, steps=8, evaluate_every=4, chunk=2)
    whole, _ = train(run, prepared(run), place(tmp_path / "whole"), Quiet())
    monkeypatch.setattr("lra.training.loop.SNAPSHOT_SECONDS", 0.0)

    def crash() -> None:
        raise MemoryError

    act = (lambda: os.kill(os.getpid(), signal.SIGINT)) if how == "ctrl-c" else crash
    with pytest.raises(Interrupted if how == "ctrl-c" else MemoryError):
        train(run, prepared(run), place(tmp_path / "cut"), Quiet({6: act}))
    with pytest.raises(UserError, match="continue it with --resume, or start over with --fresh"):
        train(run, prepared(run), place(tmp_path / "cut"), Quiet())
    resumed, _ = train(run, prepared(run), place(tmp_path / "cut", resume=True), Quiet())
    assert outcome(resumed) == outcome(whole)
    best = [(next((tmp_path / each / ".work").glob("*/best.safetensors"))).read_bytes() for each in ("whole", "cut")]
    assert best[0] == best[1]


def test_fresh_discards_and_resume_needs_something(tmp_path: Path) -> None:
    run = smoke_run(steps=8, evaluate_every=4, chunk=2)
    with pytest.raises(UserError, match="no unfinished run"):
        train(run, prepared(run), place(tmp_path, resume=True), Quiet())
    with pytest.raises(Interrupted):
        train(run, prepared(run), place(tmp_path), Quiet({2: lambda: os.kill(os.getpid(), signal.SIGINT)}))
    result, _ = train(run, prepared(run), place(tmp_path, fresh=True), Quiet())
    assert len(result.curve) == 2


def test_the_first_losses_need_no_whole_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where no call ends with the last of them."""
    run = smoke_run(steps=60, evaluate_every=60, chunk=8)
    whole, _ = train(run, prepared(run), place(tmp_path), Quiet())
    monkeypatch.setattr("lra.training.loop.Loop._validate", lambda _: pytest.fail("the run went to its end"))
    assert first_losses(run, prepared(run), place(tmp_path)) == whole.first_losses


def test_a_finished_run_is_recorded_again_beside_the_first(tmp_path: Path) -> None:
    run = smoke_run()
    paths = [train(run, prepared(run), place(tmp_path), Quiet())[1] for _ in range(2)]
    assert paths[0] != paths[1]
    first, second = (record.load(path) for path in paths)
    assert outcome(first) == outcome(second)
    assert first.run_id == second.run_id


def test_a_record_is_read_without_what_came_later_and_nothing_else(tmp_path: Path) -> None:
    path = write(made("listops", "softmax", 0.5), tmp_path)
    values = json.loads(path.read_text())
    for name, readable in (("first_steps_after", True), ("checksum", True), ("seconds", False)):
        del values[name]
        path.write_text(json.dumps(values | {"schema": 1}))
        if readable:
            assert getattr(record.load(path), name) is None
            path.write_text(json.dumps(values | {"schema": 2}))
        with pytest.raises(UserError, match=f"it has no .*{name}"):
            record.load(path)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_loss_that_is_no_number_stops_with_the_step(backend: str, tmp_path: Path) -> None:
    run = smoke_run(backend=backend, learning_rate=1e9, steps=8, warmup=1)
    with pytest.raises(Diverged, match=r"at step \d+: lower --train.learning-rate"):
        train(run, prepared(run), place(tmp_path), Quiet())
    assert not (tmp_path / "runs").exists()


def test_a_validation_loss_that_is_no_number_stops_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record has finite numbers alone."""
    monkeypatch.setattr("lra.training.loop.Loop.score", lambda *_: [(float("inf"), 0.5)])
    run = smoke_run()
    with pytest.raises(Diverged, match=r"the validation loss is inf at step 3: lower"):
        train(run, prepared(run), place(tmp_path), Quiet())
    assert not (tmp_path / "runs").exists()


def test_a_mechanism_from_outside_trains_like_the_one_inside(tmp_path: Path) -> None:
    outside = tmp_path / "mine"
    shutil.copytree(ROOT / "attention_impls" / "linear", outside)
    results = []
    for attn in ("linear", str(outside)):
        run = smoke_run(attn=attn)
        result, path = train(run, prepared(run), place(tmp_path / "results"), Quiet())
        assert path.parent == tmp_path / "results" / "runs"
        results.append(outcome(result))
    assert results[0] == results[1]


def test_two_processes_never_share_a_run(tmp_path: Path) -> None:
    run = smoke_run()
    inner: list[Exception] = []

    def second() -> None:
        try:
            train(run, prepared(run), place(tmp_path), Quiet())
        except UserError as error:
            inner.append(error)

    train(run, prepared(run), place(tmp_path), Quiet({3: second}))
    assert "is training the same run" in str(inner[0])


def test_a_full_disk_leaves_the_former_snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lra.core import files
    from lra.training import checkpoint

    path = tmp_path / "snapshot.safetensors"
    checkpoint.save_atomically({"a": np.zeros(3)}, path)

    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        checkpoint.save_atomically({"a": np.ones(3)}, path)
    assert (checkpoint.load(path)["a"] == 0).all()
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_field_of_the_configuration_is_read(backend: str, tmp_path: Path) -> None:
    """A key that nothing reads is a promise that nothing keeps."""
    read: set[str] = set()

    def recording(kind: type, prefix: str) -> type:
        class Recording(kind):
            def __getattribute__(self, name: str) -> Any:
                read.add(f"{prefix}.{name}")
                return super().__getattribute__(name)

        return Recording

    run = smoke_run(backend=backend)
    model = recording(Model, "model")(**{f.name: getattr(run.model, f.name) for f in fields(Model)})
    plan = recording(Train, "train")(**{f.name: getattr(run.train, f.name) for f in fields(Train)})
    spied = replace(run, model=model, train=plan)
    ready = prepared(run)
    read.clear()  # what construction and checking read does not count
    _ignore_hashing(spied, ready, tmp_path)
    expected = {f"{part}.{f.name}" for part, kind in (("model", Model), ("train", Train)) for f in fields(kind)}
    assert expected - read == set()


def _ignore_hashing(run: Run, ready: Any, results: Path) -> None:
    """Train without the parts that read every field only to write it down."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lra.training.trainer.run_id", lambda *_: "5b1ed" * 2 + "00")
        patch.setattr(
            "lra.training.making.as_dict", lambda _: {part: {} for part in ("data", "options", "model", "train")}
        )
        train(run, ready, place(results), Quiet())
