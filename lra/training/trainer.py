"""From a run's description to its record: builds the backend, trains, and writes the record."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import dacite

import attention_impls
import tasks
from attention_impls.base import Dims
from attention_impls.saved import BEST, LONGEST
from lra import backends
from lra.core.config import Run
from lra.core.errors import DeviceFailed, UserError
from lra.core.files import require_writable, set_aside
from lra.core.frameworks import Device
from lra.core.identity import run_id
from lra.model.blueprint import Blueprint, require_input
from lra.model.sharing import ALONE, Sharing
from lra.model.weights import require_memory
from lra.training import checkpoint, record, snapshot
from lra.training.callbacks import METRICS, MetricsFile, Several, Silent
from lra.training.clock import AwakeClock
from lra.training.history import FIRST_STEPS, Callback
from lra.training.loop import Diverged, Lane, Loop
from lra.training.making import make_record
from lra.training.snapshot import SNAPSHOT, Snapshot
from tasks.base import Task
from tasks.locks import Busy, held
from tasks.places import raw_folder
from tasks.store import Prepared


@dataclass(frozen=True, kw_only=True)
class Place:
    """Settings of a run that do not change its numbers: folders, device, resuming."""

    results: Path
    device: Device | None = None
    resume: bool = False
    fresh: bool = False
    padded: bool = False
    raw: Path | None = None
    processes: int | None = None
    tensorboard: Path | None = None
    sharing: Sharing = ALONE
    """How a batch is computed, on one device or on several."""
    several: bool = False
    """Whether there are more runs. `resume` then starts those that were never begun."""

    def as_values(self) -> dict[str, Any]:
        """Plain values, for another process. Paths are absolute, also that of LRA_RAW."""
        paths = {"results": self.results, "raw": self.raw or raw_folder(), "tensorboard": self.tensorboard}
        return asdict(self) | {name: path and str(path.absolute()) for name, path in paths.items()}

    @classmethod
    def from_values(cls, values: dict[str, Any]) -> Place:
        """The inverse of `as_values`."""
        return dacite.from_dict(cls, values, dacite.Config(cast=[Path]))


class AlreadyTraining(UserError):
    """Another process is training the same run in the same folder."""


Outcome = tuple[record.Record, Path] | Diverged
NO_ROOM = "free some space, or name another folder with --results"
KEPT = 4 * 4
"""Bytes of a snapshot per parameter: value, two moments and best value. Two snapshots exist while one is written."""


def require_room(place: Place) -> None:
    """Raise UserError if a run's files could not be written. Called before data is prepared and training starts."""
    for folder in (place.results / "runs", checkpoint.folder(place.results, "")):
        require_writable(folder, NO_ROOM)
    if place.tensorboard:
        require_writable(place.tensorboard, "free some space, or name another folder with --tensorboard")


def make_blueprint(run: Run, task: Task) -> Blueprint:
    """The blueprint for the backend. UserError for impossible options."""
    shape = task.shape(run.data)
    mechanism = attention_impls.load(run.attn).on(run.backend)
    heads, width = run.model.heads, run.model.width
    dims = Dims(heads=heads, head_dim=width // heads, width=width, max_length=shape.max_length, grid=shape.grid)
    try:
        mechanism.card.check(run.options, dims)
    except ValueError as error:
        raise UserError(f"--attn {run.attn}: {error}") from error
    blueprint = Blueprint(
        model=run.model,
        train=run.train,
        mechanism=mechanism,
        options=run.options,
        dims=dims,
        classes=task.classes,
        towers=task.towers,
        seed=run.seed,
    )
    require_input(blueprint, run.task, task.vocab)
    require_memory(blueprint)
    return blueprint


def train(run: Run, data: Prepared, place: Place, callback: Callback) -> tuple[record.Record, Path]:
    """Train, evaluate and record one run. Returns the record and its path.

    Raises:
        UserError: The run cannot be trained; the user can repair this.
        Diverged: A loss is NaN or infinite.
        Interrupted: A signal asked the process to end. A snapshot was saved, which `place.resume` continues.
    """
    [outcome] = train_together([run], data, place, [callback])
    if isinstance(outcome, Diverged):
        raise outcome
    return outcome


def train_together(runs: Sequence[Run], data: Prepared, place: Place, callbacks: Sequence[Callback]) -> list[Outcome]:
    """Train runs that differ only in their seed, in one program. If a seed diverges, the others continue."""
    with _opened(runs, data, place, callbacks) as loop:
        try:
            loop.fit()
        except Diverged as stop:
            return [lane.diverged or stop for lane in loop.lanes]
        for lane in loop.lanes:
            lane.callback.ends()
        return _leave_records(loop, data, place)


def first_losses(run: Run, data: Prepared, place: Place) -> list[float]:
    """The mean loss of each of the run's first FIRST_STEPS steps. Nothing is recorded."""
    with _opened([run], data, place, [Silent()]) as loop:
        loop.fit(last=FIRST_STEPS)
        return loop.lanes[0].history.first_losses


def first_steps(run: Run, data: Prepared, place: Place, count: int) -> tuple[float, float, int]:
    """Take at least two steps. Returns seconds until the first one ends, seconds of each later one, and peak bytes."""
    plan = replace(run.train, chunk=1, evaluate_every=run.train.steps)
    with _opened([replace(run, train=plan)], data, place, [Silent()]) as loop:
        loop.fit(last=count)
        history = loop.lanes[0].history
        return history.first_steps_after or 0.0, 1 / history.steps_per_second, loop.backend.peak_memory()


@contextmanager
def _opened(runs: Sequence[Run], data: Prepared, place: Place, callbacks: Sequence[Callback]) -> Iterator[Loop]:
    """The loop of these runs, at their first step or at their snapshots' step, locked against other processes."""
    task = tasks.load(runs[0].task)
    blueprints = [make_blueprint(run, task) for run in runs]
    works = [checkpoint.folder(place.results, run_id(run, data.hash)) for run in runs]
    together = [work.name for work in works] if len(works) > 1 else []
    devices = place.sharing.devices
    with backends.pinned(runs[0].backend), ExitStack() as stack:
        stack.enter_context(alone(works))
        snapshot.settle(works)
        found = [_find_snapshot(*each, place) for each in zip(runs, blueprints, works, strict=True)]
        lanes = [
            Lane(
                run, blueprint, work, Several(MetricsFile(work / METRICS, run.train), callback), own, together, devices
            )
            for run, blueprint, work, callback, own in zip(runs, blueprints, works, callbacks, found, strict=True)
        ]
        room = sum(KEPT * lane.parameters * (1 if lane.snapshot else 2) for lane in lanes)
        require_writable(works[0], NO_ROOM, room)
        stack.enter_context(_unsaved_told(works))
        clock = stack.enter_context(AwakeClock())
        backend = backends.get(runs[0].backend, blueprints, place.device, place.sharing)
        stack.callback(backend.close)
        yield Loop(lanes, backend, data, clock, padded=place.padded)


def _leave_records(loop: Loop, data: Prepared, place: Place) -> list[Outcome]:
    last = [accuracy for _, accuracy in loop.score("test", loop.state)]
    best = last
    if any(lane.history.best_step != loop.step for lane in loop.lanes):
        state = loop.backend.start([lane.history.best for lane in loop.lanes])
        best = [accuracy for _, accuracy in loop.score("test", state)]
    outcomes: list[Outcome] = []
    for lane, *accuracies in zip(loop.lanes, best, last, strict=True):
        if lane.diverged is None:
            facts = lane.facts | {LONGEST: lane.blueprint.dims.max_length}
            checkpoint.save_atomically(lane.history.best, lane.work / BEST, facts)
            made = make_record(lane, data, loop.backend, place.sharing, *accuracies)
            # If a process is killed before its last seed is recorded, the earlier seeds come here twice.
            path = (record.save_once if place.resume else record.save)(made, place.results)
            outcomes.append((record.load(path), path))  # the record as later readers see it
        else:
            outcomes.append(lane.diverged)
    for lane in loop.lanes:
        snapshot.remove(lane.work)
    return outcomes


def _find_snapshot(run: Run, blueprint: Blueprint, work: Path, place: Place) -> Snapshot | None:
    """The snapshot to continue from, or None. Neither continuing nor starting over happens without a flag.

    A snapshot that does not fit is renamed, and UserError says why. --fresh deletes the one that --resume would use.
    """
    path = work / SNAPSHOT
    if place.fresh and path.exists():
        path.unlink() if path.is_file() else set_aside(path)
    if place.resume and not place.several and not path.exists():
        raise UserError(
            f"--resume: {work.parent} has no unfinished run of this configuration: run the command without --resume"
        )
    if not path.exists():
        return None
    if not place.resume:
        raise UserError(
            f"{work} has an unfinished run of this configuration: continue it with --resume, or start over with --fresh"
        )
    try:
        return snapshot.read(path, run, work.name, blueprint)
    except checkpoint.Refused as error:
        kept = set_aside(path)
        raise UserError(f"{path} {error.why}, so it was renamed to {kept.name}: start over with --fresh") from error


@contextmanager
def _unsaved_told(works: Sequence[Path]) -> Iterator[None]:
    """Within this context, a failed write or device is reported with a way to continue.

    A closed pipe is not such a failure.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except DeviceFailed as error:
        raise DeviceFailed(f"{error}; run the same command again; {_then(works)}") from error
    except OSError as error:
        what = f"{error.filename or works[0]}: {error.strerror or error}"
        raise OSError(
            f"{what}: free some space or repair it, and run the same command again; {_then(works)}"
        ) from error


def _then(works: Sequence[Path]) -> str:
    kept = all((work / SNAPSHOT).exists() for work in works)
    return "--resume continues from the last snapshot" if kept else "there is no snapshot yet"


@contextmanager
def alone(works: Sequence[Path]) -> Iterator[None]:
    """Lock the runs' folders against a second process that trains the same run. UserError if there is one."""
    with ExitStack() as stack:
        for work in works:
            work.mkdir(parents=True, exist_ok=True)
            try:
                stack.enter_context(held(work / "lock", None))
            except Busy as error:
                raise AlreadyTraining(
                    f"{error.holder} is training the same run in {work}: wait for it, or change --seed; if that "
                    f"process has ended, delete {work / 'lock'}"
                ) from error
        yield
