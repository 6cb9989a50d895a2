"""What a killed process left half-written is swept away, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from lra.core.files import ABANDONED, HOST, PART, write_atomically, write_new


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
