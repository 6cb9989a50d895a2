"""`run_lra.py bench` from its flags to its files, with real worker processes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lra.bench.plan import BenchCell
from lra.bench.record import FAILED, MEASURED, OUT_OF_MEMORY, BenchRecord, load
from lra.bench.runner import _Process
from lra.bench.summary import ratios
from lra.cli.main import main
from lra.core.environment import ROOT

pytest.importorskip("torch")

WORDS = ["bench", "--device", "cpu", "--batch", "1", "--heads", "1", "--head-dim", "8"]


def only_record(results: Path) -> BenchRecord:
    """The one record there is."""
    (path,) = (results / "bench").glob("*.json")
    return load(path)


def cell(**changes: object) -> BenchCell:
    values = {"attn": "softmax", "length": 4096, "batch": 64, "heads": 2, "head_dim": 32, "device": "cpu"}
    return BenchCell(**{"kind": "attend", "backend": "torch", "dtype": "float32", **values, **changes})  # pyright: ignore


@pytest.mark.slow
def test_a_benchmark_leaves_a_record_tables_and_a_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [*WORDS, "--attn", "linear,softmax", "--lengths", "33", "--samples", "2", "--results", str(tmp_path)]
    assert main(words) == 0
    record = only_record(tmp_path)
    assert record.complete
    assert [(each.label, each.status, len(each.samples)) for each in record.cells] == [
        ("linear", MEASURED, 2),
        ("softmax", MEASURED, 2),
    ]
    assert {each.label for each in record.ceilings} == {"product", "copy"}
    assert all(min(each.samples) > 0.1 for each in (*record.cells, *record.ceilings))
    assert [(each.first, len(each.rounds)) for each in ratios(record)] == [("linear (torch)", 2)]
    assert record.command.startswith("python run_lra.py bench --attn linear,softmax --lengths 33 --batch 1 --samples 2")
    assert record.environment["backends"]["torch"]["framework"].startswith("torch")
    assert {path.suffix for path in (tmp_path / "bench").iterdir()} == {".json", ".md", ".csv", ".svg"}
    said = capsys.readouterr().out
    assert "equals its reference within" in said
    assert str(next((tmp_path / "bench").glob("*.md"))) in said


@pytest.mark.slow
def test_a_cell_that_runs_out_of_memory_says_so() -> None:
    process = _Process(cell(memory=400_000_000))  # its inputs take 67 MB each, twice
    process.prepare()
    timing = process.timing()
    process.end()
    assert (timing.status, timing.samples) == (OUT_OF_MEMORY, [])
    assert "memory" in timing.why.lower()


def test_a_process_that_ends_is_an_outcome(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = "import os, sys; sys.stdin.readline(); print('the end', file=sys.stderr, flush=True); os._exit(7)"
    monkeypatch.setattr(sys, "executable", python_running(script, tmp_path))
    process = _Process(cell())
    process.prepare()
    assert process.timing().status == FAILED
    assert process.timing().why == "its process ended (exit code 7): the end"


@pytest.mark.parametrize(
    ("script", "status"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", OUT_OF_MEMORY),
        ("import os, sys; print('std::bad_alloc', file=sys.stderr, flush=True); os.abort()", OUT_OF_MEMORY),
        ("import os; os.abort()", FAILED),
        ("import os; os.kill(os.getpid(), 40)", FAILED),
    ],
)
def test_a_process_killed_for_want_of_memory_is_told_from_a_crash(
    script: str, status: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "executable", python_running(script, tmp_path))
    process = _Process(cell())
    process.prepare()
    assert process.timing().status == status


def python_running(script: str, folder: Path) -> str:
    """A stand-in for the interpreter that runs this script whatever it is asked for."""
    path = folder / "python"
    path.write_text(f"#!{sys.executable}\n{script}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.slow
def test_ctrl_c_keeps_what_is_done(tmp_path: Path) -> None:
    words = [*WORDS, "--attn", "linear", "--lengths", "33", "--samples", "500", "--results", str(tmp_path)]
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "run_lra.py"), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 200
    while not list(tmp_path.glob("bench/*.json")) and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "the samples taken so far are kept" in err
    record = only_record(tmp_path)
    assert not record.complete
    assert 1 <= len(record.cells[0].samples) < 500
    assert "Stopped before the end" in out
    assert json.loads(next((tmp_path / "bench").glob("*.json")).read_text())["complete"] is False


def test_help_names_every_flag_and_loads_no_framework() -> None:
    check = (
        "import sys\nfrom lra.cli.main import main\ntry:\n    main(['bench', '--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'jax', 'flax', 'numba', 'matplotlib', 'scipy'} & set(sys.modules)\nassert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    for flag in ("--attn", "--lengths", "--what", "--backend", "--batch", "--dtype", "--samples", "--compare"):
        assert flag in done.stdout
