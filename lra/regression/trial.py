"""The measurements of `check` for one cell: accuracies, first losses, and speed relative to softmax. No records."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from lra.bench.plan import make_plan
from lra.bench.record import MEASURED
from lra.bench.runner import Bench
from lra.bench.screen import BenchScreen
from lra.bench.summary import Ratio, ratios
from lra.bench.wanted import Wanted
from lra.core.errors import UserError
from lra.core.spec import Spec
from lra.regression.baselines import WatchedCell
from lra.terminal.console import console
from lra.training import data, trainer
from lra.training.callbacks import Silent
from lra.training.history import FIRST_STEPS
from lra.training.loop import Interrupted
from lra.training.record import Record
from lra.training.trainer import Place, train
from tasks.store import Prepared


def prepare(cell: WatchedCell) -> Prepared:
    """The data of a cell; it is prepared if it is missing."""
    return data.prepare(cell.task, cell.run(0).data, data.source(None, None))


def records(cell: WatchedCell, seeds: Sequence[int], prepared: Prepared) -> list[Record]:
    """Train the cell with each seed."""
    found = []
    for seed in seeds:
        began = time.monotonic()
        with _nowhere(cell) as place:
            record, _ = train(cell.run(seed), prepared, place, Silent())
        found.append(record)
        seconds = time.monotonic() - began
        console.print(f"{cell.name}: seed {seed}: {100 * record.test_accuracy:.2f} % in {seconds:.0f} s")
    return found


def first_losses(cell: WatchedCell, prepared: Prepared) -> list[float]:
    """The losses of the first steps of the first seed, without dropout."""
    run = cell.run(cell.seeds[0])
    if run.train.steps <= FIRST_STEPS:
        raise UserError(f"cell {cell.name} has {run.train.steps} steps, expected more than {FIRST_STEPS}")
    plan = replace(run.train, chunk=1, evaluate_every=run.train.steps)
    run = replace(run, train=plan, model=replace(run.model, dropout=0.0))
    with _nowhere(cell) as place:
        return trainer.first_losses(run, prepared, place)


def ratio(cell: WatchedCell) -> Ratio:
    """Training speed relative to softmax, round by round; one benchmark times both in turn."""
    assert cell.speed is not None, "only a cell with a speed is timed"
    name, options = cell.mechanism
    wanted = Wanted(
        what="train",
        backend=(cell.backend,),
        attn=(Spec(name, options), Spec("softmax")),
        lengths=(cell.speed.length,),
        batch=(cell.speed.batch,),
        samples=cell.speed.rounds,
    )
    plan = replace(make_plan(wanted, cell.device), ceilings=())
    bench = Bench(plan=plan, command="", screen=BenchScreen(), keep=lambda record: None)
    bench.run()
    record = bench.record()
    for timing in record.cells:
        if timing.status != MEASURED:
            raise UserError(f"{timing.label} cannot be timed: {timing.status}: {timing.why}")
    return ratios(record)[0]


@contextmanager
def _nowhere(cell: WatchedCell) -> Iterator[Place]:
    """A temporary folder. Ctrl-C in the training loop ends the whole check."""
    with tempfile.TemporaryDirectory(prefix="lra-check-") as folder:
        try:
            yield Place(results=Path(folder), device=cell.device)
        except Interrupted as stop:
            raise KeyboardInterrupt from stop
