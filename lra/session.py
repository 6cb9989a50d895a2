"""One run from its first printed line to its last: data, training, table, record."""

from __future__ import annotations

from typing import Any

import tasks
from lra import data
from lra.config import Run, UserError
from lra.screen import TrainingScreen, console, errors, first_line, result_lines, result_table
from lra.train import Diverged, Interrupted, Place, make_blueprint, train


def train_and_report(run: Run, flags: Any, why_preset: str, command: str) -> int:
    """Train as told and show the outcome; the exit code."""
    if flags.resume and flags.fresh:
        raise UserError("--resume and --fresh exclude each other: go on, or start over")
    task = tasks.load(run.task)
    make_blueprint(run, task)  # impossible options are told before any data is made
    console.print(first_line(run, task.describe(run.data), why_preset))
    prepared = data.prepare(run.task, run.data, data.source(flags.raw, flags.processes))
    place = Place(results=flags.results, device=flags.device, resume=flags.resume, fresh=flags.fresh, command=command)
    screen = TrainingScreen(run)
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
    console.print(f"again:  {record.command}")
    return 0
