"""The record of a finished run."""

from __future__ import annotations

from dataclasses import asdict

import tasks
from attention_impls.saved import BEST
from lra.backends import Backend
from lra.core.config import as_dict
from lra.core.environment import environment, git_state
from lra.core.identity import revisions
from lra.core.presets import preset_version
from lra.model.blueprint import with_kernel
from lra.model.sharing import Sharing
from lra.terminal.flags import command_of
from lra.training import checkpoint, record
from lra.training.loop import Lane
from tasks.store import Prepared


def make_record(
    lane: Lane, data: Prepared, backend: Backend, sharing: Sharing, best: float, last: float
) -> record.Record:
    """Make a record without a checksum. `best` and `last` are accuracies on the test split, fractions."""
    run, history, task = lane.run, lane.history, tasks.load(lane.run.task)
    facts = environment() | with_kernel(backend.environment(), lane.blueprint)
    return record.Record(
        schema=record.SCHEMA,
        run_id=lane.work.name,
        task=run.task,
        task_version=task.version,
        data=data.meta["description"],
        data_hash=data.hash,
        attn=run.attn,
        options=asdict(run.options),
        backend=run.backend,
        preset=run.preset,
        seed=run.seed,
        config=as_dict(run),
        test_accuracy=best,
        test_accuracy_last=last,
        test_examples=len(data.splits["test"]),
        validation_accuracy=history.best_accuracy,
        validation=task.validation(run.data),
        best_step=history.best_step,
        references=data.meta["references"],
        curve=history.points(),
        parameters=lane.parameters,
        seconds=history.seconds,
        evaluation_seconds=history.evaluation_seconds,
        steps_per_second=history.steps_per_second,
        samples_per_second=history.steps_per_second * run.train.batch_size,
        peak_memory_bytes=backend.peak_memory(),
        precision=facts.pop("precision"),
        switches=facts.pop("switches"),
        devices=sharing.devices,
        accumulate=sharing.accumulate,
        usable_cores=facts.pop("usable_cores"),
        usable_memory_bytes=facts.pop("usable_memory_bytes"),
        environment=facts,
        git=git_state(),
        command=" ".join([command_of(run), *sharing.flags]),
        first_steps_after=history.first_steps_after,
        revisions=revisions(run),
        first_losses=history.first_losses,
        timing=_timing(lane),
        preset_version=preset_version(run.task, run.preset),
        weights=f"{checkpoint.WORK}/{lane.work.name}/{BEST}",
    )


def _timing(lane: Lane) -> str:
    """The reason why the times are no timing, such as a changed number of devices; empty if they are."""
    counts = ", then ".join(map(str, lane.devices))
    return f"on {counts} devices" if len(lane.devices) > 1 else lane.history.disturbance.words()
