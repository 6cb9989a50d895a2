"""Plots: what they show, that they follow light and dark mode, and that nothing else gets into their bytes."""

from __future__ import annotations

import io
from itertools import pairwise
from pathlib import Path
from typing import Literal
from xml.etree import ElementTree

import numpy as np
import pytest
from board_records import made, write_timing
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from PIL import Image

from lra.plotting.figures import Panel, Picture, PlotPoint, pareto, pictures, speed_of
from lra.plotting.plots import draw
from lra.plotting.speed import fronts, name_points
from lra.plotting.style import COLOURS, DARK, INK, MUTED, PAPER
from lra.scores import speeds
from lra.scores.board import FIVE, boards


@pytest.fixture(scope="module")
def every(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Picture]:
    """Every kind of picture, by its name."""
    folder = tmp_path_factory.mktemp("results")
    records = [made(task, "elfatt", 0.60 + 0.01 * seed, seed) for task in FIVE for seed in range(3)]
    records += [made(task, "softmax", 0.55) for task in FIVE]
    records += [made("listops", "softmax", 0.5, backend="jax"), made("pathfinder", "linear", 0.5)]
    write_timing(folder, "elfatt", 0.1, memory_bytes=200_000_000)
    write_timing(folder, "softmax", 0.4)
    return {each.name: each for each in pictures(boards(records, speeds.choose(speeds.read(folder)[0])))}


def luminance(colour: str) -> float:
    """Relative luminance by WCAG 2."""
    parts = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in to_rgb(colour)]
    return float(np.dot(parts, [0.2126, 0.7152, 0.0722]))


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_every_kind_is_there(every: dict[str, Picture]) -> None:
    curves = {f"curves-quick-{task}" for task in FIVE}
    assert set(every) == {"accuracy-quick", "front-quick", "bubbles-quick"} | curves


def test_without_bench_records_there_are_no_plots_of_speed() -> None:
    found = pictures(boards([made("listops", "elfatt", 0.5)], None))
    assert [each.kind for each in found] == ["accuracy", "curves"]


def test_points_and_bands_are_the_records(every: dict[str, Picture]) -> None:
    panel = every["accuracy-quick"].panels[0]
    found = {(point.name, point.backend): point for point in panel.points}
    assert found[("elfatt", "torch")].accuracy == pytest.approx(61)
    assert found[("elfatt", "torch")].error == pytest.approx(1)
    assert panel.references == {"chance": 10.0, "rule": pytest.approx(12)}
    chance = {(p.name, p.at_chance) for p in every["accuracy-quick"].panels[-1].points}
    assert chance == {("elfatt", False), ("softmax", False), ("linear", True)}
    line = every["curves-quick-listops"].panels[0].lines[0]
    assert line.mean[-1] == pytest.approx(61)
    assert line.spread[-1] == pytest.approx(1)
    assert line.steps == [200, 400, 600]


def test_the_front_holds_what_nothing_beats() -> None:
    def point(name: str, speed: float | None, accuracy: float) -> PlotPoint:
        return PlotPoint(
            name=name, backend="torch", accuracy=accuracy, error=0.0, seeds=1, at_chance=False, speed=speed
        )

    points = [point("fast", 9.0, 50.0), point("good", 1.0, 70.0), point("both", 5.0, 60.0), point("less", 4.0, 55.0)]
    points += [point("slower twin", 3.0, 60.0), point("untimed", None, 99.0)]
    assert [each.name for each in pareto(points)] == ["good", "both", "fast"]


def test_a_difference_within_the_error_does_not_fill_a_plot(tmp_path: Path) -> None:
    records = [made("listops", "elfatt", 0.369), made("listops", "softmax", 0.367)]
    for name, seconds in (("elfatt", 0.1), ("softmax", 0.3)):
        write_timing(tmp_path, name, seconds)
    found = pictures(boards(records, speeds.choose(speeds.read(tmp_path)[0])))
    (axes,) = fronts(next(each for each in found if each.kind == "front")).axes
    low, high = axes.get_ylim()
    assert low < 36.7 < 36.9 < high
    assert high - low >= 5


@pytest.mark.filterwarnings("error")
def test_a_long_name_leaves_the_plot_its_width() -> None:
    model, train = {"width": 128, "depth": 4}, {"steps": 6000, "batch_size": 50, "warmup": 600}
    (board,) = boards([made("listops", "softmax", 0.5, model=model, train=train)], None)
    assert len(board.rows[0].name) > 60
    draw(pictures([board])[0])  # a layout without room for the plot is a warning


def test_bytes_depend_on_what_is_shown_and_not_on_the_users_settings(every: dict[str, Picture]) -> None:
    picture = every["accuracy-quick"]
    first = draw(picture)
    with rc_context({"font.size": 30, "axes.facecolor": "red", "svg.fonttype": "none"}):
        assert draw(picture) == first
    for content in first.values():
        assert picture.digest.encode() in content
    assert draw(every["curves-quick-listops"]).keys() == {"curves-quick-listops.svg", "curves-quick-listops.png"}


def test_a_digest_changes_with_a_number() -> None:
    one, other = (pictures(boards([made("listops", "elfatt", value)], None))[0] for value in (0.5, 0.51))
    assert one.digest != other.digest


@pytest.mark.parametrize("name", ["accuracy-quick", "bubbles-quick", "front-quick"])
def test_an_svg_is_whole_titled_and_follows_dark_mode(name: str, every: dict[str, Picture]) -> None:
    svg = draw(every[name])[f"{name}.svg"].decode()
    root = ElementTree.fromstring(svg)
    assert every[name].title in [element.text for element in root.iter() if element.tag.endswith("title")]
    assert "prefers-color-scheme: dark" in svg
    styles = " ".join(element.get("style", "") for element in root.iter())
    for ink in (PAPER, INK, MUTED):
        assert f"fill: {ink}" in styles
        assert f"[style*='fill: {ink}']" in svg
    known = {colour.lower() for colour in [*DARK, *COLOURS.values()]}
    used = {word.strip(";").lower() for word in styles.split() if word.startswith("#")}
    assert used <= known, "a colour that no rule turns and that was not chosen for both backgrounds"


def test_a_png_is_light_and_not_empty(every: dict[str, Picture]) -> None:
    image = Image.open(io.BytesIO(draw(every["bubbles-quick"])["bubbles-quick.png"])).convert("RGB")
    assert image.getpixel((2, image.height - 2)) == tuple(round(255 * part) for part in to_rgb(PAPER))
    pixels = np.asarray(image).reshape(-1, 3)
    orange = np.abs(pixels - 255 * np.array(to_rgb(COLOURS["torch"]))).max(axis=1) < 60
    assert orange.sum() > 500


def test_colours_stand_out_from_light_and_dark_paper() -> None:
    for colour in COLOURS.values():
        assert min(contrast(colour, PAPER), contrast(colour, DARK[PAPER])) > 3
    for ink in (INK, MUTED):
        assert min(contrast(ink, PAPER), contrast(DARK[ink], DARK[PAPER])) > 4.5


@pytest.mark.parametrize("kind", ["front", "bubbles"])
def test_names_of_many_points_cover_no_point_no_name_and_stay_inside(kind: Literal["front", "bubbles"]) -> None:
    rng = np.random.default_rng(0)
    looks = {"error": 0.0, "seeds": 1, "at_chance": False}
    points = [
        PlotPoint(
            name=f"mechanism_{i}", backend="jax" if i % 3 == 0 else "torch", accuracy=float(rng.normal(50, 2)),
            speed=float(np.exp(rng.normal(3, 0.6))), memory=float(rng.uniform(50, 1000)), **looks,
        )
        for i in range(30)
    ]  # fmt: skip
    axes, boxes = named(points, kind)
    assert len(boxes) == 30
    assert not [1 for i, one in enumerate(boxes) for other in boxes[:i] if one.shrunk(0.98, 0.98).overlaps(other)]
    dots = [axes.transData.transform((speed_of(point), point.accuracy)) for point in points]
    assert not [1 for box in boxes for x, y in dots if box.contains(x, y)]
    inside = axes.get_window_extent().padded(1)
    assert all(inside.contains(box.x0, box.y0) and inside.contains(box.x1, box.y1) for box in boxes)


def test_no_name_lies_on_the_front() -> None:
    looks = {"backend": "torch", "error": 0.0, "seeds": 1, "at_chance": False, "memory": 100.0}
    places = {"softmax": (7.5, 76.2), "linear": (40.0, 76.0), "efficient": (90.0, 75.5)}
    points = [PlotPoint(name=name, speed=speed, accuracy=height, **looks) for name, (speed, height) in places.items()]
    axes, boxes = named(points, "front")
    corners = [axes.transData.transform(place) for place in places.values()]
    line = [start + share * (end - start) for start, end in pairwise(corners) for share in np.linspace(0, 1, 200)]
    assert not [1 for box in boxes for x, y in line if box.contains(x, y)]


def named(points: list[PlotPoint], kind: Literal["front", "bubbles"]) -> tuple[Axes, list[Bbox]]:
    """The panel of these points once their names are written, and where those are without the lines to them."""
    picture = Picture(
        kind=kind, name="named", preset="quick", title="", subtitle="", caption="", speed_label="speed, device",
        panels=[Panel(title="panel", points=points)],
    )  # fmt: skip
    figure = fronts(picture)
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    name_points(figure, picture)
    (axes,) = figure.axes
    return axes, [Text.get_window_extent(text) for text in axes.texts]
