"""Several seeds: in one program they learn what each learns alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small import MODEL, Quiet, blueprint, place, smoke_run, split

from lra.backends import get
from lra.model.batches import Chunk, Epochs, chunk_bounds, gatherers, training_chunks
from lra.model.padding import WHOLE, Grouping
from lra.model.weights import initial_weights
from lra.training import checkpoint, data
from lra.training.loop import SNAPSHOT, Interrupted
from lra.training.record import Record
from lra.training.trainer import train, train_together

SEEDS = (0, 1)
GROUPED = Grouping(groups=4, sizes=3)


def feed(seed: int, grouping: Grouping, steps: int) -> list[Chunk]:
    """Chunks of ten steps of the small data in the order of that seed."""
    docs = split(examples=40)
    gather = gatherers({"train": docs}, 8, steps, grouping)["train"]
    rate = lambda numbers: np.full(len(numbers), 1e-2)  # noqa: E731
    return list(training_chunks(gather, Epochs(len(docs), seed), chunk_bounds(0, steps, 10, 10), 8, rate))


@pytest.mark.slow
@pytest.mark.parametrize(("grouping", "dropout"), [(GROUPED, 0.1), (WHOLE, 0.0)])
def test_fifty_steps_of_two_seeds_are_those_of_each_alone(grouping: Grouping, dropout: float) -> None:
    pytest.importorskip("jax")
    plans = [replace(blueprint("elfatt", replace(MODEL, dropout=dropout)), seed=seed) for seed in SEEDS]
    weights = [initial_weights(plan) for plan in plans]
    feeds = [feed(seed, grouping, 50) for seed in SEEDS]
    both = get("jax", plans, "cpu")
    state = both.start(weights)
    together: list[Any] = []
    for parts in zip(*feeds, strict=True):
        state, sums = both.train_steps(state, parts)
        together.append([own.loss / own.count for own in sums])
    for at, plan in enumerate(plans):
        backend = get("jax", [plan], "cpu")
        own, alone = backend.start([weights[at]]), []
        for chunk in feeds[at]:
            own, [sums] = backend.train_steps(own, [chunk])
            alone.append(sums.loss / sums.count)
        np.testing.assert_allclose(np.concatenate([step[at] for step in together]), np.concatenate(alone), atol=1e-4)
        [scored] = backend.evaluate(own, feeds[0][0])
        assert both.evaluate(state, feeds[0][0])[at].loss == pytest.approx(scored.loss, abs=1e-3)


def outcome(results: Path, seed: int) -> tuple[Record, Path]:
    """One smoke run alone."""
    run = replace(smoke_run(backend="jax"), seed=seed)
    return train(run, data.prepare(run.task, run.data, data.source(None, 1)), place(results), Quiet())


def test_each_seed_leaves_the_record_it_would_have_left_alone(tmp_path: Path) -> None:
    pytest.importorskip("jax")
    base = smoke_run(backend="jax")
    runs = [replace(base, seed=seed) for seed in (4, 5)]
    prepared = data.prepare(base.task, base.data, data.source(None, 1))
    done = train_together(runs, prepared, place(tmp_path / "together"), [Quiet(), Quiet()])
    for run, both in zip(runs, done, strict=True):
        assert isinstance(both, tuple)
        alone, _ = outcome(tmp_path / "alone", run.seed)
        assert (both[0].seed, both[0].run_id, both[0].command) == (alone.seed, alone.run_id, alone.command)
        assert both[0].environment["seeds_in_one_program"] == 2
        for ours, theirs in zip(both[0].curve, alone.curve, strict=True):
            assert ours.train_loss == pytest.approx(theirs.train_loss, abs=1e-4)


@pytest.mark.slow
def test_an_interrupted_pair_goes_on_where_it_was(tmp_path: Path) -> None:
    pytest.importorskip("jax")
    base = smoke_run(backend="jax")
    runs = [replace(base, seed=seed) for seed in (0, 1)]
    prepared = data.prepare(base.task, base.data, data.source(None, 1))
    whole = train_together(runs, prepared, place(tmp_path / "whole"), [Quiet(), Quiet()])

    def stop() -> None:
        import signal

        signal.raise_signal(signal.SIGINT)

    with pytest.raises(Interrupted, match="step 3 of 6"):
        train_together(runs, prepared, place(tmp_path / "cut"), [Quiet({3: stop}), Quiet()])
    assert len(list((tmp_path / "cut").glob(f".work/*/{SNAPSHOT}"))) == 2
    again = train_together(runs, prepared, place(tmp_path / "cut", resume=True), [Quiet(), Quiet()])
    for before, after in zip(whole, again, strict=True):
        assert isinstance(before, tuple)
        assert isinstance(after, tuple)
        assert before[0].curve == after[0].curve
        work = [tmp_path / place_ / ".work" / before[0].run_id / "best.safetensors" for place_ in ("whole", "cut")]
        best = [checkpoint.load(path) for path in work]
        assert all((best[0][name] == best[1][name]).all() for name in best[0])
