"""`run_lra.py sweep`: a plan's runs that have no record yet, one after the other or side by side, until all have."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated

import tyro
from annotated_types import Interval

from attention_impls.ranges import problems
from lra.core.config import BackendName, Seed
from lra.core.errors import UserError
from lra.core.presets import Preset
from lra.core.spec import Spec, print_specs
from lra.sweep import plan
from lra.sweep.perform import MachineFlags, at_least_one, perform, repeated
from lra.sweep.plan import Piece, RunBlock
from lra.terminal import arguments
from lra.terminal.arguments import Number, specs, words
from lra.terminal.flags import command_line

DESCRIPTION = (
    "Train every run of a plan that has no record yet. What fails is told at the end and stops nothing else; Ctrl-C "
    "saves all, and the same command continues. Exit code: 0 every run has its record, 1 some failed, 2 the plan "
    "cannot be, 3 --minutes were over, 130 stopped."
)
OF_PLAN = ("task", "attn", "backend", "preset", "seed", "seeds", "grid", "count")


@dataclass(frozen=True, kw_only=True)
class PlanFlags:
    """Which runs."""

    plan: tyro.conf.Positional[Path | None] = None
    """A plan's YAML, as configs/sweeps/ has some; else the next flags make one."""
    task: Annotated[tuple[str, ...], words("task")] = ()
    """Which tasks, commas between."""
    attn: Annotated[tuple[Spec, ...], specs()] = ()
    """Which attentions, with options as elfatt@block_size=64, or all."""
    backend: Annotated[tuple[BackendName, ...], arguments.backends()] | None = None
    """Which frameworks; the one that is installed."""
    preset: Preset = "quick"
    """smoke, quick, standard or s4; six tasks have the last."""
    seed: Seed = 0
    """The first seed."""
    seeds: Annotated[int, Interval(ge=1, le=1000)] = 1
    """How many seeds, from --seed on."""
    grid: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Values of a field, as train.learning_rate=1e-4,1e-3; given again, every combination."""
    count: Number | None = None
    """At most so many examples in each split."""


@dataclass(frozen=True, kw_only=True)
class SweepFlags(MachineFlags, PlanFlags):
    """The arguments of the command."""

    def pieces(self) -> list[Piece]:
        """What they ask for."""
        if self.plan is not None:
            return plan.load(self.plan)
        given = {name: getattr(self, name) for name in ("preset", "seed", "seeds", "count")}
        if self.backend:
            given["backend"] = list(self.backend)
        block = RunBlock(task=list(self.task), attn=[print_specs(self.attn)], grid=plan.axes(self.grid), **given)
        return plan.pieces(block, "sweep")

    def check(self) -> None:
        """UserError for what cannot be, or cannot be together."""
        for problem in problems(self):
            raise UserError(f"sweep: {problem}")
        at_least_one(self, "count", "jobs", "cpus")
        own = (each for each in fields(self) if each.name in OF_PLAN)
        other = [each.name for each in own if getattr(self, each.name) != each.default]
        if self.plan is not None and other:
            raise UserError(f"{self.plan} and --{other[0]} exclude each other: the plan's file says it all")
        if self.plan is None and not (self.task and self.attn):
            raise UserError("sweep needs a plan's file, or --task and --attn: see configs/sweeps/, or --help")

    @property
    def again(self) -> str:
        """The command line that they are."""
        line = command_line("sweep", replace(self, plan=None, grid=(), slurm=()))
        more = [*([str(self.plan)] if self.plan else []), *repeated(self, "grid", "slurm")]
        return f"{line} {shlex.join(more)}" if more else line


def sweep(flags: SweepFlags) -> int:
    """Run the command; the exit code."""
    flags.check()
    return perform(flags.pieces(), flags, flags.results, flags.again)[1]
