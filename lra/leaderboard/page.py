"""results/LEADERBOARD.md: our tables, what stands behind them, and after them the published numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import attention_impls
from lra.core.markup import in_markdown
from lra.scores import beside, overrides
from lra.scores.board import Board, Row
from lra.scores.published import Table
from lra.scores.significance import LEVEL
from lra.scores.speeds import Speeds
from lra.scores.tables import grid, labels, markdown, origins
from lra.scores.throughput import ABOUT, TITLE, throughput
from lra.training.record import Record

HEAD = """# Leaderboard

Written by `python run_lra.py leaderboard` from the records in [runs](runs); edit none of it. The same numbers for
programs: [leaderboard.csv](leaderboard.csv)."""

LEGEND = f"""Test accuracy in % at the best validation step: mean ± standard deviation over seeds (number of seeds).
† One seed, or equal ones: the binomial standard error of the test set instead. **Bold**: the data cannot tell it from
the column's best (Welch's t test, Holm's correction, level {LEVEL:.0%}). For one seed the test knows the error † alone.
Seeds differ by more, so the bold of such a cell may be luck. The first rows are rules without learning, measured on the
same test set. What is not clearly above them has learned no more than they say. Converged: runs that left chance by
three standard errors or more. An average stands only where all five tasks do, with its standard error."""

CONTROLS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("elfatt", "elfatt", {}),
    ("block-only", "elfatt", {"global_share": 0.0}),
    ("softmax + conv", "softmax", {"local_conv": True}),
    ("efficient + conv", "efficient", {"local_conv": True}),
    ("softmax", "softmax", {}),
    ("efficient", "efficient", {}),
)
WHY_CONTROLS = """elfatt has a convolution of V beside its two kinds of heads. Fair neighbours have one too."""

FACT = 10_000  # characters of one line below a table
GROWTH = "Time and memory against length"
ABOUT_GROWTH = """The standard model on full sequences. A line is of one benchmark, that with most lengths. Both axes
are logarithmic: growth with N^p is a straight line of slope p, which is fitted by least squares. Time is the median
step. Memory is its peak with weights and optimiser. Both are divided by the examples of the batch. Longer sequences
have smaller batches, so what is fixed weighs more there."""

PUBLISHED = (
    "Copied from papers and repositories, digit for digit. None of these stands in a column of ours, and no two of "
    "these tables share a protocol in every detail: compare inside a table."
)
FAMILIES = {
    "google": "the Long Range Arena's own code: sizes differ by task and attention",
    "small": "2 layers, 64 wide, 2 heads for every task; the family of our `standard`",
    "ssm": "state-space recipes: larger models, much longer training",
    "mixed": "rows of several protocols",
    "unknown": "not stated",
}


def page(boards: Sequence[Board], published: Sequence[Table], pictures: dict[str, dict[str, str]]) -> str:
    """The whole file. `pictures` maps a preset, or "" for all, to {file: alternative text}."""
    first, *others = boards
    parts = [HEAD, *_section(first, pictures.get(first.preset, {}), published, LEGEND)]
    parts += _throughput(first.speeds, pictures.get("", {}))
    for board in others:
        parts += _section(board, pictures.get(board.preset, {}), published)
    return "\n\n".join([*parts, *_published(published)]) + "\n"


def _section(board: Board, pictures: dict[str, str], published: Sequence[Table], *legend: str) -> list[str]:
    table = grid(board, speeds=False)
    parts = [f"## {table.title}", markdown(table), *legend]
    if near := beside.beside(board, published):
        parts += [f"### {beside.TITLE}", beside.ABOUT, markdown(beside.grid(near))]
    if found := controls(board):
        parts += ["### ELFATT and its controls", WHY_CONTROLS, markdown(grid(board, found, speeds=False))]
    return [
        *parts,
        *_images(pictures),
        "### Behind the numbers",
        "\n".join(f"- {in_markdown(fact, FACT)}" for fact in facts(board)),
    ]


def _throughput(speeds: Speeds | None, growths: dict[str, str]) -> list[str]:
    if speeds is None:
        return [f"## {TITLE}", "There are no bench records of a whole model yet."]
    parts = [f"## {TITLE}", f"{ABOUT}\n\n{about_speeds(speeds)}", markdown(throughput(speeds))]
    return [*parts, f"### {GROWTH}", about_growth(speeds), *_images(growths)] if growths else parts


def _images(pictures: dict[str, str]) -> list[str]:
    return [f"![{in_markdown(text, FACT)}](plots/{name})" for name, text in pictures.items()]


def about_growth(speeds: Speeds | None) -> str:
    """What stands above the plots of time and memory."""
    assert speeds is not None, "growth is drawn from timings"
    return f"{ABOUT_GROWTH} All on one device: {in_markdown(speeds.device)}."


def controls(board: Board) -> list[tuple[str, Row | None]]:
    """elfatt and what it has to be compared with, on each backend it was trained on; None for a row that is missing."""
    found: list[tuple[str, Row | None]] = []
    for backend in sorted({row.backend for row in board.rows if row.name == "elfatt"}):
        for title, attn, changed in CONTROLS:
            words = _usual(attn) | changed
            fitting = [
                row
                for row in board.rows
                if (row.attn, row.backend, row.options) == (attn, backend, words)
                and not row.tuned
                and not any(word.startswith(("--model.", "--train.")) for word in row.words)
            ]
            found.append((title, fitting[0]) if fitting else (f"{title} ({backend}, not run)", None))
    return found


def _usual(attn: str) -> dict[str, Any]:
    options = attention_impls.load(attn).card.options()
    return {name: getattr(options, name) for name in options.__dataclass_fields__}


def facts(board: Board) -> list[str]:
    """What a reader has to know of a table: its data, devices, versions, and the laws its mechanisms do not keep."""
    found = [
        f"{label}: {column.examples:,} test examples; validation: {column.validation}; data {column.data_hash[:8]}"
        for label, column in zip(labels(board), board.columns, strict=True)
    ]
    for name, values in origins([run for row in board.rows for run in row.runs]).items():
        found.append(f"{name}: {'; '.join(values)}")
    return found + _searches(board) + _laws(board)


def _searches(board: Board) -> list[str]:
    """For each tuned row: what was tried, with how much training, and what was chosen for each column."""
    found = []
    for row in board.rows:
        search = overrides.tuning(row.runs[0])
        if search is None:
            continue
        chosen = [
            f"{label}: {', '.join(_told(cell.runs[0], search.grid))}"
            for label, cell in zip(labels(board), row.cells, strict=True)
            if cell is not None
        ]
        found.append(
            f"{row.name} on {row.backend}: tried {search.searched}, each once with seed {search.seed}; chosen on "
            f"validation alone – {'; '.join(chosen)}"
        )
    return found


def _told(run: Record, names: Iterable[str]) -> list[str]:
    """Those fields of a run's training, as learning_rate=0.001."""
    return [f"{name}={run.config['train'][name]}" for name in names]


def about_speeds(speeds: Speeds) -> str:
    """What stands beside every table with speeds: what was timed, and where."""
    batches = " or ".join(f"{batch:,}" for batch in speeds.batches())
    others = f" Other devices, by `--device`: {'; '.join(map(in_markdown, speeds.others))}." if speeds.others else ""
    return (
        f"Device, the one with most of the bench records: {in_markdown(speeds.device)}. Each figure is its newest. "
        f"At {speeds.length:,} tokens the batch is {batches}.{others}"
    )


def _laws(board: Board) -> list[str]:
    """The laws that a mechanism of this table does not keep, with the reason its card gives."""
    found = []
    for name in sorted({row.attn for row in board.rows} & set(attention_impls.names())):
        laws = attention_impls.load(name).card.laws
        broken = {law: getattr(laws, law) for law in laws.__dataclass_fields__ if getattr(laws, law) is not True}
        found += [f"{name} does not keep {law}: {reason}" for law, reason in broken.items()]
    return found


def _published(tables: Sequence[Table]) -> list[str]:
    families = "\n".join(f"- {name}: {text}" for name, text in FAMILIES.items())
    parts = ["## Published numbers", f"{PUBLISHED} Their protocol families:", families]
    for each in tables:
        head = ["model", *each.columns]
        rows = [head, ["---", *["---:"] * len(each.columns)], *([name, *cells] for name, cells in each.rows.items())]
        body = "\n".join(f"| {' | '.join(row)} |" for row in rows)
        notes = "".join(f" {note}" for note in each.notes)
        parts += [
            f"### {each.title}",
            f"{each.unit[:1].upper()}{each.unit[1:]}. Protocol: {each.protocol}. Source: {each.citation}. "
            f"{each.differs}{notes}",
            body,
        ]
    return parts
