"""The command `tune`: searches a grid of learning rates and similar values by validation accuracy."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import tyro
from annotated_types import Interval
from rich.table import Table

from attention_impls.ranges import problems
from lra.core.config import BackendName, Run, Seed, Steps, resolve
from lra.core.errors import UserError
from lra.core.frameworks import usual
from lra.core.presets import Preset
from lra.core.spec import Spec, print_specs
from lra.core.tuning import FOLDER, budget, require_tunable
from lra.sweep import choice, plan
from lra.sweep.choice import Search, shortened
from lra.sweep.items import Item
from lra.sweep.perform import MachineFlags, at_least_one, perform, repeated
from lra.sweep.plan import Planned, RunBlock
from lra.sweep.work import elsewhere
from lra.terminal import arguments
from lra.terminal.arguments import specs, words
from lra.terminal.console import console, errors, new_table
from lra.terminal.flags import command_line
from lra.training import record
from lra.training.record import Record

DESCRIPTION = (
    "Search learning rates and similar values: train every combination of a grid with fewer steps, and choose by "
    "validation accuracy alone. Records and choices go to tuning, in the folder of results; tables leave them out. "
    "The command prints how to train a choice at full length. Such runs get their own row, with the budget in its "
    "name. Exit code: 0 all is chosen, 1 some runs failed, 2 wrong use, 3 --minutes were over, 130 stopped."
)
SHARE = 0.2


@dataclass(frozen=True, kw_only=True)
class SearchFlags:
    """The flags of the search."""

    task: Annotated[tuple[str, ...], words("task")]
    """The tasks, separated by commas."""
    attn: Annotated[tuple[Spec, ...], specs()]
    """The mechanisms, with options such as elfatt@block_size=64; or all. Each gets its own choice on each task."""
    grid: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Values of a field, such as train.learning_rate=1e-4,1e-3. Repeat it to train every combination."""
    backend: Annotated[tuple[BackendName, ...], arguments.backends()] | None = None
    """The frameworks, separated by commas. Default: PyTorch if it is installed, else JAX."""
    preset: Preset = "standard"
    """smoke, quick, standard or s4; only six tasks have s4."""
    steps: Steps | None = None
    """Steps of each run of the search."""
    share: Annotated[float, Interval(gt=0, le=1)] | None = None
    """Steps of each run, as a share of the preset's steps. Default: 0.2."""
    seed: Seed = 0
    """The seed of every run of the search."""
    seeds: Annotated[int, Interval(ge=1, le=1000)] = 3
    """Number of seeds in the printed command."""


@dataclass(frozen=True, kw_only=True)
class TuneFlags(MachineFlags, SearchFlags):
    """The arguments of the command."""

    def check(self) -> None:
        """Raise UserError for flags that are impossible, or do not fit together."""
        for problem in problems(self):
            raise UserError(f"tune: {problem}")
        at_least_one(self, "jobs", "cpus")
        if self.steps is not None and self.share is not None:
            raise UserError("both --steps and --share are given, which set the length of a run: leave one out")
        if not self.grid:
            raise UserError("tune needs --grid FIELD=VALUE,VALUE, such as --grid train.learning_rate=1e-4,3e-4,1e-3")

    @property
    def again(self) -> str:
        """The command line with these flags."""
        line = command_line("tune", replace(self, grid=(), slurm=()))
        return f"{line} {shlex.join(repeated(self, 'grid', 'slurm'))}"

    @property
    def searches(self) -> list[tuple[Search, list[Planned]]]:
        """Each search, with its pieces in the order of the candidates."""
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
            raise UserError(f"tune: {spec.label} is not written in {backend}: choose its framework with --backend")
        steps = self.steps or max(round((self.share or SHARE) * base.train.steps), 2)
        shorter = [replace(each, run=shortened(_possible(each), steps)) for each in pieces]
        return Search(base=base, runs=tuple(map(_possible, shorter)), names=names), shorter


def tune(flags: TuneFlags) -> int:
    """Run the command. Returns the exit code."""
    flags.check()
    searches, folder = flags.searches, flags.results / FOLDER
    pieces = [piece for _, own in searches for piece in own]
    items, code = perform(pieces, flags, folder, flags.again, split="validation")
    if flags.dry_run:
        return 0
    rest = iter(items)
    for search, own in searches:
        _conclude(search, [next(rest) for _ in own], folder, flags)
    return code


def _conclude(search: Search, items: Sequence[Item], folder: Path, flags: TuneFlags) -> None:
    """Choose, write and show the choice, once every candidate of a search is done or has failed."""
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
    """A row for each candidate: its values, its best validation accuracy and the step of that."""
    made = new_table(search.title, names=search.names, figures=("validation %", "best step"), texts=("",))
    for number, (run, each) in enumerate(zip(search.runs, found, strict=True)):
        texts = [str(value) for value in search.values(run).values()]
        scores = ["failed", ""] if each is None else [f"{100 * each.validation_accuracy:.2f}", f"{each.best_step:,}"]
        made.add_row(*texts, *scores, "chosen" if number == chosen else "")
    return made


def _of_train(name: str) -> str:
    part, _, field = name.replace("-", "_").partition(".")
    if part != "train":
        raise UserError(f"--grid {name}: tune searches fields of train only; sweep --grid takes every field")
    return field


def _possible(piece: Planned) -> Run:
    """The run of a piece. UserError if it is impossible, since a search must be complete."""
    if piece.run is None:
        raise UserError(f"tune: {piece.why}")
    return piece.run
