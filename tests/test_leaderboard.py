"""The command: files that are the records' and stay the same, views, and what it says of what it cannot read."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from board_records import made, put, write, write_few, write_timing

from lra.cli.main import main
from lra.core.environment import ROOT
from lra.scores.board import FIVE

GPU = "a GPU, float32, 2 heads of 32"
WRITTEN = (
    "leaderboard.csv",
    "LEADERBOARD.md",
    "CLAIMS.md",
    "plots/accuracy-quick.svg",
    "plots/curves-quick-listops.png",
)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A folder with elfatt of three seeds, softmax, and one of its controls, on ListOps."""
    return write_few(tmp_path)


def say(capsys: pytest.CaptureFixture[str], results: Path, *words: str, code: int = 0) -> str:
    """What the command prints, on both streams."""
    assert main(["leaderboard", "--results", str(results), *words]) == code
    told = capsys.readouterr()
    return told.out + told.err


def test_the_committed_files_are_what_the_committed_records_say(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["leaderboard", "--check"]) == 0, capsys.readouterr().err


def test_files_are_the_same_bytes_when_made_twice(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    say(capsys, results)
    first = {name: (results / name).read_bytes() for name in WRITTEN}
    command = [sys.executable, str(ROOT / "run_lra.py"), "leaderboard", "--results", str(results)]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    assert {name: (results / name).read_bytes() for name in WRITTEN} == first
    assert "7 files match the records" in say(capsys, results, "--check")


@pytest.mark.parametrize("name", WRITTEN)
def test_check_names_a_file_that_is_missing(name: str, results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    say(capsys, results)
    (results / name).unlink()
    assert f"stale: {name}: run run_lra.py leaderboard" in say(capsys, results, "--check", code=1)


def test_check_fails_after_a_new_record_and_after_an_edit(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    say(capsys, results)
    page = results / "LEADERBOARD.md"
    page.write_text(page.read_text().replace("52.0", "62.0"))
    assert "stale: LEADERBOARD.md:" in say(capsys, results, "--check", code=1)
    say(capsys, results)
    write(made("listops", "linear", 0.3), results)
    told = say(capsys, results, "--check", code=1)
    assert all(name in told for name in WRITTEN)


def test_a_plot_that_no_record_asks_for_is_stale_and_goes(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    say(capsys, results)
    for kind in ("svg", "png"):
        plot = results / "plots" / f"curves-quick-listops.{kind}"
        old = Path(shutil.copy(plot, plot.with_stem("curves-quick-text")))
        assert f"stale: plots/{old.name}:" in say(capsys, results, "--check", code=1)
        assert f"removed {old}" in say(capsys, results)
        assert not old.exists()


def test_plots_of_others_stay(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    say(capsys, results)
    plots = results / "plots"
    mine = [plots / name for name in ("mine.png", "mine.svg", "curves-mine.svg")]
    for path in mine:
        path.write_text("made by hand")
    copied = Path(shutil.copy(plots / "accuracy-quick.png", plots / "kept.png"))
    say(capsys, results, "--check")
    assert "removed" not in say(capsys, results)
    assert all(path.exists() for path in (*mine, copied))


def test_the_page_has_reference_rows_controls_and_published_numbers_apart(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    say(capsys, results)
    ours, theirs = (results / "LEADERBOARD.md").read_text().split("## Published numbers")
    lines = ours.splitlines()
    head = next(number for number, line in enumerate(lines) if line.startswith("| attention"))
    assert [line.split("|")[1].strip() for line in lines[head + 2 : head + 5]] == [
        "*chance*",
        "*majority*",
        "*best trivial rule*",
    ]
    assert "| **52.0 ± 2.0 (3)** |" in ours
    assert "| 40.0 ± 1.1† (1) |" in ours
    controls = ours.split("### ELFATT and its controls")[1]
    for row in (
        "| elfatt |",
        "| softmax + conv |",
        "| block-only (torch, not run) |",
        "| efficient + conv (torch, not",
    ):
        assert row in controls
    assert "36.37" in theirs
    assert "36.37" not in ours
    assert (
        "| ELFATT | leading in some non-vision tasks of the Long Range Arena | 1.2–2.3× over FlashAttention-2 |"
        in theirs
    )


def test_time_and_memory_against_length_stand_on_the_page_once_and_are_checked(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(made("listops", "softmax", 0.4, preset="standard"), results)
    for length in (1024, 4096):
        write_timing(results, "elfatt", 0.1, length=length)
    say(capsys, results)
    page = (results / "LEADERBOARD.md").read_text()
    section = page.split("## Time and memory against length")[1].split("## Published numbers")[0]
    assert f"All on one device: {GPU}." in section
    for name in ("growth-train-time.svg", "growth-train-memory.svg"):
        assert page.count(f"(plots/{name})") == section.count(f"(plots/{name})") == 1
        assert (results / "plots" / name).exists()
    (results / "plots" / "growth-train-time.svg").unlink()
    assert "stale: plots/growth-train-time.svg" in say(capsys, results, "--check", code=1)


def test_the_csv_has_statistics_speeds_and_origins(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_timing(results, "elfatt", 0.1)
    rows = list(csv.DictReader(io.StringIO(say(capsys, results, "--format", "csv"))))
    elfatt = next(row for row in rows if row["attention"] == "elfatt")
    by_end = {name.rpartition(": ")[2]: value for name, value in elfatt.items()}
    assert (by_end["mean"], by_end["std"], by_end["n"], by_end["converged"]) == ("52.0", "2.0", "3", "3")
    assert (by_end["training samples/s"], by_end["timed on"], by_end["timed at tokens"]) == ("80.0", GPU, "4096")
    assert (elfatt["device"], elfatt["versions"], elfatt["commit"]) == ("cpu a CPU", "torch 1.0", "0123456")
    assert rows[0]["attention"] == "(chance)"


def test_json_and_latex_hold_the_same_rows(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = json.loads(say(capsys, results, "--format", "json", "--relative-to", "softmax"))
    elfatt = next(row for row in rows if row["attention"] == "elfatt")
    label = "listops v1 (generated): 8–64 tokens, depth 4"
    assert elfatt[f"{label}: difference to softmax"] == pytest.approx(12)
    tex = say(capsys, results, "--format", "latex")
    assert r"\textbf{52.0 $\pm$ 2.0 (3)}" in tex
    assert r"softmax -{}-attn.local-conv" in tex
    assert tex.count(r"\begin{tabular}") == tex.count(r"\end{tabular}") == 1
    columns = tex.split(r"\begin{tabular}{")[1].split("}")[0]
    assert {line.count(" & ") for line in tex.splitlines() if line.endswith(r"\\")} == {len(columns) - 1}


def test_filters_print_and_write_nothing(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(made("text", "softmax", 0.6, backend="jax"), results)
    told = say(capsys, results, "--task", "text")
    assert "text v1" in told
    assert "listops" not in told
    assert "elfatt" not in say(capsys, results, "--backend", "jax")
    assert "no record" in say(capsys, results, "--preset", "standard", code=2)
    assert sorted(path.name for path in results.iterdir()) == ["runs"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--relative-to", "sofmax"], "did you mean 'softmax'"),
        (["--task", "listop"], "did you mean 'listops'"),
        (["--device", "H200"], "no bench record of it"),
        (["--check", "--task", "listops"], "--check is given with other flags"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_mistake_gets_one_line(
    words: list[str], said: str, results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = say(capsys, results, *words, code=2)
    assert said in told
    assert len(told.strip().splitlines()) == 1


def test_no_records_get_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = say(capsys, tmp_path, code=2)
    assert told.startswith("error: no record in ")
    assert len(told.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_broken_records_get_a_line_each_and_lose_no_other(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = results / "runs"
    whole = json.loads(next(folder.glob("*elfatt*")).read_text())
    (folder / "cut.json").write_text(json.dumps(whole)[:100])
    (folder / "old.json").write_text(json.dumps({**whole, "schema": 0}))
    put({**whole, "task": "chess"}, folder / "foreign.json")
    (results / "bench").mkdir()
    (results / "bench" / "odd.json").write_text("{}")
    told = say(capsys, results, code=1)
    lines = [line for line in told.splitlines() if line.startswith("left out: ")]
    assert [next(name for name in ("cut", "old", "foreign", "odd") if f"{name}.json" in line) for line in lines] == [
        "cut",
        "foreign",
        "old",
        "odd",
    ]
    assert "52.0 ± 2.0 (3)" in (results / "LEADERBOARD.md").read_text()
    say(capsys, results, "--check", code=1)
    for path in (folder / "cut.json", folder / "old.json", folder / "foreign.json", results / "bench" / "odd.json"):
        path.unlink()
    say(capsys, results, "--check")


def test_a_failure_half_way_leaves_the_old_files(
    results: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    say(capsys, results)
    before = {path: path.read_bytes() for path in results.rglob("*") if path.is_file()}
    write(made("listops", "linear", 0.3), results)
    monkeypatch.setattr("lra.plotting.plots.draw", lambda picture: (_ for _ in ()).throw(OSError("no space")))
    say(capsys, results, code=1)
    assert {path: path.read_bytes() for path in before} == before


def test_help_loads_no_framework_and_no_plotting() -> None:
    check = (
        "import sys\nsys.path.insert(0, sys.argv[1])\nfrom lra.cli.main import main\n"
        "try:\n    main(['leaderboard', '--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'jax', 'flax', 'numba', 'matplotlib', 'scipy'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", check, str(ROOT)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--relative-to" in done.stdout


def test_one_command_shows_accuracy_and_speed_of_all_five_tasks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for task in FIVE:
        write(made(task, "elfatt", 0.6, data_hash=task), tmp_path)
    write_timing(tmp_path, "elfatt", 0.1)
    told = say(capsys, tmp_path, "--format", "md")
    assert "average (five tasks; listops, pathfinder generated)" in told
    row = next(line for line in told.splitlines() if line.startswith("| `elfatt`"))
    assert "60.0 ± 0.5" in row
    assert "| 80.0 | – | 500.0 |" in row
