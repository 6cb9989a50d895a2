"""The command `data`: prepares, verifies, shows or lists the data of tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Generic, TypeVar

import tyro

from lra.cli.chosen import Chosen, TaskName
from lra.core.config import Run, at_most
from lra.core.errors import UserError
from lra.core.presets import Preset
from lra.terminal.arguments import Number, Where
from lra.terminal.console import DOCUMENTATION

ACTIONS = ("prepare", "verify", "show", "list")
DESCRIPTION = (
    "Prepare, verify or show (as a PNG) a task's data: run_lra.py data prepare|verify|show --task TASK. "
    "List the prepared data: run_lra.py data list."
)
Data = TypeVar("Data")


@dataclass(frozen=True, kw_only=True)
class DataFlags(Generic[Data]):
    """The arguments of the command; `data` has the options of the task."""

    task: TaskName
    """The task."""
    preset: Preset
    """smoke: does every part work; quick: does it learn, minutes on a CPU; standard: for ranking."""
    data: Annotated[Data, tyro.conf.arg(name="data")]
    count: Number | None = None
    """The most examples in each split."""
    raw: Where | None = None
    """The folder of your raw files. Default: $LRA_RAW. Generated tasks need none."""
    processes: Number | None = None
    """Number of processes that prepare data. Default: the number of usable cores."""
    out: Where | None = None
    """The file that `show` writes. Default: <task>.png."""


@dataclass(frozen=True)
class _NoFlags:
    """The arguments of `data list`."""


def data(argv: Sequence[str]) -> int:
    """Run the command. Returns the exit code."""
    action, words = (argv[0], argv[1:]) if argv and not argv[0].startswith("-") else (None, argv)
    chosen = Chosen.of(words)
    if action not in ACTIONS and not chosen.help:
        raise UserError(f"data {action or ''}: expected data {' | data '.join(ACTIONS)}, then --task and options")
    if action == "list":
        return _list(words, chosen.help)
    chosen.require("task")
    base, _ = chosen.run(None)
    given = tyro.cli(
        DataFlags[type(base.data)],
        default=DataFlags(task=base.task, preset=base.preset, data=base.data),
        args=list(words),
        prog=f"run_lra.py data {action or 'prepare'}",
        description=f"{DESCRIPTION}\n\n{DOCUMENTATION}",
    )
    return _act(action or "prepare", given, at_most(replace(base, data=given.data), given.count))


def _act(action: str, flags: DataFlags, run: Run) -> int:
    from lra.training import data as prepared

    if action == "prepare":
        prepared.prepare(run.task, run.data, prepared.source(flags.raw, flags.processes))
    if action in ("prepare", "verify"):
        prepared.verify(run.task, run.data)
    else:
        prepared.show(run.task, run.data, flags.out or Path(f"{run.task}.png"))
    return 0


def _list(words: Sequence[str], asks: bool) -> int:
    if asks:
        tyro.cli(
            _NoFlags, args=["--help"], prog="run_lra.py data list", description=f"{DESCRIPTION}\n\n{DOCUMENTATION}"
        )
    if words:
        raise UserError(f"data list takes no arguments, given: {' '.join(words)}")
    from lra.training.data import print_prepared

    print_prepared()
    return 0
