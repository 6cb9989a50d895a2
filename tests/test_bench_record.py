"""What is computed from the samples of a benchmark, and the tables and the picture that show it."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from bench_records import LENGTHS, bench_record, timing

from lra.bench.record import OUT_OF_MEMORY, load, save
from lra.bench.statistics import Crossover, Curve, Spread, crossover, exponent, spread, unstable
from lra.bench.summary import Measured, step_seconds, summarize
from lra.bench.table import comma_separated, growth_rows, markdown, notes
from lra.cli.bench import BenchFlags, bench
from lra.core.errors import UserError


def test_spread_is_the_median_and_the_quartiles() -> None:
    assert spread([5.0, 1.0, 2.0, 4.0, 3.0]) == Spread(median=3.0, low=2.0, high=4.0)


def test_ratios_are_taken_round_by_round_so_that_drift_cancels() -> None:
    ratios = summarize(bench_record()).ratios
    assert [each.length for each in ratios] == list(LENGTHS)
    for each in ratios:
        assert each.rounds == pytest.approx([each.length / 150] * 3)  # the slow second round shows in neither
        assert each.spread.high - each.spread.low == pytest.approx(0, abs=1e-12)


def test_frameworks_are_compared_mechanism_by_mechanism() -> None:
    other = timing("elfatt", 100, [0.75e-3, 1.5e-3, 0.75e-3], backend="jax")
    ratios = summarize(bench_record(other, compare=[["jax", "torch"]])).ratios
    assert [(each.first, each.second) for each in ratios] == [("elfatt (jax)", "elfatt (torch)")]
    assert ratios[0].rounds == pytest.approx([2.0] * 3)


def test_a_cell_without_a_figure_is_in_no_ratio_and_no_series() -> None:
    lost = timing("elfatt", 800, [], status=OUT_OF_MEMORY, why="none left")
    slow = timing("softmax", 800, [0.1, 0.1, 0.1])
    summary = summarize(bench_record(lost, slow))
    assert 800 not in [each.length for each in summary.ratios]
    assert [(each.cell.label, each.time.lengths) for each in summary.scalings] == [
        ("elfatt", LENGTHS),
        ("softmax", (*LENGTHS, 800)),
    ]


@pytest.mark.parametrize(
    ("samples", "said"),
    [
        ([0.2, 0.2, 0.2, 0.21], None),
        ([0.2, 0.3, 0.2, 0.3], "the standard deviation is 23% of the mean"),
        ([0.2] * 20 + [0.32], "the slowest sample is 56% off the mean"),
        ([0.2] * 40 + [0.09], "the fastest sample is 54% off the mean"),
        ([0.0009, 0.0009], "less than 1 ms"),
        ([0.2], "a single sample"),
    ],
)
def test_unstable_samples_are_named_by_the_rules_of_pyperf(samples: list[float], said: str | None) -> None:
    found = "; ".join(unstable(samples, shortest=min(samples)))
    assert found == "" if said is None else said in found


def test_samples_of_different_numbers_of_calls_are_compared_by_call() -> None:
    cell = timing("elfatt", 100, [1e-3, 1e-3], samples=[0.2, 0.4], calls=[200, 400], steps=2)
    assert step_seconds(cell) == pytest.approx([0.5e-3, 0.5e-3])
    assert Measured(cell=cell).warnings == []


def test_exponent_is_the_slope_on_logarithmic_axes() -> None:
    assert exponent([100, 200, 800], [7 * n**1.7 for n in (100, 200, 800)]) == pytest.approx(1.7)
    assert exponent([100], [1.0]) is None
    assert exponent([100, 200], [0.0, 1.0]) is None


def test_crossover_is_where_the_lines_between_the_points_meet() -> None:
    def curve(seconds: dict[int, float]) -> Curve:
        return Curve(lengths=tuple(seconds), values=tuple(seconds.values()))

    theirs = {n: 1e-3 * (n / 100) ** 2 for n in LENGTHS}
    ours = curve({n: 1.5e-5 * n for n in LENGTHS})
    found = crossover(ours, curve(theirs))
    assert found is not None
    assert found.kind == "at"
    assert found.length == pytest.approx(150)
    assert ours.at(found.length) == pytest.approx(curve(theirs).at(found.length)) == pytest.approx(2.25e-3)
    below, above = Crossover(kind="below", length=100.0), Crossover(kind="above", length=400.0)
    assert crossover(curve({n: 0.5 * theirs[n] for n in LENGTHS}), curve(theirs)) == below
    assert crossover(curve({n: 2 * theirs[n] for n in LENGTHS}), curve(theirs)) == above
    assert crossover(curve({n: theirs[n] / (2 if n == 100 else 0.5) for n in LENGTHS}), curve(theirs)) == above
    assert crossover(curve({50: 1.0}), curve(theirs)) is None


def test_what_is_achieved_stands_beside_the_ceilings_of_the_run() -> None:
    summary = summarize(bench_record())
    got = summary.cells[0]  # 1.5 ms a step for two examples, a million operations and ten thousand bytes
    assert got is not None
    assert (summary.ceilings.product, summary.ceilings.copy) == (pytest.approx(1e10), pytest.approx(4e7))
    assert got.examples_per_second == pytest.approx(2 / 1.5e-3)
    assert got.example.median == pytest.approx(0.75e-3)
    assert got.example_bytes == pytest.approx(50_000)
    assert got.share_of_product == pytest.approx(1e6 / 1.5e-3 / 1e10)
    assert got.share_of_copy == pytest.approx(1e4 / 1.5e-3 / 4e7)
    assert got.share_of_limit == got.share_of_copy


def test_an_uncounted_mechanism_has_bytes_only() -> None:
    got = summarize(bench_record(timing("mine", 100, [1e-3, 1e-3], flop=None))).cells[-1]
    assert got is not None
    assert got.flop_per_second is None
    assert got.share_of_product is None
    assert got.share_of_limit == got.share_of_copy


def test_a_mechanism_without_counted_operations_divides_nothing() -> None:
    cells = [timing("mine", length, [1e-3, 1e-3], flop=0) for length in (100, 200)]
    summary = summarize(bench_record(*cells))
    got = summary.cells[-1]
    assert got is not None
    assert (got.flop_per_second, got.share_of_product) == (0, 0)
    assert got.share_of_limit == got.share_of_copy
    assert "mine" in markdown(summary)
    assert [row["flop"] for row in csv.DictReader(io.StringIO(comma_separated(summary)))][-2:] == ["0", "0"]


def test_memory_that_was_not_seen_is_left_out_of_its_growth() -> None:
    unseen = [timing("linear", n, [1e-3, 1e-3], memory_bytes=seen) for n, seen in ((100, 0), (200, None), (400, 8))]
    found = summarize(bench_record(*unseen)).scalings[-1]
    assert found.time.lengths == LENGTHS
    assert (found.memory.lengths, found.memory.values, found.memory.exponent) == ((400,), (4.0,), None)


def test_the_report_says_what_a_reader_has_to_know() -> None:
    lost = timing("flash", 400, [], status=OUT_OF_MEMORY, why="none left")
    noisy = timing("linear", 100, [1e-3, 2e-3, 1e-3])
    text = markdown(summarize(bench_record(lost, noisy, complete=False)))
    for said in (
        "| `elfatt` | torch | 100 | 2 | 1.50 ! |",
        "| `flash` | torch | 400 | 2 | out of memory | — |",
        "| elfatt (torch) | softmax (torch) | 400 | 2.67 |",
        "| `elfatt` | torch | N^1.00 | N^1.00 | from about 150 tokens |",
        "| `softmax` | torch | N^2.00 |",
        "10 GFLOP/s (large matrix product)",
        "`flash` (torch, 400 tokens): out of memory: none left.",
        "`linear` (torch, 100 tokens) may be unstable: the standard deviation is 43% of the mean",
        "Stopped before the end",
        "Again: `python run_lra.py bench`",
    ):
        assert said in text, said
    assert "Busy machine" not in text


def test_a_busy_machine_is_named() -> None:
    around = bench_record().environment | {"timing": "niced 5; others took 1.2 of 2 cores"}
    said = "These times are no timing: niced 5; others took 1.2 of 2 cores."
    assert said in notes(summarize(bench_record(environment=around)))
    assert not [note for note in notes(summarize(bench_record())) if "timing" in note]
    del around["timing"]
    around |= {"busy_at_start": True, "load_at_start": 3.5}
    assert "Busy machine: load 3.5 when it began." in notes(summarize(bench_record(environment=around)))


def test_the_csv_has_every_cell_in_si_units() -> None:
    lost = timing("flash", 400, [], status=OUT_OF_MEMORY, why="none left")
    rows = list(csv.DictReader(io.StringIO(comma_separated(summarize(bench_record(lost))))))
    assert len(rows) == 2 * len(LENGTHS) + 1
    assert float(rows[0]["seconds_median"]) == pytest.approx(1.5e-3)
    assert float(rows[0]["flop_per_second"]) == pytest.approx(1e6 / 1.5e-3, rel=1e-5)
    assert (rows[-1]["status"], rows[-1]["seconds_median"]) == (OUT_OF_MEMORY, "")


def test_growth_needs_more_than_one_length() -> None:
    record = bench_record(timing("linear", 100, [1e-3, 1e-3]))
    assert {row[0] for row in growth_rows(summarize(record))} == {"elfatt", "softmax"}


def test_a_record_reads_back_and_another_layout_is_refused(tmp_path: Path) -> None:
    record = bench_record()
    save(record, tmp_path / "a.json")
    assert load(tmp_path / "a.json") == record
    values = json.loads((tmp_path / "a.json").read_text())
    (tmp_path / "b.json").write_text(json.dumps(values | {"more": 1}))
    (tmp_path / "c.json").write_text(json.dumps(values | {"schema": 99}))
    (tmp_path / "d.json").write_text("[")
    for name, said in (("b", "more"), ("c", "schema is 99"), ("d", "not the record of a benchmark")):
        with pytest.raises(UserError, match=said):
            load(tmp_path / f"{name}.json")


@pytest.mark.parametrize(
    ("place", "changes", "said"),
    [
        ((), {"heads": 0}, "heads is 0"),
        ((), {"dropout": 1.0}, "dropout is 1.0, expected less than 1"),
        (("cells", 0), {"batch": -2}, r"cells\[0\].batch is -2"),
        (("cells", 0), {"samples": [0.1, 0.1, -0.1]}, r"cells\[0\].samples\[2\] is -0.1, expected at least 0.0"),
        (("cells", 0), {"samples": [0.1]}, r"cell 0 \(elfatt\) is measured and has 1 samples and 3 calls"),
        (("cells", 1), {"samples": [], "calls": []}, r"cell 1 \(softmax\) is measured and has 0 samples"),
        (("cells", 1), {"calls": [10, 0, 10]}, r"cells\[1\].calls\[1\] is 0"),
        (("cells", 0), {"status": "fine"}, r"cells\[0\].status is 'fine', expected 'measured'"),
        (("cells", 0, "parity"), {"output": -1e-9}, r"cells\[0\].parity.output"),
        (("ceilings", 1), {"first_seconds": -1.0}, r"ceilings\[1\].first_seconds"),
        (("ceilings", 1), {"memory_bytes": -1}, r"ceilings\[1\].memory_bytes"),
        (("cells", 0), {"samples": [0.1, 0.1, float("nan")]}, "a number is NaN, expected a finite one"),
        (("environment",), {"load": float("inf")}, "a number is Infinity, expected a finite one"),
    ],
)
def test_what_cannot_have_been_measured_is_refused(
    place: tuple[Any, ...], changes: dict[str, Any], said: str, tmp_path: Path
) -> None:
    values = asdict(bench_record())
    part: Any = values
    for step in place:
        part = part[step]
    part |= changes
    (tmp_path / "a.json").write_text(json.dumps(values))
    with pytest.raises(UserError, match=rf"not the record of a benchmark.*{said}") as refused:
        load(tmp_path / "a.json")
    assert "\n" not in str(refused.value)


def test_a_record_that_would_be_refused_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is not written.*dropout is 2"):
        save(bench_record(dropout=2.0), tmp_path / "a.json")
    assert list(tmp_path.iterdir()) == []


def test_tables_and_picture_are_a_pure_function_of_the_record(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    save(bench_record(), path)
    made = []
    for _ in range(2):
        assert bench(BenchFlags(redraw=path)) == 0
        made.append({suffix: path.with_suffix(suffix).read_bytes() for suffix in (".md", ".csv", ".svg")})
    assert made[0] == made[1]
    assert b"elfatt" in made[0][".svg"]
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.csv", "a.json", "a.md", "a.svg"]


def test_no_picture_is_drawn_where_nothing_was_measured(tmp_path: Path) -> None:
    save(bench_record(cells=[]), tmp_path / "a.json")
    assert bench(BenchFlags(redraw=tmp_path / "a.json")) == 0
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.csv", "a.json", "a.md"]
