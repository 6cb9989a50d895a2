"""The common part of commands that train many runs: shows what is left, uses an engine, and shows the outcome."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import tyro
from annotated_types import Interval

from lra.core.config import Run
from lra.core.environment import RESULTS
from lra.core.errors import UserError
from lra.core.frameworks import Device
from lra.sweep import items as queue
from lra.sweep.engine import Engine
from lra.sweep.engines import Asked, EngineName, site
from lra.sweep.items import Item
from lra.sweep.local import LocalEngine
from lra.sweep.plan import Piece
from lra.sweep.probing import estimated
from lra.sweep.runner import Sweep
from lra.sweep.screen import ScoredSplit, SweepScreen, closing, plan_line, plan_table
from lra.terminal.arguments import Number, Where, devices
from lra.terminal.console import console
from lra.training import data
from lra.training.trainer import Place, require_room
from tasks import store
from tasks.base import Source

Switch = tyro.conf.FlagCreatePairsOff[bool]


@dataclass(frozen=True, kw_only=True)
class MachineFlags:
    """Flags for the machines that train, and for the time limit."""

    jobs: Number | None = None
    """Runs at a time. Default: one for each GPU; on a CPU one, with all cores; on a cluster as many as fit."""
    engine: EngineName = "local"
    """local: processes of this machine; slurm or ray: a cluster."""
    cpus: Number | None = None
    """Cores of each run on a cluster. Default: 1."""
    address: str | None = None
    """The address of a Ray cluster, as its head prints it. Default: this machine's cluster, or a new one."""
    slurm: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """A parameter of submitit, such as partition=gpu. Repeat it for more parameters."""
    device: Annotated[Device, devices()] | None = None
    """The device. Default: a GPU if the framework sees one; on a cluster the CPU."""
    minutes: Annotated[float, Interval(gt=0, le=1e6)] | None = None
    """Stop after this many minutes. The same command continues."""
    dry_run: Switch = False
    """Show the runs that would be trained, and stop."""
    probe: Switch = True
    """Time two steps of runs whose time no record tells."""
    results: Where = RESULTS
    """The folder for records, snapshots and logs."""
    raw: Where | None = None
    """The folder of your raw files. Default: $LRA_RAW. Generated tasks need none."""
    processes: Number | None = None
    """Number of processes that prepare data. Default: the number of usable cores."""


def at_least_one(flags: Any, *names: str) -> None:
    """Raise UserError for the first of these arguments that is less than 1."""
    for name in names:
        if (given := getattr(flags, name)) is not None and given < 1:
            raise UserError(f"--{name} is {given}, expected at least 1")


def repeated(flags: Any, *names: str) -> list[str]:
    """The words of flags that are repeated for each value."""
    return [word for name in names for each in getattr(flags, name) for word in (f"--{name}", each)]


def perform(
    pieces: Sequence[Piece], flags: MachineFlags, results: Path, again: str, split: ScoredSplit = "test"
) -> tuple[list[Item], int]:
    """Train the runs that have no record yet.

    Args:
        pieces: The plan.
        flags: The machines and the time limit. Estimates come from the records under their `results`.
        results: The folder for records, snapshots and logs of these runs.
        again: The command that continues.
        split: The split whose accuracy is shown.

    Returns:
        An item for each piece, in the order of the pieces, and the exit code.

    Raises:
        UserError: The machine cannot do what the flags say.
    """
    began = time.monotonic()
    asked = {each.name: getattr(flags, each.name) for each in fields(Asked)}
    where = site(Asked(**asked), results, pieces)
    place = Place(results=results, device=where.device, raw=flags.raw, processes=flags.processes)
    source = data.source(place.raw, place.processes)
    found = queue.items(pieces, cache(where.on_gpu))
    if not flags.dry_run:
        require_room(place)
    queue.identify(found, place.results, queue.opened if flags.dry_run else _preparing(source))
    on_gpu = where.device != "cpu"
    estimated(found, place, where.share, probe=flags.probe, on_gpu=on_gpu, known_from=flags.results)
    console.print(plan_table(found))
    console.print(plan_line(found, where.engine.jobs))
    if flags.dry_run:
        return found, 0
    end = began + 60 * flags.minutes if flags.minutes else math.inf
    engine = where.engine
    paused = engine.paused_with_us() if isinstance(engine, LocalEngine) else nullcontext()
    with SweepScreen(found, engine.jobs, split) as screen, paused:
        stopped = _stopped(found, place, engine, lambda: end - time.monotonic(), screen)
    closing(found, place.results, again)
    if stopped:
        return found, 130
    left = any(not item.finished for item in found)
    return found, 3 if left else int(any(item.status == "failed" for item in found))


def _preparing(source: Source) -> Callable[[Run], store.Prepared]:
    return lambda run: data.prepare(run.task, run.data, source)


def _stopped(found: list[Item], place: Place, engine: Engine, left: Callable[[], float], screen: SweepScreen) -> bool:
    """Train until no item or no time is left. Returns whether it was asked to stop."""
    work = Sweep(found, place, screen.tell)
    work.show = lambda: screen.show(work)
    try:
        work.run(engine, left)
    except KeyboardInterrupt:
        return True
    return False
