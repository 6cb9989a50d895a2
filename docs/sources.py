"""The texts in Python files that users read: docstrings, messages of errors and of printed lines, cards, plots."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

PACKAGES = ("lra", "attention_impls", "tasks")
CARDS = {"differs", "rounding", "why", "DIFFERS", "ROUNDING", "RAGGED_ROUNDING"}
NAMES = {*CARDS, "label", "title", "caption", "help", "description", "epilog"}  # of texts in cards, plots and flags
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
        elif isinstance(node, ast.keyword | ast.Assign) and _name(node) in NAMES:
            yield from _texts(node.value)


def _name(node: ast.keyword | ast.Assign) -> str | None:
    """The name that gets a value."""
    if isinstance(node, ast.keyword):
        return node.arg
    return node.targets[0].id if isinstance(node.targets[0], ast.Name) else None


def _messages(call: ast.Call) -> Iterator[tuple[int, str]]:
    """The texts among the arguments of a call. A colon begins what to do, as a full stop does in a page."""
    for argument in call.args:
        yield from ((line, text.replace(": ", ". `")) for line, text in _texts(argument))


def _texts(value: ast.expr) -> Iterator[tuple[int, str]]:
    """The parts of a text or of a sum of texts; a value inside a text counts as one word."""
    if isinstance(value, ast.BinOp):
        yield from _texts(value.left)
        yield from _texts(value.right)
    elif isinstance(value, ast.Constant) and isinstance(value.value, str):
        yield value.lineno, value.value
    elif isinstance(value, ast.JoinedStr):
        yield (
            value.lineno,
            "".join(str(each.value) if isinstance(each, ast.Constant) else CODE for each in value.values),
        )


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
