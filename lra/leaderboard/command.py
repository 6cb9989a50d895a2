"""The command `leaderboard`: writes, prints or checks the tables and plots of the records."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

import attention_impls
import tasks
from lra.bench.record import BenchRecord
from lra.core.collector import resting_collector
from lra.core.config import BackendName
from lra.core.environment import RESULTS
from lra.core.errors import UserError, did_you_mean
from lra.core.files import write_atomically
from lra.core.spec import Spec, print_specs
from lra.leaderboard import claims as claims_page
from lra.leaderboard.page import page
from lra.leaderboard.sheets import fields, to_csv, to_json
from lra.plotting.figures import KINDS, Picture, pictures
from lra.plotting.growth import growth
from lra.scores import board, claims, overrides, published, searches, speeds
from lra.scores.board import Board
from lra.scores.searches import Searched
from lra.scores.tables import grid, latex, markdown
from lra.terminal.arguments import Where, specs
from lra.terminal.console import console, errors, left_out, write_document

DESCRIPTION = (
    "Write leaderboard.csv, LEADERBOARD.md, CLAIMS.md and plots into the folder of results, from its records in runs "
    "and bench. With --format, a filter or --relative-to, print the table instead and write no file."
)
OURS = re.compile("(accuracy|curves|front|bubbles|growth)-")  # how names of the plots of this command begin
MARK = re.compile(b"sha256:[0-9a-f]{64}")  # which each of them carries


@dataclass(frozen=True, kw_only=True)
class LeaderboardFlags:
    """The arguments of the command."""

    format: Literal["csv", "md", "latex", "json"] | None = None
    """Print the table in this format. Default with filters: Markdown."""
    preset: Literal["standard", "s4", "quick"] | None = None
    """Only this preset's table."""
    task: str | None = None
    """Only this task's columns."""
    attn: Annotated[tuple[Spec, ...], specs()] | None = None
    """Only rows of these mechanisms, separated by commas; with options (elfatt@block_size=64) only such rows."""
    backend: BackendName | None = None
    """Only this framework's rows."""
    relative_to: str | None = None
    """Print accuracies and speeds relative to this row, named as in the table: softmax."""
    device: str | None = None
    """Take speeds from bench records of this device; a part of its name suffices. Default: the one with most."""
    check: tyro.conf.FlagCreatePairsOff[bool] = False
    """Write nothing, and fail if the files do not match the records."""
    results: Where = RESULTS
    """The folder that holds runs and bench."""

    @property
    def prints(self) -> bool:
        """Whether the table is printed."""
        chosen = (self.preset, self.task, self.attn, self.backend, self.relative_to, self.device)
        return self.format is not None or any(each is not None for each in chosen)


@dataclass(frozen=True, kw_only=True)
class _Found:
    """The content of all records."""

    boards: list[Board]
    benches: list[tuple[str, BenchRecord]]
    """Every bench record with its file name."""
    searched: list[Searched]
    """Every search for rates."""


@resting_collector()
def leaderboard(flags: LeaderboardFlags) -> int:
    """Run the command. Returns 0 done, 1 stale files or unreadable records (the others are used)."""
    if flags.check and flags.prints:
        raise UserError("--check is given with other flags, expected it alone or with --results: leave the others out")
    if flags.task is not None:
        tasks.load(flags.task)  # its error suggests the nearest name
    found, complaints = _read(flags)
    boards = found.boards
    left_out(complaints)
    if not boards:
        raise UserError(_nothing(flags))
    _require_row(boards, flags.relative_to)
    if flags.check:
        return max(_check(found, flags.results), int(bool(complaints)))
    if flags.prints:
        write_document(_text(boards, flags))
    else:
        _write(found, flags.results)
    return int(bool(complaints))


def _read(flags: LeaderboardFlags) -> tuple[_Found, list[str]]:
    records, complaints = board.read(flags.results)
    benches, more = speeds.records(flags.results)
    searched, others = searches.read(flags.results)
    kept = [
        each
        for each in records
        if flags.preset in (None, each.preset)
        and flags.task in (None, each.task)
        and (flags.attn is None or any(spec.covers(each.attn, overrides.options(each)) for spec in flags.attn))
        and flags.backend in (None, each.backend)
    ]
    chosen = speeds.choose(speeds.timings(benches), flags.device)
    found = _Found(boards=board.boards(kept, chosen), benches=benches, searched=searched)
    return found, complaints + more + others


def _nothing(flags: LeaderboardFlags) -> str:
    attn = None if flags.attn is None else print_specs(flags.attn)
    filters = {"preset": flags.preset, "task": flags.task, "attn": attn, "backend": flags.backend}
    asked = "".join(f" --{name} {value}" for name, value in filters.items() if value is not None)
    known = attention_impls.names()
    strange = [spec.name for spec in flags.attn or () if spec.name not in known]
    hint = did_you_mean(strange[0], known) if strange else ""
    return (
        f"no record in {flags.results / 'runs'} for leaderboard{asked} (presets {', '.join(board.PRESETS)}):{hint} "
        "train one first, run_lra.py --task listops --attn elfatt, or ask for less"
    )


def _require_row(boards: list[Board], name: str | None) -> None:
    known = sorted({row.name for each in boards for row in each.rows})
    if name is not None and name not in known:
        raise UserError(f"--relative-to {name}: unknown row:{did_you_mean(name, known)} available: {', '.join(known)}")


def _text(boards: list[Board], flags: LeaderboardFlags) -> str:
    if flags.format in ("csv", "json"):
        rows = [row for each in boards for row in fields(each, flags.relative_to)]
        return to_csv(rows) if flags.format == "csv" else to_json(rows)
    tables = [grid(each, relative_to=flags.relative_to) for each in boards]
    if flags.format == "latex":
        return "\n".join(latex(each) for each in tables)
    return "\n".join(f"{each.title}\n\n{markdown(each)}\n" for each in tables)


def _pictures(boards: list[Board]) -> list[Picture]:
    return [*pictures(boards), *growth(boards[0].speeds)]


def _tables(found: _Found) -> dict[str, bytes]:
    """The text files by their name under results."""
    boards = found.boards
    named: dict[str, dict[str, str]] = {}
    for picture in _pictures(boards):
        named.setdefault(picture.preset, {})[f"{picture.name}.svg"] = picture.caption
    rows = [row for each in boards for row in fields(each)]
    return {
        "leaderboard.csv": to_csv(rows).encode(),
        "LEADERBOARD.md": page(boards, published.load(), named, found.searched).encode(),
        "CLAIMS.md": claims_page.page(claims.load(), found.benches, boards).encode(),
    }


def _write(found: _Found, results: Path) -> None:
    """Write every file, except plots that are unchanged, and delete plots that no record needs."""
    from lra.plotting import plots

    made, same = _tables(found), set()
    for picture in _pictures(found.boards):
        names = {f"plots/{picture.name}.{kind}" for kind in KINDS}
        mark = picture.digest.encode()
        if all(mark in _content(results / name) for name in names):
            same |= names  # a plot takes seconds
        else:
            made |= {f"plots/{name}": content for name, content in plots.draw(picture).items()}
    for name, content in made.items():
        write_atomically(content, results / name)
        console.print(str(results / name), markup=False)
    for path in _strays(results, made.keys() | same):
        path.unlink()
        console.print(f"removed {path}", markup=False)


def _check(found: _Found, results: Path) -> int:
    """Return 1 if a file is missing or stale. A plot carries a digest of its content, by which it is checked."""
    made = _tables(found)
    stale = [name for name, content in made.items() if _content(results / name) != content]
    expected = {f"plots/{picture.name}.{kind}": picture for picture in _pictures(found.boards) for kind in KINDS}
    stale += [name for name, picture in expected.items() if picture.digest.encode() not in _content(results / name)]
    stale += [str(path.relative_to(results)) for path in _strays(results, set(expected))]
    if stale:
        errors.print(f"stale: {', '.join(stale)}: run run_lra.py leaderboard, and commit the files", markup=False)
        return 1
    console.print(f"{len(made) + len(expected)} files match the records")
    return 0


def _strays(results: Path, made: set[str]) -> list[Path]:
    """Plots that this command wrote and no record needs. Files of others stay, even with a name like ours."""
    found = [path for kind in KINDS for path in (results / "plots").glob(f"*.{kind}")]
    others = (path for path in found if f"plots/{path.name}" not in made)
    return sorted(path for path in others if OURS.match(path.name) and MARK.search(_content(path)))


def _content(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""
