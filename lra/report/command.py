"""The command `report`: writes every result into one HTML file, which needs no network, server or other file."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markdown_it import MarkdownIt
from markupsafe import Markup

from lra.core.collector import resting_collector
from lra.core.documents import json_text
from lra.core.environment import RESULTS
from lra.core.errors import UserError
from lra.core.files import write_atomically
from lra.leaderboard.page import FAMILIES, GROWTH, LEGEND, PUBLISHED, WHY_CONTROLS, about_growth
from lra.plotting.growth import growth
from lra.report.data import board_values, mechanism_values, picture_values, published_values, throughput_values
from lra.report.mathematics import mathml, words_and_mathml
from lra.report.model_index import find, model_index
from lra.report.runs import Values, identities, packed, run_columns
from lra.scores import beside, board, published, speeds
from lra.scores.board import Board
from lra.scores.tables import NONE
from lra.terminal.arguments import Where
from lra.terminal.console import console, left_out, write_document
from lra.training.record import Record

DESCRIPTION = (
    "Write results/report.html from the records in results/runs and results/bench. The file works offline. It has the "
    "leaderboard, plots, a card for each mechanism and a page for each run. With --model-index nothing is written."
)
WEB = Path(__file__).parent / "web"
SCRIPTS = ("plots.js", "run.js", "list.js", "tables.js", "page.js")


@dataclass(frozen=True, kw_only=True)
class ReportFlags:
    """The arguments of the command."""

    results: Where = RESULTS
    """The folder that holds runs and bench."""
    out: Where | None = None
    """The file to write. Default: report.html, in the folder of results."""
    device: str | None = None
    """Take speeds from bench records of this device; a part of its name suffices. Default: the one with most."""
    model_index: str | None = None
    """Print the record of this run as Hugging Face's model-index in YAML. The beginning of the run's id suffices."""


@resting_collector()
def report(flags: ReportFlags) -> int:
    """Run the command. Returns 0 done, 1 if some records cannot be read (the page has the others)."""
    mechanisms = [] if flags.model_index is not None else mechanism_values()  # first, to free its memory early
    records, complaints = board.read(flags.results)
    timed, more = speeds.read(flags.results)
    left_out(complaints + more)
    if not records:
        raise UserError(
            f"no record in {flags.results / 'runs'} for report (presets {', '.join(board.PRESETS)}): "
            "train one first, run_lra.py --task listops --attn elfatt"
        )
    runs = identities(records)
    if flags.model_index is not None:
        write_document(model_index(find(runs, flags.model_index)))
        return int(bool(complaints))
    path = flags.out or flags.results / "report.html"
    content = page(board.boards(records, speeds.choose(timed, flags.device)), runs, mechanisms).encode()
    write_atomically(content, path)
    console.print(f"{path} ({len(content) / 1e3:,.0f} kB, {len(runs)} runs)", markup=False)
    return int(bool(complaints + more))


def page(boards: Sequence[Board], runs: Mapping[str, Record], mechanisms: Sequence[Values]) -> str:
    """The whole file, the same for the same records."""
    timed = boards[0].speeds
    growths = growth(timed)
    tables = published.load()
    environment = Environment(
        loader=FileSystemLoader(WEB), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.globals["dash"] = NONE
    environment.filters |= {
        "markdown": _markdown,
        "linked": _linked,
        "figure": _figure,
        "mathml": mathml,
        "with_mathml": words_and_mathml,
    }
    return environment.get_template("page.html").render(
        boards=[board_values(each, runs, tables) for each in boards],
        about_beside=(beside.TITLE, beside.ABOUT),
        throughput=throughput_values(timed) if timed else None,
        mechanisms=mechanisms,
        counts=Counter(each.attn for each in runs.values()),
        runs=len(runs),
        packed=packed(runs),
        published=[asdict(each) | {"printed": published_values(each)} for each in tables],
        about_published=PUBLISHED,
        families=FAMILIES,
        legend=LEGEND,
        why_controls=WHY_CONTROLS,
        growth=(GROWTH, about_growth(timed)) if growths else None,
        style=Markup((WEB / "page.css").read_text(encoding="utf-8")),
        scripts=[Markup((WEB / name).read_text(encoding="utf-8")) for name in SCRIPTS],
        data=_embedded({"runs": run_columns(runs), "pictures": picture_values(boards, growths)}),
    )


def _embedded(values: Any) -> Markup:
    """Values as JSON for a <script> element, without any "<", which could end it."""
    return Markup(json_text(values, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c"))


def _markdown(text: str) -> Markup:
    """A line of Markdown as HTML. HTML in the line is escaped."""
    return Markup(MarkdownIt("commonmark", {"html": False}).renderInline(" ".join(text.split())))


def _linked(text: str) -> Markup:
    """A citation whose arXiv numbers are links."""
    pieces = re.split(r"(arXiv )(\d{4}\.\d{4,5})", text)
    out = Markup("")
    for before, arxiv, number in zip(pieces[::3], [*pieces[1::3], ""], [*pieces[2::3], ""], strict=True):
        link = Markup('<a href="https://arxiv.org/abs/{}">{}{}</a>').format(number, arxiv, number) if number else ""
        out += Markup("{}{}").format(before, link)
    return out


def _figure(number: float | None) -> str:
    """A speed or a size as a table shows it."""
    return NONE if number is None else f"{number:,.1f}"
