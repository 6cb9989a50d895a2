"""The prose checker finds what it is for, in words and not in code."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lra.core.environment import ROOT

CHECKER = ROOT / "docs" / "prose.py"
LONG = "one two three four five six seven eight nine ten " * 2 + "eleven twelve thirteen fourteen fifteen"


def check(text: str, place: Path, name: str = "page.md") -> str:
    """What the checker prints about a page or a Python file."""
    page = place / name
    page.write_text(text, encoding="utf-8")
    done = subprocess.run([sys.executable, str(CHECKER), str(page)], capture_output=True, text=True, check=False)
    assert done.returncode == bool(done.stdout), done.stderr
    return done.stdout.replace(f"{page}:", "")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (f"# Title\n\n{LONG}.\n", ""),
        (f"# Title\n\n{LONG} sixteen.\n", "3: 26 words, at most 25: make two sentences of"),
        (f"Short.\n\n- An item\n- {LONG}\n  sixteen\n", "4: 26 words"),
        (f"{LONG}. Sixteen.\n", ""),
        ("A check may cry\nwolf.\n", "1: 'cry wolf': write 'give a false alarm'"),
        ("| a | b |\n|---|---|\n| x | two Datasets |\n", "3: 'datasets': write 'data sets'"),
        ("`cry wolf` and\n\n    cry wolf\n\n```text\ncry wolf\n```\n", ""),
    ],
)
def test_a_problem_is_named_with_its_line(text: str, found: str, tmp_path: Path) -> None:
    said = check(text, tmp_path)
    assert (found in said) if found else said == ""


@pytest.mark.parametrize(
    ("code", "found"),
    [
        (f'"""{LONG}."""\n', ""),
        (f'"""{LONG} sixteen."""\n', "1: 26 words"),
        (f'def f():\n    """Short.\n\n    {LONG}\n    sixteen.\n    """\n', "4: 26 words"),
        (f'def f():\n    """Short.\n\n        {LONG} sixteen\n\n    End.\n    """\n', ""),  # code
        (f'def f():\n    """Short.\n\n    Args:\n        x: {LONG} sixteen.\n    """\n', "5: 27 words"),
        ('raise ValueError(f"{x} would cry wolf: wait")\n', "1: 'cry wolf': write 'give a false alarm'"),
        ('console.print("a dataset")\n', "1: 'dataset': write 'data set'"),
        ('x = "cry wolf"  # cry wolf\n', ""),
        (f'Card(differs="Short. " + "{LONG} sixteen.")\n', "1: 26 words"),
        ('Figure(caption=f"{x}: a dataset")\n', "1: 'dataset': write 'data set'"),
    ],
)
def test_docstrings_and_messages_are_checked(code: str, found: str, tmp_path: Path) -> None:
    said = check(code, tmp_path, "page.py")
    assert (found in said) if found else said == ""


def test_pages_docstrings_and_messages_are_plain() -> None:
    done = subprocess.run([sys.executable, str(CHECKER)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
