"""The command `verify`: checks records by arithmetic and by computing their first losses again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from annotated_types import Interval
from rich.table import Table

from attention_impls.ranges import problems
from lra.core.config import spelled
from lra.core.errors import UserError
from lra.core.frameworks import Device
from lra.core.markup import one_line
from lra.scores.overrides import key
from lra.terminal.arguments import devices
from lra.terminal.console import console, errors, new_table
from lra.training import record as records
from lra.training.record import Record
from lra.verification import paper
from lra.verification.findings import Finding, any_failed, failed, not_checked, passed
from lra.verification.losses import Here, first_losses, whole_run

DESCRIPTION = (
    "Check records: layout, checksum, id, data, accuracies, and as many first losses as fit into --minutes. Losses of "
    "another device, precision or version are not comparable; that is not a failure. Exit code: 0 nothing failed, 1 a "
    "check failed, 2 a file is missing."
)


@dataclass(frozen=True, kw_only=True)
class VerifyFlags:
    """The arguments of the command."""

    record: tyro.conf.Positional[tuple[Path, ...]]
    """Records, such as those in results/runs."""
    minutes: Annotated[float, Interval(ge=0, le=1e6)] = 2.0
    """Minutes for the first losses of each record; 0 computes none."""
    device: Annotated[Device, devices()] | None = None
    """The device. Default: a GPU if the framework sees one."""
    full: tyro.conf.FlagCreatePairsOff[bool] = False
    """Train each run again, and compare its accuracy as the regression test does."""

    def check(self) -> None:
        """Raise UserError for impossible flags."""
        for problem in problems(self):
            raise UserError(f"verify: {problem}")
        require_files(self.record, "verify")


def verify(flags: VerifyFlags) -> int:
    """Run the command. Returns the exit code."""
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
    """Raise UserError if no file is named, or one does not exist."""
    if not paths:
        raise UserError(f"{verb} needs a record: run_lra.py {verb} results/runs/ONE.json")
    for path in paths:
        if not path.is_file():
            raise UserError(f"{path} is not a file: expected a record, such as those in results/runs")


def checks(path: Path, here: Here, among: Sequence[Path] | None = None) -> Iterator[Finding]:
    """Every check of one file. With `among`, records that may have other seeds, the whole run is repeated too."""
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
        yield not_checked("first losses", "--minutes is 0")
    if among is not None:
        yield whole_run(record, run, ready, here, _other_seeds(record, among))


def table(path: Path, found: Sequence[Finding]) -> Table:
    """A row for each check."""
    shown = new_table(one_line(str(path)), names=("check", "outcome"), texts=("why",))
    for each in found:
        shown.add_row(each.check, each.outcome, each.why)
    return shown


def title(record: Record) -> str:
    """A record's name in lists."""
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
