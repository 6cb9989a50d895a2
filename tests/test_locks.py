"""A process that waits for a lock names its holder, and gives up on one that has died."""

from __future__ import annotations

import os
import platform
import threading
from pathlib import Path

import pytest
from filelock import FileLock

from tasks import locks
from tasks.base import TaskError
from tasks.locks import Busy, held


def test_who_waits_is_told_whom_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "AGAIN", 5.0)
    path, said, waits = tmp_path / "a.lock", [], threading.Event()

    def tell(line: str) -> None:
        said.append(line)
        waits.set()

    def wait() -> None:
        with held(path, tell):
            said.append("has it")

    with held(path, None) as alive:
        alive()
        with pytest.raises(Busy, match=f"process {os.getpid()} on {platform.node()} .since 20"), held(path, None):
            pass
        thread = threading.Thread(target=wait)
        thread.start()
        assert waits.wait(10)
    thread.join(10)
    assert said[0].startswith(f"waiting for process {os.getpid()} on {platform.node()}")
    assert said[1:] == ["has it"]
    assert {each.name for each in tmp_path.iterdir()} == {"a.lock"}


def test_a_silent_holder_ends_the_wait(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    with held(path, None):
        os.utime(f"{path}.holder", (0, 0))
        with pytest.raises(TaskError, match=r"no sign for \d+ minutes; .* delete .*a\.lock"), held(path, print):
            pass


@pytest.mark.parametrize("mark", [b"", b"\xff", b"[]", b'{"host": 1, "pid": 2, "since": 1e300}', b"[" * 100_000])
def test_a_holder_without_a_name_is_another_process(mark: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    (tmp_path / "a.lock.holder").write_bytes(mark)
    with FileLock(path), pytest.raises(Busy, match="held by another process"), held(path, None):
        pass


def test_a_file_system_without_locks_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*given: object, **named: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(FileLock, "acquire", refused)
    refusal = pytest.raises(TaskError, match=r"a\.lock cannot be locked \(No locks available\)")
    with refusal, held(tmp_path / "a.lock", print):
        pass
