"""`run_lra.py evaluate`: a finished run's best weights on any split, other data, or beside another run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from rich.markup import escape
from rich.table import Table

from lra.core.config import spelled
from lra.core.errors import UserError
from lra.core.files import require_writable, write_atomically
from lra.core.frameworks import Device
from lra.plotting.figures import Line, Panel, Picture
from lra.scores.examples import Bin, Paired, bins, mcnemar
from lra.terminal.arguments import Where, changes, devices
from lra.terminal.console import console
from lra.training import data, record
from lra.training.evaluation import Predictions, predict, run_of, weights_of
from lra.training.record import Record
from tasks.store import Prepared

DESCRIPTION = (
    "Score a finished run's best weights example by example: any split, other lengths or raw data of its task. Leaves "
    "predictions (.npz) and a picture under results/evaluations; two records are compared on the same examples."
)
SplitName = Literal["test", "validation", "train"]


@dataclass(frozen=True, kw_only=True)
class EvaluateFlags:
    """The arguments of the command."""

    record: tyro.conf.Positional[tuple[Path, ...]]
    """A record under results/runs, or two of one task."""
    split: SplitName = "test"
    """Whose examples."""
    data: Annotated[tuple[tuple[str, Any], ...], changes("data")] = ()
    """Other options of the task's data, as max_length=1000,test=500: at most the length that was learnt."""
    weights: Where | None = None
    """The best weights of a single record; else those in .work beside the folder of the record."""
    raw: Where | None = None
    """Your own raw files (default: $LRA_RAW); generated tasks need none."""
    device: Annotated[Device, devices()] | None = None
    """Where to compute; a GPU where the framework sees one."""
    out: Where | None = None
    """The folder of predictions and picture; evaluations in the folder of results by default."""


@dataclass(frozen=True, kw_only=True)
class Scored:
    """One run and what it says."""

    path: Path
    record: Record
    found: Predictions

    @property
    def name(self) -> str:
        """For tables."""
        return f"{spelled(self.record.attn, self.record.options)} · {self.record.backend} · seed {self.record.seed}"


def evaluate(flags: EvaluateFlags) -> int:
    """Run the command; the exit code."""
    if len(flags.record) not in (1, 2):
        raise UserError(f"evaluate takes one record or two, given {len(flags.record)}: name them first")
    if flags.weights is not None and len(flags.record) == 2:
        raise UserError("--weights is for a single record: two take those beside their own folders")
    records = [record.load(path) for path in flags.record]
    runs = [run_of(each, dict(flags.data)) for each in records]
    first = runs[0]
    if any((run.task, run.data) != (first.task, first.data) for run in runs):
        raise UserError("the two records are of other tasks or data: expected the same examples for both")
    folder = flags.out or flags.record[0].parent.parent / "evaluations"
    require_writable(folder, "make room there, or name another folder with --out")
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
    table = Table(title=escape(title), title_justify="left")
    for heading in ("run", "accuracy %", "± s.e.", "its record %"):
        table.add_column(heading, justify="left" if heading == "run" else "right")
    for each in scored:
        same = split == "test" and prepared.hash == each.record.data_hash
        told = f"{100 * each.record.test_accuracy:.1f}" if same else "—"
        table.add_row(escape(each.name), f"{100 * each.found.accuracy:.1f}", f"{100 * each.found.error:.1f}", told)
    console.print(table)
    if len(scored) == 2:
        console.print(_words(mcnemar(scored[0].found.correct, scored[1].found.correct)))
    for trait in first.traits:
        console.print(_by_trait(scored, trait))


def _words(pair: Paired) -> str:
    return (
        f"first less second: {100 * pair.difference:+.1f} ± {100 * pair.error:.1f} points on the same "
        f"{pair.examples:,} examples; {pair.first_only:,} only the first has right, {pair.second_only:,} only the "
        f"second; McNemar's exact p {pair.p:.2g}"
    )


def _by_trait(scored: Sequence[Scored], trait: str) -> Table:
    table = Table(title=f"by {trait}", title_justify="left")
    for heading in (trait, "examples", *(f"{each.name} %" for each in scored)):
        table.add_column(escape(heading), justify="right")
    for row in zip(*(_bins(each.found, trait) for each in scored), strict=True):
        own = row[0]
        spans = f"{own.low:,}" if own.low == own.high else f"{own.low:,}–{own.high:,}"
        cells = (f"{100 * each.accuracy:.1f} ± {100 * each.error:.1f}" for each in row)
        table.add_row(spans, f"{own.examples:,}", *cells)
    return table


def _bins(found: Predictions, trait: str) -> list[Bin]:
    return bins(found.correct, found.traits[trait])


def _write(scored: Sequence[Scored], prepared: Prepared, split: str, folder: Path) -> list[Path]:
    from lra.plotting import plots  # a second, which a refused command does without

    written = []
    for each in scored:
        path = folder / f"{each.path.stem}-{split}-{prepared.hash[:8]}.npz"
        each.found.save(path)
        written.append(path)
    for content in plots.draw(_picture(scored, prepared, split), kinds=("svg",)).values():
        path = written[-1].with_suffix(".svg")
        write_atomically(content, path)
        written.append(path)
    return written


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
