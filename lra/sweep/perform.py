"""What every command does that trains many runs: says what is left, hands it to an engine, tells what came of it."""

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
    """Where runs are trained, and for how long."""

    jobs: Number | None = None
    """Runs at a time: as many as GPUs; on a CPU one, which has all cores; on a cluster as it has room."""
    engine: EngineName = "local"
    """Who runs them: processes of this machine, or a cluster."""
    cpus: Number | None = None
    """Cores of each run on a cluster; one."""
    address: str | None = None
    """Of a Ray cluster, as its head prints it; the one of this machine, or a new one."""
    slurm: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """A parameter of submitit, as partition=gpu; given again, each."""
    device: Annotated[Device, devices()] | None = None
    """Where to train; a GPU where the framework sees one. On a cluster a CPU, unless it is gpu."""
    minutes: Annotated[float, Interval(gt=0, le=1e6)] | None = None
    """Stop after so many; the same command continues."""
    dry_run: Switch = False
    """Say what would be run, and stop."""
    probe: Switch = True
    """Take two steps of what no record tells the time of."""
    results: Where = RESULTS
    """Where records, snapshots and logs go."""
    raw: Where | None = None
    """Your own raw files (default: $LRA_RAW); generated tasks need none."""
    processes: Number | None = None
    """Processes that prepare data; as many as there are usable cores."""


def at_least_one(flags: Any, *names: str) -> None:
    """UserError for the first of these arguments that is given and less than 1."""
    for name in names:
        if (given := getattr(flags, name)) is not None and given < 1:
            raise UserError(f"--{name} is {given}, expected at least 1")


def repeated(flags: Any, *names: str) -> list[str]:
    """The words of flags that are given again for each of their values."""
    return [word for name in names for each in getattr(flags, name) for word in (f"--{name}", each)]


def perform(
    pieces: Sequence[Piece], flags: MachineFlags, results: Path, again: str, split: ScoredSplit = "test"
) -> tuple[list[Item], int]:
    """Train what has no record yet.

    Args:
        pieces: The plan.
        flags: Where, and for how long; what earlier runs under their `results` took is known.
        results: Where records, snapshots and logs of these runs go.
        again: The command that continues.
        split: Whose accuracy is told of what is done.

    Returns:
        An item for each piece, in their order, and the exit code.

    Raises:
        UserError: The machine cannot do what is asked for.
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
    """Train them until none is left, or no time; whether it was asked to stop."""
    work = Sweep(found, place, screen.tell)
    work.show = lambda: screen.show(work)
    try:
        work.run(engine, left)
    except KeyboardInterrupt:
        return True
    return False
