"""The training loop: chunks of steps, evaluations, the best weights; for one run, or several seeds in one program."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from lra.backends import Backend, Sums
from lra.core.config import Run
from lra.model.batches import Chunk, Epochs, ahead, chunk_bounds, gatherers, training_chunks
from lra.model.blueprint import Blueprint
from lra.model.schedule import schedule
from lra.model.weights import Weights, initial_weights, parameter_count
from lra.terminal.failures import ending_signals
from lra.training import checkpoint, snapshot
from lra.training.clock import AwakeClock
from lra.training.disturbance import Meter
from lra.training.history import Callback, History
from lra.training.snapshot import NEXT, SNAPSHOT, Snapshot
from tasks.store import Prepared

SNAPSHOT_SECONDS = 30.0


class Diverged(Exception):
    """A loss is NaN or infinite."""


class Interrupted(Exception):
    """The user stopped the run; a snapshot was saved."""


class Lane:
    """One of the runs that are trained together, with its history."""

    def __init__(
        self,
        run: Run,
        blueprint: Blueprint,
        work: Path,
        callback: Callback,
        found: Snapshot | None,
        together: Sequence[str] = (),
        devices: int = 1,
    ) -> None:
        """Make a lane. `together`: the ids of all runs in the process, if there are others. `devices` share batches."""
        self.run, self.blueprint, self.work, self.callback = run, blueprint, work, callback
        self.facts = snapshot.facts(run, work.name)
        self._together = list(together)
        before = found.devices if found else ()
        self.devices = before if before[-1:] == (devices,) else (*before, devices)
        """How many have shared its batches so far, one after the other."""
        self.snapshot = found and found.arrays
        self.history = History() if found is None else History.from_arrays(found.arrays)
        self.weights = initial_weights(blueprint)
        self.parameters = parameter_count(self.weights)
        self.diverged = Diverged(found.diverged) if found and found.diverged else None

    def add(self, chunk: Chunk, sums: Sums, seconds: float) -> None:
        """Add a chunk of steps to the history."""
        for loss, step in zip(sums.loss, chunk.steps, strict=True):
            self.require_number("loss", loss, int(step) + 1)
        self.history.add_losses(sums.loss / sums.count)
        self.history.add_steps(
            len(chunk.steps), seconds, float(sums.loss.sum()), int(sums.correct.sum()), int(sums.count.sum())
        )

    def save(self, state: Weights) -> None:
        """Write the next snapshot: the backend's state, the history, and why the run diverged, if it did."""
        facts = self.facts | ({"diverged": str(self.diverged)} if self.diverged else {})
        facts |= {"together": self._together} if self._together else {}
        facts |= {"devices": self.devices} if self.devices != (1,) else {}
        checkpoint.save_atomically(state | self.history.arrays(), self.work / NEXT, facts)

    def require_number(self, name: str, loss: float, step: int) -> None:
        """Note the first loss that is NaN or infinite; the lane then reports nothing more."""
        if self.diverged is None and not np.isfinite(loss):
            plan = self.run.train
            self.diverged = Diverged(
                f"the {name} is {loss} at step {step:,}: lower --train.learning-rate "
                f"(now {plan.learning_rate:g}) or lengthen --train.warmup (now {plan.warmup:,})"
            )


class Loop:
    """Runs in one process that differ only in their seed."""

    def __init__(
        self, lanes: Sequence[Lane], backend: Backend, data: Prepared, clock: AwakeClock, *, padded: bool
    ) -> None:
        assert len({lane.history.step for lane in lanes}) == 1, "lanes take their steps together"
        self.lanes, self.backend, self._data, self._clock = lanes, backend, data, clock
        self._warm: float | None = None  # when the first call had ended
        self._meter = Meter(lambda: clock.asleep)
        self._plan = lanes[0].run.train
        grouping = backend.grouping
        self._gather = gatherers(
            data.splits, self._plan.batch_size, self._plan.steps, grouping.whole if padded else grouping
        )
        self.state = backend.start([lane.weights for lane in lanes], [lane.snapshot for lane in lanes])

    @property
    def step(self) -> int:
        """The number of steps taken, the same for every lane."""
        return self.lanes[0].history.step

    def fit(self, last: int | None = None) -> None:
        """Train to the last step, or to the end of the call that takes step `last`.

        Raises:
            Diverged: The losses of all lanes are NaN or infinite.
            Interrupted: A signal asked the process to end, or its output has no reader. A snapshot was saved.
        """
        facts = self.backend.environment()
        for lane in self.lanes:
            lane.callback.starts(lane.history, {"parameters": lane.parameters, **facts})
        self._require_lane()
        self._meter.take()  # discard disturbances from before the training
        with _stop_signals() as stopped:
            saved = time.monotonic()
            for chunks in ahead(self._chunks()):
                unheard = self._take(chunks)
                if last is not None and self.step >= last:
                    return
                if (stopped() or unheard) and self.step < self._plan.steps:
                    self._save()
                    raise Interrupted(
                        f"stopped and saved at step {self.step:,} of {self._plan.steps:,}; "
                        "the same command with --resume continues from there"
                    )
                if time.monotonic() - saved > SNAPSHOT_SECONDS:
                    self._save()
                    saved = time.monotonic()
        self._save()  # so that scoring the test split can be interrupted too

    def _take(self, chunks: Sequence[Chunk]) -> bool:
        """Take a chunk of steps, evaluate if it is time, call the callbacks. Returns whether the output is closed."""
        losses = self._advance(chunks)
        try:
            if self.step % self._plan.evaluate_every == 0 or self.step == self._plan.steps:
                self._validate()
            self._tell(losses)
        except BrokenPipeError:
            return True
        return False

    def score(self, split: str, state: Any) -> list[tuple[float, float]]:
        """Mean loss and accuracy of every lane over all examples of a split."""
        count = len(self._data.splits[split])
        parts = [
            self.backend.evaluate(state, chunk)
            for chunk in ahead(self._gather[split].evaluation(self._plan.batch_size))
        ]
        return [_score(of_lane, count) for of_lane in zip(*parts, strict=True)]

    def _chunks(self) -> Iterator[tuple[Chunk, ...]]:
        plan, count, rate = self._plan, len(self._data.splits["train"]), schedule(self._plan)
        cut = (self.step, plan.steps, plan.evaluate_every, plan.chunk)
        epochs = [Epochs(count, lane.run.seed) for lane in self.lanes]
        chunks = [
            training_chunks(self._gather["train"], own, chunk_bounds(*cut), plan.batch_size, rate) for own in epochs
        ]
        return zip(*chunks, strict=True)

    def _advance(self, chunks: Sequence[Chunk]) -> list[np.ndarray]:
        """Take the steps. Returns the mean loss of each step, by lane."""
        started = self._clock()
        self.state, sums = self.backend.train_steps(self.state, chunks)
        ended = self._clock()
        for lane, chunk, own in zip(self.lanes, chunks, sums, strict=True):
            lane.add(chunk, own, (ended - started) / len(self.lanes))
        self._warm = self._warm or ended
        self._require_lane()
        return [own.loss / own.count for own in sums]

    def _validate(self) -> None:
        started = self._clock()
        scores = self.score("validation", self.state)
        for lane, (loss, _) in zip(self.lanes, scores, strict=True):
            lane.require_number("validation loss", loss, self.step)
        self._require_lane()
        better = [lane.history.add_evaluation(*score) for lane, score in zip(self.lanes, scores, strict=True)]
        if any(better):
            for lane, improved, weights in zip(self.lanes, better, self.backend.weights(self.state), strict=True):
                lane.history.best = weights if improved else lane.history.best
        seconds = (self._clock() - started) / len(self.lanes)
        for lane in self.lanes:
            lane.history.evaluation_seconds += seconds
            lane.callback.evaluates(lane.history)

    def _require_lane(self) -> None:
        """Raise Diverged if no lane is left."""
        if all(lane.diverged for lane in self.lanes):
            raise self.lanes[0].diverged or Diverged

    def _tell(self, losses: Sequence[np.ndarray]) -> None:
        for lane, own in zip(self.lanes, losses, strict=True):
            lane.history.elapsed = self._clock() - (self._warm or 0.0)
            lane.callback.advances(lane.history, own)

    def _save(self) -> None:
        disturbance = self._meter.take()
        for lane, state in zip(self.lanes, self.backend.snapshots(self.state), strict=True):
            lane.history.disturbance += disturbance
            lane.save(state)
        for lane in self.lanes:  # only now, so that after a crash all lanes are at the same step
            (lane.work / NEXT).replace(lane.work / SNAPSHOT)


def _score(parts: Sequence[Sums], count: int) -> tuple[float, float]:
    assert sum(int(part.count.sum()) for part in parts) == count, "every example is scored once"
    loss, correct = sum(float(part.loss.sum()) for part in parts), sum(int(part.correct.sum()) for part in parts)
    return loss / count, correct / count


@contextmanager
def _stop_signals() -> Iterator[Callable[[], bool]]:
    """Turn the first signal that asks to end into a flag, read between chunks. A second signal acts at once."""
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    seen: list[int] = []
    former = {number: signal.getsignal(number) for number in ending_signals()}

    def note(number: int, frame: Any) -> None:
        seen.append(number)
        for each, handler in former.items():
            signal.signal(each, handler)

    for number in former:
        signal.signal(number, note)
    try:
        yield lambda: bool(seen)
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
