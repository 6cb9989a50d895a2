"""Time in which the process was stopped is no time of a run, and what else disturbed it is told."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from small import Quiet, place, smoke_run
from stopped import stop

from lra.core.environment import ROOT
from lra.training import data, disturbance
from lra.training.clock import BEAT, LEAST, AwakeClock
from lra.training.disturbance import ALONE, Disturbance, Meter
from lra.training.history import History
from lra.training.trainer import train


class Looks:
    """A clock whose time a test sets: what passed between looks, and in how much of it the process was active."""

    def __init__(self) -> None:
        self.now = self.active = 0.0
        self.clock = AwakeClock(lambda: self.now, lambda: self.active)

    def pass_by(self, seconds: float, active: float) -> float:
        """Let time pass and look; the seconds awake so far."""
        self.now += seconds
        self.active += active
        return self.clock()


@pytest.mark.parametrize(
    ("seconds", "active", "asleep"),
    [
        (40.0, 0.0, 40.0 - BEAT),  # stopped
        (40.0, 0.4, 40.0 - BEAT),  # the same, with eight cores busy until then
        (40.0, 40.0, 0.0),  # a long call that let no other thread run
        (40.0, 21.0, 0.0),  # the same on a busy machine
        (LEAST, 0.0, 0.0),  # too short to tell
    ],
)
def test_a_gap_is_a_stop_where_nothing_ran(seconds: float, active: float, asleep: float) -> None:
    looks = Looks()
    before = looks.pass_by(1.0, 1.0)
    assert looks.pass_by(seconds, active) - before == pytest.approx(seconds - asleep)
    assert looks.clock.asleep == pytest.approx(asleep)


def test_a_gap_before_the_clock_is_entered_is_nobodys() -> None:
    looks = Looks()
    looks.now = 40.0
    with looks.clock as clock:
        assert clock.asleep == 0


def test_a_stop_is_not_counted_and_waiting_and_computing_are() -> None:
    with AwakeClock() as clock:
        began, wall = clock(), time.perf_counter()
        stop(1.2)
        awake, passed = clock() - began, time.perf_counter() - wall
        assert passed > 1.2
        assert awake < passed - 1.0
        stopped = clock.asleep
        time.sleep(2 * LEAST)  # as a run waits for its GPU
        sum(range(30_000_000))  # in one call, which holds the interpreter's lock
        assert clock.asleep == stopped


def test_a_run_does_not_count_its_stop_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    from lra.backends.torch.backend import TorchBackend

    run = smoke_run(steps=6, evaluate_every=3, chunk=1)
    steps, scores = TorchBackend.train_steps, TorchBackend.evaluate
    calls: list[str] = []

    def stopping(name: str, inner: Any) -> Any:
        def call(*given: Any) -> Any:
            calls.append(name)
            if calls.count(name) == 3:
                stop(1.0)
            return inner(*given)

        return call

    monkeypatch.setattr(TorchBackend, "train_steps", stopping("train", steps))
    monkeypatch.setattr(TorchBackend, "evaluate", stopping("evaluate", scores))
    prepared = data.prepare(run.task, run.data, data.source(None, 1))
    found, _ = train(run, prepared, place(tmp_path), Quiet())
    assert found.seconds < 0.8
    assert found.evaluation_seconds < 0.8
    assert found.steps_per_second == pytest.approx(5 / found.seconds)
    assert found.timing is not None
    assert "stopped for " in found.timing


def test_disturbances_add_up_and_have_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disturbance.limits, "allowed_cores", lambda: {0, 1})
    quiet = Disturbance(seconds=10.0, others=1.9, throttled=0.4)
    assert quiet.words() == ALONE
    assert Disturbance().words() == ALONE
    loud = Disturbance(seconds=10.0, niced=5.0, others=15.0, throttled=2.0, stopped=40.0)
    assert loud.words() == "niced 5; others took 1.5 of 2 cores; throttled for 2.0 s; stopped for 40.0 s"
    assert (quiet + loud).words() == "niced 5; others took 0.8 of 2 cores; throttled for 2.4 s; stopped for 40.0 s"
    assert replace(loud, others=0.0, throttled=0.0, stopped=0.0).words() == "niced 5"


def test_a_snapshot_keeps_disturbances_and_first_losses() -> None:
    loud = Disturbance(seconds=10.0, niced=5.0, others=15.0, throttled=2.0, stopped=40.0)
    history = History(step=2, disturbance=loud, first_losses=[2.5, 1 / 3])
    arrays = history.arrays()
    back = History.from_arrays(arrays)
    assert (back.disturbance, back.first_losses) == (loud, [2.5, 1 / 3])
    older = {name: array for name, array in arrays.items() if "first" not in name and "disturb" not in name}
    back = History.from_arrays(older)
    assert (back.disturbance, back.first_losses) == (Disturbance(), [])


def test_children_are_no_others_living_or_ended() -> None:
    spin = "import time\nwhile time.process_time() < 0.3: pass\nprint(flush=True)\ntime.sleep(60)"
    before = disturbance._own()
    with subprocess.Popen([sys.executable, "-c", spin], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert disturbance._own() - before >= 0.25
        child.kill()
    assert disturbance._own() - before >= 0.25


def test_others_are_what_works_on_the_cores_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    times = psutil.cpu_times()
    zeros = dict.fromkeys(times._fields, 0.0)
    core = lambda **known: type(times)(**{**zeros, **known})  # noqa: E731
    foreign, before = core(user=500.0), core(user=7.0, idle=90.0, iowait=9.0)
    after = core(user=9.0, nice=1.0, system=1.5, idle=99.0, iowait=99.0)
    monkeypatch.setattr(disturbance.limits, "allowed_cores", lambda: {1})
    monkeypatch.setattr(disturbance, "_own", iter([100.0, 101.0]).__next__)
    seen = iter([[core(), before], [foreign, after]])
    monkeypatch.setattr(disturbance.psutil, "cpu_times", lambda percpu: next(seen))
    assert Meter(lambda: 0.0).take().others == pytest.approx(2 + 1 + 1.5 - 1)


@pytest.mark.parametrize("said", ["throttled_usec 2500000", "nr_throttled 3\nthrottled_time 2500000000"])
def test_a_quota_that_held_the_process_is_seen(said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disturbance.limits, "groups", lambda controller: iter([tmp_path / "none", tmp_path]))
    stat = tmp_path / "cpu.stat"
    stat.write_text("throttled_usec 0")
    meter = Meter(lambda: 0.0)
    stat.write_text(said)
    assert meter.take().throttled == pytest.approx(2.5)
    assert meter.take().throttled == 0


def test_a_niced_process_says_so() -> None:
    words = "from lra.training.disturbance import Meter; print(Meter(float).take().words())"
    command = ["nice", "-n", "7", sys.executable, "-c", words]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert f"niced {min(os.nice(0) + 7, 19)}" in done.stdout
