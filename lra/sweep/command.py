"""`run_lra.py sweep`: a plan's runs that have no record yet, one after the other or side by side, until all have."""

from __future__ import annotations

import math
import shlex
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Annotated

import tyro
from annotated_types import Interval

from attention_impls.ranges import problems
from lra.core.config import BackendName, Run, Seed
from lra.core.environment import RESULTS
from lra.core.errors import UserError
from lra.core.frameworks import Device
from lra.core.presets import Preset
from lra.core.spec import Spec, print_specs
from lra.sweep import items as queue
from lra.sweep import plan
from lra.sweep.engine import Engine
from lra.sweep.engines import Asked, EngineName, site
from lra.sweep.items import Item
from lra.sweep.local import LocalEngine
from lra.sweep.plan import Piece, RunBlock
from lra.sweep.probing import estimated
from lra.sweep.runner import Sweep
from lra.sweep.screen import SweepScreen, closing, plan_line, plan_table
from lra.terminal import arguments
from lra.terminal.arguments import Number, Where, devices, specs, words
from lra.terminal.console import console
from lra.terminal.flags import command_line
from lra.training import data
from lra.training.trainer import Place, require_room
from tasks import store
from tasks.base import Source

DESCRIPTION = (
    "Train every run of a plan that has no record yet. What fails is told at the end and stops nothing else; Ctrl-C "
    "saves all, and the same command continues. Exit code: 0 every run has its record, 1 some failed, 2 the plan "
    "cannot be, 3 --minutes were over, 130 stopped."
)
Switch = tyro.conf.FlagCreatePairsOff[bool]
OF_PLAN = ("task", "attn", "backend", "preset", "seed", "seeds", "grid", "count")


@dataclass(frozen=True, kw_only=True)
class SweepFlags:
    """The arguments of the command."""

    plan: tyro.conf.Positional[Path | None] = None
    """A plan's YAML, as configs/sweeps/ has some; else the next flags make one."""
    task: Annotated[tuple[str, ...], words("task")] = ()
    """Which tasks, commas between."""
    attn: Annotated[tuple[Spec, ...], specs()] = ()
    """Which attentions, with options as elfatt@block_size=64, or all."""
    backend: Annotated[tuple[BackendName, ...], arguments.backends()] | None = None
    """Which frameworks; the one that is installed."""
    preset: Preset = "quick"
    """smoke, quick or standard."""
    seed: Seed = 0
    """The first seed."""
    seeds: Annotated[int, Interval(ge=1, le=1000)] = 1
    """How many seeds, from --seed on."""
    grid: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Values of a field, as train.learning_rate=1e-4,1e-3; given again, every combination."""
    count: Number | None = None
    """At most so many examples in each split."""
    jobs: Number | None = None
    """Runs at a time: as many as GPUs; on a CPU one, which has all cores; on a cluster as it has room."""
    engine: EngineName = "local"
    """Who runs them: processes of this machine, or a cluster."""
    cpus: Number | None = None
    """Cores of each run on a cluster; one."""
    address: str | None = None
    """Of a Ray cluster, as its head prints it; the one of this machine, or a new one."""
    slurm: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME=VALUE")] = ()
    """A parameter of submitit, as partition=gpu; given again, each."""
    device: Annotated[Device, devices()] | None = None
    """Where to train; a GPU where the framework sees one. On a cluster a CPU, unless it is gpu."""
    minutes: Annotated[float, Interval(gt=0, le=1e6)] | None = None
    """Stop after so many; the same command continues."""
    dry_run: Switch = False
    """Say what would be run, and stop."""
    probe: tyro.conf.FlagCreatePairsOff[bool] = True
    """Take two steps of what no record tells the time of."""
    results: Where = RESULTS
    """Where records, snapshots and logs go."""
    raw: Where | None = None
    """Your own raw files (default: $LRA_RAW); generated tasks need none."""
    processes: Number | None = None
    """Processes that prepare data; as many as there are usable cores."""

    def pieces(self) -> list[Piece]:
        """What they ask for."""
        if self.plan is not None:
            return plan.load(self.plan)
        given = {name: getattr(self, name) for name in ("preset", "seed", "seeds", "count")}
        if self.backend:
            given["backend"] = list(self.backend)
        axes = [plan.grid(each) for each in self.grid]
        block = RunBlock(task=list(self.task), attn=[print_specs(self.attn)], grid=dict(axes), **given)
        return plan.pieces(block, "sweep")

    def check(self) -> None:
        """UserError for what cannot be, or cannot be together."""
        for problem in problems(self):
            raise UserError(f"sweep: {problem}")
        for name in ("count", "jobs", "cpus"):
            if (given := getattr(self, name)) is not None and given < 1:
                raise UserError(f"--{name} is {given}, expected at least 1")
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
        again = [word for name in ("grid", "slurm") for each in getattr(self, name) for word in (f"--{name}", each)]
        more = [str(self.plan)] if self.plan else []
        return shlex.join([*shlex.split(line), *more, *again])


def sweep(flags: SweepFlags) -> int:
    """Run the command; the exit code."""
    began = time.monotonic()
    flags.check()
    pieces = flags.pieces()
    asked = {each.name: getattr(flags, each.name) for each in fields(Asked)}
    where = site(Asked(**asked), flags.results, pieces)
    place = Place(results=flags.results, device=where.device, raw=flags.raw, processes=flags.processes)
    source = data.source(place.raw, place.processes)
    found = queue.items(pieces, cache(where.on_gpu))
    if not flags.dry_run:
        require_room(place)
    queue.identify(found, place.results, queue.opened if flags.dry_run else _preparing(source))
    estimated(found, place, where.share, probe=flags.probe, on_gpu=where.device != "cpu")
    console.print(plan_table(found))
    console.print(plan_line(found, where.engine.jobs))
    if flags.dry_run:
        return 0
    end = began + 60 * flags.minutes if flags.minutes else math.inf
    return _run(found, place, where.engine, lambda: end - time.monotonic(), flags.again)


def _preparing(source: Source) -> Callable[[Run], store.Prepared]:
    return lambda run: data.prepare(run.task, run.data, source)


def _run(found: list[Item], place: Place, engine: Engine, left: Callable[[], float], again: str) -> int:
    stopped = False
    paused = engine.paused_with_us() if isinstance(engine, LocalEngine) else nullcontext()
    with SweepScreen(found, engine.jobs) as screen, paused:
        work = Sweep(found, place, screen.tell)
        work.show = lambda: screen.show(work)
        try:
            work.run(engine, left)
        except KeyboardInterrupt:
            stopped = True
    closing(found, place.results, again)
    if stopped:
        return 130
    if any(not item.finished for item in found):
        return 3
    return int(any(item.status == "failed" for item in found))
