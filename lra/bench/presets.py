"""The training step of a preset: model, batch and dropout, on the first documents of its task, padded as in a run."""

from __future__ import annotations

import numpy as np

import tasks
from lra.bench.plan import BenchCell, run_of
from lra.model.batches import Chunk, Epochs, gatherers, training_chunks
from lra.model.blueprint import Blueprint
from lra.model.padding import Grouping
from lra.training import data
from lra.training.trainer import make_blueprint
from tasks.store import Prepared


def blueprint(cell: BenchCell) -> Blueprint:
    """The blueprint of the run."""
    return make_blueprint(run_of(cell), tasks.load(cell.task))


def prepare(cell: BenchCell) -> Prepared:
    """The task's data; it is prepared if it is missing."""
    return data.prepare(cell.task, run_of(cell).data, data.source(None, None))


def first_chunk(cell: BenchCell, grouping: Grouping) -> Chunk:
    """The run's first steps."""
    plan, splits = run_of(cell).train, prepare(cell).splits
    gather = gatherers(splits, plan.batch_size, plan.steps, grouping)["train"]
    rate = lambda steps: np.full(len(steps), plan.learning_rate)  # noqa: E731
    return next(
        training_chunks(gather, Epochs(len(splits["train"]), cell.seed), [(0, cell.chunk)], plan.batch_size, rate)
    )
