"""The command `evaluate`: scores a finished run's best weights on any split or other data, or compares two runs."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from rich.table import Table

from lra.core.config import spelled
from lra.core.errors import UserError
from lra.core.files import require_writable, write_atomically
from lra.core.frameworks import Device
from lra.plotting.figures import Line, Panel, Picture
from lra.scores.examples import Bin, Paired, bins, mcnemar
from lra.terminal.arguments import Where, changes, devices
from lra.terminal.console import console, in_lines, new_table
from lra.training import data, record
from lra.training.evaluation import Predictions, predict, run_of, weights_of
from lra.training.record import Record
from tasks.store import Prepared

DESCRIPTION = (
    "Score the best weights of a finished run, example by example, on any split or other data of its task. Two records "
    "are compared on the same examples. Writes predictions (.npz) and a plot to results/evaluations."
)
STEM = 120  # bytes of a stem that leave room for the ending and a temporary suffix
SplitName = Literal["test", "validation", "train"]


@dataclass(frozen=True, kw_only=True)
class EvaluateFlags:
    """The arguments of the command."""

    record: tyro.conf.Positional[tuple[Path, ...]]
    """A record under results/runs, or two of one task."""
    split: SplitName = "test"
    """The split whose examples are scored."""
    data: Annotated[tuple[tuple[str, Any], ...], changes("data")] = ()
    """Changed options of the task's data, such as max_length=1000,test=500; no longer than in training."""
    weights: Where | None = None
    """The file of the best weights, for a single record. Default: the one in .work, beside the record's folder."""
    raw: Where | None = None
    """The folder of your raw files. Default: $LRA_RAW. Generated tasks need none."""
    device: Annotated[Device, devices()] | None = None
    """The device. Default: a GPU if the framework sees one."""
    out: Where | None = None
    """The folder for predictions and plots. Default: evaluations, in the folder of results."""


@dataclass(frozen=True, kw_only=True)
class Scored:
    """One run and its predictions."""

    path: Path
    record: Record
    found: Predictions

    @property
    def name(self) -> str:
        """The mechanism, as tables show it."""
        return f"{spelled(self.record.attn, self.record.options)} · {self.record.backend} · seed {self.record.seed}"


def evaluate(flags: EvaluateFlags) -> int:
    """Run the command. Returns the exit code."""
    if len(flags.record) not in (1, 2):
        raise UserError(f"evaluate got {len(flags.record)} records, expected one or two: put them first")
    if flags.weights is not None and len(flags.record) == 2:
        raise UserError("--weights needs a single record, two are given: leave --weights out, or name one record")
    records = [record.load(path) for path in flags.record]
    runs = [run_of(each, dict(flags.data)) for each in records]
    first = runs[0]
    if any((run.task, run.data) != (first.task, first.data) for run in runs):
        raise UserError("the two records have different tasks or data: choose two records of the same data")
    folder = flags.out or flags.record[0].parent.parent / "evaluations"
    require_writable(folder, "free some space, or name another folder with --out")
    weights = [flags.weights or weights_of(*each) for each in zip(records, flags.record, strict=True)]
    prepared = data.prepare(first.task, first.data, data.source(flags.raw, None))
    scored = [
        Scored(path=path, record=own, found=predict(own, file, run, prepared, flags.split, flags.device))
        for path, own, file, run in zip(flags.record, records, weights, runs, strict=True)
    ]
    _show(scored, prepared, flags.split)
    for path in _write(scored, prepared, flags.split, folder):
        console.print(str(path), markup=False, soft_wrap=True)
    return 0


def _show(scored: Sequence[Scored], prepared: Prepared, split: str) -> None:
    first = scored[0].found
    title = f"{scored[0].record.task} ({prepared.meta['description']}) · {split}, {len(first.labels):,} examples"
    console.print(accuracies(scored, title, prepared.hash if split == "test" else ""))
    if len(scored) == 2:
        console.print(_words(mcnemar(scored[0].found.correct, scored[1].found.correct)))
    for trait in first.traits:
        console.print(by_trait(scored, trait))


def accuracies(scored: Sequence[Scored], title: str, data_hash: str) -> Table:
    """A row for each run; records of this data's test split have their own accuracy beside it."""
    made = new_table(title, names=("run",), figures=("accuracy %", "± s.e.", "its record %"))
    for each in scored:
        same = data_hash == each.record.data_hash
        told = f"{100 * each.record.test_accuracy:.1f}" if same else "—"
        made.add_row(in_lines(each.name), f"{100 * each.found.accuracy:.1f}", f"{100 * each.found.error:.1f}", told)
    return made


def _words(pair: Paired) -> str:
    return (
        f"first minus second: {100 * pair.difference:+.1f} ± {100 * pair.error:.1f} points on the same "
        f"{pair.examples:,} examples; {pair.first_only:,} are right in the first only, {pair.second_only:,} in the "
        f"second only; McNemar's exact p {pair.p:.2g}"
    )


def by_trait(scored: Sequence[Scored], trait: str) -> Table:
    """A row for each group of examples by increasing trait, with the accuracy of each run."""
    made = new_table(f"by {trait}", names=(trait,), figures=("examples", *(f"{each.name} %" for each in scored)))
    for row in zip(*(_bins(each.found, trait) for each in scored), strict=True):
        own = row[0]
        spans = f"{own.low:,}" if own.low == own.high else f"{own.low:,}–{own.high:,}"
        cells = (f"{100 * each.accuracy:.1f} ± {100 * each.error:.1f}" for each in row)
        made.add_row(spans, f"{own.examples:,}", *cells)
    return made


def _bins(found: Predictions, trait: str) -> list[Bin]:
    return bins(found.correct, found.traits[trait])


def _write(scored: Sequence[Scored], prepared: Prepared, split: str, folder: Path) -> list[Path]:
    from lra.plotting import plots  # takes a second, which a refused command need not spend

    written, end = [], f"{split}-{prepared.hash[:8]}"
    stems = _stems([each.path for each in scored])
    for each, stem in zip(scored, stems, strict=True):
        path = folder / f"{stem}-{end}.npz"
        each.found.save(path)
        written.append(path)
    for content in plots.draw(_picture(scored, prepared, split), kinds=("svg",)).values():
        path = folder / f"{_short('-vs-'.join(stems))}-{end}.svg"
        write_atomically(content, path)
        written.append(path)
    return written


def _stems(records: Sequence[Path]) -> list[str]:
    """How the names of each record's files begin. Records with the same name in two folders differ by a number."""
    first, *others = (_short(path.stem) for path in records)
    return [first, *(f"{each}-2" if each == first else each for each in others)]


def _short(stem: str) -> str:
    """The stem. A long one is cut and ends with a hash, since a file's name has at most 255 bytes."""
    name = os.fsencode(stem)
    if len(name) <= STEM:
        return stem
    return f"{name[:STEM].decode(errors='ignore')}-{hashlib.sha256(name).hexdigest()[:8]}"


def _picture(scored: Sequence[Scored], prepared: Prepared, split: str) -> Picture:
    first = scored[0]
    return Picture(
        kind="examples",
        name="evaluation",
        preset="",
        title=f"{first.record.task}: accuracy by {' and '.join(first.found.traits)}",
        subtitle=f"{prepared.meta['description']}, {split} split, best weights on validation; bars: standard error",
        caption=f"Accuracy on {first.record.task} by {' and by '.join(first.found.traits)}.",
        panels=[
            Panel(
                title=trait,
                references={"chance": 100 * first.record.references["chance"]},
                lines=[_line(each, trait) for each in scored],
            )
            for trait in first.found.traits
        ],
    )


def _line(scored: Scored, trait: str) -> Line:
    found = _bins(scored.found, trait)
    return Line(
        name=scored.name,
        backend=scored.record.backend,
        seeds=1,
        steps=[round(each.middle) for each in found],
        mean=[100 * each.accuracy for each in found],
        spread=[100 * each.error for each in found],
    )
