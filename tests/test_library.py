"""The suite as a library: quiet, typed, and at home in an installed package."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import lra
from lra.bench.wanted import Wanted
from lra.core.environment import ROOT
from lra.core.spec import Spec
from lra.terminal.flags import command_line
from lra.training import record
from tests.bench_records import bench_record
from tests.small import smoke_run

WHEEL = """
import lra, sys
from pathlib import Path
assert Path(lra.__file__).is_relative_to(sys.argv[1]), lra.__file__
run = lra.resolve("listops", "elfatt@block_size=16", preset="smoke")
assert lra.train(run, device="cpu").git["why"].startswith("an installed package")
assert [each.attn for each in lra.load_records()] == ["elfatt"]
from lra.cli.main import main
sys.exit(main(["leaderboard", "--preset", "quick"]) != 2 or main(["list"]))
"""


def test_a_run_is_trained_without_a_word(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    found = lra.train(smoke_run(attn="linear"), results=tmp_path, device="cpu")
    assert (found.attn, found.preset) == ("linear", "smoke")
    assert lra.load_records(tmp_path) == [found]
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")


def test_what_is_no_record_is_warned_of(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "a.json").write_text("{")
    with pytest.warns(UserWarning, match="no record"):
        assert lra.load_records(tmp_path) == []


def test_a_benchmark_is_what_bench_makes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    asked = []
    monkeypatch.setattr(
        "lra.library.run_bench", lambda *order: asked.append(order) or (bench_record(), tmp_path, False)
    )
    assert lra.benchmark(Wanted(attn=(Spec("linear"),), lengths=(32,)), results=tmp_path) == bench_record()
    [(plan, results, command)] = asked
    assert ([cell.label for cell in plan.cells], results) == (["linear"], tmp_path)
    assert command == "python run_lra.py bench --attn linear --lengths 32"


def test_without_a_framework_named_the_one_that_is_installed_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    for there, expected in ((("torch", "jax"), "torch"), (("torch",), "torch"), (("jax",), "jax"), ((), "torch")):
        monkeypatch.setattr("lra.core.frameworks.installed", lambda name, there=there: name in there)
        wanted = Wanted()
        assert (lra.resolve("listops", "softmax").backend, wanted.backend) == (expected, (expected,))
        assert ("--backend jax" in command_line("bench", wanted)) == (expected == "jax")


def test_nothing_else_is_an_attribute() -> None:
    with pytest.raises(AttributeError, match="no attribute 'trane'"):
        _ = lra.trane  # pyright: ignore[reportAttributeAccessIssue]
    assert record.Record.__module__ == "lra.training.record"


@pytest.mark.slow
def test_an_installed_wheel_works_from_an_empty_directory(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    built, place, empty = (tmp_path / name for name in ("built", "place", "empty"))
    empty.mkdir()
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    elsewhere = tmp_path / "setup.cfg"  # else the build leaves its folders in the checkout
    elsewhere.write_text(f"[build]\nbuild_base={tmp_path / 'build'}\n[egg_info]\negg_base={tmp_path}\n")
    wheel = [*pip, "wheel", str(ROOT), "--no-deps", "--no-build-isolation", "-w", str(built)]
    subprocess.run(wheel, env={**os.environ, "DIST_EXTRA_CONFIG": str(elsewhere)}, check=True)
    (wheel,) = built.iterdir()
    subprocess.run([*pip, "install", "--no-deps", "--target", str(place), str(wheel)], check=True)
    assert (place / "lra" / "py.typed").exists()
    run = [sys.executable, "-P", "-c", WHEEL, str(place)]
    done = subprocess.run(run, cwd=empty, env={**os.environ, "PYTHONPATH": str(place)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in empty.iterdir()] == ["results"]
