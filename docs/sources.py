"""The texts in Python files that users read: docstrings, and messages of errors and of printed lines."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

PACKAGES = ("lra", "attention_impls", "tasks")
CODE = "`"  # replaces a piece of code or a value; it counts as one word
ITEM = re.compile(r"(?:- |\*{0,2}[\w.]+: )")  # the beginning of a list item, or of an argument in a docstring
SECTION = re.compile(r"(?:Args|Returns|Raises|Yields):$")


def files(root: Path) -> list[Path]:
    """Every Python file of the packages."""
    return [path for package in PACKAGES for path in sorted((root / package).rglob("*.py"))]


def passages(code: str) -> Iterator[tuple[int, str]]:
    """Line and words of each paragraph of docstrings, and of each message, of a Python file."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield from _paragraphs(node.lineno, node.value.value)
        elif isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            yield from _messages(node.exc)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "print":
            yield from _messages(node)


def _messages(call: ast.Call) -> Iterator[tuple[int, str]]:
    """The texts among the arguments of a call; a value inside a text counts as one word."""
    for argument in call.args:
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
            yield argument.lineno, argument.value
        elif isinstance(argument, ast.JoinedStr):
            parts = (each.value if isinstance(each, ast.Constant) else CODE for each in argument.values)
            # A colon in a message begins what to do, as a full stop does in a page.
            yield argument.lineno, "".join(map(str, parts)).replace(": ", ". `")


def _paragraphs(line: int, docstring: str) -> Iterator[tuple[int, str]]:
    """The paragraphs, items and arguments of a docstring, without its code."""
    words: list[str] = []
    start, in_section = line, False
    for number, text in enumerate([*inspect.cleandoc(docstring).split("\n"), ""], start=line):
        stripped = text.strip()
        in_section = bool(SECTION.match(stripped)) or (in_section and (not stripped or text.startswith(" ")))
        indented = (text.startswith("    ") and not in_section) or stripped.startswith(">>> ")
        if not stripped or indented or ITEM.match(stripped) or SECTION.match(stripped):
            if words:
                yield start, _plain(" ".join(words))
            words = []
        if stripped and not indented and not SECTION.match(stripped):
            start = start if words else number
            words.append(stripped)


def _plain(text: str) -> str:
    """The text with each piece of code as one word."""
    return re.sub(r"`[^`]+`", CODE, text)
