"""Tables in Markdown, and escapes for text from files: it is never read as markup, as a formula or as a path."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

LONGEST = 200  # characters of one name in a table
PART = 100  # bytes of one part of a file name, which has 255 with all parts and a temporary suffix
UNSEEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}  # categories of Unicode: control, format, surrogates, unassigned
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_TEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "±": r"$\pm$",
    "×": r"$\times$",
    "†": r"$^\dagger$",
}


def one_line(text: str, most: int = LONGEST) -> str:
    """The text on one line of visible characters, cut to a given length."""
    if not text.isprintable():
        text = "".join(" " if sign.isspace() else "\ufffd" if _unseen(sign) else sign for sign in text)
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _unseen(sign: str) -> bool:
    return unicodedata.category(sign) in UNSEEN


def in_markdown(text: str, most: int = LONGEST) -> str:
    """The text escaped for Markdown, also in a table cell: none of it is markup or HTML."""
    text = re.sub(r"[\\`*\[\]|~]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\\g<0>", one_line(text, most))
    return re.sub(r"&(?=#?\w+;)", "&amp;", text).replace("<", "&lt;")


def in_code(text: str, most: int = LONGEST) -> str:
    """The text as code in a Markdown table cell. The fence is longer than any run of backticks in the text."""
    text = one_line(text, most).replace("|", r"\|")
    runs = [len(run) for run in re.findall("`+", text)]
    fence, blank = "`" * (max(runs, default=0) + 1), " " if runs else ""
    return f"{fence}{blank}{text}{blank}{fence}"


def pipe_table(head: Sequence[str], rows: Iterable[Sequence[str]], left: int | None = None) -> str:
    """A Markdown table of cells that are escaped already. Columns after the first `left` are aligned to the right."""
    left = len(head) if left is None else left
    rule = ["---"] * left + ["---:"] * (len(head) - left)
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *rows))


def in_latex(text: str) -> str:
    """The text escaped for LaTeX; two hyphens stay two."""
    return "".join(_TEX.get(sign, sign) for sign in one_line(text)).replace("--", "-{}-")


def in_csv(text: str) -> str:
    """The text as a spreadsheet cell: an apostrophe precedes text that begins like a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def in_path(text: str, most: int = PART) -> str:
    """The text as part of a file name, cut to a given number of bytes.

    It has letters, digits, dashes, underscores and single dots; none of the latter first.
    """
    return re.sub(r"^\.|\.{2,}|[^\w.-]", "-", text).encode()[:most].decode(errors="ignore")
