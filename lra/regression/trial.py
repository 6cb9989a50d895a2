"""What `check` measures of one cell: accuracies, the first losses, the speed beside softmax's. Leaves no record."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from lra.bench.plan import make_plan
from lra.bench.record import MEASURED, Ratio
from lra.bench.runner import Bench
from lra.bench.screen import BenchScreen
from lra.cli.arguments import parse_bench
from lra.core.console import console
from lra.core.errors import UserError
from lra.regression.baselines import Cell
from lra.training import data
from lra.training.callbacks import Silent
from lra.training.history import FIRST_STEPS, History
from lra.training.loop import Interrupted
from lra.training.record import Record
from lra.training.trainer import Place, train
from tasks.store import Prepared


class _Enough(Exception):
    """The losses that were wanted are there."""


@dataclass
class FirstLosses(Silent):
    """A Watch that ends the run when it has the mean loss of each of FIRST_STEPS steps."""

    losses: list[float] = field(default_factory=list)

    def advances(self, history: History) -> None:
        """Steps were taken."""
        self.losses = history.first_losses
        if len(self.losses) == FIRST_STEPS:
            raise _Enough


def prepare(cell: Cell) -> Prepared:
    """The data of a cell, built where it is not there."""
    return data.prepare(cell.task, cell.run(0).data, data.source(None, None))


def records(cell: Cell, seeds: Sequence[int], prepared: Prepared) -> list[Record]:
    """Train the cell with each seed."""
    found = []
    for seed in seeds:
        began = time.monotonic()
        with _nowhere(cell) as place:
            record, _ = train(cell.run(seed), prepared, place, Silent())
        found.append(record)
        seconds = time.monotonic() - began
        console.print(f"{cell.name}: seed {seed}: {100 * record.test_accuracy:.2f} % in {seconds:.0f} s", markup=False)
    return found


def first_losses(cell: Cell, prepared: Prepared) -> list[float]:
    """The loss of each of the first steps of the first seed, without dropout."""
    run = cell.run(cell.seeds[0])
    if run.train.steps <= FIRST_STEPS:
        raise UserError(f"cell {cell.name} has {run.train.steps} steps, expected more than {FIRST_STEPS}")
    plan = replace(run.train, chunk=1, evaluate_every=run.train.steps)
    run = replace(run, train=plan, model=replace(run.model, dropout=0.0))
    watch = FirstLosses()
    with _nowhere(cell) as place, suppress(_Enough):
        train(run, prepared, place, watch)
    return watch.losses


def ratio(cell: Cell) -> Ratio:
    """Training speed over that of softmax, both woken in turn in one benchmark, round by round."""
    assert cell.speed is not None, "only a cell with a speed is timed"
    options = "".join(f"@{name}={value}" for name, value in cell.changes.get("options", {}).items())
    shape = {"lengths": cell.speed.length, "batch": cell.speed.batch, "samples": cell.speed.rounds}
    words = ["--what", "train", "--backend", cell.backend, "--attn", f"{cell.attn}{options},softmax"]
    flags = parse_bench([*words, *(str(word) for name, value in shape.items() for word in (f"--{name}", value))], "")
    plan = replace(make_plan(flags, cell.device), ceilings=())
    bench = Bench(plan=plan, command="", screen=BenchScreen(), keep=lambda record: None)
    bench.run()
    record = bench.record()
    for timing in record.cells:
        if timing.status != MEASURED:
            raise UserError(f"{timing.label} cannot be timed: {timing.status}: {timing.why}")
    return record.ratios()[0]


@contextmanager
def _nowhere(cell: Cell) -> Iterator[Place]:
    """A folder that is gone afterwards; Ctrl-C in the training loop ends the whole check."""
    with tempfile.TemporaryDirectory(prefix="lra-check-") as folder:
        try:
            yield Place(results=Path(folder), device=cell.device)
        except Interrupted as stop:
            raise KeyboardInterrupt from stop
