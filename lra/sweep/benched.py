"""The benchmarks that have a complete record, recognised by their command."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from lra.bench import record as bench_record
from lra.core.errors import UserError


def command(words: Sequence[str]) -> str:
    """The command in the record of a benchmark with these flags. It names no folder of results."""
    return shlex.join(["python", "run_lra.py", "bench", *words])


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
