"""The one loop: chunks of steps, evaluation, the best weights on validation, and at the end a record."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

import attention_impls
import tasks
from attention_impls.base import Dims
from lra import backends, checkpoint, record
from lra.backends import Backend, Device
from lra.batches import Epochs, ahead, chunk_bounds, gatherers, training_chunks
from lra.config import Run, UserError, as_dict, run_id
from lra.environment import environment, git_state
from lra.history import History, Watch
from lra.init import Blueprint, Weights, initial_weights, parameter_count, with_kernel
from lra.padding import WHOLE
from lra.schedule import one_cycle
from lra.tracking import METRICS, MetricsFile, Several
from tasks.base import Shape, Task
from tasks.store import Prepared

SNAPSHOT_SECONDS = 30.0


class Diverged(Exception):
    """The loss is no longer a number."""


class Interrupted(Exception):
    """The user stopped the run; a snapshot was saved."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """What surrounds a run without changing its numbers."""

    results: Path
    device: Device | None = None
    resume: bool = False
    fresh: bool = False
    padded: bool = False
    command: str = ""


def make_blueprint(run: Run, task: Task) -> Blueprint:
    """What the backend has to build; options that cannot be raise UserError."""
    shape = task.shape(run.data)
    mechanism = attention_impls.load(run.attn).on(run.backend)
    dims = _dims(run, shape)
    if run.model.vocabulary < task.vocab:
        raise UserError(f"model.vocabulary is {run.model.vocabulary}, expected at least {task.vocab} for {run.task}")
    try:
        mechanism.card.check(run.options, dims)
    except ValueError as error:
        raise UserError(f"--attn {run.attn}: {error}") from error
    return Blueprint(
        model=run.model,
        train=run.train,
        mechanism=mechanism,
        options=run.options,
        dims=dims,
        classes=task.classes,
        towers=task.towers,
        seed=run.seed,
    )


def train(run: Run, data: Prepared, place: Place, watch: Watch) -> tuple[record.Record, Path]:
    """Train, evaluate and record one run; returns the record and where it was saved.

    Raises UserError for what the user can mend, Diverged for a loss that is no number, Interrupted after Ctrl-C or
    SIGTERM; the last two leave a snapshot that `place.resume` continues.
    """
    task = tasks.load(run.task)
    blueprint = make_blueprint(run, task)
    identity = run_id(run, task.version, data.hash)
    work = checkpoint.folder(place.results, identity)
    with _alone(work):
        snapshot = _find_snapshot(work / "snapshot.safetensors", run, place)
        backend = backends.get(run.backend, blueprint, place.device)
        told = Several(MetricsFile(work / METRICS, run.train), watch)
        loop = _Loop(run, blueprint, backend, data, work, place, told, snapshot)
        loop.fit()
        told.ends()
        result = _make_record(run, task, blueprint, data, place, identity, loop)
        path = record.save(result, place.results)
        checkpoint.save_atomically(loop.history.best, work / "best.safetensors")
        (work / "snapshot.safetensors").unlink(missing_ok=True)
    return result, path


class _Loop:
    """One run in one process: its state and what it has seen."""

    def __init__(
        self,
        run: Run,
        blueprint: Blueprint,
        backend: Backend,
        data: Prepared,
        work: Path,
        place: Place,
        watch: Watch,
        snapshot: Weights | None,
    ) -> None:
        self.run, self.backend, self.data, self.work, self.watch = run, backend, data, work, watch
        weights = initial_weights(blueprint)
        self.parameters = parameter_count(weights)
        self.history = History() if snapshot is None else History.from_arrays(snapshot)
        self.state = backend.start(weights, snapshot)
        self._gather = gatherers(data.splits, run.train.batch_size, WHOLE if place.padded else backend.grouping)

    def fit(self) -> None:
        """Train to the last step."""
        run, history, plan = self.run, self.history, self.run.train
        self.watch.starts(history, {"parameters": self.parameters, **self.backend.environment()})
        rate = partial(one_cycle, peak=plan.learning_rate, warmup=plan.warmup, total=plan.steps)
        bounds = chunk_bounds(history.step, plan.steps, plan.evaluate_every, plan.chunk)
        epochs = Epochs(len(self.data.splits["train"]), run.seed)
        chunks = training_chunks(self._gather["train"], epochs, bounds, plan.batch_size, rate)
        saved = time.monotonic()
        with _stop_signals() as stopped:
            for chunk in ahead(chunks):
                self._step(chunk)
                if history.step % plan.evaluate_every == 0 or history.step == plan.steps:
                    self._validate()
                self.watch.advances(history)
                if stopped() and history.step < plan.steps:
                    self._save()
                    raise Interrupted(
                        f"stopped and saved at step {history.step:,} of {plan.steps:,}; "
                        "the same command with --resume goes on from there"
                    )
                if time.monotonic() - saved > SNAPSHOT_SECONDS:
                    self._save()
                    saved = time.monotonic()
        self._save()  # scoring the test split may be interrupted too

    def score(self, split: str, state: Any) -> tuple[float, float]:
        """Mean loss and accuracy over every example of a split."""
        count = len(self.data.splits[split])
        chunks = self._gather[split].evaluation(self.run.train.batch_size)
        sums = [self.backend.evaluate(state, chunk) for chunk in ahead(chunks)]
        assert sum(int(part.count.sum()) for part in sums) == count, "every example is scored once"
        loss, correct = sum(float(part.loss.sum()) for part in sums), sum(int(part.correct.sum()) for part in sums)
        return loss / count, correct / count

    def _step(self, chunk: Any) -> None:
        started = time.perf_counter()
        self.state, sums = self.backend.train_steps(self.state, chunk)
        seconds = time.perf_counter() - started
        bad = ~np.isfinite(sums.loss)
        if bad.any():
            step = int(chunk.steps[bad][0]) + 1
            raise Diverged(
                f"the loss is {sums.loss[bad][0]} at step {step:,}: lower --train.learning-rate "
                f"(now {self.run.train.learning_rate:g}) or lengthen --train.warmup (now {self.run.train.warmup:,})"
            )
        self.history.add_steps(
            len(chunk.steps), seconds, float(sums.loss.sum()), int(sums.correct.sum()), int(sums.count.sum())
        )

    def _validate(self) -> None:
        started = time.perf_counter()
        loss, accuracy = self.score("validation", self.state)
        if self.history.add_evaluation(loss, accuracy):
            self.history.best = self.backend.weights(self.state)
        self.history.evaluation_seconds += time.perf_counter() - started
        self.watch.evaluates(self.history)

    def _save(self) -> None:
        arrays = self.backend.snapshot(self.state) | self.history.arrays()
        checkpoint.save_atomically(arrays, self.work / "snapshot.safetensors")


def _make_record(
    run: Run, task: Task, blueprint: Blueprint, data: Prepared, place: Place, identity: str, loop: _Loop
) -> record.Record:
    history = loop.history
    last = loop.score("test", loop.state)[1]
    best = last
    if history.best_step != history.step:
        best = loop.score("test", loop.backend.start(history.best))[1]
    return record.Record(
        schema=record.SCHEMA,
        run_id=identity,
        task=run.task,
        task_version=task.version,
        data=data.meta["description"],
        data_hash=data.hash,
        attn=run.attn,
        options=asdict(run.options),
        backend=run.backend,
        preset=run.preset,
        seed=run.seed,
        config=as_dict(run),
        test_accuracy=best,
        test_accuracy_last=last,
        test_examples=len(data.splits["test"]),
        validation_accuracy=history.best_accuracy,
        validation=task.validation(run.data),
        best_step=history.best_step,
        references=data.meta["references"],
        curve=history.points(),
        parameters=loop.parameters,
        seconds=history.seconds,
        evaluation_seconds=history.evaluation_seconds,
        steps_per_second=history.steps_per_second,
        samples_per_second=history.steps_per_second * run.train.batch_size,
        peak_memory_bytes=loop.backend.peak_memory(),
        environment=environment() | with_kernel(loop.backend.environment(), blueprint),
        git=git_state(),
        command=place.command,
    )


def _dims(run: Run, shape: Shape) -> Dims:
    model = run.model
    return Dims(
        heads=model.heads,
        head_dim=model.width // model.heads,
        width=model.width,
        max_length=shape.max_length,
        grid=shape.grid,
    )


def _find_snapshot(path: Path, run: Run, place: Place) -> Weights | None:
    """The snapshot to go on from; never a silent choice between going on and starting over."""
    if place.fresh:
        path.unlink(missing_ok=True)
    if place.resume and not path.exists():
        raise UserError(f"--resume: no unfinished run of this configuration under {path.parent.parent}; leave it away")
    if not path.exists():
        return None
    if not place.resume:
        raise UserError(
            f"an unfinished run of this configuration lies in {path.parent}: "
            "--resume goes on with it, --fresh starts over"
        )
    return checkpoint.load(path)


@contextmanager
def _alone(work: Path) -> Iterator[None]:
    """Hold the run's folder against a second process training the same run."""
    work.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(work / "lock", timeout=0):
            yield
    except Timeout as error:
        raise UserError(f"another process is training this very run in {work}: wait for it or change --seed") from error


@contextmanager
def _stop_signals() -> Iterator[Callable[[], bool]]:
    """Turn the first Ctrl-C or SIGTERM into a flag, read between chunks; a second one acts at once."""
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    seen: list[int] = []
    former = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

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
