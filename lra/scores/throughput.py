"""The table of speed and memory of every mechanism that was timed, trained or not."""

from __future__ import annotations

from pathlib import Path

from lra.bench.record import OUT_OF_MEMORY
from lra.bench.summary import BASELINE
from lra.scores.overrides import option_words
from lra.scores.speeds import RowSpeed, Speeds, TimedCell, What
from lra.scores.tables import NONE, Grid, TableText

TITLE = "Throughput"
STEPS: dict[What, str] = {"train": "training", "infer": "inference"}
ABOUT = f"""The standard model on full sequences. Cells have examples per second by the median step. In brackets is the
speed relative to `{BASELINE}`, round by round within one benchmark. Benchmarks were made at different hours, and the
machine is not always as fast, so compare the ratios. A ratio is of the code of its time: the last column has the
commits. Memory is the peak of a training step, divided by the examples of the batch. A dash was not timed. Rows are
sorted by framework, then by their ratio in training at the shortest length."""
COMMIT = 7  # digits of a commit's name

Column = tuple[What, int]


def throughput(speeds: Speeds) -> Grid:
    """A row for each mechanism, options and framework; a column for each kind of step at each length."""
    columns: list[Column] = [(what, length) for what in STEPS for length in _lengths(speeds, what)]
    memory = _lengths(speeds, "train")
    rows: dict[tuple[str, str, str], dict[Column, TimedCell]] = {}
    for each in (*speeds.timings, *speeds.exhausted):
        rows.setdefault(each.mechanism, {})[each.what, each.cell.length] = each
    ordered = sorted(rows.values(), key=lambda found: _order(found, columns))
    return Grid(
        title=f"{TITLE}: {speeds.device}",
        head=(
            "attention",
            "backend",
            *(f"{STEPS[what]} examples/s at {length:,}" for what, length in columns),
            *(f"training MB an example at {length:,}" for length in memory),
            "commit",
        ),
        rows=tuple(_row(found, columns, memory) for found in ordered),
    )


def timed_name(each: TimedCell) -> str:
    """The mechanism as a command line names it."""
    cell = each.cell
    return " ".join([Path(cell.attn).name, *option_words(cell.attn, cell.options)])


def _lengths(speeds: Speeds, what: What) -> list[int]:
    return sorted({each.cell.length for each in (*speeds.timings, *speeds.exhausted) if each.what == what})


def _order(found: dict[Column, TimedCell], columns: list[Column]) -> tuple:
    """The sort key: framework, then the ratio in the first column; rows without one come last."""
    one, any_of = found.get(columns[0]), next(iter(found.values()))
    ratio = one.over_baseline if isinstance(one, RowSpeed) else None
    speed = one.samples_per_second if isinstance(one, RowSpeed) else 0.0
    return any_of.cell.backend != "torch", ratio is None, -(ratio or 0.0), -speed, timed_name(any_of)


def _row(found: dict[Column, TimedCell], columns: list[Column], memory: list[int]) -> tuple[TableText, ...]:
    any_of = next(iter(found.values()))
    texts = [TableText(text=timed_name(any_of), style="code"), TableText(text=any_of.cell.backend)]
    texts += [TableText(text=_speed(found.get(column))) for column in columns]
    texts += [TableText(text=_memory(found.get(("train", length)))) for length in memory]
    return (*texts, TableText(text=_commits(list(found.values()))))


def _speed(each: TimedCell | None) -> str:
    if not isinstance(each, RowSpeed):
        return OUT_OF_MEMORY if each else NONE
    times = "" if each.over_baseline is None else f" ({each.over_baseline:.2f}×)"
    return f"{_digits(each.samples_per_second)}{times}"


def _memory(each: TimedCell | None) -> str:
    used = each.measured.example_bytes if isinstance(each, RowSpeed) else None
    return NONE if used is None else _digits(used / 1e6)


def _commits(timed: list[TimedCell]) -> str:
    """The commits that were timed, the newest first."""
    newest = sorted(timed, key=lambda each: each.started, reverse=True)
    return ", ".join(dict.fromkeys(each.commit[:COMMIT] for each in newest if each.commit)) or NONE


def _digits(value: float) -> str:
    """A number with three digits; whole numbers keep all digits."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:#.3g}"
