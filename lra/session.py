"""One run, or several, from the first printed line to the last: data, training, table, record."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tasks
from lra import checkpoint, data
from lra.config import Run, UserError, run_id
from lra.environment import ROOT
from lra.history import Watch
from lra.record import Record, name, newest
from lra.screen import TrainingScreen, comparison_table, console, errors, first_line, result_lines, result_table
from lra.tracking import METRICS, Several, TensorBoard, require_tensorboard
from lra.train import Diverged, Interrupted, Place, make_blueprint, train


def train_and_report(run: Run, flags: Any, why_preset: str, command: str) -> int:
    """Train as told and show the outcome; the exit code."""
    require_possible(run, flags)
    task = tasks.load(run.task)
    console.print(first_line(run, task.describe(run.data), why_preset))
    prepared = data.prepare(run.task, run.data, data.source(flags.raw, flags.processes))
    place = Place(
        results=flags.results,
        device=flags.device,
        resume=flags.resume,
        fresh=flags.fresh,
        padded=flags.padded,
        command=command,
    )
    identity = run_id(run, task.version, prepared.hash)
    screen: Watch = TrainingScreen(run)
    if flags.tensorboard:
        screen = Several(screen, TensorBoard(flags.tensorboard / name(run, identity), run.train))
    try:
        record, path = train(run, prepared, place, screen)
    except (Diverged, Interrupted) as stop:
        screen.ends()
        failed = isinstance(stop, Diverged)
        errors.print(f"error: {stop}" if failed else str(stop))
        return 1 if failed else 130
    finally:
        screen.ends()
    console.print()
    console.print(result_table(record))
    for line in result_lines(record):
        console.print(line)
    console.print(f"record: {path}")
    console.print(f"curve:  {checkpoint.folder(flags.results, identity) / METRICS}")
    console.print(f"again:  {record.command}")
    return 0


def train_several(jobs: Sequence[tuple[Run, list[str]]], results: Path) -> int:
    """Train one after the other, each in a process of its own, and show all outcomes in one table.

    A job is a run and the arguments that train it alone. A run that fails is named at the end and the next one
    begins; Ctrl-C ends the whole. The exit code is 0 where every run left a record.
    """
    records: list[Record] = []
    failed: list[str] = []
    stopped = False
    for number, (run, arguments) in enumerate(jobs, start=1):
        console.print(f"\n[{number} of {len(jobs)}] {run.attn}", markup=False)
        began = time.time()
        code = _child(arguments)
        if code == 0:
            records.append(newest(results, run, began))
            continue
        failed.append(run.attn)
        stopped = code in (130, -signal.SIGINT)
        if stopped:
            break
    console.print()
    if records:
        console.print(comparison_table(records))
    if failed:
        errors.print(f"{len(records)} of {len(jobs)} left a record; without one: {', '.join(failed)}")
    return 130 if stopped else int(bool(failed))


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
    if flags.tensorboard:
        require_tensorboard()
    make_blueprint(run, tasks.load(run.task))
