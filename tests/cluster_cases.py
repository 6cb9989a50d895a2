"""Small runs for engines whose orders are performed by other processes than the sweep's own."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import psutil

from lra.core.config import Run
from lra.sweep import items as queue
from lra.sweep import lease, plan
from lra.sweep.engine import Engine
from lra.sweep.items import Item
from lra.sweep.runner import Sweep
from lra.training import data, record
from lra.training.callbacks import METRICS
from tasks.base import Source
from tasks.store import Prepared
from tests.evidence.sweeps import numbers
from tests.small import place

PLAN = (
    "sweep:\n  - {task: listops, attn: linear, backend: torch, preset: smoke, seeds: %d, grid: {model.width: 8, "
    "model.depth: 1, train.batch_size: 2, train.chunk: 20, train.steps: %d, train.evaluate_every: 100}}\n"
)


def small_items(folder: Path, runs: int, steps: int) -> list[Item]:
    """Runs that differ in their seeds, with the results' folder `folder`."""
    (folder / "plan.yaml").write_text(PLAN % (runs, steps), encoding="utf-8")
    found = queue.items(plan.load(folder / "plan.yaml"), lambda backend: False)
    queue.identify(found, folder, _prepared)
    return found


def _prepared(run: Run) -> Prepared:
    return data.prepare(run.task, run.data, Source())


def swept(items: list[Item], engine: Engine, folder: Path, show: Callable[[], object] = lambda: None) -> list[str]:
    """Perform them all; how each ended."""
    Sweep(items, place(folder), show=show).run(engine, lambda: math.inf)
    return [each.status for each in items]


def in_training(folder: Path) -> list[psutil.Process]:
    """The processes of runs that have taken their first steps, and live."""
    works = [path.parent for path in folder.glob(f".work/*/{METRICS}") if path.read_text().count("\n") > 1]
    return [psutil.Process(each.pid) for each in map(lease.held, works) if each]


def curves(folder: Path) -> dict[str, object]:
    """What may not depend on who performed it, by the id of its run; one record each."""
    found = [record.load(each) for each in (folder / "runs").iterdir()]
    assert len({each.run_id for each in found}) == len(found)
    return {each.run_id: numbers(each) for each in found}
