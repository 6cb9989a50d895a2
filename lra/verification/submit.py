"""The command `submit`: checks records for a pull request, and prints its text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from lra.core.environment import CHECKOUT, ROOT
from lra.core.markup import one_line
from lra.scores.overrides import superseded
from lra.terminal.console import console, errors, write_document
from lra.training import record as records
from lra.training.record import Record
from lra.verification.command import checks, require_files, title
from lra.verification.losses import Here

DESCRIPTION = (
    "Check records as `verify --minutes 0` does, and whether they may be submitted; print the text of a pull request "
    "that brings them. results/POLICY.md says what is accepted. Exit code: 0 all may be, 1 one may not, 2 a file is "
    "not there."
)
POLICY = "results/POLICY.md"


@dataclass(frozen=True, kw_only=True)
class SubmitFlags:
    """The arguments of the command."""

    record: tyro.conf.Positional[tuple[Path, ...]]
    """Records, such as those in results/runs."""


def submit(flags: SubmitFlags) -> int:
    """Run the command. Returns the exit code."""
    require_files(flags.record, "submit")
    refused = [(path, why) for path in flags.record for why in problems(path)]
    for path, why in refused:
        errors.print(f"{path}: {why}")
    if refused:
        errors.print(f"no record can be submitted yet; {POLICY} says which records are accepted")
        return 1
    found = [records.load(path) for path in flags.record]
    console.print("Put these files under results/runs, run `python run_lra.py leaderboard`, and commit both.")
    console.print(f"Open one pull request for them, by {POLICY}. This is its text:\n")
    write_document(text(found))
    return 0


def problems(path: Path) -> Iterator[str]:
    """The reasons why a file may not be submitted."""
    found = list(checks(path, Here(device=None, minutes=0.0)))
    yield from (f"{each.check}: {each.why}" for each in found if each.outcome == "failed")
    if found[0].outcome == "failed":
        return
    record = records.load(path)
    expected = records.name(record, record.run_id)
    if path.name != f"{expected}.json":
        yield f"expected the name {expected}.json"
    if "/" in record.attn:
        yield "its mechanism is a folder: submit the mechanism first"
    elif superseded(record):
        yield f"version {record.preset_version} of its preset is superseded: train it with the current values"
    if record.schema != records.SCHEMA:
        yield f"schema {record.schema}, expected {records.SCHEMA}: train it with this version"
    if record.git["commit"] is None or not record.git["clean"]:
        yield "it was made from a checkout with changes, or without git: train it from a clean commit"
    if CHECKOUT and _there(path, record):
        yield "a record of the same run exists already"


def text(found: Sequence[Record]) -> str:
    """The text of the pull request: the runs, the machine, and how to check them."""
    rows = "".join(map(_row, found))
    names = " ".join(f"results/runs/{records.name(each, each.run_id)}.json" for each in found)
    return (
        f"Records: {len(found)}\n\n"
        "| run | test % | id | device | commit | times |\n|---|---:|---|---|---|---|\n"
        f"{rows}\n"
        f"- [ ] I trained these runs with this repository, at the commits above, without changes.\n"
        f"- [ ] I ran every seed that I started, and submit all of them.\n"
        f"- [ ] The leaderboard is written anew (`python run_lra.py leaderboard`).\n\n"
        f"Check: `python run_lra.py verify {names}`\n"
    )


def _row(each: Record) -> str:
    device, cpu = each.environment["device"], each.environment.get("cpu")
    cells = [
        one_line(title(each)),
        f"{100 * each.test_accuracy:.2f}",
        f"`{each.run_id}`",
        one_line(cpu if device == "cpu" and cpu else device),
        each.git["commit"][:7],
        one_line(each.timing or "unknown"),
    ]
    return f"| {' | '.join(cells)} |\n"


def _there(path: Path, record: Record) -> bool:
    """Whether results/runs of this checkout has another record of this run."""
    stem = records.name(record, record.run_id)
    own = path.resolve()
    return any(each.resolve() != own for each in (ROOT / "results" / "runs").glob(f"{stem}*.json"))
