"""Predictions of a finished run's best weights, example by example, on any split or data."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

import tasks
from attention_impls.saved import BEST
from lra import backends
from lra.core.config import Run, from_dict
from lra.core.errors import UserError
from lra.core.files import write_atomically
from lra.core.frameworks import Device
from lra.model.batches import gatherers, needs_of
from lra.training import checkpoint
from lra.training.record import Record, standard_error
from lra.training.trainer import make_blueprint
from tasks.base import Split
from tasks.store import Prepared


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """The predictions of one run for the n examples of a split, in the split's order."""

    labels: Int[np.ndarray, " n"]
    logits: Float[np.ndarray, "n classes"]
    traits: dict[str, Int[np.ndarray, " n"]]
    """Traits of each example: tokens of its longest document, and those that the task defines."""

    @property
    def predicted(self) -> Int[np.ndarray, " n"]:
        """The class with the highest logit, (n,)."""
        return self.logits.argmax(1)

    @property
    def correct(self) -> Bool[np.ndarray, " n"]:
        """Whether each prediction is the label, (n,)."""
        return self.predicted == self.labels

    @property
    def accuracy(self) -> float:
        """The share of correct predictions."""
        return float(self.correct.mean())

    @property
    def error(self) -> float:
        """Binomial standard error of the accuracy."""
        return standard_error(self.accuracy, len(self.labels))

    def save(self, path: Path) -> None:
        """Write example, label, prediction, logits and traits as arrays of one .npz file."""
        arrays: dict[str, Any] = {
            "example": np.arange(len(self.labels)),
            "label": self.labels,
            "prediction": self.predicted,
            "logits": self.logits,
            **self.traits,
        }
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)
        write_atomically(buffer.getvalue(), path)


def run_of(record: Record, changes: Mapping[str, Any]) -> Run:
    """The record's run with changed options of its data. UserError if its weights cannot take such data."""
    run = from_dict(record.config, f"the record of run {record.run_id}")
    other = from_dict({**record.config, "data": {**record.config["data"], **changes}}, "--data")
    task = tasks.load(run.task)
    learnt, given = task.shape(run.data), task.shape(other.data)
    if given.max_length > learnt.max_length or given.grid != learnt.grid:
        raise UserError(
            f"--data: {task.describe(other.data)} does not fit a run trained on {task.describe(run.data)}: "
            f"expected at most {learnt.max_length:,} tokens, on the same grid"
        )
    return replace(run, data=other.data)


def weights_of(record: Record, path: Path) -> Path:
    """The path of the run's best weights, beside the folder of its record. UserError if they are missing."""
    found = checkpoint.folder(path.parent.parent, record.run_id) / BEST
    if not found.is_file():
        raise UserError(
            f"{path.name} has no best weights: expected {found}; copy them there, name them with --weights, "
            f"or train the run again: {record.command}"
        )
    return found


def predict(
    record: Record, weights: Path, run: Run, prepared: Prepared, split: str, device: Device | None
) -> Predictions:
    """Score every example of the split. UserError for weights of another run."""
    learnt = from_dict(record.config, f"the record of run {record.run_id}")
    blueprint = make_blueprint(learnt, tasks.load(learnt.task))
    arrays, facts = checkpoint.read(weights)
    if facts.get("run") != record.run_id:
        raise UserError(f"{weights} are the weights of run {facts.get('run')}, expected those of {record.run_id}")
    with backends.pinned(run.backend):
        backend = backends.get(run.backend, [blueprint], device)
        state = backend.start([arrays])
        plan = run.train
        gather = gatherers(prepared.splits, plan.batch_size, plan.steps, backend.grouping)[split]
        logits = [backend.logits(state, chunk)[0][0] for chunk in gather.evaluation(plan.batch_size)]
    order, chosen = gather.by_length, prepared.splits[split]
    scores = np.empty((len(order), logits[0].shape[-1]), np.float32)
    scores[order] = np.concatenate(logits)[: len(order)]
    return Predictions(labels=np.asarray(chosen.labels, np.int64), logits=scores, traits=_traits(run.task, chosen))


def _traits(task: str, split: Split) -> dict[str, np.ndarray]:
    documents = split.examples[:, 0]
    others = {
        name: np.array([trait(split.document(int(each))) for each in documents])
        for name, trait in tasks.load(task).traits.items()
    }
    return {"tokens": needs_of(split), **others}
