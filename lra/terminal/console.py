"""The consoles of the program: results go to standard output, errors to standard error."""

from __future__ import annotations

import codecs
import io
import os
import re
import shutil
import sys
from collections.abc import Iterable, Sequence

from rich.console import Console as RichConsole
from rich.table import Table

from lra.core.markup import one_line

NARROWEST = 20  # columns
NAME = 28  # columns of a name in a table on a narrow terminal
MECHANISM = 20  # the same for a mechanism in a table of many columns
CROWD = 5  # columns of numbers; with more of them a narrow table has less space between columns
HEADING = 10  # the same for the heading of a column of numbers
WIDE = 100  # columns; from this width on a mechanism and its options stand on one line of a table
MOST = 1000  # characters of a line about a file
DOCUMENTATION = "Documentation: docs/pages/index.md in the repository, or make docs."
LINE_EVERY_SECONDS = 10.0  # between progress lines in a log, which cannot show a live line


NEAREST = "lra-nearest"
"""The name of the error handler for streams whose encoding lacks a character."""
_PLAIN = str.maketrans(
    {"–": "-", "—": "-", "−": "-", "·": "-", "±": "+-", "×": "x", "…": "...", "≥": ">=", "∝": "~", "§": "S."}
)


def _nearest(error: UnicodeError) -> tuple[str | bytes, int]:
    """A plain replacement, or "?", for a character that the terminal lacks; the raw byte of a path that is not text."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    sign = error.object[error.start]
    if "\udc80" <= sign <= "\udcff":
        return bytes([ord(sign) - 0xDC00]), error.start + 1
    return sign.translate(_PLAIN).encode("ascii", "replace").decode("ascii"), error.start + 1


codecs.register_error(NEAREST, _nearest)


class Console(RichConsole):
    """Rich's console, without markup: paths and names may contain brackets, in tables too.

    If the reader of a pipe has gone, printing raises an error. So a training run can save a snapshot first.
    """

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, highlight=False, soft_wrap=True, markup=False, emoji=False)
        if self.width < NARROWEST:  # COLUMNS=0 means an unknown width; Rich would print nothing
            self.width = max(shutil.get_terminal_size().columns, NARROWEST)

    def on_broken_pipe(self) -> None:
        """Stop printing."""
        self.quiet = True
        raise BrokenPipeError


console = Console()
errors = Console(stderr=True)


def left_out(complaints: Iterable[str]) -> None:
    """Print one line for each file that cannot be read, whatever characters its path and content have."""
    for line in complaints:
        errors.print(f"left out: {one_line(line, MOST)}", markup=False)


def duration(seconds: float) -> str:
    """A duration for people: 42 s, 3 min 05 s, 2 h 10 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def open_streams() -> None:
    """Make printing safe: every standard stream is open, accepts every character, and is wide enough for a word.

    A missing stream is opened on /dev/null, before another file can get its file descriptor.
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
    """Write text for a file or another program to standard output: in UTF-8, except on a terminal."""
    if isinstance(sys.stdout, io.TextIOWrapper) and not sys.stdout.isatty():
        sys.stdout.flush()
        sys.stdout.buffer.write(text.encode(errors="replace"))
    else:
        sys.stdout.write(text)


def abandon_streams() -> None:
    """Redirect streams that have no reader to /dev/null; otherwise they fail again when the process ends."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)


def new_table(title: str, *, names: Sequence[str], figures: Sequence[str] = (), texts: Sequence[str] = ()) -> Table:
    """An empty table for a terminal of 80 columns, the only kind that commands print.

    Args:
        title: The title, as plain text.
        names: Headings of the first columns. Their cells are made by `in_lines` and are never broken.
        figures: Headings of the columns of numbers.
        texts: Headings of the last columns, whose cells are wrapped.
    """
    crowded = console.width < WIDE and len(figures) > CROWD
    padding = (0, 1, 0, 0) if crowded else (0, 1)
    made = Table(title=title, title_justify="left", caption_justify="left", padding=padding)
    for heading in names:
        made.add_column(in_lines(heading), no_wrap=True)
    for heading in figures:
        made.add_column(in_lines(heading, HEADING), justify="right", no_wrap=True)
    for heading in texts:
        made.add_column(heading, overflow="fold")
    return made


def in_lines(text: str, columns: int = NAME) -> str:
    """The text of a table cell. On a narrow terminal it has lines of about this many columns.

    Lines end at spaces and before the @ of an option only. So neither a name nor an option is broken in the middle.
    """
    if console.width >= WIDE:
        return text
    lines = [""]
    for part in re.split(r"(?<= )|(?=@)", text):
        if lines[-1] and len(lines[-1]) + len(part.rstrip()) > columns:
            lines.append("")
        lines[-1] += part
    return "\n".join(line.rstrip() for line in lines)
