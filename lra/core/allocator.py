"""The C library's allocator, told to keep the big buffers that every training step needs again.

glibc maps a large buffer anew each time and returns it when it is freed; the kernel then fills its pages with zeros
once more, at every step. Kept in the heap they cost that once. What the user sets by MALLOC_… stays as it is.
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
    """Set the allocator of this process, once; elsewhere than on glibc, or where the user has set it, do nothing."""
    if platform.libc_ver()[0] == "glibc" and not _chosen():
        mallopt = ctypes.CDLL(None).mallopt
        for parameter, value in (_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX):
            mallopt(parameter, value)


def described() -> str:
    """How this process allocates, for records."""
    name = " ".join(platform.libc_ver()).strip() or platform.system()
    chosen = " ".join(f"{key}={value}" for key, value in sorted(_chosen().items()))
    if chosen:
        return f"{name}, {chosen}"
    return f"{name}, buffers kept" if keep_buffers.cache_info().currsize and name.startswith("glibc") else name


def _chosen() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if key.startswith("MALLOC_")}
