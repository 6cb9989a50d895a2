"""The table of speeds: ratios within one benchmark, the newest figure, and what has none."""

from dataclasses import replace
from pathlib import Path

import pytest
from bench_records import bench_record, timing
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


def test_a_cell_that_ran_out_of_memory_says_so_until_it_is_timed(tmp_path: Path) -> None:
    (tmp_path / "bench").mkdir()
    lost = timing("mega", 200, [], status="out of memory", why="no memory", samples=[], calls=[], memory_bytes=None)
    record.save(bench_record(lost, what="train", started="2026-01-03"), tmp_path / "bench" / "a.json")

    def shown() -> dict[str, str]:
        found = speeds.choose(speeds.read(tmp_path)[0])
        assert found
        table = throughput(found)
        (row,) = (each for each in table.rows if each[0].text == "mega")
        return dict(zip(table.head, (cell.text for cell in row), strict=True))

    assert shown()["training examples/s at 200"] == "out of memory"
    assert shown()["training examples/s at 100"] == "–"  # not timed
    later = bench_record(timing("mega", 200, [0.004, 0.008, 0.004]), what="train", started="2026-01-04")
    record.save(later, tmp_path / "bench" / "b.json")
    assert shown()["training examples/s at 200"] == "500 (1.00×)"  # 2 examples in 4 ms, as softmax
