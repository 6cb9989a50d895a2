"""The command `sweep`: trains the runs of a plan that have no record yet."""

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
    "Train every run of a plan that has no record yet. A failed run stops no other; failures are listed at the end. "
    "Ctrl-C saves all runs, and the same command continues. Exit code: 0 every run has its record, 1 some failed, "
    "2 the plan is impossible, 3 --minutes were over, 130 stopped."
)
OF_PLAN = ("task", "attn", "backend", "preset", "seed", "seeds", "grid", "count")


@dataclass(frozen=True, kw_only=True)
class PlanFlags:
    """The runs of the sweep."""

    plan: tyro.conf.Positional[Path | None] = None
    """The YAML file of a plan, such as those in configs/sweeps. Without one, the next flags make a plan."""
    task: Annotated[tuple[str, ...], words("task")] = ()
    """The tasks, separated by commas."""
    attn: Annotated[tuple[Spec, ...], specs()] = ()
    """The mechanisms, separated by commas, with options such as elfatt@block_size=64; or all."""
    backend: Annotated[tuple[BackendName, ...], arguments.backends()] | None = None
    """The frameworks, separated by commas. Default: PyTorch if it is installed, else JAX."""
    preset: Preset = "quick"
    """smoke, quick, standard or s4; only six tasks have s4."""
    seed: Seed = 0
    """The first seed."""
    seeds: Annotated[int, Interval(ge=1, le=1000)] = 1
    """Number of seeds, counted from --seed."""
    grid: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Values of a field, such as train.learning_rate=1e-4,1e-3. Repeat it to train every combination."""
    count: Number | None = None
    """The most examples in each split."""


@dataclass(frozen=True, kw_only=True)
class SweepFlags(MachineFlags, PlanFlags):
    """The arguments of the command."""

    def pieces(self) -> list[Piece]:
        """The plan that the flags describe."""
        if self.plan is not None:
            return plan.load(self.plan)
        given = {name: getattr(self, name) for name in ("preset", "seed", "seeds", "count")}
        if self.backend:
            given["backend"] = list(self.backend)
        block = RunBlock(task=list(self.task), attn=[print_specs(self.attn)], grid=plan.axes(self.grid), **given)
        return plan.pieces(block, "sweep")

    def check(self) -> None:
        """Raise UserError for flags that are impossible, or do not fit together."""
        for problem in problems(self):
            raise UserError(f"sweep: {problem}")
        at_least_one(self, "count", "jobs", "cpus")
        own = (each for each in fields(self) if each.name in OF_PLAN)
        other = [each.name for each in own if getattr(self, each.name) != each.default]
        if self.plan is not None and other:
            raise UserError(f"both the plan {self.plan} and --{other[0]} are given: put the value into the plan")
        if self.plan is None and not (self.task and self.attn):
            raise UserError("sweep needs a plan: name a file such as configs/sweeps/quick.yaml, or --task and --attn")

    @property
    def again(self) -> str:
        """The command line with these flags."""
        line = command_line("sweep", replace(self, plan=None, grid=(), slurm=()))
        more = [*([str(self.plan)] if self.plan else []), *repeated(self, "grid", "slurm")]
        return f"{line} {shlex.join(more)}" if more else line


def sweep(flags: SweepFlags) -> int:
    """Run the command. Returns the exit code."""
    flags.check()
    return perform(flags.pieces(), flags, flags.results, flags.again)[1]
