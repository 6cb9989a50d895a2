"""The benchmarks that have a complete record, recognised by their command."""

from __future__ import annotations

import contextlib
import io
import shlex
from collections.abc import Sequence
from pathlib import Path

import tyro

from lra.bench import record as bench_record
from lra.bench.wanted import WantedOn
from lra.core.errors import UserError
from lra.terminal.flags import command_line


def command(words: Sequence[str]) -> str:
    """The command in the record of a benchmark with these flags, whatever their order. It names no folder of results.

    Raises:
        UserError: `bench` does not take these flags.
    """
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            wanted = tyro.cli(WantedOn, args=list(words))
    except SystemExit:
        raise UserError(f"wrong flags: python run_lra.py bench {shlex.join(words)} names them") from None
    return command_line("bench", wanted)


def complete(results: Path) -> dict[str, Path]:
    """The records of complete benchmarks, by command. Other files are left out."""
    found = {}
    for path in sorted((results / "bench").glob("[!.]*.json")):
        try:
            each = bench_record.load(path)
        except UserError:
            continue
        if each.complete:
            found[each.command] = path
    return found
