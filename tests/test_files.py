"""Files are whole or not there, on every kind of file system; what killed processes left is swept away."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lra.core.errors import UserError
from lra.core.files import ABANDONED, CLAIMED, HOST, PART, require_writable, write_atomically, write_exactly, write_new


def test_only_what_processes_of_this_host_abandoned_is_swept(tmp_path: Path) -> None:
    gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    dead = int(gone.stdout)
    parts = {
        "abandoned": f".a.json.{HOST}.{dead}.00{PART}",
        "another host": f".a.json.elsewhere.{dead}.00{PART}",
        "alive": f".a.json.{HOST}.{os.getpid()}.00{PART}",
        "new": f".b.json.{HOST}.{dead}.00{PART}",
        "not ours": f".a.json.{HOST}.x.00{PART}",
    }
    before = time.time() - 2 * ABANDONED
    for kind, name in parts.items():
        (tmp_path / name).write_bytes(b"")
        if kind != "new":
            os.utime(tmp_path / name, (before, before))
    write_atomically(b"1", tmp_path / "a.json")
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"a.json", *parts.values()} - {parts["abandoned"]}


def test_a_file_is_written_beside_every_other(tmp_path: Path) -> None:
    paths = [write_new(str(number).encode(), tmp_path / "a.json") for number in range(3)]
    assert [path.name for path in paths] == ["a.json", "a.2.json", "a.3.json"]
    assert [path.read_bytes() for path in paths] == [b"0", b"1", b"2"]
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOTSUP, errno.EMLINK])
def test_a_file_system_without_second_names_keeps_every_record(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*paths: Path) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", refused)
    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(lambda n: write_new(str(n).encode(), tmp_path / "a.json"), range(16)))
    assert sorted(path.read_bytes() for path in paths) == sorted(str(n).encode() for n in range(16))
    assert {*tmp_path.iterdir()} == {*paths}
    assert len({*paths}) == 16


def test_a_claim_that_a_killed_process_left_blocks_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*paths: Path) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refused)
    claim = tmp_path / f".a.json.claim{PART}"
    claim.write_bytes(b"")
    assert not write_exactly(b"1", tmp_path / "a.json")
    assert claim.exists(), "its process may still live"
    before = time.time() - 2 * CLAIMED
    os.utime(claim, (before, before))
    assert [write_exactly(b"1", tmp_path / "a.json") for _ in range(2)] == [False, True]
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_a_folder_that_cannot_be_written_is_told_and_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    require_writable(tmp_path / "new" / "folder", "")
    for name in ("file", "file/below", "gone", "gone/below", "x" * 300, "null\0"):
        with pytest.raises(UserError, match=r"cannot be written .*: name another$"):
            require_writable(tmp_path / name, "name another")
    assert {path.name for path in tmp_path.iterdir()} == {"file", "gone"}


def test_a_full_disk_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"a\.json"):
        write_atomically(b"1", tmp_path / "a.json")
    with pytest.raises(UserError, match="No space left"):
        require_writable(tmp_path, "free some space")
    assert list(tmp_path.iterdir()) == []
