"""`run_lra.py verify`: records of others, checked by arithmetic and by computing their first losses again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from annotated_types import Interval
from rich.markup import escape
from rich.table import Table

from attention_impls.ranges import problems
from lra.core.config import spelled
from lra.core.errors import UserError
from lra.core.frameworks import Device
from lra.core.markup import one_line
from lra.scores.overrides import key
from lra.terminal.arguments import devices
from lra.terminal.console import console, errors
from lra.training import record as records
from lra.training.record import Record
from lra.verification import paper
from lra.verification.findings import Finding, any_failed, failed, not_checked, passed
from lra.verification.losses import Here, first_losses, whole_run

DESCRIPTION = (
    "Check records: layout, checksum, id, data, accuracies, and as many of the first losses as there is time for. "
    "Another device, precision or version is not comparable, which is no failure. Exit code: 0 nothing failed, 1 "
    "something failed, 2 a file is not there."
)


@dataclass(frozen=True, kw_only=True)
class VerifyFlags:
    """The arguments of the command."""

    record: tyro.conf.Positional[tuple[Path, ...]]
    """Records, as they lie in results/runs."""
    minutes: Annotated[float, Interval(ge=0, le=1e6)] = 2.0
    """For the first losses of each record; 0 computes none."""
    device: Annotated[Device, devices()] | None = None
    """Where to compute; a GPU where the framework sees one."""
    full: tyro.conf.FlagCreatePairsOff[bool] = False
    """Train each run again, and compare its accuracy as the regression test does."""

    def check(self) -> None:
        """UserError for what cannot be."""
        for problem in problems(self):
            raise UserError(f"verify: {problem}")
        require_files(self.record, "verify")


def verify(flags: VerifyFlags) -> int:
    """Run the command; the exit code."""
    flags.check()
    here = Here(device=flags.device, minutes=flags.minutes)
    bad = 0
    for path in flags.record:
        found = list(checks(path, here, flags.record if flags.full else None))
        console.print(table(path, found))
        bad += any_failed(found)
    if bad:
        errors.print(f"{bad} of {len(flags.record)} failed")
    return int(bad > 0)


def require_files(paths: Sequence[Path], verb: str) -> None:
    """UserError where one is none, or where there is none."""
    if not paths:
        raise UserError(f"{verb} needs a record: run_lra.py {verb} results/runs/ONE.json")
    for path in paths:
        if not path.is_file():
            raise UserError(f"{path} is no file, expected a record, as results/runs has them")


def checks(path: Path, here: Here, among: Sequence[Path] | None = None) -> Iterator[Finding]:
    """Every check of one file, in turn; with `among`, which may have other seeds, the whole run too."""
    try:
        record = records.load(path)
    except UserError as error:
        yield failed("layout", one_line(str(error)))
        return
    yield passed("layout", f"schema {record.schema}")
    yield paper.checksum(record)
    run = paper.run_of(record)
    if isinstance(run, Finding):
        yield run
        return
    yield paper.identity(record, run)
    found, ready = paper.data(record, run)
    yield found
    yield paper.accuracies(record, run, ready)
    if here.minutes:
        yield first_losses(record, run, ready, here)
    else:
        yield not_checked("first losses", "no minutes are given for them")
    if among is not None:
        yield whole_run(record, run, ready, here, _other_seeds(record, among))


def table(path: Path, found: Sequence[Finding]) -> Table:
    """A row for each check."""
    shown = Table(title=escape(one_line(str(path))), title_justify="left")
    for heading in ("check", "outcome", "why"):
        shown.add_column(heading, overflow="fold")
    for each in found:
        shown.add_row(each.check, each.outcome, escape(each.why))
    return shown


def title(record: Record) -> str:
    """What a list of records calls one."""
    attn = spelled(record.attn, record.options) if "/" not in record.attn else Path(record.attn).name
    return f"{record.task} · {attn} · {record.backend} · {record.preset} · seed {record.seed}"


def _other_seeds(record: Record, among: Sequence[Path]) -> list[Record]:
    found = {}
    for path in among:
        try:
            each = records.load(path)
        except UserError:
            continue
        if (each.task, each.data_hash, key(each)) == (record.task, record.data_hash, key(record)):
            found[each.run_id] = each
    return [each for own, each in found.items() if own != record.run_id]
