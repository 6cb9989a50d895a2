"""What every command does that trains many runs: says what is left, hands it to an engine, tells what came of it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from annotated_types import Interval

from lra import backends
from lra.core.config import Run
from lra.core.environment import RESULTS, has_gpu
from lra.core.errors import UserError
from lra.core.frameworks import Device
from lra.sweep import items as queue
from lra.sweep.items import Item
from lra.sweep.local import LocalEngine, shares
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
    """Runs at a time: as many as GPUs; on a CPU one, which has all cores."""
    engine: Literal["local"] = "local"
    """Who runs them: processes of this machine."""
    device: Annotated[Device, devices()] | None = None
    """Where to train; a GPU where the framework sees one."""
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
    gpu = flags.device != "cpu" and has_gpu()
    if flags.device == "gpu" and not gpu:
        raise UserError("--device gpu: no NVIDIA driver answers here, and no other kind is supported: use --device cpu")
    # Without a GPU no framework has to be asked for one.
    place = Place(results=results, device=flags.device if gpu else "cpu", raw=flags.raw, processes=flags.processes)
    source, parts = data.source(place.raw, place.processes), shares(flags.jobs, "gpu" if gpu else "cpu")
    found = queue.items(pieces, cache(lambda backend: _on_gpu(backend, place.device)))
    if not flags.dry_run:
        require_room(place)
    queue.identify(found, place.results, queue.opened if flags.dry_run else _preparing(source))
    estimated(found, place, parts[0], probe=flags.probe, on_gpu=gpu, known_from=flags.results)
    console.print(plan_table(found))
    console.print(plan_line(found, len(parts)))
    if flags.dry_run:
        return found, 0
    end = began + 60 * flags.minutes if flags.minutes else math.inf
    engine = LocalEngine(parts)
    with SweepScreen(found, engine.jobs, split) as screen, engine.paused_with_us():
        stopped = _stopped(found, place, engine, lambda: end - time.monotonic(), screen)
    closing(found, place.results, again)
    if stopped:
        return found, 130
    left = any(not item.finished for item in found)
    return found, 3 if left else int(any(item.status == "failed" for item in found))


def _preparing(source: Source) -> Callable[[Run], store.Prepared]:
    return lambda run: data.prepare(run.task, run.data, source)


def _on_gpu(backend: str, device: Device | None) -> bool:
    """Whether a run trains on a GPU; UserError where it shall and cannot."""
    if device == "cpu":
        return False
    seen = backends.gpu_seen_elsewhere(backend)
    if device == "gpu" and not seen:
        raise UserError(f"--device gpu: {backend} sees no CUDA GPU, and no other kind is supported: use --device cpu")
    return seen


def _stopped(
    found: list[Item], place: Place, engine: LocalEngine, left: Callable[[], float], screen: SweepScreen
) -> bool:
    """Train them until none is left, or no time; whether it was asked to stop."""
    work = Sweep(found, place, screen.tell)
    work.show = lambda: screen.show(work)
    try:
        work.run(engine, left)
    except KeyboardInterrupt:
        return True
    return False
