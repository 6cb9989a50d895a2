"""What people's machines lack: room, permissions, a home, UTF-8. Each is told in one line, or done without."""

from __future__ import annotations

import errno
import importlib
import os
import pwd
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lra.core.environment import ROOT
from lra.core.errors import UserError
from lra.library import train
from lra.terminal.failures import told
from lra.training import checkpoint, data
from lra.training.session import train_all
from lra.training.trainer import train_together
from tasks import compiled, limits, places
from tasks.base import TaskError
from tasks.download import tfds_home
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
    assert f"error: {tmp_path}/file: No space left on device: free some space" in said
    assert ("--resume continues from the last snapshot" in said) == begun
    assert train_all([run], 1, place(tmp_path, resume=begun)) == 0


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A user id that the system does not know, as a container gives it, and no HOME."""

    def unknown(number: int) -> None:
        raise KeyError(number)

    for name in ("HOME", "LRA_HOME", "XDG_CACHE_HOME", "TFDS_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    return monkeypatch


def test_without_a_home_data_needs_a_place_and_caches_none(homeless: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="set LRA_HOME"):
        places.home()
    assert places.cache("xla") is None
    homeless.setenv("LRA_HOME", str(tmp_path))
    assert places.cache("xla") == tmp_path / "xla"
    assert tfds_home() == tmp_path / "tensorflow_datasets"
    for name, ask in (("LRA_HOME", places.home), ("LRA_RAW", places.raw_folder), ("TFDS_DATA_DIR", tfds_home)):
        homeless.setenv(name, "~nobody-has-this-name/x")
        with pytest.raises(TaskError, match=f"{name} is ~nobody-has-this-name/x"):
            ask()


def test_what_numba_compiles_needs_no_home(homeless: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings = importlib.import_module("numba.core.config")
    (tmp_path / "file").write_text("")
    for chosen in ("", str(tmp_path / "file" / "below")):
        homeless.setattr(settings, "CACHE_DIR", chosen)
        compiled.use_own_cache()
        assert Path(settings.CACHE_DIR).is_dir()
    homeless.setattr(settings, "CACHE_DIR", str(tmp_path / "mine"))
    compiled.use_own_cache()
    assert str(tmp_path / "mine") == settings.CACHE_DIR


def test_every_function_that_numba_keeps_is_kept_in_our_folder() -> None:
    for path in (path for top in ("tasks", "lra", "attention_impls") for path in (ROOT / top).rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        kept = "numba" in text and "cache=True" in text
        assert not kept or "import tasks.compiled" in text, path


def test_data_that_cannot_be_kept_names_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LRA_HOME", str(tmp_path / "file" / "below"))
    run = smoke_run()
    with pytest.raises(TaskError, match=r"cannot be written .* set LRA_HOME"):
        data.prepare(run.task, run.data, data.source(None, 1))


def test_matplotlib_keeps_silent_about_its_folder(tmp_path: Path) -> None:
    line = (
        "from tasks.places import settle_matplotlib; settle_matplotlib(); import os, matplotlib; "
        "matplotlib.get_configdir(); print(os.environ['MPLCONFIGDIR'])"
    )
    (tmp_path / "file").write_text("")
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": str(tmp_path / "file")}
    ask = [sys.executable, "-P", "-c", line]
    done = subprocess.run(ask, env=env, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    done = subprocess.run(ask, env=env | {"LRA_HOME": str(tmp_path)}, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(tmp_path / "matplotlib")


@pytest.mark.parametrize("name", ["x.xyz", "plain", "folder.png", "figures", ".", "/"])
def test_a_picture_of_no_known_kind_is_told(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = smoke_run()
    data.prepare(run.task, run.data, data.source(None, 1))
    monkeypatch.chdir(tmp_path)
    for folder in ("folder.png", "figures"):
        Path(folder).mkdir()
    if name == "plain":
        data.show(run.task, run.data, Path(name))
        assert Path("plain.png").is_file()
    else:
        with pytest.raises(UserError, match=r"expected the name of an image file, such as .*\.png"):
            data.show(run.task, run.data, Path(name))


def test_many_processes_draw_no_more_than_a_few_blocks_ahead() -> None:
    for asked in (1000, 3000, 10**30):
        assert data.source(None, asked).processes == 2 * limits.usable_cores()
    assert data.source(None, 1).processes == 1
