"""What is printed arrives, whatever the terminal's encoding, and foreign text is text, not markup."""

from __future__ import annotations

import io
import os
import re
import sys

import pytest
from rich.table import Table

from lra.core.environment import ROOT
from lra.terminal.console import NARROWEST, Console, open_streams, write_document
from lra.terminal.failures import told


def latin(patch: pytest.MonkeyPatch) -> io.BytesIO:
    """What goes to standard output from now on, in a locale without most signs."""
    printed = io.BytesIO()
    patch.setattr(sys, "stdout", io.TextIOWrapper(printed, encoding="ascii"))
    open_streams()
    return printed


def test_signs_that_a_terminal_lacks_are_shown_by_others(monkeypatch: pytest.MonkeyPatch) -> None:
    printed = latin(monkeypatch)
    Console().print("8–64 tokens · ± 1 × 2 … 语 /\udce9")
    print("error: an é")
    sys.stdout.flush()
    assert printed.getvalue() == b"8-64 tokens - +- 1 x 2 ... ? /\xe9\nerror: an ?\n"


def test_a_document_is_utf8_in_every_locale(monkeypatch: pytest.MonkeyPatch) -> None:
    printed = latin(monkeypatch)
    print("before")
    write_document("8–64\n")
    print("after")
    sys.stdout.flush()
    assert printed.getvalue().decode() == "before\n8–64\nafter\n"


def test_foreign_text_is_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table("[b]", title="[/t]", caption=":smile:")
    table.add_row("[red]a[/red]")
    Console().print("res [v2]/[/]/:smile:")
    Console().print(table)
    said = capsys.readouterr().out
    assert "res [v2]/[/]/:smile:" in said
    for text in ("[b]", "[/t]", ":smile:", "[red]a[/red]"):
        assert text in said.partition("\n")[2]


def test_a_live_line_is_no_markup() -> None:
    """Rich's columns have a switch of their own."""
    sources = {path: path.read_text(encoding="utf-8") for path in (ROOT / "lra").rglob("*.py")}
    columns = [call for text in sources.values() for call in re.findall(r"TextColumn\(.*?\)", text)]
    assert columns
    assert [call for call in columns if "markup=False" not in call] == []
    printed = [path for path, text in sources.items() if re.search(r"from rich.*\b(Console|print)\b", text)]
    assert printed == [ROOT / "lra" / "terminal" / "console.py"]
    assert [path for path, text in sources.items() if "rich.markup" in text] == [], "escapes would be printed"


@pytest.mark.parametrize(("columns", "width"), [("0", 80), ("1", NARROWEST), ("100", 100)])
def test_a_console_has_room_whatever_is_said_of_the_terminal(
    columns: str, width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    made = Console()
    assert made.width == width
    table = Table("some", "sort")
    table.add_row("one", "two")
    made.print(table)
    assert {"some", "two"} <= set(capsys.readouterr().out.replace("\u2502", " ").replace("\u2503", " ").split())


@pytest.mark.parametrize(("columns", "left"), [("1", str(NARROWEST)), ("100", "100")])
def test_a_terminal_without_width_gets_some(columns: str, left: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In fewer columns than six, tyro's help lays itself out for ever."""
    monkeypatch.setenv("COLUMNS", columns)
    open_streams()
    assert os.environ["COLUMNS"] == left


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("RESOURCE_EXHAUSTED: Out of memory\nallocating 9 bytes")]
)
def test_a_run_without_memory_ends_in_one_line(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    def train() -> int:
        raise error

    assert told(train) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "not enough memory" in said
    assert "take a smaller model, batch or length" in said


def test_another_error_of_a_framework_is_not_hidden() -> None:
    def train() -> int:
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes"):
        told(train)
