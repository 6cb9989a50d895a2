"""Reads the two releases of CIFAR-10, Python pickles and binary files, unpacked or in their archives."""

from __future__ import annotations

import io
import pickle
import re
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from tasks.base import TaskError
from tasks.files import DAMAGED, archives, is_tar
from tasks.image.forms import SIDE, ColourImages, Form

Parsed = tuple[np.ndarray, np.ndarray]  # (n, 3072) channel after channel, (n,) labels
PIXELS = 3 * SIDE**2


@dataclass(frozen=True, kw_only=True)
class Release:
    """One of the two releases: the names of its folder, archive and files, and the meaning of a file's bytes."""

    folder: str
    archive: str
    suffix: str
    parse: Callable[[bytes], Parsed]

    @property
    def files(self) -> dict[str, tuple[str, int]]:
        """The split and the number of the batch for each file name."""
        train = {f"data_batch_{i + 1}{self.suffix}": ("train", i) for i in range(5)}
        return {**train, f"test_batch{self.suffix}": ("test", 0)}


def find_batches(raw: Path, release: Release, batch: int) -> Form | None:
    """The release at `raw`, or in its usual folder below, unpacked or not; a file has `batch` images."""
    for below in ("", release.folder, f"cifar10/{release.folder}"):
        if any((raw / below / name).is_file() for name in release.files):
            return Form(origin=str(raw / below), images=_images(_in_folder(raw / below, release), release, batch))
    if is_tar(raw) and _holds(raw, release):
        return from_archive(raw, release, batch)
    for path in (*archives(raw, release.archive), *archives(raw / "cifar10", release.archive)):
        return from_archive(path, release, batch)
    return None


def _holds(path: Path, release: Release) -> bool:
    """Whether the first data file in an archive is one of this release."""
    try:
        with tarfile.open(path, "r|*") as archive:
            names = (PurePosixPath(member.name).name for member in archive)
            first = next((name for name in names if re.fullmatch(r"(data_batch_\d|test_batch)(\.bin)?", name)), "")
    except DAMAGED as error:
        raise TaskError(f"{path} cannot be read ({error}): download it again") from None
    return first in release.files


def from_archive(path: Path, release: Release, batch: int, origin: str | None = None) -> Form:
    """The release inside a tar archive."""
    return Form(origin=origin or str(path), images=_images(_in_archive(path, release), release, batch))


def _images(files: Iterator[tuple[str, bytes]], release: Release, batch: int) -> Iterator[ColourImages]:
    for file, content in files:
        try:
            planes, labels = release.parse(content)
            if planes.shape != (batch, PIXELS) or planes.dtype != np.uint8 or labels.shape != (batch,):
                raise ValueError(f"it holds {planes.dtype} {planes.shape}, expected uint8 {(batch, PIXELS)} and labels")
        except ValueError as error:
            raise TaskError(f"{file} is not a file of CIFAR-10: {error}: restore it") from None
        split, index = release.files[PurePosixPath(file).name]
        yield ColourImages(
            file=file,
            split=split,
            numbers=np.arange(index * batch, (index + 1) * batch),
            pixels=planes.reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1),
            labels=labels,
        )


def _in_folder(folder: Path, release: Release) -> Iterator[tuple[str, bytes]]:
    for name in release.files:
        try:
            yield (folder / name).as_posix(), (folder / name).read_bytes()
        except OSError as error:
            raise TaskError(f"{folder / name} cannot be read ({error.strerror}): restore it") from None


def _in_archive(path: Path, release: Release) -> Iterator[tuple[str, bytes]]:
    try:
        with tarfile.open(path, "r|*") as archive:
            for member in archive:
                name = PurePosixPath(member.name).name
                content = archive.extractfile(member) if name in release.files else None
                if content is not None:
                    yield f"{path}/{name}", content.read()
    except DAMAGED as error:
        raise TaskError(f"{path} cannot be read ({error}): download it again") from None


def _binary(content: bytes) -> Parsed:
    """One byte of label and 3,072 of image, again and again."""
    rows = np.frombuffer(content, np.uint8)
    if len(rows) % (PIXELS + 1):
        raise ValueError(f"it has {len(rows):,} bytes, no multiple of {PIXELS + 1:,}")
    rows = rows.reshape(-1, PIXELS + 1)
    return rows[:, 1:], rows[:, 0]


def _pickled(content: bytes) -> Parsed:
    """A dictionary of Python 2 with an array `data` and a list `labels`."""
    try:
        found = _Unpickler(io.BytesIO(content), encoding="bytes").load()
        return np.atleast_2d(found[b"data"]), np.array(found[b"labels"], np.int64)
    except Exception as error:  # a damaged pickle can raise anything
        raise ValueError(str(error) or type(error).__name__) from None


class _Unpickler(pickle.Unpickler):
    """Loads only the types in the release's pickles, so that no file can run code."""

    _KNOWN = {  # noqa: RUF012
        ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
    }

    def find_class(self, module: str, name: str) -> object:
        if (module, name) not in self._KNOWN:
            raise ValueError(f"it needs {module}.{name}")
        return self._KNOWN[module, name]


PYTHON = Release(folder="cifar-10-batches-py", archive="cifar-10-python", suffix="", parse=_pickled)
BINARY = Release(folder="cifar-10-batches-bin", archive="cifar-10-binary", suffix=".bin", parse=_binary)
