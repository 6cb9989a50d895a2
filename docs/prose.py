"""Checks texts by docs/style.yml: short sentences, no banned phrase, one word for one thing.

`python docs/prose.py` reads the pages (README.md, CONTRIBUTING.md, CHANGELOG.md, .github, docs/pages, results) and the
docstrings and messages of the packages. With names of files it reads only those. It prints one line for each problem.
The exit code is 1 if there is a problem.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sources
import yaml
from markdown_it import MarkdownIt
from markdown_it.token import Token

HERE = Path(__file__).parent
ROOT = HERE.parent
# The end of a sentence. The next one begins with a capital letter, a digit, a quotation mark, a bracket or code.
END = re.compile(r"(?<=[.!?])[)\"”]?\s+(?=[A-Z0-9\"“(`†])")
CODE = "`"  # replaces a piece of code; it counts as one word


@dataclass(frozen=True, kw_only=True)
class Style:
    """The rules in docs/style.yml."""

    sentence_words: int
    banned: Mapping[str, str]
    one_word: Mapping[str, str]

    @classmethod
    def load(cls, path: Path = HERE / "style.yml") -> Style:
        """Read the file."""
        return cls(**yaml.safe_load(path.read_text(encoding="utf-8")))


def problems(found: Iterable[tuple[int, str]], style: Style) -> Iterator[tuple[int, str]]:
    """Line and description of each problem in some passages."""
    instead = {**style.banned, **style.one_word}
    longest_first = sorted(map(re.escape, instead), key=len, reverse=True)
    avoided = re.compile(rf"(?<![\w-])(?:{'|'.join(longest_first)})(?![\w-])", re.IGNORECASE)
    for line, words in found:
        for sentence in END.split(words):
            count = len([word for word in sentence.split() if re.search(r"[\w`]", word)])
            if count > style.sentence_words and not sentence.startswith("Source: "):  # a citation is not a sentence
                shown = " ".join(sentence.split()[:8])
                yield line, f"{count} words, at most {style.sentence_words}: make two sentences of {shown!r} …"
        for match in avoided.finditer(words):
            yield line, f"{match[0].lower()!r}: write {instead[match[0].lower()]!r}"


def passages(text: str) -> Iterator[tuple[int, str]]:
    """Line and words of each paragraph, item, heading and cell of a Markdown page, without code."""
    line = 1
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        if token.map is not None:
            line = token.map[0] + 1
        if token.type == "inline":
            yield line, _words(token)


def _words(token: Token) -> str:
    kept = {
        "text": lambda each: each.content,
        "code_inline": lambda each: CODE,
        "softbreak": lambda each: " ",
        "html_inline": lambda each: f". {CODE} ",  # a line break in a cell of a table
    }
    read: Any = [kept[each.type](each) for each in token.children or [] if each.type in kept]
    return "".join(read)


def pages(root: Path = ROOT) -> list[Path]:
    """Every page in the repository, except those that docs/generate.py writes."""
    found = [root / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
    found += sorted((root / "results").glob("*.md"))
    for folder in (".github", "docs/pages", "results/evidence"):
        found += sorted((root / folder).rglob("*.md"))
    return [path for path in found if "<!-- Written by docs/generate.py. -->" not in path.read_text(encoding="utf-8")]


def main(names: list[str]) -> int:
    """Print the problems of these files, or of all pages and sources. Returns the exit code."""
    style, bad = Style.load(), 0
    for path in [Path(name) for name in names] or [*pages(), *sources.files(ROOT)]:
        text = path.read_text(encoding="utf-8")
        found = sources.passages(text) if path.suffix == ".py" else passages(text)
        for line, what in problems(found, style):
            bad = 1
            print(f"{path.relative_to(ROOT) if path.is_relative_to(ROOT) else path}:{line}: {what}")
    return bad


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
