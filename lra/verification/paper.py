"""Checks without training: the values of a record must fit each other, its id and its data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict

import attention_impls
import tasks
from attention_impls.base import AttentionError
from lra.core.config import Run, from_dict
from lra.core.errors import UserError
from lra.core.identity import canonical_text, digest, revisions
from lra.core.markup import one_line
from lra.training.record import Record
from lra.verification.findings import Finding, failed, not_checked, not_comparable, passed
from tasks import store
from tasks.base import SPLITS, Source, TaskError

QUICK_BYTES = 64_000_000  # generated data up to this size is prepared for the comparison
NAMES = ("task", "attn", "backend", "preset", "seed")
ROUNDING = 1e-6  # an accuracy times the number of examples may differ this much from a whole number


def run_of(record: Record) -> Run | Finding:
    """The run of a record, or the finding why there is none. A mechanism in a folder is code, and is not loaded."""
    attn = record.config.get("attn")
    if isinstance(attn, str) and "/" in attn:
        return not_checked("id", f"its mechanism is the folder {one_line(attn)}, whose code is not run")
    if record.attn not in attention_impls.names():
        return not_comparable("id", f"this version has no mechanism {one_line(record.attn)}")
    try:
        tasks.load(record.task)
    except TaskError:
        return not_comparable("id", f"this version has no task {one_line(record.task)}")
    try:
        return from_dict(record.config, "config")
    except (UserError, TaskError, AttentionError) as error:
        return failed("id", one_line(str(error)))


def revised(record: Record, run: Run) -> dict[str, int]:
    """The revisions that made a record. Before schema 2, all but the task's were 1."""
    before = dict.fromkeys(revisions(run), 1) | {"task": record.task_version}
    return before if record.schema == 1 else record.revisions


def identity(record: Record, run: Run) -> Finding:
    """Check that the id is that of the configuration, and that repeated values agree."""
    for name in NAMES:
        if getattr(record, name) != getattr(run, name):
            return failed("id", f"{name} is {getattr(record, name)!r}, its configuration has {getattr(run, name)!r}")
    if any(record.options.get(name, value) != value for name, value in asdict(run.options).items()):
        return failed("id", "its options are not those of its configuration")
    try:
        own = digest(canonical_text(run, record.data_hash, revised(record, run)))
    except (KeyError, ValueError) as error:
        return failed("id", f"its revisions have no {one_line(str(error))}")
    if own != record.run_id:
        return failed("id", f"it is {record.run_id}, but its configuration, data and revisions give {own}")
    return passed("id", "it fits the configuration, data and revisions")


def checksum(record: Record) -> Finding:
    """Report the checksum, which was compared when the record was read."""
    if record.schema == 1:
        return not_checked("checksum", "records of schema 1 have none")
    return passed("checksum", "detects damage, not fraud")


def data(record: Record, run: Run) -> tuple[Finding, store.Prepared | None]:
    """Check the data's hash against data that is prepared here, or generated quickly. Returns the data if equal."""
    task = tasks.load(run.task)
    if task.version != record.task_version:
        return not_comparable("data", f"task version {record.task_version}, now {task.version}"), None
    try:
        ready = store.load(task, run.data)
        generated = getattr(run.data, "source", "") == "generated"
        if ready is None and generated and store.bytes_needed(task, run.data) <= QUICK_BYTES:
            ready = store.prepare(task, run.data, Source())
    except (TaskError, OSError) as error:
        return not_checked("data", one_line(str(error))), None
    if ready is None:
        return not_checked("data", "not prepared here: run run_lra.py data prepare"), None
    if ready.hash != record.data_hash:
        return failed("data", f"hash {record.data_hash[:12]}…, ours is {ready.hash[:12]}…"), None
    return passed("data", f"hash {ready.hash[:12]}…"), ready


def accuracies(record: Record, run: Run, ready: store.Prepared | None) -> Finding:
    """Check that accuracies are possible for the number of examples, and that the best step is chosen."""
    for problem in _impossible(record, run, ready):
        return failed("accuracies", problem)
    return passed("accuracies", f"possible for {record.test_examples:,} test examples")


def _impossible(record: Record, run: Run, ready: store.Prepared | None) -> Iterator[str]:
    known = tasks.load(run.task).counts(run.data)
    counts = {split: known[split] if ready is None else len(ready.splits[split]) for split in SPLITS}
    if counts["test"] not in (None, record.test_examples):
        yield f"test_examples is {record.test_examples:,}, its data has {counts['test']:,}"
    shares = {"test_accuracy": record.test_accuracy, "test_accuracy_last": record.test_accuracy_last}
    for name, share in shares.items():
        if not _possible(share, record.test_examples):
            yield f"{name} is {share}, which is impossible for {record.test_examples:,} examples"
    best = max(point.validation_accuracy for point in record.curve)
    first = next(point.step for point in record.curve if point.validation_accuracy == best)
    if (record.validation_accuracy, record.best_step) != (best, first):
        told = f"{record.validation_accuracy} at step {record.best_step}"
        yield f"validation_accuracy is {told}, its curve has {best} at step {first}"
    for point in record.curve:
        if counts["validation"] and not _possible(point.validation_accuracy, counts["validation"]):
            yield f"validation accuracy at step {point.step} is impossible for {counts['validation']:,} examples"
    plan = run.train
    steps = [*range(plan.evaluate_every, plan.steps, plan.evaluate_every), plan.steps]
    if [point.step for point in record.curve] != steps:
        yield f"its curve does not have every {plan.evaluate_every:,} steps up to {plan.steps:,}"
    if record.best_step == plan.steps and record.test_accuracy != record.test_accuracy_last:
        yield "its best step is the last one, and their test accuracies differ"


def _possible(share: float, count: int) -> bool:
    return abs(share * count - round(share * count)) < ROUNDING
