"""The pages of the documentation that are written by hand."""

from __future__ import annotations

from lra.core.environment import ROOT

PAGES = ROOT / "docs" / "pages"
MARK = "<!-- Written by docs/generate.py. -->"


def written() -> dict[str, str]:
    """Page -> its text, without the pages that docs/generate.py may have left."""
    texts = {path.relative_to(PAGES).as_posix(): path.read_text(encoding="utf-8") for path in PAGES.rglob("*.md")}
    return {name: text for name, text in sorted(texts.items()) if MARK not in text}
