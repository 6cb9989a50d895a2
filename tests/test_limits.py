"""What a process may use: its affinity, and the quotas and limits of its control groups."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tasks import limits

PLENTY = 1 << 62


def group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, membership: str, files: dict[str, str]) -> None:
    """Control groups that hold this process, with these files."""
    (tmp_path / "cgroup").write_text(membership + "\n")
    for name, content in files.items():
        path = tmp_path / "fs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content + "\n")
    monkeypatch.setattr(limits, "GROUPS", tmp_path / "fs")
    monkeypatch.setattr(limits, "MEMBERSHIP", tmp_path / "cgroup")
    monkeypatch.setattr(limits, "allowed_cores", lambda: set(range(8)))


@pytest.mark.parametrize(
    ("membership", "files", "cores"),
    [
        ("0::/job/step", {"job/step/cpu.max": "150000 100000"}, 2),
        ("0::/job/step", {"job/cpu.max": "300000 100000", "job/step/cpu.max": "max 100000"}, 3),
        ("0::/job/step", {"job/step/cpu.max": "1000 100000"}, 1),
        ("0::/job/step", {"job/step/cpu.max": "9900000 100000"}, 8),
        ("3:cpu,cpuacct:/job", {"cpu,cpuacct/job/cpu.cfs_quota_us": "200000"}, 8),
        ("3:cpu:/job", {"cpu/job/cpu.cfs_quota_us": "200000", "cpu/job/cpu.cfs_period_us": "100000"}, 2),
        ("3:cpu:/job", {"cpu/job/cpu.cfs_quota_us": "-1", "cpu/job/cpu.cfs_period_us": "100000"}, 8),
        ("3:cpu:/host/job", {"cpu/cpu.cfs_quota_us": "200000", "cpu/cpu.cfs_period_us": "100000"}, 2),
        ("", {}, 8),
    ],
)
def test_a_quota_bounds_the_cores(
    membership: str, files: dict[str, str], cores: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    group(tmp_path, monkeypatch, membership.strip() or "0::/", files)
    assert limits.usable_cores() == cores


@pytest.mark.parametrize(
    ("membership", "folder", "names"),
    [
        ("0::/job/step", "job", ("memory.max", "memory.current")),
        ("2:memory:/job", "memory/job", ("memory.limit_in_bytes", "memory.usage_in_bytes")),
        ("2:memory:/host/job", "memory", ("memory.limit_in_bytes", "memory.usage_in_bytes")),
    ],
)
def test_a_limit_bounds_the_memory(
    membership: str, folder: str, names: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = limits.usable_memory()
    files = {f"{folder}/{name}": str(amount) for name, amount in zip(names, (1 << 24, 1 << 20), strict=True)}
    group(tmp_path, monkeypatch, membership, files)
    assert limits.memory_limits() == [(1 << 24, 1 << 20)]
    assert limits.usable_memory() == 1 << 24 < whole
    (tmp_path / "fs" / folder / names[0]).write_text("max\n" if names[0] == "memory.max" else f"{PLENTY}\n")
    assert limits.usable_memory() >= whole


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="only Linux pins processes")
def test_cores_that_the_process_is_kept_from_do_not_count() -> None:
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert limits.usable_cores() == 1
    finally:
        os.sched_setaffinity(0, before)
