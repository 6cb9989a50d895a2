"""Child processes: what ends them, what pauses them."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from lra.core.environment import ROOT
from lra.core.workers import Child, how_ended
from tests.stopped import waited_for


@pytest.fixture(autouse=True)
def _framework() -> None:
    pytest.importorskip("torch")


def test_a_child_that_is_still_starting_ends_without_a_word() -> None:
    child = Child("lra.training.worker", visible=False)
    with child.taken_along() as stopped:
        time.sleep(0.3)
        signal.raise_signal(signal.SIGINT)
        assert child.ask({}) is None
        assert stopped()
    assert child.end() == -signal.SIGTERM
    assert child.last_words() == []


def test_a_second_answer_is_seen_by_select(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "echo.py").write_text("from lra.core.workers import serve\nserve(lambda order: order)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    child = Child("echo", visible=False)
    for number in (1, 2):
        child.send({"number": number})
    time.sleep(1.5)  # both answers are in the pipe
    assert child.receive() == {"number": 1}
    assert select.select([child], [], [], 5)[0] == [child]
    assert child.receive() == {"number": 2}
    assert child.end() == 0


@pytest.mark.parametrize(("code", "words"), [(7, "exit code 7"), (-signal.SIGKILL, "SIGKILL"), (-40, "signal 40")])
def test_an_exit_code_is_told_in_words(code: int, words: str) -> None:
    assert how_ended(code) == words


PAUSED = """
from lra.core.workers import Child
child = Child("lra.training.worker", visible=False)
with child.taken_along():
    print(child._process.pid, flush=True)
    child.ask({})
"""


def test_ctrl_z_pauses_the_child_too(tmp_path: Path) -> None:
    script = tmp_path / "paused.py"
    script.write_text(PAUSED)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    parent = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True, env=environment)
    assert parent.stdout is not None
    both = [psutil.Process(parent.pid), psutil.Process(int(parent.stdout.readline()))]
    try:
        parent.send_signal(signal.SIGTSTP)
        waited_for(lambda: all(each.status() == psutil.STATUS_STOPPED for each in both), parent)
        parent.send_signal(signal.SIGCONT)
        waited_for(lambda: all(each.status() != psutil.STATUS_STOPPED for each in both), parent)
    finally:
        for each in both:
            each.kill()
        parent.communicate()
