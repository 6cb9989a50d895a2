"""`bench --shape`: self-attention of models that people run, and one line for every shape that cannot be."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
import tyro
from bench_records import bench_record, timing
from rich.console import Console

from lra import backends
from lra.bench import parity, shapes
from lra.bench.plan import Plan, blueprint_of, make_plan
from lra.bench.record import BenchRecord
from lra.bench.screen import tables
from lra.bench.subjects import subject
from lra.bench.summary import summarize
from lra.bench.table import comma_separated, markdown
from lra.cli.bench import BenchFlags
from lra.core.errors import UserError
from lra.core.layout import built
from lra.plotting.growth import record_growth
from lra.plotting.plots import draw
from lra.terminal.flags import command_line

RIVALS = "softmax,flash,efficient,linear,agent,focused_linear"


def flags(*words: str) -> BenchFlags:
    return tyro.cli(BenchFlags, args=("--backend", "torch", *words))


def plan(*words: str) -> Plan:
    pytest.importorskip("torch")
    return make_plan(flags(*words), "cpu")


def test_a_shape_decides_tokens_heads_and_grid_and_elfatt_takes_windows() -> None:
    made = plan("--shape", "vit-s-224,vit-s-1024", "--attn", f"elfatt,{RIVALS}")
    assert {(cell.shape, cell.length, cell.batch) for cell in made.cells} == {
        ("vit-s-224", 14 * 14, 32_768 // 196),
        ("vit-s-1024", 64 * 64, 8),
    }
    assert {(cell.heads, cell.head_dim) for cell in made.cells} == {(6, 64)}
    elfatt = next(cell for cell in made.cells if cell.attn == "elfatt")
    assert elfatt.options == {"layout": "2d", "block_size": 64}
    assert blueprint_of(elfatt).dims.grid == (14, 14)
    assert {len(cell.options) for cell in made.cells if cell.attn != "elfatt"} == {0}
    assert [pair[0] for pair in made.compare] == [elfatt.label] * 6


@pytest.mark.parametrize(
    ("attn", "options"),
    [
        ("elfatt@block_size=49", {"layout": "2d", "block_size": 49}),
        ("elfatt@layout=1d", {"layout": "1d"}),
    ],
)
def test_a_chosen_window_or_layout_is_kept(attn: str, options: dict[str, Any]) -> None:
    assert plan("--shape", "swin-t-224", "--attn", attn).cells[0].options == options


def test_a_length_has_no_shape_and_no_grid() -> None:
    (cell,) = plan("--lengths", "64", "--attn", "linear").cells
    assert (cell.shape, blueprint_of(cell).dims.grid) == ("", None)


@pytest.mark.parametrize("name", shapes.SHAPES)
def test_every_shape_holds_its_tokens_and_those_of_the_check_before_the_clock(name: str) -> None:
    assert shapes.grid_of(name, shapes.SHAPES[name].tokens) == shapes.SHAPES[name].grid
    for tokens in (length for lengths in parity.LENGTHS.values() for length in lengths):
        grid = shapes.grid_of(name, tokens)
        assert grid is not None
        assert tokens <= np.prod(grid) < tokens + grid[1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--shape", "vit-s-225"), "unknown shape: did you mean 'vit-s-224'"),
        (("--shape", "vit-s-224,sd-512"), "these have different heads: time them in separate benchmarks"),
        (("--shape", "sd-512", "--what", "train"), "--shape is for --what attend, model, model-infer"),
        (("--what", "model"), "name its sizes, as --shape vit-s-224"),
        (
            ("--what", "model", "--shape", "sd-512", "--as", "standard", "--task", "text"),
            "model takes no step of a run",
        ),
        (("--shape", "sd-512", "--heads", "2"), "leave --heads and --head-dim out"),
        (("--shape", "sd-512", "--lengths", "64"), "leave --lengths out"),
        (("--shape", "sd-512,sd-1024", "--batch", "1,2,3"), "one for each of the 2 shapes"),
    ],
)
def test_a_shape_that_cannot_be_is_named(words: tuple[str, ...], said: str) -> None:
    with pytest.raises(UserError, match=re.escape(said)):
        flags(*words)


@pytest.mark.parametrize("backend", ["torch"])
def test_windows_equal_their_reference_and_are_timed_on_their_grid(backend: str) -> None:
    made = plan("--shape", "vit-s-224", "--attn", "elfatt", "--batch", "1", "--samples", "2")
    (cell,) = made.cells
    clock = backends.get_clock(backend, "cpu")
    found = parity.check(cell, clock)
    assert found["output"] <= found["output_bound"]
    assert found["gradient"] <= found["gradient_bound"]
    timed = subject(cell, clock)
    timed.load()
    out, gradients = timed.call()
    assert out.shape == (1, 196, 6, 64)
    assert set("qkv") <= gradients.keys()


def record() -> BenchRecord:
    found = [
        timing(name, length, [1.0, 1.0], shape=f"vit-s-{length}") for name in ("elfatt", "linear") for length in (3, 4)
    ]
    return bench_record(cells=found, compare=[["elfatt", "linear"]])


def test_every_table_and_picture_names_the_shape() -> None:
    summary = summarize(record())
    rows = list(csv.DictReader(io.StringIO(comma_separated(summary))))
    assert [(row["length"], row["shape"]) for row in rows] == 2 * [("3", "vit-s-3"), ("4", "vit-s-4")]
    drawn = draw(record_growth(summary), ("svg",))["growth.svg"].decode()
    assert "<!-- vit-s-3 -->" in drawn
    console = Console(width=200)
    with console.capture() as shown:
        for table in tables(summary):
            console.print(table)
    assert shown.get().count("3 (vit-s-3)") == 3  # two cells and their ratio


def test_a_record_tells_its_shapes_and_older_records_have_none() -> None:
    made = record()
    assert made.shapes == ["vit-s-3", "vit-s-4"]
    text = markdown(summarize(made))
    assert "vit-s-3, vit-s-4" in text
    assert "| tokens | shape | batch |" in text
    assert "| `linear` | torch | 4 | vit-s-4 | 2 |" in text
    assert "| elfatt (torch) | linear (torch) | 4 | vit-s-4 | 1.00 |" in text
    assert "shape" not in markdown(summarize(bench_record()))
    older = asdict(bench_record())
    for cell in (*older["cells"], *older["ceilings"]):
        del cell["shape"]
    assert built(BenchRecord, older) == bench_record()
    assert replace(made, cells=bench_record().cells).shapes == []


def test_the_command_of_a_record_names_the_shapes() -> None:
    assert command_line("bench", flags("--shape", "sd-512,sd-1024")).endswith("--shape sd-512,sd-1024")
