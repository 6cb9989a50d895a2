"""What glibc does with freed buffers once we have set it, seen from the kernel's side, in processes of their own."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from typing import Any

import pytest

from lra.environment import ROOT

MB = 1 << 20
SEEN = f"""
import json
import psutil
from lra import allocator, bench_memory

def resident():
    return psutil.Process().memory_info().rss // {MB}

def touch():
    bytearray(b"1" * {100 * MB})

allocator.keep_buffers()
before = resident()
touch()
kept = resident() - before
bench_memory.give_back()
trimmed = resident() - before
print(json.dumps([kept, trimmed, allocator.described()]))
"""


def seen(**extra: str) -> list[Any]:
    """MB resident once a buffer was freed, and once memory was given back; the description."""
    if platform.libc_ver()[0] != "glibc" or sys.platform != "linux":
        pytest.skip(f"this allocator is glibc's on Linux, not that of {platform.system()}")
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    ended = subprocess.run(
        [sys.executable, "-c", SEEN], cwd=ROOT, env=clean | extra, check=True, capture_output=True, text=True
    )
    return json.loads(ended.stdout)


def test_freed_buffers_stay_with_the_process_until_it_gives_them_back() -> None:
    kept, trimmed, described = seen()
    assert kept >= 90
    assert trimmed <= 10
    assert described.endswith("buffers kept")


def test_what_the_user_has_set_stays() -> None:
    kept, _, described = seen(MALLOC_ARENA_MAX="2")
    assert kept <= 10
    assert described.endswith("MALLOC_ARENA_MAX=2")
