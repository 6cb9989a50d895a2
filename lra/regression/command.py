"""The command `check`: trains the cells of results/baselines.yaml and compares them, or measures new baselines."""

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
    "Train the cells of results/baselines.yaml. Fail if accuracy is lower than chance can explain, if the first losses "
    "differ from the golden ones, or if throughput relative to softmax is lost. Exit code: 0 all tests passed, 1 a "
    "cell regressed, 2 a cell could not run. Writes no record."
)
Switch = tyro.conf.FlagCreatePairsOff[bool]


@dataclass(frozen=True, kw_only=True)
class CheckFlags:
    """The arguments of the command."""

    cell: str | None = None
    """The cells, by name, separated by commas. Default: all."""
    task: str | None = None
    """Only cells of this task."""
    attn: Annotated[tuple[Spec, ...], specs()] | None = None
    """Only cells of these mechanisms."""
    backend: BackendName | None = None
    """Only cells of this framework."""
    update: Switch = False
    """Measure new baselines of these cells, write them and print the changes."""
    skip_throughput: Switch = False
    """Skip the throughput test."""
    junit: Where | None = None
    """Also write the verdicts to this file, as JUnit XML."""
    baselines: Where = DATA / "results" / "baselines.yaml"
    """The file of baselines."""


def check(flags: CheckFlags) -> int:
    """Compare the chosen cells. Returns 0 if all tests passed, 1 if a cell regressed, 2 if one could not run."""
    if flags.junit is not None:
        require_writable(flags.junit.parent, "name another file with --junit")
        if flags.junit.is_dir():
            raise UserError(f"--junit {flags.junit} is a folder: expected the name of a file")
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
    """The cells that the flags select. UserError if there is none."""
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
        raise UserError(f"no cell of {flags.baselines} fits all flags: give fewer flags")
    return found


def _tried(cell: WatchedCell, level: float, timed: bool) -> list[Verdict]:
    """The verdicts on a cell; `level` is the level of its accuracy test."""
    baseline = cell.baseline
    if baseline is None:
        return [of_nothing(cell, f"it has no baseline: run run_lra.py check --update --cell {cell.name}")]
    try:
        prepared = prepare(cell)
    except Exception as error:  # any error of a task or a mechanism is the cell's outcome
        return [of_nothing(cell, _told(error))]
    if prepared.hash != baseline.data_hash:
        found, known = prepared.hash[:12], baseline.data_hash[:12]
        return [of_nothing(cell, f"its data is {found}, but the baseline was made on {known}: run check --update")]

    def accuracy() -> Verdict:
        found = records(cell, cell.check_seeds, prepared)
        return of_accuracy(cell, baseline, [record.test_accuracy for record in found], level)

    tests = {"curve": lambda: of_curve(cell, baseline, first_losses(cell, prepared)), "accuracy": accuracy}
    if timed and cell.speed is not None and baseline.ratio is not None:
        tests["throughput"] = lambda: of_throughput(cell, baseline, ratio(cell))
    return [_timed(cell, name, test) for name, test in tests.items()]


def _timed(cell: WatchedCell, name: str, test: Callable[[], Verdict]) -> Verdict:
    """One verdict with its seconds. A loss of NaN is a regression; other errors are not."""
    began = time.monotonic()
    try:
        verdict = test()
    except Diverged as error:
        verdict = of_nothing(cell, str(error), name, REGRESSED)
    except Exception as error:  # any error of a framework is the test's outcome
        verdict = of_nothing(cell, _told(error), name)
    return replace(verdict, seconds=time.monotonic() - began)


def _told(error: Exception) -> str:
    return str(error) if isinstance(error, UserError | TaskError) else f"{type(error).__name__}: {error}"


def _update(flags: CheckFlags) -> int:
    """Measure the cells' baselines, write each one into the current file, and print the changes."""
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
    """A new baseline of the cell. UserError if a seed stays at chance, where no loss could be seen."""
    git, prepared = git_state(), prepare(cell)
    found = records(cell, cell.seeds, prepared)
    lost = [record.seed for record in found if record.at_chance]
    if lost:
        raise UserError(f"cell {cell.name} is at chance with seeds {lost}: choose seeds that all leave chance")
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
