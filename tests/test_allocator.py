"""What glibc does with freed buffers once we have set it, seen from the kernel's side, in processes of their own."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from typing import Any

import pytest

from lra.core.environment import ROOT

MB = 1 << 20
SEEN = f"""
import ctypes
import json
import re
import psutil
from lra.core import allocator
from lra.bench import memory as bench_memory

def resident():
    return psutil.Process().memory_info().rss // {MB}

def touch():
    bytearray(b"1" * {100 * MB})

def heap_after_three_gigabytes():
    library = ctypes.CDLL(None)
    library.malloc.restype = ctypes.c_void_p
    library.free(ctypes.c_void_p(library.malloc(ctypes.c_size_t({3000 * MB}))))
    return int(re.search(r"VmData:\\s+(\\d+)", open("/proc/self/status").read())[1]) // 1024

allocator.keep_buffers()
before = resident()
touch()
kept = resident() - before
bench_memory.give_back()
trimmed = resident() - before
print(json.dumps([kept, trimmed, heap_after_three_gigabytes(), allocator.described()]))
"""


def seen(**extra: str) -> list[Any]:
    """MB resident once a buffer was freed, and once memory was given back; MB of addresses after one of 3 GB, never
    written to; the description.
    """
    if platform.libc_ver()[0] != "glibc":
        pytest.skip(f"this allocator is glibc's on Linux, not that of {platform.system()}")
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    ended = subprocess.run(
        [sys.executable, "-c", SEEN], cwd=ROOT, env=clean | extra, check=True, capture_output=True, text=True
    )
    return json.loads(ended.stdout)


def test_freed_buffers_stay_with_the_process_until_it_gives_them_back() -> None:
    kept, trimmed, heap, described = seen()
    assert kept >= 90
    assert trimmed <= 10
    assert heap >= 3000
    assert described.endswith("buffers kept")


def test_what_the_user_has_set_stays() -> None:
    kept, _, heap, described = seen(MALLOC_ARENA_MAX="2")
    assert kept <= 10
    assert heap < 3000
    assert described.endswith("MALLOC_ARENA_MAX=2")


@pytest.mark.slow
def test_the_library_leaves_the_allocator_of_its_caller_alone() -> None:
    pytest.importorskip("torch")
    code = (
        "import lra, tempfile; from lra.core import allocator; run = lra.resolve('listops', 'linear', preset='smoke');"
        "lra.train(run, results=tempfile.mkdtemp(), device='cpu'); print(allocator.described())"
    )
    told = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert "buffers kept" not in told
