"""Pages that stand elsewhere in the repository, with their links made to fit the site, and the report."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from lra.cli.main import main

LINK = re.compile(r"(!?)\[([^\]\n]*)\]\(([^)\s]+)\)")
# A list right below words: GitHub reads it as one, the site's Markdown wants an empty line between.
LIST = re.compile(r"^((?![-*|#>]|\d+\. |  ).+)\n(?=[-*] |1\. )", re.MULTILINE)
EVIDENCE = """# Evidence

Each page shows that something holds, and names the command that printed it. `tests/evidence` has the commands.

"""
BENCHES = """# Benchmarks

Each benchmark left a record with every sample under `results/bench`. These are its tables and its plot.
[Speed](../../explanation/speed.md) says how they are measured, and the name of a page says what and when.

"""


def pages(root: Path) -> dict[str, str]:
    """Every page by its path."""
    places = _places(root)
    found = {target: _linked(root / source, target, places, root) for source, target in places.items()}
    evidence = [name for name in places if name.startswith("results/evidence/")]
    lines = [f"- [{_title(root / name)}]({Path(name).name})" for name in evidence]
    timed = [name for name in places if name.startswith("results/bench/")]
    timed.sort(key=lambda name: name.rsplit("-", 1)[-1], reverse=True)  # the newest first
    benches = [f"- [{Path(name).stem}]({Path(name).name}): {_title(root / name)}" for name in timed]
    return {
        **found,
        "evidence/index.md": EVIDENCE + "\n".join(lines) + "\n",
        "results/bench/index.md": BENCHES + "\n".join(benches) + "\n",
    }


def files(root: Path, site: Path) -> None:
    """The plots that pages show, and the report as `run_lra.py report` writes it."""
    for folder in ("plots", "bench"):
        (site / "results" / folder).mkdir(parents=True, exist_ok=True)
        for path in sorted((root / "results" / folder).glob("*.svg")):
            shutil.copy(path, site / "results" / folder / path.name)
    if main(["report", "--out", str(site / "results" / "whole.html")]) != 0:
        raise SystemExit("docs: the report could not be written")


def _places(root: Path) -> dict[str, str]:
    """Where each copied file of the repository stands on the site."""
    evidence = sorted((root / "results" / "evidence").glob("*.md"))
    benches = sorted((root / "results" / "bench").glob("*.md"))
    return {
        "results/LEADERBOARD.md": "results/leaderboard.md",
        "results/CLAIMS.md": "results/claims.md",
        "results/POLICY.md": "results/policy.md",
        "results/COST.md": "results/cost.md",
        "results/MISSING.md": "results/missing.md",
        "CONTRIBUTING.md": "contributing.md",
        "CHANGELOG.md": "changelog.md",
        **{f"results/evidence/{path.name}": f"evidence/{path.name}" for path in evidence},
        **{f"results/bench/{path.name}": f"results/bench/{path.name}" for path in benches},
    }


def _linked(source: Path, target: str, places: dict[str, str], root: Path) -> str:
    """The file's text: a link to another page leads there, to a plot too; any other file is named as code."""

    def replaced(match: re.Match[str]) -> str:
        mark, text, link = match.groups()
        if re.match(r"[a-z]+:|#", link):
            return match[0]
        path, _, anchor = link.partition("#")
        name = os.path.relpath(source.parent / path, root)
        page = name if name.endswith(".svg") else places.get(name)
        if name.startswith("docs/pages/"):
            page = os.path.relpath(name, "docs/pages")
        if page is None:
            return f"{text} (`{name}`)" if text.strip("`") not in (path, name) else f"`{name}`"
        there = os.path.relpath(page, Path(target).parent) + (f"#{anchor}" if anchor else "")
        return f"{mark}[{text}]({there})"

    text = source.read_text(encoding="utf-8")
    head = "" if text.startswith("# ") else f"# {source.stem}\n\n"
    return head + LIST.sub(r"\1\n\n", LINK.sub(replaced, text))


def _title(path: Path) -> str:
    """The first line, without the marks of a heading."""
    return path.read_text(encoding="utf-8").split("\n", 1)[0].removeprefix("# ")
