"""One command that trains: which runs share a process, what is shown, and what is left to do after an interruption."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import tasks
from lra import backends
from lra.backends import TOGETHER
from lra.core.config import Run, as_dict, from_dict, settled, spelled
from lra.core.errors import UserError
from lra.core.frameworks import require_installed
from lra.core.identity import run_id
from lra.core.workers import Child
from lra.terminal.console import console, errors
from lra.training import checkpoint, data, record, snapshot
from lra.training.callbacks import METRICS, Several, Silent, TensorBoard, require_tensorboard
from lra.training.history import Callback
from lra.training.loop import Diverged, Interrupted
from lra.training.record import Record
from lra.training.screen import (
    TrainingScreen,
    comparison_table,
    first_line,
    result_lines,
    result_table,
    seeds_table,
    untimed,
)
from lra.training.trainer import Outcome, Place, alone, make_blueprint, require_room, train_together
from tasks.store import Prepared

MOST_SEEDS = 1000  # of one command


@dataclass(frozen=True)
class Job:
    """What one process trains: runs that differ in nothing but their seed."""

    runs: Sequence[Run]
    place: Place

    @property
    def title(self) -> str:
        """What a list of jobs calls it."""
        first, last = self.runs[0], self.runs[-1]
        return f"{spelled(first.attn, first.options)} · seed {first.seed}" + (
            f"–{last.seed}" if len(self.runs) > 1 else ""
        )

    def as_values(self) -> dict[str, Any]:
        """Plain values, for another process."""
        return {"runs": [as_dict(run) for run in self.runs], "place": self.place.as_values()}

    @classmethod
    def from_values(cls, values: Any) -> Job:
        """The inverse of `as_values`."""
        return cls([from_dict(run, "a run") for run in values["runs"]], Place.from_values(values["place"]))


def train_all(runs: Sequence[Run], seeds: int, place: Place, why_preset: str = "") -> int:
    """Train each run with so many seeds, and show the outcome; the exit code.

    All are refused, or none: what cannot be is told before any data is made.
    """
    if not 1 <= seeds <= MOST_SEEDS:
        raise UserError(f"--seeds is {seeds}, expected at least 1 and at most {MOST_SEEDS:,}")
    for run in runs:
        require_possible(run, place)
    place = replace(place, several=len(runs) * seeds > 1)
    jobs = [Job(together, place) for run in runs for together in _together(run, seeds)]
    return train_job(jobs[0], why_preset)[0] if len(jobs) == 1 else train_in_turn(jobs)


def require_possible(run: Run, place: Place) -> None:
    """UserError for what cannot be trained."""
    if place.resume and place.fresh:
        raise UserError("--resume and --fresh exclude each other: continue, or start over")
    place.sharing.check(run.train.batch_size)
    if place.tensorboard:
        require_tensorboard()
    require_installed(run.backend)
    data.source(place.raw, place.processes)
    require_room(place)
    make_blueprint(run, tasks.load(run.task))


def train_job(job: Job, why_preset: str = "") -> tuple[int, list[Path]]:
    """Train the runs of one process and show the outcome; the exit code, and the records that there are now."""
    run, place = job.runs[0], job.place
    # A GPU that is not there is told before data is made.
    backends.require_devices(run.backend, place.device, place.sharing.devices)
    on_gpu = backends.on_gpu(run.backend, place.device)
    console.print(first_line(run, tasks.load(run.task).describe(run.data), why_preset, len(job.runs), place.sharing))
    prepared = data.prepare(run.task, run.data, data.source(place.raw, place.processes))
    runs = [settled(each, on_gpu=on_gpu) for each in job.runs]
    outcomes, parts = _left(runs, prepared, place)
    for part in parts:
        shown = _callbacks(part, prepared, place)
        try:
            found = train_together(part, prepared, place, shown)
        except Interrupted as stop:
            shown[0].ends()
            errors.print(str(stop))
            return 130, [each[1] for each in outcomes.values() if not isinstance(each, Diverged)]
        finally:
            shown[0].ends()
        outcomes |= {each.seed: outcome for each, outcome in zip(part, found, strict=True)}
    return _show(runs, [outcomes[each.seed] for each in runs], prepared, place)


def train_in_turn(jobs: Sequence[Job]) -> int:
    """Train one after the other, each in a process of its own, and show all outcomes in one table.

    A job that fails is named at the end and the next one begins; what asks this process to end ends the whole. The
    exit code is 0 where every run left a record.
    """
    paths: list[Path] = []
    without = [job.title for job in jobs]
    stopped = False
    for number, job in enumerate(jobs, start=1):
        console.print(f"\n[{number} of {len(jobs)}] {job.title}")
        code, left = _elsewhere(job)
        paths += left
        if len(left) == len(job.runs):
            without.remove(job.title)
        if stopped := code == 130:
            break
    console.print()
    _show_all([record.load(path) for path in paths])
    if without:
        count = len(jobs) - len(without)
        errors.print(f"{count} of {len(jobs)} left a record; without one: {', '.join(without)}")
    return 130 if stopped else int(bool(without))


def _elsewhere(job: Job) -> tuple[int, list[Path]]:
    """What `train_job` returns, from another process."""
    sys.stdout.flush()  # what was said so far comes before what the child says
    child = Child("lra.training.worker", visible=True)
    with child.taken_along() as stopped:
        answer = child.ask(job.as_values())
        code = child.end()
    if answer is not None:
        return (130 if stopped() else answer["code"]), [Path(path) for path in answer["records"]]
    if not stopped():
        errors.print(f"error: the process that trained {job.title} ended (exit code {code})")
    return (130 if stopped() else 1), []


def _together(run: Run, seeds: int) -> list[list[Run]]:
    """The run with its seed and those that follow; each inner list is for one process."""
    runs = [replace(run, seed=run.seed + more) for more in range(seeds)]
    return [runs] if run.backend in TOGETHER else [[each] for each in runs]


def _left(runs: Sequence[Run], prepared: Prepared, place: Place) -> tuple[dict[int, Outcome], list[list[Run]]]:
    """What is finished, by seed, and the runs that are not, those together that stand at the same step."""
    if not place.resume:
        return {}, [list(runs)]
    works = {each.seed: checkpoint.folder(place.results, run_id(each, prepared.hash)) for each in runs}
    with alone(list(works.values())):
        snapshot.settle(list(works.values()))
        found = {each.seed: record.find(place.results, each, works[each.seed].name) for each in runs}
        if all(found.values()):  # killed between a record and the removal of its snapshot
            for work in works.values():
                snapshot.remove(work)
        steps = {each.seed: snapshot.step(works[each.seed]) for each in runs}
    done = {seed: path for seed, path in found.items() if path is not None and steps[seed] is None}
    for seed, path in done.items():
        console.print(f"seed {seed} is finished: {path}")
    rest = sorted((each for each in runs if each.seed not in done), key=lambda each: steps[each.seed] or 0)
    parts = [list(part) for _, part in groupby(rest, key=lambda each: steps[each.seed])]
    return {seed: (record.load(path), path) for seed, path in done.items()}, parts


def _callbacks(runs: Sequence[Run], prepared: Prepared, place: Place) -> list[Callback]:
    """Of each run; the screen shows the first."""
    callbacks: list[Callback] = [TrainingScreen(runs[0]), *(Silent() for _ in runs[1:])]
    if place.tensorboard is None:
        return callbacks
    folders = [place.tensorboard / record.name(each, run_id(each, prepared.hash)) for each in runs]
    boards = [TensorBoard(folder, runs[0].train) for folder in folders]
    return [Several(callback, board) for callback, board in zip(callbacks, boards, strict=True)]


def _show(runs: Sequence[Run], outcomes: Sequence[Outcome], prepared: Prepared, place: Place) -> tuple[int, list[Path]]:
    """The outcome of one run at length, or of several seeds side by side; the exit code and the records."""
    console.print()
    found = [outcome for outcome in outcomes if not isinstance(outcome, Diverged)]
    if len(runs) == 1 and found:
        console.print(result_table(found[0][0]))
        for line in result_lines(found[0][0]):
            console.print(line)
    else:
        _show_all([each for each, _ in found])
    for run, outcome in zip(runs, outcomes, strict=True):
        if isinstance(outcome, Diverged):
            which = f"seed {run.seed}: " if len(runs) > 1 else ""
            errors.print(f"error: {which}{outcome}")
            continue
        console.print(f"record: {outcome[1]}")
        if len(runs) == 1:
            curve = checkpoint.folder(place.results, run_id(run, prepared.hash)) / METRICS
            console.print(f"curve:  {curve}\nagain:  {outcome[0].command}")
    return int(len(found) < len(runs)), [path for _, path in found]


def _show_all(records: list[Record]) -> None:
    """One table of records of one task."""
    if records:
        rows = {spelled(each.attn, each.options) for each in records}
        console.print(seeds_table(records) if len(rows) == 1 else comparison_table(records))
    for line in untimed(records):
        console.print(line)
