"""Writes the pages that come from the code and the results: `python docs/generate.py`. `make docs` runs it first.

Nothing it writes is committed, so no page can be stale. Each page has one source: cards, tasks, flags, the layout of a
record, configs, and the Markdown under results.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent
PAGES = HERE / "pages"
MARK = "\n<!-- Written by docs/generate.py. -->\n"

if __name__ == "__main__":
    sys.path[:0] = [str(ROOT), str(HERE)]
    import cards
    import copies
    import reference

    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--pages", type=Path, default=PAGES, help="where they go; docs/pages by default")
    place = arguments.parse_args().pages
    begun = time.perf_counter()
    made = {**cards.pages(), **reference.pages(), **copies.pages(ROOT)}
    for name, page in made.items():
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page + MARK, encoding="utf-8")
    copies.files(ROOT, place)
    print(f"docs: {len(made)} pages from the code and the results, {time.perf_counter() - begun:.1f} s")
