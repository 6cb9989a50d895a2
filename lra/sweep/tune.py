"""`run_lra.py tune`: learning rates and their like from a grid, chosen on validation by runs of fewer steps."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import tyro
from annotated_types import Interval
from rich.markup import escape
from rich.table import Table

from attention_impls.ranges import problems
from lra.core.config import BackendName, Run, Seed, Steps, resolve
from lra.core.errors import UserError
from lra.core.frameworks import usual
from lra.core.presets import Preset
from lra.core.spec import Spec, print_specs
from lra.core.tuning import budget, require_tunable
from lra.sweep import choice, plan
from lra.sweep.choice import Search, shortened
from lra.sweep.estimate import TUNING
from lra.sweep.items import Item
from lra.sweep.perform import MachineFlags, at_least_one, perform, repeated
from lra.sweep.plan import Planned, RunBlock
from lra.sweep.work import elsewhere
from lra.terminal import arguments
from lra.terminal.arguments import specs, words
from lra.terminal.console import console, errors
from lra.terminal.flags import command_line
from lra.training import record
from lra.training.record import Record

DESCRIPTION = (
    "Search the rates of mechanisms on tasks: train every combination of a grid with fewer steps, and choose by "
    "validation accuracy alone. Records and choices go under tuning in the results, and never into a table. The "
    "command that trains a choice at full length is printed. Its runs get a row with the budget in its name. "
    "Exit code: 0 all is chosen, 1 some runs failed, 2 it cannot be, 3 --minutes were over, 130 stopped."
)
SHARE = 0.2


@dataclass(frozen=True, kw_only=True)
class SearchFlags:
    """What is searched."""

    task: Annotated[tuple[str, ...], words("task")]
    """Which tasks, commas between."""
    attn: Annotated[tuple[Spec, ...], specs()]
    """Which attentions, with options as elfatt@block_size=64, or all; each has its own choice on each task."""
    grid: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Values of a field, as train.learning_rate=1e-4,1e-3; given again, every combination."""
    backend: Annotated[tuple[BackendName, ...], arguments.backends()] | None = None
    """Which frameworks; the one that is installed."""
    preset: Preset = "standard"
    """smoke, quick, standard or s4; six tasks have the last."""
    steps: Steps | None = None
    """Steps of each run of the search."""
    share: Annotated[float, Interval(gt=0, le=1)] | None = None
    """The same as a share of the preset's steps; 0.2 where neither is given."""
    seed: Seed = 0
    """Of every run of the search."""
    seeds: Annotated[int, Interval(ge=1, le=1000)] = 3
    """How many seeds the printed command trains."""


@dataclass(frozen=True, kw_only=True)
class TuneFlags(MachineFlags, SearchFlags):
    """The arguments of the command."""

    def check(self) -> None:
        """UserError for what cannot be, or cannot be together."""
        for problem in problems(self):
            raise UserError(f"tune: {problem}")
        at_least_one(self, "jobs", "cpus")
        if self.steps is not None and self.share is not None:
            raise UserError("--steps and --share exclude each other: both say how long a run of the search is")
        if not self.grid:
            raise UserError("tune needs --grid FIELD=VALUE,VALUE, as --grid train.learning_rate=1e-4,3e-4,1e-3")

    @property
    def again(self) -> str:
        """The command line that they are."""
        line = command_line("tune", replace(self, grid=(), slurm=()))
        return f"{line} {shlex.join(repeated(self, 'grid', 'slurm'))}"

    @property
    def searches(self) -> list[tuple[Search, list[Planned]]]:
        """Each with the pieces that a sweep performs, in the order of its candidates."""
        axes = plan.axes(self.grid)
        backends = self.backend or (usual(),)
        found = [
            self._search(task, spec, backend, axes) for task in self.task for spec in self.attn for backend in backends
        ]
        if (most := sum(len(pieces) for _, pieces in found)) > plan.MOST:
            raise UserError(f"tune: {most:,} runs, expected at most {plan.MOST:,}: take a smaller grid")
        return found

    def _search(
        self, task: str, spec: Spec, backend: BackendName, axes: dict[str, list[Any]]
    ) -> tuple[Search, list[Planned]]:
        base = resolve(task, spec, backend=backend, preset=self.preset, seed=self.seed)
        names = tuple(map(_of_train, axes))
        for name in names:
            require_tunable(name, base.train, "tune")
        block = RunBlock(
            task=[task], attn=[print_specs([spec])], backend=[backend], preset=self.preset, seed=self.seed, grid=axes
        )
        pieces = [each for each in plan.pieces(block, "tune") if isinstance(each, Planned)]
        if not pieces:
            raise UserError(f"tune: {spec.label} has no {backend}: name the framework that it has with --backend")
        steps = self.steps or max(round((self.share or SHARE) * base.train.steps), 2)
        shorter = [replace(each, run=shortened(_possible(each), steps)) for each in pieces]
        return Search(base=base, runs=tuple(map(_possible, shorter)), names=names), shorter


def tune(flags: TuneFlags) -> int:
    """Run the command; the exit code."""
    flags.check()
    searches, folder = flags.searches, flags.results / TUNING
    pieces = [piece for _, own in searches for piece in own]
    items, code = perform(pieces, flags, folder, flags.again, split="validation")
    if flags.dry_run:
        return 0
    rest = iter(items)
    for search, own in searches:
        _conclude(search, [next(rest) for _ in own], folder, flags)
    return code


def _conclude(search: Search, items: Sequence[Item], folder: Path, flags: TuneFlags) -> None:
    """Choose, write the choice and show it, once every candidate of a search is done or has failed."""
    if left := sum(not item.finished for item in items):
        errors.print(f"{search.title}: nothing is chosen yet, {left} of {len(items)} runs are left")
        return
    found = [record.load(item.record) if item.record else None for item in items]
    number = search.chosen(found)
    if number is None:
        errors.print(f"{search.title}: nothing is chosen, every run failed")
        return
    failed = {place: item.why for place, item in enumerate(items) if item.record is None}
    path = choice.write(search, found, failed, folder)
    console.print(choice_table(search, found, number))
    tuning = search.tuning
    console.print(f"chosen on validation alone, {budget(tuning.runs, [tuning.steps])}; the rule: {choice.RULE}")
    if search.values(search.runs[number]) == search.values(search.base):
        console.print("the choice is the preset's own values: its runs have the same numbers as the row without tuning")
    console.print(f"choice: {path}")
    line = ["python", "run_lra.py", "--config", str(path), "--seeds", str(flags.seeds), *elsewhere(flags.results)]
    console.print(f"train it at full length: {shlex.join(line)}\n")


def choice_table(search: Search, found: Sequence[Record | None], chosen: int) -> Table:
    """A row for each candidate: its values, its best validation accuracy and where that was."""
    table = Table(title=escape(search.title), title_justify="left")
    for name in (*search.names, "validation %", "best step"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("")
    for number, (run, each) in enumerate(zip(search.runs, found, strict=True)):
        texts = [str(value) for value in search.values(run).values()]
        scores = ["failed", ""] if each is None else [f"{100 * each.validation_accuracy:.2f}", f"{each.best_step:,}"]
        table.add_row(*texts, *scores, "chosen" if number == chosen else "")
    return table


def _of_train(name: str) -> str:
    part, _, field = name.replace("-", "_").partition(".")
    if part != "train":
        raise UserError(f"--grid {name}: tune searches fields of train only; sweep --grid takes every field")
    return field


def _possible(piece: Planned) -> Run:
    """The run of a piece; UserError where there can be none: a search with holes is no search."""
    if piece.run is None:
        raise UserError(f"tune: {piece.why}")
    return piece.run
