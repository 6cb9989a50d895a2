"""The table of speeds: ratios within one benchmark, the newest figure, a dash for what was not timed."""

from dataclasses import replace
from pathlib import Path

import pytest
from bench_records import bench_record
from board_records import write_timing

from lra.bench import record
from lra.scores import speeds
from lra.scores.throughput import throughput


@pytest.fixture
def rows(tmp_path: Path) -> dict[tuple[str, str], dict[str, str]]:
    """The table of a record with elfatt and softmax, and one with linear alone, by mechanism and backend."""
    (tmp_path / "bench").mkdir()
    values = bench_record(what="train", started="2026-01-03")
    record.save(values, tmp_path / "bench" / "pair.json")
    device = speeds.read(tmp_path)[0][0].device
    write_timing(tmp_path, "linear", 0.5, length=200, backend="torch")
    found = speeds.choose(
        [replace(each, device=device) for each in speeds.read(tmp_path)[0]]  # one machine for both records
    )
    assert found
    table = throughput(found)
    return {
        (row[0].text, row[1].text): dict(zip(table.head, (cell.text for cell in row), strict=True))
        for row in table.rows
    }


def test_ratios_are_within_a_record(rows: dict[tuple[str, str], dict[str, str]]) -> None:
    # 2 examples in 1.5 ms at 100 tokens, in 3 ms at 200; softmax in 1 ms and 4 ms: 2/3 and 4/3 as fast.
    elfatt = rows["elfatt", "torch"]
    assert elfatt["training examples/s at 100"].endswith("(0.67×)")
    assert elfatt["training examples/s at 200"].endswith("(1.33×)")
    assert rows["softmax", "torch"]["training examples/s at 200"].endswith("(1.00×)")


def test_a_record_without_softmax_has_no_ratio(rows: dict[tuple[str, str], dict[str, str]]) -> None:
    linear = rows["linear", "torch"]
    assert linear["training examples/s at 200"] == "16.0"  # 8 examples in half a second
    assert linear["training examples/s at 100"] == "–"
    assert linear["training MB an example at 200"] == "62.5"


def test_the_best_ratio_stands_first_and_no_ratio_last(rows: dict[tuple[str, str], dict[str, str]]) -> None:
    assert [name for name, _ in rows] == ["softmax", "elfatt", "linear"]


def test_a_row_says_which_code_was_timed(tmp_path: Path) -> None:
    (tmp_path / "bench").mkdir()
    for number, (lengths, commit) in enumerate([((100, 200), "1" * 40), ((200,), "2" * 40), ((200,), None)]):
        values = bench_record(
            what="train",
            started=f"2026-01-0{number + 1}",
            git={"commit": commit, "clean": None},
        )
        cells = [each for each in values.cells if each.length in lengths and (each.attn == "elfatt" or number < 2)]
        record.save(replace(values, cells=cells), tmp_path / "bench" / f"{number}.json")
    found = speeds.choose(speeds.read(tmp_path)[0])
    assert found
    table = throughput(found)
    commits = {row[0].text: row[table.head.index("commit")].text for row in table.rows}
    assert commits == {"softmax": "2222222, 1111111", "elfatt": "1111111"}
