"""Where the program speaks: results on standard output, complaints on standard error."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable

from rich.console import Console as RichConsole

from lra.core.markup import one_line

MOST = 1000  # characters of a line about a file
LINE_EVERY_SECONDS = 10.0  # between progress lines in a log, which has no live line


class Console(RichConsole):
    """Rich's, but a reader who has gone is an error that a training run saves at, not the end of the process."""

    def on_broken_pipe(self) -> None:
        """Print no more."""
        self.quiet = True
        raise BrokenPipeError


console = Console(highlight=False, soft_wrap=True)
errors = Console(stderr=True, highlight=False, soft_wrap=True)


def left_out(complaints: Iterable[str]) -> None:
    """Name each file that is not read in one line, whatever signs its path and its content have."""
    for line in complaints:
        errors.print(f"left out: {one_line(line, MOST)}", markup=False)


def duration(seconds: float) -> str:
    """A length of time as people say it: 42 s, 3 min 05 s, 2 h 10 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def open_streams() -> None:
    """Give a process without standard streams some that lead nowhere, before a file that it opens gets their number."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "r" if number == 0 else "w"))


def abandon_streams() -> None:
    """Let the streams that nobody reads lead nowhere, or they would fail once more at the end of the process."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)
