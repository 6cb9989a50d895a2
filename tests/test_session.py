"""Several runs in one command: as data, each told by its own record, and continued where they were left."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lra.core.config import Run
from lra.core.environment import ROOT
from lra.core.errors import UserError
from lra.core.identity import run_id
from lra.core.workers import Child, ending_signals
from lra.terminal.failures import told
from lra.training import data, record, snapshot
from lra.training.loop import Diverged, Interrupted, Lane
from lra.training.session import Job, train_all, train_job
from lra.training.snapshot import NEXT, SNAPSHOT
from lra.training.trainer import Place, alone, train_together
from tests.small import Quiet, place, smoke_run
from tests.stopped import waited_for

SMOKE = ["--task", "listops", "--preset", "smoke", "--device", "cpu"]


@pytest.fixture(autouse=True)
def _framework() -> None:
    pytest.importorskip("torch")


def command(*words: str, **more: Any) -> subprocess.Popen[str]:
    line = [sys.executable, str(ROOT / "run_lra.py"), *SMOKE, *words]
    return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more)


def records(results: Path) -> list[Path]:
    return sorted((results / "runs").glob("*.json"))


def test_a_job_is_the_same_in_another_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LRA_RAW", "raw")
    run = replace(smoke_run("listops", "elfatt"), seed=7)
    job = Job([run], Place(results=Path("out"), tensorboard=Path("boards"), resume=True, several=True))
    back = Job.from_values(json.loads(json.dumps(job.as_values())))
    assert back.runs == [run]
    assert back.place == replace(
        job.place, results=tmp_path / "out", raw=tmp_path / "raw", tensorboard=tmp_path / "boards"
    )


@pytest.mark.slow
def test_seeds_are_told_by_their_own_records(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A folder with brackets in its name, a clock that is wrong, and records of other runs beside them."""
    mine = tmp_path / "lin[v2]"
    shutil.copytree(ROOT / "attention_impls" / "linear", mine)
    run = smoke_run(attn=str(mine))
    results = tmp_path / "res"
    assert train_all([run], 1, place(results)) == 0
    (other,) = records(results)
    later = time.time() + 3600
    os.utime(other, (later, later))
    assert train_all([replace(run, seed=1)], 2, place(results)) == 0
    said = capfd.readouterr().out.rpartition("on the test split")[2]
    found = [record.load(path) for path in records(results) if path != other]
    assert [each.seed for each in found] == [1, 2]
    for each in found:
        assert f"seed {each.seed}" in said
        assert f"{100 * each.test_accuracy:.1f}" in said


@pytest.mark.slow
def test_one_failed_run_never_stops_the_others(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    runs = [smoke_run(learning_rate=1e9, warmup=1), smoke_run(attn="linear")]
    assert train_all(runs, 1, place(tmp_path)) == 1
    assert [record.load(path).attn for path in records(tmp_path)] == ["linear"]
    assert "1 of 2 have a record; without one: softmax · seed 0" in capfd.readouterr().err


def test_a_worker_that_dies_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: Any) -> None:
    monkeypatch.setattr(Child, "ask", lambda self, order: self.kill() and None)
    assert train_all([smoke_run(), smoke_run(attn="linear")], 1, place(tmp_path)) == 1
    assert "the process that trained softmax · seed 0 ended" in capfd.readouterr().err


@pytest.mark.slow
def test_resume_skips_what_is_finished_continues_and_starts(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run = smoke_run(steps=8, evaluate_every=4, chunk=2)
    assert train_all([replace(run, seed=1)], 1, place(tmp_path / "whole")) == 0
    assert train_all([run], 1, place(tmp_path / "cut")) == 0
    assert train_all([replace(run, seed=1)], 1, place(tmp_path / "cut")) == 0
    (_, second) = records(tmp_path / "cut")
    begun = tmp_path / "cut" / ".work" / record.load(second).run_id
    second.unlink()
    prepared = data.prepare(run.task, run.data, data.source(None, 1))

    def stop() -> None:
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(Exception, match="step 4 of 8"):
        train_together([replace(run, seed=1)], prepared, place(tmp_path / "cut"), [Quiet({4: stop})])
    assert (begun / SNAPSHOT).exists()
    capfd.readouterr()
    assert train_all([run], 3, place(tmp_path / "cut", resume=True)) == 0
    said = capfd.readouterr().out
    assert "seed 0 is finished" in said
    assert "resumed at step 4 of 8" in said
    whole, cut = ([record.load(path) for path in records(tmp_path / each)] for each in ("whole", "cut"))
    assert [each.seed for each in cut] == [0, 1, 2]
    assert cut[1].curve == whole[0].curve


def test_a_finished_run_is_shown_and_recorded_once(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Killed between the record and the removal of the snapshot."""
    run = smoke_run()
    assert train_all([run], 1, place(tmp_path)) == 0
    (path,) = records(tmp_path)
    work = tmp_path / ".work" / record.load(path).run_id
    shutil.copy(work / "best.safetensors", work / SNAPSHOT)
    assert train_all([run], 1, place(tmp_path, resume=True)) == 0
    assert f"seed 0 is finished: {path}" in capfd.readouterr().out
    assert records(tmp_path) == [path]
    assert not (work / SNAPSHOT).exists()


@pytest.mark.parametrize("renamed", [0, 1])
def test_seeds_killed_while_they_are_saved_stand_at_one_step(renamed: int, tmp_path: Path) -> None:
    pytest.importorskip("jax")
    base = smoke_run(backend="jax", steps=8, evaluate_every=4, chunk=2)
    runs: list[Run] = [replace(base, seed=seed) for seed in (0, 1)]
    prepared = data.prepare(base.task, base.data, data.source(None, 1))

    def stop() -> None:
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(Exception, match="step 4 of 8"):
        train_together(runs, prepared, place(tmp_path), [Quiet({4: stop}), Quiet()])
    works = sorted((tmp_path / ".work").iterdir())
    later = {work: (work / SNAPSHOT).read_bytes() for work in works}
    for work in works[renamed:]:  # as if the others had not been given their names yet
        (work / SNAPSHOT).rename(work / NEXT)
    snapshot.settle(works)
    assert {work: (work / SNAPSHOT).read_bytes() for work in works} == later
    third = tmp_path / ".work" / "another run"
    third.mkdir()
    (third / SNAPSHOT).write_bytes(b"a state of another process")
    (works[0] / SNAPSHOT).rename(works[0] / NEXT)
    snapshot.settle([*works, third])
    assert {work: (work / SNAPSHOT).read_bytes() for work in works} == later
    for older in (b"an older state", None):  # None: it was the first time that they were saved
        (works[0] / NEXT).write_bytes(later[works[0]])  # the second one's successor was never written
        for work in works:
            (work / SNAPSHOT).write_bytes(older) if older else (work / SNAPSHOT).unlink()
        snapshot.settle(works)
        assert not (works[0] / NEXT).exists()
        for work in works:
            assert (work / SNAPSHOT).read_bytes() == older if older else not (work / SNAPSHOT).exists()


def test_a_seed_that_diverges_never_stops_those_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """One of several that stand at different steps, and so are trained in parts."""
    run = smoke_run(steps=8, evaluate_every=4, chunk=2)
    prepared = data.prepare(run.task, run.data, data.source(None, 1))
    quiet = Quiet({4: lambda: signal.raise_signal(signal.SIGINT)})
    with pytest.raises(Interrupted):
        train_together([replace(run, seed=1)], prepared, place(tmp_path), [quiet])
    monkeypatch.setattr(Lane, "add", diverging_with_seed(0))
    job = Job([run, replace(run, seed=1)], place(tmp_path, resume=True, several=True))
    code, paths = train_job(job)
    told = capfd.readouterr()
    assert (code, [record.load(path).seed for path in paths]) == (1, [1])
    assert "error: seed 0: it diverged" in told.err
    assert "seed 1" in told.out.rpartition("on the test split")[2]


def diverging_with_seed(seed: int) -> Callable[..., None]:
    """`Lane.add` with which one seed diverges at once."""
    add = Lane.add

    def added(lane: Lane, *sums: Any) -> None:
        lane.diverged = Diverged("it diverged") if lane.run.seed == seed else None
        add(lane, *sums)

    return added


def test_what_a_running_process_saves_is_left_alone(tmp_path: Path) -> None:
    run = smoke_run()
    prepared = data.prepare(run.task, run.data, data.source(None, 1))
    work = tmp_path / ".work" / run_id(run, prepared.hash)
    with alone([work]):
        (work / NEXT).write_bytes(b"half a state")
        with pytest.raises(UserError, match=r"process \d+ on .* is training the same run"):
            train_all([run], 1, place(tmp_path, resume=True))
        assert (work / NEXT).exists()


@pytest.mark.slow
def test_a_signal_takes_the_children_along_and_they_save(tmp_path: Path) -> None:
    number = signal.SIGHUP  # SIGTERM and Ctrl-C take the same way
    words = ["--attn", "softmax,linear", "--train.steps", "100000", "--train.evaluate-every", "10"]
    former = signal.signal(number, signal.default_int_handler)  # a job in the background ignores it, and so its child
    process = command(*words, "--results", str(tmp_path))
    signal.signal(number, former)
    waited_for(lambda: any(path.read_text().count("\n") > 1 for path in tmp_path.glob(".work/*/metrics.csv")), process)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, (out, err)
    assert "stopped and saved at step" in err
    assert "0 of 2 have a record; without one: softmax · seed 0, linear · seed 0" in err
    assert len(list(tmp_path.glob(f".work/*/{SNAPSHOT}"))) == 1


def test_a_terminal_that_closes_is_ignored_as_nohup_wants() -> None:
    former = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert told(lambda: int(signal.getsignal(signal.SIGHUP) != signal.SIG_IGN)) == 0
        assert signal.SIGHUP not in ending_signals()
    finally:
        signal.signal(signal.SIGHUP, former)
    assert signal.SIGHUP in ending_signals() or former == signal.SIG_IGN


@pytest.mark.parametrize(
    "words", [["list"], ["--help"], ["schema", "--results", "nowhere"]], ids=lambda words: words[0]
)
@pytest.mark.parametrize("both", [False, True])
def test_a_reader_who_is_gone_from_the_start_gets_no_complaint(words: list[str], both: bool, tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    errors = writing if both else subprocess.PIPE
    line = [sys.executable, str(ROOT / "run_lra.py"), *words]
    env = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    done = subprocess.run(line, stdout=writing, stderr=errors, cwd=tmp_path, env=env, check=False, timeout=120)
    os.close(writing)
    assert (done.returncode, done.stderr) == (130, None if both else b"")


@pytest.mark.slow
def test_a_reader_who_leaves_is_no_loss(tmp_path: Path) -> None:
    words = ["--attn", "linear", "--train.steps", "100000", "--train.evaluate-every", "10", "--train.chunk", "5"]
    process = command(*words, "--results", str(tmp_path))
    assert process.stdout is not None
    while not process.stdout.readline().startswith("step"):
        assert process.poll() is None
    process.stdout.close()
    assert process.wait(timeout=120) == 130
    assert process.stderr is not None
    said = process.stderr.read()
    assert "stopped and saved at step" in said
    assert "Traceback" not in said
    assert list(tmp_path.glob(f".work/*/{SNAPSHOT}"))


@pytest.mark.slow
def test_a_command_without_an_output_trains(tmp_path: Path) -> None:
    line = f'exec "$0" "$@" --results {tmp_path} >&- 2>&-'
    words = [sys.executable, str(ROOT / "run_lra.py"), *SMOKE, "--attn", "linear"]
    done = subprocess.run(["sh", "-c", line, *words], check=False, timeout=120)
    assert done.returncode == 0
    assert record.load(records(tmp_path)[0]).attn == "linear"
