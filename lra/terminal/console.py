"""Where the program speaks: results on standard output, complaints on standard error."""

from __future__ import annotations

import codecs
import io
import os
import shutil
import sys
from collections.abc import Iterable

from rich.console import Console as RichConsole
from rich.markup import escape

from lra.core.markup import one_line

NARROWEST = 20  # columns
WIDE = 100  # columns from which on a mechanism and its options fit one line of a table
MOST = 1000  # characters of a line about a file
DOCUMENTATION = "Documentation: docs/pages/index.md in the repository, or make docs."
LINE_EVERY_SECONDS = 10.0  # between progress lines in a log, which has no live line


NEAREST = "lra-nearest"
"""Name of the error handler of streams whose encoding lacks a sign."""
_PLAIN = str.maketrans(
    {"–": "-", "—": "-", "−": "-", "·": "-", "±": "+-", "×": "x", "…": "...", "≥": ">=", "∝": "~", "§": "S."}
)


def _nearest(error: UnicodeError) -> tuple[str | bytes, int]:
    """A plain sign for one that the terminal lacks, or "?"; the byte for one of a path that is no text."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    sign = error.object[error.start]
    if "\udc80" <= sign <= "\udcff":
        return bytes([ord(sign) - 0xDC00]), error.start + 1
    return sign.translate(_PLAIN).encode("ascii", "replace").decode("ascii"), error.start + 1


codecs.register_error(NEAREST, _nearest)


class Console(RichConsole):
    """Rich's, but what is printed is text, whatever brackets it has: paths and names are other people's.

    A reader who has gone is an error that a training run saves at, not the end of the process.
    """

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, highlight=False, soft_wrap=True, markup=False, emoji=False)
        if self.width < NARROWEST:  # COLUMNS=0 says that nobody knows the width; Rich would print nothing
            self.width = max(shutil.get_terminal_size().columns, NARROWEST)

    def on_broken_pipe(self) -> None:
        """Print no more."""
        self.quiet = True
        raise BrokenPipeError


console = Console()
errors = Console(stderr=True)


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
    """Make printing safe: every standard stream is there, takes every sign, and is as wide as a word.

    One that is missing gets one that leads nowhere, before a file that the process opens gets its number.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "r" if number == 0 else "w", encoding="utf-8"))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=NEAREST)
    if shutil.get_terminal_size().columns < NARROWEST:
        os.environ["COLUMNS"] = str(NARROWEST)  # narrower than that, tyro's --help never ends


def write_document(text: str) -> None:
    """Text for a file or another program on standard output: in UTF-8 whatever the locale, on a terminal as it can."""
    if isinstance(sys.stdout, io.TextIOWrapper) and not sys.stdout.isatty():
        sys.stdout.flush()
        sys.stdout.buffer.write(text.encode(errors="replace"))
    else:
        sys.stdout.write(text)


def abandon_streams() -> None:
    """Let the streams that nobody reads lead nowhere, or they would fail once more at the end of the process."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)


def in_lines(name: str) -> str:
    """A mechanism as a cell of a table shows it; where columns are few, each option stands on a line of its own.

    So neither a name nor an option is broken in the middle.
    """
    return escape(name) if console.width >= WIDE else escape(name).replace("@", "\n@")
