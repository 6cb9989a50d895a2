"""Every table that a command prints fits 80 columns, with no name broken and no cell cut."""

from __future__ import annotations

import io
import re
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from rich.table import Table

import lra
from lra.bench import screen as bench_screen
from lra.bench.summary import summarize
from lra.cli import catalogue, evaluate
from lra.core.config import resolve
from lra.regression import report
from lra.regression.verdict import HELD, Verdict
from lra.sweep import choice, screen, tune
from lra.sweep.estimate import RunCost
from lra.sweep.items import Item
from lra.sweep.runner import Sweep
from lra.terminal.console import console, in_lines, new_table
from lra.training import screen as training
from lra.training.evaluation import Predictions
from lra.verification.command import table as checks
from lra.verification.findings import passed
from tests.bench_records import bench_record, timing
from tests.board_records import made
from tests.small import place

NAMES = (
    "retrieval-aan1818",
    "synthesizer",
    "@dot_product=true",
    "@kind=factorised-dense",
    "train.learning_rate=0.0003",
)
ATTN = "synthesizer@kind=factorised-dense@dot_product=true"
TITLE = f"retrieval-aan1818 · {ATTN} · torch · standard · train.learning_rate=0.0003"


def _record(seed: int = 0) -> lra.library.Record:
    options = {"kind": "factorised-dense", "dot_product": True}
    times = {
        "seconds": 98765.4,
        "samples_per_second": 12345.6,
        "parameters": 4_368_260,
        "peak_memory_bytes": 98 * 10**9,
    }
    record = made("retrieval-aan1818", "synthesizer", 0.5, seed, options=options, **times)
    return replace(record, references={"chance": 0.5, "earlier paper is more popular": 0.5})


def _plan() -> list[Table]:
    waits, fails = (Item(title=f"{TITLE} · seed {seed}", run=None, work=None) for seed in (0, 1))
    fails.title, fails.status, fails.why = fails.title.replace("0.0003", "0.0001"), "failed", "layout is 2d"
    return [screen.plan_table([waits, fails])]


def _running() -> list[Table]:
    items = [Item(title=f"{TITLE} · seed 0", run=None, work=None, status="running")]
    return [
        screen.SweepScreen(items, 1, "test").table(Sweep(items, place(Path("results")), _began={0: time.monotonic()}))
    ]


def _choice() -> list[Table]:
    base = resolve("retrieval-aan1818", ATTN, backend="torch", preset="standard")
    runs = tuple(choice.shortened(replace(base, train=replace(base.train, warmup=w)), 4) for w in (1, 2))
    names = ("learning_rate", "weight_decay", "kernel_decay")
    return [tune.choice_table(choice.Search(base=base, runs=runs, names=names), [_record(), None], 0)]


def _evaluated() -> list[Table]:
    found = Predictions(
        labels=np.zeros(4, np.int64),
        logits=np.ones((4, 2), np.float32),
        traits={"length": np.arange(4, dtype=np.int64)},
    )
    both = [evaluate.Scored(path=Path("a.json"), record=_record(seed), found=found) for seed in (0, 1)]
    return [evaluate.accuracies(both, TITLE, ""), evaluate.by_trait(both, "length")]


def _bench() -> list[Table]:
    cells = [timing(ATTN, length, [0.1, 0.2, 0.1], attn="synthesizer") for length in (100, 200)]
    record = bench_record(*cells, compare=[[ATTN, "softmax"], ["softmax", ATTN]])
    return bench_screen.tables(summarize(record))


def _checks() -> list[Table]:
    verdicts = [Verdict(cell=f"retrieval-aan1818-{ATTN}", test="throughput", status=HELD, expected="0.31", got="0.29")]
    return [checks(Path("results/runs/a.json"), [passed("first losses", "20 steps, " * 20)]), *report.tables(verdicts)]


TABLES: dict[str, Callable[[], list[Table]]] = {
    "list": lambda: [each() for each in catalogue.TABLES],
    "one run": lambda: [training.result_table(_record())],
    "mechanisms": lambda: [training.comparison_table([_record(), made("retrieval-aan1818", "softmax", 0.7)])],
    "seeds": lambda: [training.seeds_table([_record(), _record(1)])],
    "sweep, plan": _plan,
    "sweep, running": _running,
    "tune": _choice,
    "evaluate": _evaluated,
    "bench": _bench,
    "verify, check": _checks,
}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_fits_80_columns(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "_width", 80)
    for table in TABLES[name]():
        narrow, wide = (_printed(table, width) for width in (80, 400))
        assert max(map(len, narrow.splitlines())) <= 80
        # A cut cell has lost characters; a broken name stands in two lines.
        assert sorted(re.sub(r"[\W_]", "", narrow)) == sorted(re.sub(r"[\W_]", "", wide))
        cells = re.sub(r"[│\s]+", " ", narrow)
        assert [each for each in NAMES if each in wide and each not in cells] == []


def _printed(table: Table, width: int) -> str:
    shown = Console(file=io.StringIO(), width=width, markup=False, emoji=False)
    shown.print(table)
    assert isinstance(shown.file, io.StringIO)
    return shown.file.getvalue()


@pytest.mark.parametrize("width", [80, 400])
def test_brackets_are_printed_as_they_are(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A title, a heading, a cell and a caption, and the tables of commands that put other text into one."""
    monkeypatch.setattr(console, "_width", width)
    text = "a[jax] :x: [/b]"
    own = new_table(text, names=(text,), figures=(text,), texts=(text,))
    own.add_row(in_lines(text), text, text)
    own.caption = text
    planned = [Item(title=text, status="failed", why=text), Item(title="b", estimate=RunCost(source=text))]
    timed = bench_screen.tables(summarize(bench_record(timing(text, 100, [0.1, 0.2, 0.1], shape=text))))
    verified = checks(Path(text), [passed("layout", text)])
    for table, count in ((own, 8), (screen.plan_table(planned), 3), (timed[0], 2), (verified, 2)):
        with console.capture() as printed:
            console.print(table)
        assert "\\" not in printed.get()
        assert [printed.get().count(each) for each in ("a[jax]", ":x:", "[/b]")] == [count] * 3


def test_no_command_makes_another_kind_of_table() -> None:
    root = Path(lra.__file__).parent
    found = [
        str(path.relative_to(root))
        for path in root.rglob("*.py")
        if re.search(r"(?<![\w.])Table\(", path.read_text("utf-8"))
    ]
    assert found == ["terminal/console.py"]
