"""An equation of a card: LaTeX once, from which Markdown, MathML and a terminal's characters are made.

The LaTeX is what GitHub's Markdown, latex2mathml and pylatexenc all read: no macros of its own, no environments.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Equation:
    """One equation, named by its tag."""

    tag: str
    """What a comment says beside the line of code that computes it: `# eq. (tag)`. Lower case, digits, dashes."""
    tex: str
    """LaTeX without dollars."""
    where: str = ""
    """What the symbols mean or when it holds, in words; LaTeX in it stands between dollars."""


def rendered(text: str, mathematics: Callable[[str], str], words: Callable[[str], str] = str) -> str:
    """Words with LaTeX between dollars, each piece by the function for its kind."""
    pieces = text.split("$")
    return "".join(mathematics(piece) if i % 2 else words(piece) for i, piece in enumerate(pieces))


def tags_in(code: str) -> set[str]:
    """The tags that comments of a source file name."""
    return {tag for line in re.findall(r"#.*\beqs?\. (.*)", code) for tag in re.findall(r"\(([a-z0-9-]+)\)", line)}
