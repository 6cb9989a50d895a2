"""The command `missing`: lists the figures of a plan that have no record yet, with the commands that make them."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from lra.core.config import settled
from lra.core.environment import DATA, RESULTS
from lra.core.files import require_writable, write_atomically
from lra.core.markup import in_code, in_markdown, pipe_table
from lra.sweep import benched, plan
from lra.sweep.items import record_of
from lra.sweep.plan import Piece, Planned, Timed
from lra.sweep.work import elsewhere
from lra.terminal.arguments import Where
from lra.terminal.console import console, errors
from lra.terminal.flags import command_of

DESCRIPTION = (
    "List the figures of a plan for a GPU that have no record yet, each with the command that makes it, and write "
    "results/MISSING.md. With --check, exit code 1 means that the page does not match the plan and the records."
)
PLAN = DATA / "configs" / "sweeps" / "gpu.yaml"
FILE = "MISSING.md"
LONG = 1000  # characters of one command


@dataclass(frozen=True, kw_only=True)
class MissingFlags:
    """The arguments of the command."""

    plan: tyro.conf.Positional[Path] = PLAN
    """The YAML file of a plan, whose runs are meant for a GPU."""
    check: tyro.conf.FlagCreatePairsOff[bool] = False
    """Write nothing, and fail if the page is stale."""
    results: Where = RESULTS
    """The folder whose records are read, and that gets the page."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One piece of the plan."""

    title: str
    command: str
    record: str
    """The path of its record under results; empty without one."""


def missing(flags: MissingFlags) -> int:
    """Run the command. Returns the exit code."""
    text = page(figures(plan.load(flags.plan), flags.results), flags.plan.name)
    path = flags.results / FILE
    if flags.check:
        if not path.exists() or path.read_bytes() != text.encode():
            errors.print(f"stale: {FILE}: run run_lra.py missing and commit what it writes", markup=False)
            return 1
        console.print(f"{FILE} is what the plan and the records say")
        return 0
    require_writable(flags.results, "name another folder with --results")
    write_atomically(text.encode(), path)
    console.print(text, markup=False)
    console.print(f"wrote {path}", markup=False)
    return 0


def figures(pieces: Sequence[Piece], results: Path) -> list[Figure]:
    """The figures of each piece, in the plan's order, without impossible runs."""
    timed = benched.complete(results)
    found = []
    for each in pieces:
        if isinstance(each, Timed):
            path = timed.get(benched.command(each.words))
            record = f"bench/{path.name}" if path else ""
            command = shlex.join(["python", "run_lra.py", "bench", *each.words, *elsewhere(results)])
            found.append(Figure(title=each.figures or "benchmark", command=command, record=record))
        elif each.run is not None:
            found.append(_trained(each, results))
    return found


def page(found: Sequence[Figure], name: str) -> str:
    """The page in Markdown."""
    left = [each for each in found if not each.record]
    parts = [
        f"# What {name} still has to measure",
        "`python run_lra.py missing` writes this page from the plan and the records. Do not edit it. "
        f"{len(found) - len(left)} of {len(found)} figures have a record. `make gpu` first runs the tests that need a "
        "GPU (`make test-gpu`). They write no record. Then it makes the missing figures, in this order and in pieces.",
    ]
    if left:
        commands = [(in_markdown(each.title), in_code(each.command, LONG)) for each in left]
        parts.append("## Missing\n\n" + pipe_table(("figures", "command"), commands))
    if done := [each for each in found if each.record]:
        links = [(in_markdown(each.title), f"[{in_markdown(each.record)}]({each.record})") for each in done]
        parts.append("## There\n\n" + pipe_table(("figures", "record"), links))
    return "\n\n".join(parts) + "\n"


def _trained(piece: Planned, results: Path) -> Figure:
    assert piece.run is not None
    record = record_of(settled(piece.run, on_gpu=True), results)
    command = f"{command_of(piece.run)} --device gpu {shlex.join(elsewhere(results))}".strip()
    return Figure(title=piece.title, command=command, record=f"runs/{record.name}" if record else "")
