"""Settings of the C library's allocator: freed buffers are kept, since every training step needs them again.

By default glibc maps each large buffer anew and unmaps it when it is freed. So the kernel fills its pages with zeros at
every step. Buffers that stay in the heap cost that only once. Settings of the user (MALLOC_…) are not changed.
"""

from __future__ import annotations

import ctypes
import os
import platform
from functools import cache

# From glibc's malloc.h: (parameter, value).
_TRIM_THRESHOLD = (-1, -1)  # never give the top of the heap back, however large it is
_MMAP_MAX = (-4, 0)  # no buffer gets a mapping of its own
_ARENA_MAX = (-8, 1)  # one heap for all threads, so that any of them finds what another has freed


@cache
def keep_buffers() -> None:
    """Set the allocator of this process, once. Without glibc, or with settings of the user, do nothing."""
    if platform.libc_ver()[0] == "glibc" and not _chosen():
        mallopt = ctypes.CDLL(None).mallopt
        for parameter, value in (_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX):
            mallopt(parameter, value)


def described() -> str:
    """The allocator of this process, as records name it."""
    name = " ".join(platform.libc_ver()).strip() or platform.system()
    chosen = " ".join(f"{key}={value}" for key, value in sorted(_chosen().items()))
    if chosen:
        return f"{name}, {chosen}"
    return f"{name}, buffers kept" if keep_buffers.cache_info().currsize and name.startswith("glibc") else name


def _chosen() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if key.startswith("MALLOC_")}
