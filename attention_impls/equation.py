"""An equation of a card in LaTeX, from which Markdown, MathML and text for a terminal are made.

The LaTeX uses only what GitHub's Markdown, latex2mathml and pylatexenc all support: no macros, no environments.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Equation:
    """One equation, named by its tag."""

    tag: str
    """The tag, of lower-case letters, digits and dashes. A comment beside the code names it: `# eq. (tag)`."""
    tex: str
    """The LaTeX, without dollars."""
    where: str = ""
    """The meaning of the symbols, or a condition, in words, with LaTeX between dollars."""


def rendered(text: str, mathematics: Callable[[str], str], words: Callable[[str], str] = str) -> str:
    """Convert text with LaTeX between dollars: one function converts words, the other LaTeX."""
    pieces = text.split("$")
    return "".join(mathematics(piece) if i % 2 else words(piece) for i, piece in enumerate(pieces))


def tags_in(code: str) -> set[str]:
    """The tags in the comments of a source file."""
    return {tag for line in re.findall(r"#.*\beqs?\. (.*)", code) for tag in re.findall(r"\(([a-z0-9-]+)\)", line)}
