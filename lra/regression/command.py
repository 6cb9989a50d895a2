"""`run_lra.py check`: the cells of results/baselines.yaml trained again and compared, or their baselines made new."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Annotated, Any

import tyro

from lra.core.config import BackendName
from lra.core.environment import DATA, git_state
from lra.core.errors import UserError
from lra.core.files import require_writable
from lra.core.spec import Spec
from lra.regression import baselines
from lra.regression import report as regress_report
from lra.regression.baselines import Baseline, Baselines, WatchedCell
from lra.regression.trial import first_losses, prepare, ratio, records
from lra.regression.verdict import (
    REGRESSED,
    Verdict,
    exit_code,
    of_accuracy,
    of_curve,
    of_nothing,
    of_throughput,
)
from lra.terminal.arguments import Where, specs
from lra.terminal.console import console, errors
from lra.training.record import Record
from lra.training.trainer import Diverged
from tasks.base import TaskError

DESCRIPTION = (
    "Train the cells of results/baselines.yaml and fail where accuracy falls below what chance can explain, where the "
    "first losses are not the golden ones, or where throughput relative to softmax is lost. Exit code: 0 all held, "
    "1 something regressed, 2 something could not run. Leaves no record."
)
Switch = tyro.conf.FlagCreatePairsOff[bool]


@dataclass(frozen=True, kw_only=True)
class CheckFlags:
    """The arguments of the command."""

    cell: str | None = None
    """Which cells, by name, commas between; all of them else."""
    task: str | None = None
    """Only cells of this task."""
    attn: Annotated[tuple[Spec, ...], specs()] | None = None
    """Only cells of these attentions."""
    backend: BackendName | None = None
    """Only cells of this framework."""
    update: Switch = False
    """Measure the baselines of these cells anew, write them and print what changed."""
    skip_throughput: Switch = False
    """Time nothing."""
    junit: Where | None = None
    """Write the verdicts to this file as JUnit XML."""
    baselines: Where = DATA / "results" / "baselines.yaml"
    """What to compare with."""


def check(flags: CheckFlags) -> int:
    """Compare the chosen cells; 0 all held, 1 one regressed, 2 one could not run."""
    if flags.junit is not None:
        require_writable(flags.junit.parent, "name another file with --junit")
        if flags.junit.is_dir():
            raise UserError(f"--junit {flags.junit} is a folder, expected the name of a file")
    if flags.update:
        return _update(flags)
    known = baselines.load(flags.baselines)
    cells = chosen(known, flags)
    level = known.level / len(cells)
    verdicts = [verdict for cell in cells for verdict in _tried(cell, level, timed=not flags.skip_throughput)]
    console.print()
    for table in regress_report.tables(verdicts):
        console.print(table)
    for line in regress_report.lines(cells, known.level):
        console.print(line)
    for line in regress_report.troubles(verdicts):
        errors.print(line)
    if flags.junit is not None:
        regress_report.save_junit(verdicts, flags.junit)
    return exit_code(verdicts)


def chosen(known: Baselines, flags: CheckFlags) -> list[WatchedCell]:
    """The cells that the flags name; UserError where there is none."""
    named = None if flags.cell is None else flags.cell.split(",")
    for name in named or ():
        if name not in (there := [cell.name for cell in known.cells]):
            raise UserError(f"--cell {name}: {flags.baselines} has {', '.join(there)}")
    found = [
        cell
        for cell in known.cells
        if (named is None or cell.name in named)
        and flags.task in (None, cell.task)
        and flags.backend in (None, cell.backend)
        and (flags.attn is None or any(spec.covers(*cell.mechanism) for spec in flags.attn))
    ]
    if not found:
        raise UserError(f"no cell of {flags.baselines} is what the flags ask for: give fewer flags")
    return found


def _tried(cell: WatchedCell, level: float, timed: bool) -> list[Verdict]:
    """The verdicts on a cell; `level` is that of its accuracy."""
    baseline = cell.baseline
    if baseline is None:
        return [of_nothing(cell, f"no baseline yet: run_lra.py check --update --cell {cell.name}")]
    try:
        prepared = prepare(cell)
    except Exception as error:  # whatever a task or a mechanism raises is that cell's outcome
        return [of_nothing(cell, _told(error))]
    if prepared.hash != baseline.data_hash:
        found, known = prepared.hash[:12], baseline.data_hash[:12]
        return [of_nothing(cell, f"its data is {found}, the baseline was made on {known}: check --update")]

    def accuracy() -> Verdict:
        found = records(cell, cell.check_seeds, prepared)
        return of_accuracy(cell, baseline, [record.test_accuracy for record in found], level)

    tests = {"curve": lambda: of_curve(cell, baseline, first_losses(cell, prepared)), "accuracy": accuracy}
    if timed and cell.speed is not None and baseline.ratio is not None:
        tests["throughput"] = lambda: of_throughput(cell, baseline, ratio(cell))
    return [_timed(cell, name, test) for name, test in tests.items()]


def _timed(cell: WatchedCell, name: str, test: Callable[[], Verdict]) -> Verdict:
    """One verdict and the seconds it took; a loss that is no number is a regression, any other failure is none."""
    began = time.monotonic()
    try:
        verdict = test()
    except Diverged as error:
        verdict = of_nothing(cell, str(error), name, REGRESSED)
    except Exception as error:  # whatever a framework raises is this test's outcome
        verdict = of_nothing(cell, _told(error), name)
    return replace(verdict, seconds=time.monotonic() - began)


def _told(error: Exception) -> str:
    return str(error) if isinstance(error, UserError | TaskError) else f"{type(error).__name__}: {error}"


def _update(flags: CheckFlags) -> int:
    """Measure the cells' baselines, write each into the file as it is by then, and say what changed."""
    cells = chosen(baselines.load_for_update(flags.baselines), flags)
    baselines.require_writable(flags.baselines)
    for cell in cells:
        fresh = replace(cell, baseline=measured(cell))
        assert fresh.baseline is not None, "it was just measured"
        baselines.update(flags.baselines, cell, fresh.baseline)
        for line in regress_report.changes(cell, fresh):
            console.print(line)
    console.print(f"written: {flags.baselines}")
    return 0


def measured(cell: WatchedCell) -> Baseline:
    """A new baseline of the cell; UserError where a seed did not leave chance, for nothing could be lost there."""
    git, prepared = git_state(), prepare(cell)
    found = records(cell, cell.seeds, prepared)
    lost = [record.seed for record in found if record.at_chance]
    if lost:
        raise UserError(f"cell {cell.name} is at chance with seeds {lost}: a baseline needs seeds that all learned")
    accuracies = [record.test_accuracy for record in found]
    return Baseline(
        **baselines.spread(accuracies),
        accuracies=accuracies,
        clean=[record.test_accuracy for record in records(cell, cell.clean_seeds, prepared)],
        examples=found[0].test_examples,
        without_learning=found[0].references,
        data=found[0].data,
        data_hash=prepared.hash,
        curve=[round(loss, 7) for loss in first_losses(cell, prepared)],
        ratio=None if cell.speed is None else round(ratio(cell).spread.median, 4),
        commit=git["commit"],
        clean_checkout=git["clean"],
        made=_made(cell, found[0]),
    )


def _made(cell: WatchedCell, record: Record) -> dict[str, Any]:
    facts, command = record.environment, f"python run_lra.py check --update --cell {cell.name}"
    names = ("framework", "device", "cpu", "cores", "threads", "python", "numpy")
    at = datetime.now(UTC).isoformat(timespec="seconds")
    return {"at": at, "command": command} | {name: facts.get(name) for name in names}
