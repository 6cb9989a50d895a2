"""One run, or several, from the first printed line to the last: data, training, table, record."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tasks
from lra import backends
from lra.core.config import Run, settled
from lra.core.console import console, errors
from lra.core.environment import ROOT
from lra.core.errors import UserError
from lra.core.identity import run_id
from lra.training import checkpoint, data
from lra.training.callbacks import METRICS, Several, Silent, TensorBoard, require_tensorboard
from lra.training.history import Watch
from lra.training.loop import Diverged, Interrupted
from lra.training.record import Record, name, newest
from lra.training.screen import (
    TrainingScreen,
    comparison_table,
    first_line,
    result_lines,
    result_table,
    seeds_table,
    untimed,
)
from lra.training.trainer import Place, make_blueprint, train_together

MOST_SEEDS = 1000  # of one command


def train_and_report(run: Run, flags: Any, why_preset: str) -> int:
    """Train as told and show the outcome; the exit code."""
    require_possible(run, flags)
    task = tasks.load(run.task)
    console.print(first_line(run, task.describe(run.data), why_preset, flags.seeds))
    prepared = data.prepare(run.task, run.data, data.source(flags.raw, flags.processes))
    place = Place(
        results=flags.results, device=flags.device, resume=flags.resume, fresh=flags.fresh, padded=flags.padded
    )
    run = settled(run, on_gpu=backends.on_gpu(run.backend, flags.device))
    runs = seeds_of(run, flags.seeds)
    identities = [run_id(each, prepared.hash) for each in runs]
    watches: list[Watch] = [TrainingScreen(run), *(Silent() for _ in runs[1:])]
    if flags.tensorboard:
        folders = [flags.tensorboard / name(each, identity) for each, identity in zip(runs, identities, strict=True)]
        boards = [TensorBoard(folder, run.train) for folder in folders]
        watches = [Several(watch, board) for watch, board in zip(watches, boards, strict=True)]
    try:
        outcomes = train_together(runs, prepared, place, watches)
    except (Diverged, Interrupted) as stop:
        watches[0].ends()
        failed = isinstance(stop, Diverged)
        errors.print(f"error: {stop}" if failed else str(stop))
        return 1 if failed else 130
    finally:
        watches[0].ends()
    return _show(runs, outcomes, [checkpoint.folder(flags.results, identity) / METRICS for identity in identities])


def seeds_of(run: Run, count: int) -> list[Run]:
    """The run with its seed and those that follow."""
    return [replace(run, seed=run.seed + more) for more in range(count)]


def _show(runs: Sequence[Run], outcomes: Sequence[tuple[Record, Path] | Diverged], curves: Sequence[Path]) -> int:
    """The outcome of one run at length, or of several seeds side by side; the exit code."""
    console.print()
    records = [outcome[0] for outcome in outcomes if not isinstance(outcome, Diverged)]
    if len(runs) == 1:
        console.print(result_table(records[0]))
        for line in result_lines(records[0]):
            console.print(line)
    else:
        console.print(seeds_table(records))
        _say_untimed(records)
    for run, outcome, curve in zip(runs, outcomes, curves, strict=True):
        if isinstance(outcome, Diverged):
            errors.print(f"error: seed {run.seed}: {outcome}")
            continue
        console.print(f"record: {outcome[1]}")
        if len(runs) == 1:
            console.print(f"curve:  {curve}")
            console.print(f"again:  {outcome[0].command}")
    return int(len(records) < len(runs))


@dataclass(frozen=True)
class Job:
    """What one process trains: runs of one mechanism that differ in their seed, and the arguments that say so."""

    runs: Sequence[Run]
    arguments: list[str]

    @property
    def title(self) -> str:
        """What a list of jobs calls it."""
        first, last = self.runs[0], self.runs[-1]
        return f"{first.attn} · seed {first.seed}" + (f"–{last.seed}" if len(self.runs) > 1 else "")


def train_several(jobs: Sequence[Job], results: Path) -> int:
    """Train one after the other, each in a process of its own, and show all outcomes in one table.

    A job that fails is named at the end and the next one begins; Ctrl-C ends the whole. The exit code is 0 where every
    run left a record.
    """
    records: list[Record] = []
    failed: list[str] = []
    stopped = False
    for number, job in enumerate(jobs, start=1):
        console.print(f"\n[{number} of {len(jobs)}] {job.title}", markup=False)
        began = time.time()
        code = _child(job.arguments)
        if code == 0:
            records += [newest(results, run, began) for run in job.runs]
            continue
        failed.append(job.title)
        stopped = code in (130, -signal.SIGINT)
        if stopped:
            break
    console.print()
    if records:
        alike = len({record.attn for record in records}) == 1
        console.print(seeds_table(records) if alike else comparison_table(records))
        _say_untimed(records)
    if failed:
        errors.print(f"{len(jobs) - len(failed)} of {len(jobs)} left a record; without one: {', '.join(failed)}")
    return 130 if stopped else int(bool(failed))


def _say_untimed(records: list[Record]) -> None:
    for line in untimed(records):
        console.print(line, markup=False)


def _child(arguments: list[str]) -> int:
    """The exit code of run_lra.py with these arguments. Ctrl-C reaches the child too, which ends in good order."""
    sys.stdout.flush()  # what was said so far comes before what the child says
    before = signal.signal(signal.SIGINT, lambda number, frame: None)
    try:
        return subprocess.run([sys.executable, str(ROOT / "run_lra.py"), *arguments], check=False).returncode
    finally:
        signal.signal(signal.SIGINT, before)


def require_possible(run: Run, flags: Any) -> None:
    """Tell impossible options before any data is made."""
    if flags.resume and flags.fresh:
        raise UserError("--resume and --fresh exclude each other: go on, or start over")
    if not 1 <= flags.seeds <= MOST_SEEDS:
        raise UserError(f"--seeds is {flags.seeds}, expected at least 1 and at most {MOST_SEEDS:,}")
    if flags.tensorboard:
        require_tensorboard()
    make_blueprint(run, tasks.load(run.task))
