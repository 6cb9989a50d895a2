"""The page in a real browser, from a file: sorting, filtering, opening, hovering; phone, dark mode, paper."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from board_records import made, write, write_timing

import attention_impls
from lra.cli.main import main
from lra.scores.board import FIVE
from tests.browser import looks, start

selenium = pytest.importorskip("selenium")
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402

COMMAND = "python run_lra.py --task listops --attn elfatt --seed 1"
REASON = "its hashes are drawn anew in every call"
RUNS = tuple(f"run/{number:012}" for number in (1, 3, 4))
VIEWS = ("leaderboard", "mechanisms", "mechanism/reformer", "runs", *RUNS, "published", "run/none")
Open = Callable[..., None]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both presets, three seeds of elfatt, a control, JAX beside PyTorch, and speeds."""
    results = tmp_path_factory.mktemp("results")
    for seed, accuracy in enumerate((0.50, 0.52, 0.54)):
        write(made("listops", "elfatt", accuracy, seed, command=COMMAND, run_id=f"{seed:012}"), results)
    write(made("listops", "softmax", 0.40), results)
    write(made("listops", "softmax", 0.11, options={"local_conv": True}), results)
    write(made("text", "softmax", 0.6, backend="jax"), results)
    write(made("image", "linear", 0.3, run_id=f"{3:012}", timing="niced 19"), results)
    write(made("image", "linear", 0.2, 1, run_id=f"{4:012}"), results)
    for number, task in enumerate(FIVE):
        changes = {"source": "official"} if task in ("listops", "pathfinder") else {}
        write(made(task, "elfatt", 0.7 + 0.02 * number, preset="standard", data=changes), results)
    write_timing(results, "elfatt", 0.1)
    write_timing(results, "softmax", 0.3)
    write_timing(results, "elfatt", 0.02, length=1024)
    card = attention_impls.load("reformer").card
    off = replace(card, laws=replace(card.laws, deterministic=REASON))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("attention_impls.reformer.CARD", off)
        assert main(["report", "--results", str(results)]) == 0
    return results / "report.html"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    started = start(tmp_path_factory.mktemp("profile"))
    yield started
    started.quit()


@pytest.fixture
def visit(browser: Any, page: Path) -> Iterator[Open]:
    """Loads a view of the page anew; at the end no script may have complained."""

    def go(view: str = "leaderboard", **how: Any) -> None:
        looks(browser, **how)
        browser.get("about:blank")
        browser.get(f"{page.as_uri()}#{view}")
        settled(browser)

    yield go
    assert browser.get_log("browser") == []


def texts(browser: Any, selector: str) -> list[str]:
    """What the visible elements say."""
    found = browser.find_elements("css selector", selector)
    return [" ".join(each.text.split()) for each in found if each.is_displayed()]


def settled(browser: Any) -> None:
    """Waits until the view that the address names is there: a run is unpacked first."""
    shown = "return document.documentElement.dataset.shown === location.hash"
    WebDriverWait(browser, 10).until(lambda _: browser.execute_script(shown))


def choose(browser: Any, name: str, value: str) -> None:
    browser.find_element("css selector", f".view.on [name={name}] option[value='{value}']").click()


QUICK = "[data-preset=quick] [data-kind=rows]"


def test_a_click_on_a_heading_sorts_and_a_second_turns_it_round(browser: Any, visit: Open) -> None:
    visit()
    before = texts(browser, f"{QUICK} .references th")
    heading = browser.find_element("css selector", f"{QUICK} th[data-task=listops] button")
    orders = []
    for _ in range(2):
        heading.click()
        orders.append(texts(browser, f"{QUICK} .rows td[data-task=listops]"))
    assert [cell.split(" ")[0] for cell in orders[0]] == ["52.0", "40.0", "11.0", "–", "–"]
    assert [cell.split(" ")[0] for cell in orders[1]] == ["11.0", "40.0", "52.0", "–", "–"]
    assert browser.find_element("css selector", f"{QUICK} [aria-sort]").get_attribute("aria-sort") == "ascending"
    assert texts(browser, f"{QUICK} .references th") == before == [
        "chance no learning",
        "majority no learning",
        "best trivial rule no learning",
    ]  # fmt: skip
    browser.find_element("css selector", f"{QUICK} .heads button").click()
    assert texts(browser, f"{QUICK} .rows th")[0] == "elfatt"


def test_rows_columns_and_plots_are_filtered(browser: Any, visit: Open) -> None:
    visit()
    search = browser.find_element("css selector", "#leaderboard [name=text]")
    search.send_keys("local-conv")
    assert texts(browser, f"{QUICK} .rows th") == ["softmax --attn.local-conv"]
    assert texts(browser, "#leaderboard output") == ["1 of 6 rows"]
    search.clear()
    choose(browser, "backend", "jax")
    assert texts(browser, f"{QUICK} .rows .backend") == ["JAX"]
    choose(browser, "backend", "")
    choose(browser, "task", "text")
    assert texts(browser, f"{QUICK} .heads th[data-task] button") == ["Text"]
    assert texts(browser, f"{QUICK} .groups th") == ["Official data"]
    assert texts(browser, f"{QUICK} .rows th") == ["softmax"]
    assert texts(browser, "[data-preset=quick] .accuracy figcaption") == ["text v1 (official) bytes, at most 256"]
    choose(browser, "task", "")
    browser.find_element("css selector", "[name=preset]").send_keys("standard")
    assert texts(browser, "#leaderboard .preset h2") == ["Preset standard: 2 layers, 64 wide, 2 heads"]


def test_a_cell_opens_its_run(browser: Any, visit: Open) -> None:
    visit()
    browser.find_element("css selector", f"{QUICK} tr[data-text^='elfatt'] td[data-task=listops] a").click()
    settled(browser)
    assert texts(browser, ".view.on h1") == ["elfatt on ListOps"]
    assert "undertrained, not a ranking" in texts(browser, ".caution")[0]
    assert texts(browser, ".command code") == [COMMAND]
    assert {"steps", "learning rate", "block size", "width"} <= set(texts(browser, "#run dt"))
    assert len(browser.find_elements("css selector", "#run svg path.line")) == 4
    assert texts(browser, ".siblings a") == ["seed 1: 52.0 %", "seed 2: 54.0 %"]
    browser.find_element("css selector", ".siblings a").click()
    settled(browser)
    assert browser.current_url.endswith("#run/000000000001")
    browser.back()
    browser.back()
    settled(browser)
    assert texts(browser, ".view.on h1") == ["Leaderboard"]


def test_a_mechanism_has_its_equations_and_laws(browser: Any, visit: Open) -> None:
    visit()
    browser.find_element("css selector", f"{QUICK} a.name").click()
    settled(browser)
    assert browser.current_url.endswith("#mechanism/elfatt")
    assert texts(browser, ".view.on .equations .tag") == ["(global)", "(block)"]
    assert len(browser.find_elements("css selector", ".view.on .equations .line math mfrac")) == 1
    heights = [one.size["height"] for one in browser.find_elements("css selector", ".view.on .equations .line")]
    assert heights[1] > 1.3 * heights[0], "a fraction is drawn as one"
    assert set(texts(browser, ".view.on .state")) == {"holds"}
    assert len(texts(browser, ".view.on .runs li")) == 8
    visit("mechanism/reformer")
    assert texts(browser, ".view.on .laws .off") == [f"deterministic does not hold {REASON}"]
    assert len(texts(browser, ".view.on .laws .on")) == 7


def test_plots_tell_values_under_the_pointer(browser: Any, visit: Open) -> None:
    from selenium.webdriver import ActionChains

    visit()
    for selector, said in (
        ("[data-preset=quick] .accuracy .mark", "elfatt, PyTorch\n52.0 ± 2.0 %, 3 seeds"),
        ("[data-preset=quick] .curves .area", "step"),
        ("[data-preset=quick] .front .mark", "samples/s\n500 MB peak"),
        ("[data-preset=standard] .bubbles .mark", "elfatt, PyTorch\n74.0"),
        (".growth .area", "4,096 tokens\nelfatt, PyTorch: 12.5 (11.5–"),
    ):
        mark = browser.find_element("css selector", selector)
        browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", mark)
        aside = 40 if "growth" in selector else 0  # nearer to one length than to the other
        ActionChains(browser).move_to_element_with_offset(mark, aside, 0).perform()
        assert said in browser.find_element("css selector", "#tip").text, selector
    units = {each.text for each in browser.find_elements("css selector", "svg .axis") if each.is_displayed()}
    assert {"test accuracy, %", "validation accuracy, %", "training step"} <= units
    assert "training samples/s at 4,096 tokens, log scale" in units
    assert "time of one example (ms), log scale" in units
    assert "∝ N^1.16" in texts(browser, ".growth .key")[0]
    assert any("Timed on a GPU, float32" in text for text in texts(browser, ".legendline"))


def test_a_phone_shows_every_view_without_scrolling_sideways(browser: Any, visit: Open) -> None:
    for view in VIEWS:
        visit(view, width=390)
        wide = browser.execute_script("return document.documentElement.scrollWidth")
        assert wide <= 390, view
        smallest = browser.execute_script(
            "return Math.min(...[...document.querySelectorAll('.view.on *')].filter((e) => e.childElementCount === 0 &&"
            " e.textContent.trim() && e.getClientRects().length).map((e) => parseFloat(getComputedStyle(e).fontSize) *"
            " (e.ownerSVGElement ? e.ownerSVGElement.getScreenCTM().a : 1)))"
        )
        assert smallest >= 9.5, view
    visit(width=390)
    choose_sort = browser.find_element("css selector", "#leaderboard [name=sort]")
    choose_sort.send_keys("ListOps")
    cells = texts(browser, f"{QUICK} .rows td[data-task=listops]")
    assert [cell.split(" ")[0] for cell in cells] == ["52.0", "40.0", "11.0"]


def test_rows_are_drawn_as_they_come_into_sight(browser: Any, tmp_path: Path) -> None:
    for seed in range(250):
        write(made("listops", "elfatt", 0.3 + seed / 1000, seed, run_id=f"{seed:012}"), tmp_path, f"{seed}.json")
    assert main(["report", "--results", str(tmp_path)]) == 0
    looks(browser)
    browser.get(f"{(tmp_path / 'report.html').as_uri()}#runs")
    settled(browser)
    drawn = "return document.querySelectorAll('.view.on .rows tr, .view.on .runs li').length"
    assert browser.execute_script(drawn) == 100
    wait = WebDriverWait(browser, 10)
    for count in (200, 250):
        browser.execute_script("scrollTo(0, document.body.scrollHeight)")
        wait.until(lambda _, count=count: browser.execute_script(drawn) == count)
    heading = browser.find_element("css selector", "#runs .heads th:nth-child(6) button")
    heading.click()
    assert browser.find_element("css selector", "#runs .rows td[data-label^='test accuracy']").text == "54.9 ± 1.1"
    browser.find_element("css selector", "#runs [name=text]").send_keys("seed 17")
    assert texts(browser, "#runs output") == ["13 of 250 rows"]
    browser.get(f"{(tmp_path / 'report.html').as_uri()}#mechanism/elfatt")
    settled(browser)
    assert browser.execute_script(drawn) == 100


CONTRASTS = """
const channel = (c) => (c /= 255) <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4;
const light = (text) => text.match(/[0-9.]+/g).slice(0, 3).map(channel).reduce((sum, c, i) => sum + c * [.2126, .7152, .0722][i], 0);
const back = light(getComputedStyle(document.body).backgroundColor);
const contrast = (one, other) => (Math.max(one, other) + .05) / (Math.min(one, other) + .05);
const least = (selector, what) => Math.min(
  ...[...document.querySelectorAll(selector)].map((each) => contrast(light(getComputedStyle(each)[what]), back)));
return [back, least("h1, p, small, td[data-value], a", "color"), least("svg text", "fill"), least(".mark, .line", "stroke")];
"""  # noqa: E501


@pytest.mark.parametrize(
    ("how", "dark"),
    [({"scheme": "light"}, False), ({"scheme": "dark"}, True), ({"scheme": "dark", "media": "print"}, False)],
    ids=["light", "dark", "print"],
)
def test_text_and_plots_stand_out_in_light_in_dark_and_on_paper(
    how: dict[str, str], dark: bool, browser: Any, visit: Open
) -> None:
    visit(**how)
    back, text, labels, marks = browser.execute_script(CONTRASTS)
    assert (back < 0.05) is dark
    assert min(text, labels) >= 4.5  # of the Web Content Accessibility Guidelines, for text; 3 for graphics
    assert marks >= 3
    assert bool(texts(browser, "nav")) is ("media" not in how)


def test_nothing_is_fetched_and_what_is_unknown_says_so(browser: Any, visit: Open) -> None:
    for view in VIEWS:
        visit(view)
        fetched = browser.execute_script("return performance.getEntriesByType('resource').map((each) => each.name)")
        assert [name for name in fetched if not name.startswith("data:")] == []
        assert len(texts(browser, ".view.on")) == 1
    assert texts(browser, ".view.on h1") == ["Nothing here"]
