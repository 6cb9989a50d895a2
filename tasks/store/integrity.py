"""Checksums of a prepared folder: made when it is built, compared when it is opened.

Each file has a CRC-32 for each block, which detects every wrong bit and every wrong run of up to 32 bits. All blocks
are compared once. A memo beside the folder then has the size, times and inode of each file. While they do not change, a
start compares the small files and random blocks of the tokens, as many as BUDGET allows. This is needed because a bit
that flips on the disk changes no time. Small data is compared as a whole at every start.
"""

from __future__ import annotations

import errno
import json
import os
import stat
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import SystemRandom
from typing import Any

from tasks.base import SPLITS, TaskError
from tasks.files import hidden
from tasks.parallel import in_order

BLOCK = 1 << 22  # bytes
BUDGET = 0.5  # seconds of a start for comparing tokens that were compared before
LONG = 1e9  # bytes that are worth a word before they are compared
TOKENS = "tokens.bin"
Tell = Callable[[str], None]  # called with a line for the user


@dataclass(frozen=True)
class _Block:
    file: str
    number: int
    recorded: str


def checksums(folder: Path) -> dict[str, dict[str, Any]]:
    """Size in bytes and checksums, eight hexadecimal digits a block, of each data file, by its path in `folder`."""
    return {name: _checksums(folder / name) for name in _data_files(folder)}


def compare(folder: Path, meta: Mapping[str, Any], tell: Tell, every: bool = False) -> None:
    """Compare a folder with the checksums in its meta.json; TaskError names the file and the block that differ.

    All blocks are compared if `every` is true, or if the files are not those that the memo names.
    """
    began, files = time.monotonic(), meta["files"]
    marks = _marks(folder, files)
    memo = {"meta": meta["checksum"], "files": marks}
    known = not every and _remembered(folder) == memo
    total = sum(recorded["bytes"] for recorded in files.values())
    if not known and total > LONG:
        tell(f"checking {_size(total)} of prepared data against their checksums")
    blocks = _blocks(files)
    if known:
        blocks = _sample(blocks, began + BUDGET)
    done = sum(in_order(lambda block: _compared(folder, block), blocks, _threads()))
    if not known:
        _remember(folder, memo)
    seconds = time.monotonic() - began
    if not known or seconds > BUDGET / 5:
        part = _size(total) if done == total else f"{_size(done)} (drawn at random) of {_size(total)}"
        tell(f"checked {part} in {seconds:.1f} s")


def flush(folder: Path) -> None:
    """Sync a folder and all its files to the disk, so that a power cut loses nothing."""
    for path in (*folder.rglob("*"), folder):
        sync(path)


def sync(path: Path) -> None:
    """Sync one file, or the names in one folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # of file systems that cannot do this for folders
            raise
    finally:
        os.close(descriptor)


def damaged(path: Path, fault: object, folder: Path) -> TaskError:
    """The error for a damaged file of a prepared folder."""
    return TaskError(f"{path} is damaged ({fault}): delete the folder {folder} and run again")


def _data_files(folder: Path) -> list[str]:
    patterns = [f"{split}/{below}" for split in SPLITS for below in ("*.bin", "*.npy", "extras/*.npy")]
    return sorted(
        path.relative_to(folder).as_posix() for pattern in patterns for path in folder.glob(pattern) if not hidden(path)
    )


def _marks(folder: Path, files: Mapping[str, Any]) -> dict[str, list[int]]:
    """Size, times and inode of each file. TaskError for a missing, unknown or resized file."""
    unknown = sorted({*_data_files(folder)} - {*files})
    if unknown:
        raise damaged(folder / unknown[0], "meta.json does not name it", folder)
    marks = {}
    for name, recorded in files.items():
        try:
            found = (folder / name).stat()
        except OSError as error:
            raise damaged(folder / name, error.strerror, folder) from None
        if not stat.S_ISREG(found.st_mode):
            raise damaged(folder / name, "it is not a file", folder)
        if found.st_size != recorded["bytes"]:
            fault = f"it holds {found.st_size:,} bytes, expected {recorded['bytes']:,}"
            raise damaged(folder / name, fault, folder)
        marks[name] = [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino]
    return marks


def _blocks(files: Mapping[str, Any]) -> list[_Block]:
    return [
        _Block(name, number, crc) for name, each in files.items() for number, crc in enumerate(each["crc32"].split())
    ]


def _sample(blocks: Iterable[_Block], until: float) -> Iterator[_Block]:
    """Every block of the small files, then blocks of the tokens in an order of chance as long as there is time."""
    tokens = [block for block in blocks if block.file.endswith(TOKENS)]
    yield from (block for block in blocks if not block.file.endswith(TOKENS))
    for block in SystemRandom().sample(tokens, len(tokens)):
        if time.monotonic() > until:
            return
        yield block


def _compared(folder: Path, block: _Block) -> int:
    """The bytes of a block, after a comparison with its checksum."""
    path, start = folder / block.file, block.number * BLOCK
    try:
        content = _read(path, block.number)
    except OSError as error:
        raise damaged(path, error.strerror, folder) from None
    if _crc(content) != block.recorded:
        raise damaged(path, f"block {block.number}, bytes {start:,} to {start + len(content) - 1:,}", folder)
    return len(content)


def _checksums(path: Path) -> dict[str, Any]:
    size = path.stat().st_size
    found = in_order(lambda number: _crc(_read(path, number)), range(-(-size // BLOCK)), _threads())
    return {"bytes": size, "crc32": " ".join(found)}


def _crc(content: bytes) -> str:
    return f"{zlib.crc32(content):08x}"


def _read(path: Path, number: int) -> bytes:
    with path.open("rb") as file:
        file.seek(number * BLOCK)
        return file.read(BLOCK)


def _threads() -> int:
    return min(4, os.cpu_count() or 1)


def _size(count: int) -> str:
    unit, name = next((each for each in ((1e9, "GB"), (1e6, "MB")) if count >= each[0]), (1e3, "kB"))
    return f"{count / unit:,.1f} {name}"


def _memo(folder: Path) -> Path:
    return folder.with_name(folder.name + ".checked")


def _remembered(folder: Path) -> Any:
    try:
        return json.loads(_memo(folder).read_bytes())
    except (OSError, ValueError, RecursionError):
        return None


def _remember(folder: Path, memo: Mapping[str, Any]) -> None:
    """Write the memo; where that is not possible, the next start compares all blocks again."""
    beside = folder.with_name(f"{folder.name}.checked.{os.getpid()}")
    try:
        beside.write_text(json.dumps(memo))
        beside.replace(_memo(folder))
    except OSError:
        with suppress(OSError):  # a read-only file system refuses this even where there is no file
            beside.unlink()
