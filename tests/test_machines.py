"""What people's machines lack: room, permissions, a home, UTF-8. Each is told in one line, or done without."""

from __future__ import annotations

import errno
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from lra.core.errors import UserError
from lra.library import train
from lra.terminal.failures import told
from lra.training import checkpoint, data
from lra.training.session import train_all
from lra.training.trainer import train_together
from tests.small import Quiet, place, smoke_run


@pytest.mark.parametrize("taken", ["", "runs", ".work"])
def test_no_room_for_results_is_told_before_any_data_is_made(
    taken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = tmp_path / "results"
    (results / taken).parent.mkdir(exist_ok=True)
    (results / taken).write_text("")
    monkeypatch.setattr(data, "prepare", lambda *given: pytest.fail("data was made"))
    for run in (lambda: train_all([smoke_run()], 1, place(results)), lambda: train(smoke_run(), results=results)):
        with pytest.raises(UserError, match=r"cannot be written .* name another folder with --results"):
            run()
    with pytest.raises(UserError, match="--tensorboard"):
        train_all([smoke_run()], 1, place(tmp_path / "free", tensorboard=results / taken))


@pytest.mark.parametrize("begun", [False, True])
def test_a_disk_that_fills_up_names_the_file_and_the_way_to_go_on(
    begun: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    run = smoke_run(steps=8, evaluate_every=4, chunk=2)
    prepared = data.prepare(run.task, run.data, data.source(None, 1))
    if begun:
        quiet = Quiet({4: lambda: signal.raise_signal(signal.SIGINT)})
        with pytest.raises(Exception, match="step 4 of 8"):
            train_together([run], prepared, place(tmp_path), [quiet])

    def full(*given: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(tmp_path / "file"))

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save_atomically", full)
        assert told(lambda: train_all([run], 1, place(tmp_path, resume=begun))) == 1
    said = capfd.readouterr().err
    assert f"error: {tmp_path}/file: No space left on device: make room" in said
    assert ("with --resume it continues from its last snapshot" in said) == begun
    assert train_all([run], 1, place(tmp_path, resume=begun)) == 0
