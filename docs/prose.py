"""Holds the pages to docs/style.yml: short sentences, no banned phrase, one word for one thing.

`python docs/prose.py` reads README.md, CONTRIBUTING.md, CHANGELOG.md, .github, docs/pages and results/evidence. Names
of files after it are read instead. One line for each problem; the exit code is 1 where there is one.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from markdown_it import MarkdownIt
from markdown_it.token import Token

HERE = Path(__file__).parent
ROOT = HERE.parent
# Where a sentence ends: words after the mark begin with a capital, a digit, a quotation mark or code.
END = re.compile(r"(?<=[.!?])[)\"”]?\s+(?=[A-Z0-9\"“(`†])")
CODE = "`"  # what a piece of code leaves in a sentence: one word


@dataclass(frozen=True, kw_only=True)
class Style:
    """What is asked of a page."""

    sentence_words: int
    banned: Mapping[str, str]
    one_word: Mapping[str, str]

    @classmethod
    def load(cls, path: Path = HERE / "style.yml") -> Style:
        """As the file has it."""
        return cls(**yaml.safe_load(path.read_text(encoding="utf-8")))


def problems(text: str, style: Style) -> Iterator[tuple[int, str]]:
    """Line and words of each problem of a Markdown page."""
    for line, words in passages(text):
        for sentence in END.split(words):
            count = len([word for word in sentence.split() if re.search(r"[\w`]", word)])
            if count > style.sentence_words:
                shown = " ".join(sentence.split()[:8])
                yield line, f"{count} words, at most {style.sentence_words}: make two sentences of {shown!r} …"
        for found, instead in {**style.banned, **style.one_word}.items():
            if re.search(rf"(?<![\w-]){re.escape(found)}(?![\w-])", words, re.IGNORECASE):
                yield line, f"{found!r}: write {instead!r}"


def passages(text: str) -> Iterator[tuple[int, str]]:
    """Line and words of each paragraph, item, heading and cell, without code."""
    line = 1
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        if token.map is not None:
            line = token.map[0] + 1
        if token.type == "inline":
            yield line, _words(token)


def _words(token: Token) -> str:
    kept = {"text": lambda each: each.content, "code_inline": lambda each: CODE, "softbreak": lambda each: " "}
    read: Any = [kept[each.type](each) for each in token.children or [] if each.type in kept]
    return "".join(read)


def pages(root: Path = ROOT) -> list[Path]:
    """Every page that is written by hand."""
    found = [root / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
    for folder in (".github", "docs/pages", "results/evidence"):
        found += sorted((root / folder).rglob("*.md"))
    return [path for path in found if "<!-- Written by docs/generate.py. -->" not in path.read_text(encoding="utf-8")]


def main(names: list[str]) -> int:
    """Print the problems of these files, or of every page; the exit code."""
    style, bad = Style.load(), 0
    for path in [Path(name) for name in names] or pages():
        for line, what in problems(path.read_text(encoding="utf-8"), style):
            bad = 1
            print(f"{path.relative_to(ROOT) if path.is_relative_to(ROOT) else path}:{line}: {what}")
    return bad


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
