"""The loop's account of several runs, with a backend that computes nothing: its scores are written down."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small import Quiet, smoke_run

import tasks
from lra.backends import Sums
from lra.model.batches import Chunk, chunk_bounds
from lra.model.padding import WHOLE
from lra.training import data
from lra.training.clock import AwakeClock
from lra.training.loop import Lane, Loop
from lra.training.trainer import make_blueprint


class Scripted:
    """A Backend whose runs answer, at each evaluation, the shares of the examples that are written down for them."""

    grouping = WHOLE

    def __init__(self, shares: Sequence[Sequence[float]]) -> None:
        self._shares = shares
        self._evaluations: Iterator[int] = iter(range(len(shares[0])))

    def start(self, weights: Any, snapshots: Any = None) -> int:
        return 0

    def train_steps(self, state: int, chunks: Sequence[Chunk]) -> tuple[int, list[Sums]]:
        count = np.full(len(chunks[0].steps), 4)
        return state + len(count), [Sums(loss=count * 1.0, correct=count * 0, count=count) for _ in chunks]

    def evaluate(self, state: int, chunk: Chunk) -> list[Sums]:
        found = (chunk.labels >= 0).sum(1)
        at = state // 2 - 1
        return [
            Sums(loss=found * 1.0, correct=np.rint(found * own[at]).astype(int), count=found) for own in self._shares
        ]

    def logits(self, state: int, chunk: Chunk) -> list[np.ndarray]:
        raise AssertionError("the loop asks for sums")

    def weights(self, state: int) -> list[dict[str, np.ndarray]]:
        return [{"step": np.array(state)} for _ in self._shares]

    def snapshots(self, state: int) -> list[dict[str, np.ndarray]]:
        return self.weights(state)

    def peak_memory(self) -> int:
        return 0

    def environment(self) -> dict[str, Any]:
        return {}

    def close(self) -> None:
        """Nothing to end."""


def fitted(steps: int, folder: Path, last: int | None = None) -> list[Lane]:
    """Two seeds of a run, trained by the loop with an evaluation after every two steps."""
    base = smoke_run(steps=steps, evaluate_every=2, chunk=2)
    ready = data.prepare(base.task, base.data, data.source(None, 1))
    lanes = []
    for seed in (0, 1):
        run = replace(base, seed=seed)
        work = folder / str(seed)
        work.mkdir()
        lanes.append(Lane(run, make_blueprint(run, tasks.load(run.task)), work, Quiet(), None))
    backend: Any = Scripted([(0.0, 1.0, 0.0), (1.0, 0.0, 0.0)])
    with AwakeClock() as clock:
        Loop(lanes, backend, ready, clock, padded=True).fit(last)
    return lanes


def test_each_run_keeps_the_weights_of_its_own_best_evaluation(tmp_path: Path) -> None:
    lanes = fitted(6, tmp_path)
    assert [(lane.history.best_step, int(lane.history.best["step"])) for lane in lanes] == [(4, 4), (2, 2)]


def test_a_long_run_plans_no_further_than_its_next_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def few(*plan: int) -> Iterator[tuple[int, int]]:
        yield from islice(chunk_bounds(*plan), 5)
        raise AssertionError("steps are planned long before they are taken")

    monkeypatch.setattr("lra.training.loop.chunk_bounds", few)
    lanes = fitted(10**9, tmp_path, last=4)
    assert [lane.history.step for lane in lanes] == [4, 4]
