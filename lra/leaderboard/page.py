"""The page results/LEADERBOARD.md: our tables, facts about their runs, and the published numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import attention_impls
from lra.core.markup import in_markdown, pipe_table
from lra.scores import beside, overrides, searches
from lra.scores.board import Board, Row
from lra.scores.published import Table
from lra.scores.searches import Searched
from lra.scores.significance import LEVEL
from lra.scores.speeds import Speeds
from lra.scores.tables import grid, labels, markdown, origins
from lra.scores.throughput import ABOUT, TITLE, throughput
from lra.training.record import Record

HEAD = """# Leaderboard

`python run_lra.py leaderboard` writes this page from the records in [runs](runs). Do not edit it. Programs find the
same numbers in [leaderboard.csv](leaderboard.csv)."""

LEGEND = f"""Test accuracy in % at the best validation step: mean ± standard deviation over seeds (number of seeds).
† One seed, or equal ones: the binomial standard error of the test set instead. **Bold**: the data cannot distinguish
the cell from the best of its column (Welch's t test, Holm's correction, level {LEVEL:.0%}). For one seed the test only
has the error †. Seeds differ by more, so such a cell may be bold by chance. The first rows are rules without learning
on the same test set. A mechanism that is not clearly above them has learned no more than these rules. Converged: runs
that are at least three standard errors above chance. Only rows with all five tasks have an average, with its standard
error."""

CONTROLS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("elfatt", "elfatt", {}),
    ("block-only", "elfatt", {"global_share": 0.0}),
    ("softmax + conv", "softmax", {"local_conv": True}),
    ("efficient + conv", "efficient", {"local_conv": True}),
    ("softmax", "softmax", {}),
    ("efficient", "efficient", {}),
)
WHY_CONTROLS = """elfatt has a convolution of V beside its two kinds of heads. For a fair comparison, its controls
have one too."""

FACT = 10_000  # the most characters of one line below a table
GROWTH = "Time and memory against length"
ABOUT_GROWTH = """The standard model on full sequences. Each line has the points of one benchmark, the one with most
lengths. Both axes are logarithmic: growth with N^p is a straight line of slope p, which is fitted by least squares.
Time is the median step. Memory is its peak with weights and optimiser. Both are divided by the examples of the batch.
Longer sequences have smaller batches, so fixed costs weigh more there. A benchmark of a slower or faster hour is
scaled by softmax, which both hours have timed. Without softmax in it, its times are shown as they are."""

PUBLISHED = (
    "Copied from papers and repositories, digit for digit. None of them is in one of our columns. No two of these "
    "tables share a protocol in every detail, so compare numbers inside a table."
)
FAMILIES = {
    "google": "the Long Range Arena's own code: sizes differ by task and attention",
    "small": "2 layers, 64 wide, 2 heads for every task; the family of our `standard`",
    "ssm": "state-space recipes: larger models, much longer training",
    "mixed": "rows of several protocols",
    "unknown": "not stated",
}


def page(
    boards: Sequence[Board],
    published: Sequence[Table],
    pictures: dict[str, dict[str, str]],
    searched: Sequence[Searched] = (),
) -> str:
    """The whole page. `pictures` maps a preset, or "" for all, to {file: alternative text}."""
    first, *others = boards
    parts = [HEAD, *_section(first, pictures.get(first.preset, {}), published, LEGEND)]
    parts += _throughput(first.speeds, pictures.get("", {}))
    for board in others:
        parts += _section(board, pictures.get(board.preset, {}), published)
    return "\n\n".join([*parts, *searches.section(searched), *_published(published)]) + "\n"


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
    """The text above the plots of time and memory."""
    assert speeds is not None, "growth is drawn from timings"
    return f"{ABOUT_GROWTH} All on one device: {in_markdown(speeds.device)}."


def controls(board: Board) -> list[tuple[str, Row | None]]:
    """The rows of elfatt and its controls, on each backend where elfatt was trained; None for a missing row."""
    found: list[tuple[str, Row | None]] = []
    for backend in sorted({row.backend for row in board.rows if row.name == "elfatt"}):
        for title, attn, changed in CONTROLS:
            words = overrides.defaults(attn) | changed
            fitting = [
                row
                for row in board.rows
                if (row.attn, row.backend, row.options) == (attn, backend, words)
                and not row.tuned
                and not any(word.startswith(("--model.", "--train.")) for word in row.words)
            ]
            found.append((title, fitting[0]) if fitting else (f"{title} ({backend}, not run)", None))
    return found


def facts(board: Board) -> list[str]:
    """Facts about a table: its data, devices, versions, searches, and laws that its mechanisms do not keep."""
    found = [
        f"{label}: {column.examples:,} test examples. Validation: {column.validation}. Data: {column.data_hash[:8]}"
        for label, column in zip(labels(board), board.columns, strict=True)
    ]
    for name, values in origins([run for row in board.rows for run in row.runs]).items():
        found.append(f"{name}: {'; '.join(values)}")
    return found + _searches(board) + _laws(board)


def _searches(board: Board) -> list[str]:
    """For each tuned row: the grid, the budget, and the choice for each column."""
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
    """Some fields of a run's training, such as learning_rate=0.001."""
    return [f"{name}={run.config['train'][name]}" for name in names]


def about_speeds(speeds: Speeds) -> str:
    """The text beside every table with speeds: the timed step and the device."""
    batches = " or ".join(f"{batch:,}" for batch in speeds.batches())
    others = f" Other devices, by `--device`: {'; '.join(map(in_markdown, speeds.others))}." if speeds.others else ""
    return (
        f"Device, the one with most bench records: {in_markdown(speeds.device)}. Each figure is the newest one. "
        f"At {speeds.length:,} tokens the batch is {batches}.{others}"
    )


def _laws(board: Board) -> list[str]:
    """The laws that a mechanism of this table does not keep, with the reasons of its card."""
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
        body = pipe_table(["model", *each.columns], ([name, *cells] for name, cells in each.rows.items()), left=1)
        notes = "".join(f" {note}" for note in each.notes)
        parts += [
            f"### {each.title}",
            f"{each.unit[:1].upper()}{each.unit[1:]}. Protocol: {each.protocol}. Source: {each.citation}. "
            f"{each.differs}{notes}",
            body,
        ]
    return parts
