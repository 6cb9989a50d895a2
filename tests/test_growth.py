"""Time and memory against length: what the plots show is what a record, or those of one device, say."""

from __future__ import annotations

from pathlib import Path

import pytest
from bench_records import LENGTHS, bench_record, timing
from board_records import write_timing

from lra.bench.summary import summarize
from lra.plotting.figures import Growth, Picture
from lra.plotting.growth import growth, record_growth
from lra.plotting.plots import draw
from lra.scores import speeds


def shown(results: Path) -> dict[str, Picture]:
    return {each.name: each for each in growth(speeds.choose(speeds.read(results)[0]))}


def lines(picture: Picture) -> dict[tuple[str, str], Growth]:
    return {(line.name, line.backend): line for panel in picture.panels for line in panel.growths}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """elfatt grows linearly in both frameworks and softmax with the square, each timed at two lengths."""
    for length, times in ((1024, 1), (4096, 4)):
        for backend in ("torch", "jax"):
            write_timing(
                tmp_path, "elfatt", 0.1 * times, length=length, backend=backend, memory_bytes=times * 80_000_000
            )
        write_timing(tmp_path, "softmax", 0.1 * times**2, length=length, memory_bytes=times**2 * 80_000_000)
    return tmp_path


def test_values_are_of_one_example_with_quartiles_and_a_fitted_power(results: Path) -> None:
    pictures = shown(results)
    assert list(pictures) == ["growth-train-time", "growth-train-memory"]
    elfatt = lines(pictures["growth-train-time"])["elfatt", "torch"]
    assert elfatt.lengths == [1024, 4096]
    assert elfatt.values == pytest.approx([12.5, 50.0])  # ms: 0.1 s for 8 examples, then four times that
    assert all(low < value < high for low, value, high in zip(elfatt.low, elfatt.values, elfatt.high, strict=True))
    assert elfatt.exponent == pytest.approx(1)
    memory = lines(pictures["growth-train-memory"])
    assert memory["softmax", "torch"].values == pytest.approx([10.0, 160.0])  # MB
    assert memory["softmax", "torch"].exponent == pytest.approx(2)
    assert [panel.title for panel in pictures["growth-train-time"].panels] == ["elfatt", "softmax"]
    assert pictures["growth-train-time"].speed_label == "time of one example (ms), a GPU, float32, 2 heads of 32"


def test_options_have_a_line_of_their_own_in_their_mechanisms_panel(results: Path) -> None:
    for length in (1024, 4096):
        write_timing(results, "softmax", 0.2, options={"local_conv": True}, length=length)
    write_timing(results, "softmax", 0.2, options={"local_conv": True}, backend="jax")  # at one length: no line
    panel = shown(results)["growth-train-time"].panels[-1]
    assert [(line.name, line.backend) for line in panel.growths] == [
        ("softmax", "torch"),
        ("softmax --attn.local-conv", "torch"),
    ]


def test_a_line_is_of_the_record_with_most_lengths_and_of_these_the_newest(results: Path) -> None:
    write_timing(results, "elfatt", 0.01, length=1024, started="2026-06-01")  # a faster hour, and one length alone
    elfatt = lines(shown(results)["growth-train-time"])["elfatt", "torch"]
    assert elfatt.values == pytest.approx([12.5, 50.0])
    for length in (1024, 4096):
        write_timing(results, "elfatt", 0.01, length=length, started="2026-06-02")
    elfatt = lines(shown(results)["growth-train-time"])["elfatt", "torch"]
    assert elfatt.values == pytest.approx([1.25, 1.25])
    assert elfatt.crossing is None  # that record has no softmax


def test_a_record_of_a_slower_hour_is_shown_as_fast_as_that_of_the_baselines_line(tmp_path: Path) -> None:
    lengths = {"2026-01-01": (1024, 4096, 16384), "2026-06-01": (1024, 4096)}
    for (started, these), slower in zip(lengths.items(), (1, 3), strict=True):
        for length in these:
            write_timing(tmp_path, "softmax", slower * length / 1024, length=length, started=started)
    for length in (1024, 4096):
        write_timing(tmp_path, "linear", 3 * 0.5, length=length, started="2026-06-01")
    found = lines(shown(tmp_path)["growth-train-time"])
    assert found["softmax", "torch"].values == pytest.approx([125, 500, 2000])
    assert found["linear", "torch"].values == pytest.approx([62.5, 62.5])  # half of softmax's time, then an eighth
    write_timing(tmp_path, "flow", 0.5, length=2048, started="2026-06-01")
    write_timing(tmp_path, "flow", 0.5, length=4096, started="2026-06-01")
    found = lines(shown(tmp_path)["growth-train-time"])
    assert found["flow", "torch"].values == pytest.approx([62.5, 62.5]), "as timed: softmax was not timed at 2,048"


def test_another_device_and_what_was_not_measured_are_left_out(results: Path) -> None:
    for length in (1024, 4096):
        write_timing(results, "linear", 0.1, device="another", length=length)
    write_timing(results, "elfatt", 9.0, status="out of memory", samples=[], calls=[], length=16384)
    write_timing(results, "elfatt", 0.1, length=2048, memory_bytes=0)  # a peak that the meter did not see
    pictures = shown(results)
    assert {name for name, _ in lines(pictures["growth-train-time"])} == {"elfatt", "softmax"}
    assert lines(pictures["growth-train-time"])["elfatt", "torch"].lengths == [1024, 2048, 4096]
    assert lines(pictures["growth-train-memory"])["elfatt", "torch"].lengths == [1024, 4096]


def test_one_length_shows_no_growth_and_training_is_apart_from_inference(tmp_path: Path) -> None:
    assert growth(None) == []
    write_timing(tmp_path, "elfatt", 0.1)
    write_timing(tmp_path, "elfatt", 0.1, length=1024, what="infer")
    assert shown(tmp_path) == {}
    write_timing(tmp_path, "elfatt", 0.4, what="infer")
    assert list(shown(tmp_path)) == ["growth-infer-time", "growth-infer-memory"]


def test_where_a_line_meets_the_baselines_of_its_framework_it_is_marked(results: Path) -> None:
    write_timing(results, "elfatt", 0.2, length=1024)
    marked = {key: line.crossing for key, line in lines(shown(results)["growth-train-time"]).items() if line.crossing}
    assert list(marked) == [("elfatt", "torch")]
    # 25 ms that grow with the root of the length meet 12.5 ms that grow with its square.
    assert marked["elfatt", "torch"] == pytest.approx((1024 * 2 ** (2 / 3), 25 * 2 ** (1 / 3)))


def test_the_picture_of_one_record_has_its_time_and_below_it_its_memory() -> None:
    unseen = timing("linear", 100, [1e-3, 1e-3], memory_bytes=0)  # a peak that the meter did not see
    summary = summarize(bench_record(unseen))
    picture = record_growth(summary)
    time, memory = "time of one example (ms)", "memory of one example (MB)"
    assert [(panel.measure, panel.title) for panel in picture.panels] == [
        *((time, name) for name in ("elfatt", "linear", "softmax")),
        *((memory, name) for name in ("elfatt", "softmax")),
    ]
    (line,) = picture.panels[0].growths
    assert line.lengths == list(LENGTHS)
    assert line.values == pytest.approx([0.75, 1.5, 3.0])  # ms: 1.5 ms a step for two examples, and so on
    assert line.crossing == pytest.approx((150, 1.125))
    assert line.exponent == summary.scalings[0].time.exponent
    svg = draw(picture, ("svg",))["growth.svg"].decode()
    assert svg.count("<!-- elfatt -->") == 2
    assert "<!-- 150 -->" in svg


def test_it_is_drawn_the_same_twice_and_says_what_it_is(results: Path) -> None:
    picture = shown(results)["growth-train-time"]
    files = draw(picture)
    assert files == draw(picture)
    assert all(picture.digest.encode() in content for content in files.values())
    svg = files["growth-train-time.svg"].decode()
    assert "Time of one example against length: training step" in svg
    assert "prefers-color-scheme: dark" in svg
