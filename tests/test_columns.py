"""Tables and help at 80 columns: names are whole, and the common options come first."""

from __future__ import annotations

import pytest

import attention_impls
import tasks
from lra.bench.screen import tables
from lra.bench.summary import summarize
from lra.cli.main import VERBS, main
from lra.terminal.console import console
from lra.training.screen import comparison_table
from tests.bench_records import bench_record, timing
from tests.board_records import made

NARROW = 80
LONGEST = "focused_linear"
FIRST = ("--task", "--attn", "--preset", "--backend", "--seeds", "--resume")


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "_width", NARROW)
    monkeypatch.setenv("COLUMNS", str(NARROW))


def words(text: str) -> set[str]:
    """What stands between the lines of tables."""
    return set(text.replace("│", " ").replace("┃", " ").split())


@pytest.mark.usefixtures("narrow")
def test_a_list_has_whole_names(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    text = capsys.readouterr().out
    assert {*tasks.names(), *attention_impls.names()} - words(text) == set()
    assert max(map(len, text.splitlines())) <= NARROW


@pytest.mark.usefixtures("narrow")
def test_a_benchmark_has_whole_names_and_options(capsys: pytest.CaptureFixture[str]) -> None:
    record = bench_record(*(timing(f"{LONGEST}@block_size=16", n, [0.1234567] * 3) for n in (1024, 16384)))
    for table in tables(summarize(record)):
        console.print(table)
    assert {LONGEST, "@block_size=16"} <= words(capsys.readouterr().out)


@pytest.mark.usefixtures("narrow")
def test_a_comparison_has_whole_names(capsys: pytest.CaptureFixture[str]) -> None:
    records = [made("listops", attn, 0.4, seconds=12345.6, peak_memory_bytes=10**10) for attn in (LONGEST, "softmax")]
    console.print(comparison_table(records))
    assert {LONGEST, "softmax"} <= words(capsys.readouterr().out)


@pytest.mark.usefixtures("narrow")
def test_help_names_every_command_and_the_common_options_first(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= NARROW
    assert all(f"\n  {name} " in text for name in VERBS if name != "train")
    assert "docs/pages/index.md" in text
    places = [text.index(f" {flag}") for flag in (*FIRST, "--data.", "--attn.", "--model.", "--train.")]
    assert places == sorted(places)
