"""Image read from every form of CIFAR-10, on miniatures that the tests write; and what is wrong with damaged ones."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tasks.base import Archive, Source, TaskError
from tasks.image.official import ARCHIVE, find, gray, read, split_numbers
from tests.cifar_forms import (
    BATCH,
    example,
    framed,
    packed,
    photos,
    python2_pickle,
    write_array_records,
    write_binary,
    write_python,
    write_strips,
    write_tfrecords,
)

COUNTS = {"train": 90, "validation": 10, "test": 20}
Write = Callable[[Path], Path]
FOLDERS: dict[Write, str] = {
    write_binary: "cifar-10-batches-bin",
    write_python: "cifar-10-batches-py",
    write_strips: "cifar10",
    write_tfrecords: "cifar10/3.0.2",
    write_array_records: "cifar10/3.0.2",
}


@pytest.fixture(autouse=True)
def tfds_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty place for tensorflow-datasets, so that the user's own data is never found."""
    home = tmp_path / "tfds"
    monkeypatch.setenv("TFDS_DATA_DIR", str(home))
    return home


@pytest.fixture
def cifar(tmp_path: Path) -> Path:
    """A raw folder that holds another task's files."""
    (tmp_path / "raw" / "imdb").mkdir(parents=True)
    (tmp_path / "raw" / "aclImdb_v1.tar.gz").write_bytes(b"not for us")
    return tmp_path / "raw"


def origin_of(source: Source) -> str:
    """Reads everything, checks it, and returns what was told."""
    told: list[str] = []
    source = Source(raw=source.raw, fetch=source.fetch, tell=told.append)
    tokens: dict[str, list[np.ndarray]] = {split: [] for split in COUNTS}
    labels: dict[str, list[int]] = {split: [] for split in COUNTS}
    for block in read(source, COUNTS, BATCH):
        assert len(told) == 1
        assert block.lengths.tolist() == [1024] * len(block.labels)
        tokens[block.split].append(block.tokens)
        labels[block.split].extend(block.labels.tolist())
    for split, numbers in split_numbers(BATCH).items():
        found = photos()["test" if split == "test" else "train"]
        np.testing.assert_array_equal(np.concatenate(tokens[split]), gray(found.pixels[numbers]).reshape(-1))
        assert labels[split] == found.labels[numbers].tolist()
    return told[0]


def tar_of(write: Write, folder: str, scratch: Path, path: Path) -> Path:
    return packed(write(scratch / folder), path)


@pytest.mark.parametrize("below", ["", "{}", "cifar10/{}"])
@pytest.mark.parametrize(
    ("write", "name"), [(write_python, "cifar-10-batches-py"), (write_binary, "cifar-10-batches-bin")]
)
def test_batches_are_read_from_a_folder(cifar: Path, write: Write, name: str, below: str) -> None:
    folder = cifar / below.format(name)
    shutil.rmtree(cifar)
    assert origin_of(Source(raw=write(folder) and cifar)) == str(folder)


@pytest.mark.parametrize("below", ["", "cifar10"])
@pytest.mark.parametrize(("write", "name"), [(write_python, "python"), (write_binary, "binary")])
def test_batches_are_read_from_an_archive(tmp_path: Path, cifar: Path, write: Write, name: str, below: str) -> None:
    path = tar_of(write, f"cifar-10-batches-{name[:3]}", tmp_path, cifar / below / f"cifar-10-{name}.tar.gz")
    assert origin_of(Source(raw=cifar)) == str(path)
    assert origin_of(Source(raw=path)) == str(path)


@pytest.mark.parametrize("below", ["", "cifar10"])
def test_strips_are_read_and_the_lossy_images_told(cifar: Path, below: str) -> None:
    write_strips(cifar / below)
    told = origin_of(Source(raw=cifar))
    assert told == f"{cifar / below / 'rgb_png'} (3 train and 1 test images are JPEG decodes, the others exact)"


@pytest.mark.parametrize("below", ["", "3.0.2", "cifar10/3.0.2", "tensorflow_datasets/cifar10/3.0.2"])
@pytest.mark.parametrize("write", [write_tfrecords, write_array_records])
def test_records_of_tensorflow_datasets_are_read(cifar: Path, write: Write, below: str) -> None:
    pytest.importorskip("tensorflow_datasets")
    pytest.importorskip("array_record")
    folder = cifar / below
    shutil.rmtree(cifar)
    assert origin_of(Source(raw=write(folder) and cifar)) == str(folder)


def test_the_newest_version_in_the_home_of_tensorflow_datasets_is_taken(cifar: Path, tfds_home: Path) -> None:
    pytest.importorskip("tensorflow_datasets")
    folder = write_tfrecords(tfds_home / "cifar10/3.0.10")
    for other in ("cifar10/3.0.2", "cifar10/3.0.11.incompleteABC", "cifar100/3.0.2"):
        shutil.copytree(folder, tfds_home / other)
    assert origin_of(Source()) == origin_of(Source(raw=cifar)) == str(folder)


def test_the_forms_have_an_order(tmp_path: Path, cifar: Path, tfds_home: Path) -> None:
    pytest.importorskip("tensorflow_datasets")
    places = [
        write_python(cifar / "cifar-10-batches-py"),
        tar_of(write_python, "cifar-10-batches-py", tmp_path, cifar / "cifar-10-python.tar.gz"),
        write_binary(cifar / "cifar10" / "cifar-10-batches-bin"),
        tar_of(write_binary, "cifar-10-batches-bin", tmp_path, cifar / "cifar-10-binary.tar.gz"),
        write_strips(cifar) / "rgb_png",
        write_tfrecords(cifar / "cifar10/3.0.2"),
        write_tfrecords(tfds_home / "cifar10/3.0.2"),
    ]
    for place in places:
        assert find(Source(raw=cifar), BATCH).origin.split(" (")[0] == str(place)
        shutil.rmtree(place) if place.is_dir() else place.unlink()


def test_the_archive_is_fetched_where_nothing_is_here(tmp_path: Path, cifar: Path) -> None:
    path = tar_of(write_binary, "cifar-10-batches-bin", tmp_path, tmp_path / "downloaded")
    fetched: list[Archive] = []

    def fetch(archive: Archive) -> Path:
        fetched.append(archive)
        return path

    assert origin_of(Source(raw=cifar, fetch=fetch)) == ARCHIVE.url
    assert origin_of(Source(fetch=fetch)) == ARCHIVE.url
    assert fetched == [ARCHIVE, ARCHIVE]


def test_without_a_network_it_says_what_was_looked_for(cifar: Path) -> None:
    with pytest.raises(TaskError, match=rf"no cifar-10-batches-py, .* in {cifar}; https://.*--raw DIR$"):
        origin_of(Source(raw=cifar))
    with pytest.raises(TaskError, match=r"^https://"):
        origin_of(Source())


class Evil:
    """Unpickling it would leave a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.touch, (self.path,)


def test_a_pickle_runs_no_code(tmp_path: Path) -> None:
    folder = write_python(tmp_path / "cifar-10-batches-py")
    (folder / "data_batch_1").write_bytes(pickle.dumps({b"data": Evil(tmp_path / "ran")}, protocol=2))
    with pytest.raises(TaskError, match=r"data_batch_1 is not a file of CIFAR-10: it needs [\w.]+: restore it$"):
        origin_of(Source(raw=tmp_path))
    assert not (tmp_path / "ran").exists()


def cut(path: Path, keep: float = 0.5) -> None:
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])


def wrong_label(folder: Path) -> None:
    content = bytearray((folder / "data_batch_2.bin").read_bytes())
    content[3073] = 10
    (folder / "data_batch_2.bin").write_bytes(content)


def wide_pickle(folder: Path) -> None:
    (folder / "test_batch").write_bytes(python2_pickle(np.zeros((20, 3000), np.uint8), np.zeros(20, np.uint8)))


def archive_cut(folder: Path) -> None:
    packed(folder, folder.parent / "cifar-10-binary.tar.gz")
    cut(folder.parent / "cifar-10-binary.tar.gz")
    shutil.rmtree(folder)


def archive_incomplete(folder: Path) -> None:
    (folder / "test_batch.bin").unlink()
    packed(folder, folder.parent / "cifar-10-binary.tar.gz")
    shutil.rmtree(folder)


def short_labels(folder: Path) -> None:
    found = dict(np.load(folder / "labels.npz"))
    np.savez(folder / "labels.npz", **{**found, "train_y": found["train_y"][:-1]})


def named_labels(folder: Path) -> None:
    found = dict(np.load(folder / "labels.npz"))
    np.savez(folder / "labels.npz", **{**found, "train_y": found["train_y"].astype("U1")})


def other_strip(folder: Path) -> None:
    Image.new("L", (32, 32)).save(folder / "rgb_png/test_03.png")


def record_lost(folder: Path) -> None:
    path = folder / "cifar10-test.tfrecord-00000-of-00001"
    content = path.read_bytes()
    path.write_bytes(content[16 + int.from_bytes(content[:8], "little") :])


def other_record(payload: bytes) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        (folder / "cifar10-test.tfrecord-00000-of-00001").write_bytes(framed(payload))

    return spoil


def other_values(**changes: bytes | int | float) -> Callable[[Path], None]:
    """Put a single record, with some values changed."""
    return lambda folder: other_record(example(**{"id": b"test_00000", "image": b"", "label": 1, **changes}))(folder)


@pytest.mark.parametrize(
    ("write", "spoil", "message"),
    [
        (write_binary, lambda folder: (folder / "data_batch_3.bin").unlink(), "data_batch_3.bin cannot be read"),
        (write_binary, lambda folder: cut(folder / "data_batch_3.bin"), r"data_batch_3.bin is not .*8 \(10, 3072\)"),
        (write_binary, lambda folder: cut(folder / "data_batch_3.bin", 0.43), "bytes, no multiple of 3,073"),
        (write_binary, wrong_label, r"data_batch_2.bin has labels \d to 10"),
        (write_binary, archive_cut, r"cifar-10-binary.tar.gz cannot be read .* download it again"),
        (write_binary, archive_incomplete, r"cifar-10-binary.tar.gz has 0 of 20 test images"),
        (write_python, lambda folder: cut(folder / "data_batch_5"), r"data_batch_5 is not a file of CIFAR-10: "),
        (write_python, wide_pickle, r"test_batch is not a file of CIFAR-10: it holds uint8 \(20, 3000\)"),
        (write_strips, lambda folder: (folder / "labels.npz").unlink(), r"labels.npz cannot be read"),
        (write_strips, lambda folder: cut(folder / "labels.npz"), r"labels.npz cannot be read"),
        (write_strips, short_labels, r"labels.npz has train_y of shape \(99,\), expected \(100,\)"),
        (write_strips, named_labels, r"labels.npz has train_y of type <U1, expected integers"),
        (write_strips, lambda folder: cut(folder / "rgb_png/test_03.png"), "test_03.png cannot be read"),
        (write_strips, other_strip, "test_03.png is 32×32 8-bit gray, expected a PNG of 32×64 8-bit RGB"),
        (write_strips, lambda folder: (folder / "rgb_png/train_49.png").unlink(), "train_49.png cannot be read"),
        (write_tfrecords, lambda f: (f / "cifar10-train.tfrecord-00000-of-00002").unlink(), "lacks shard 0 of 2"),
        (write_tfrecords, lambda f: (f / "cifar10-test.tfrecord-00000-of-00001").unlink(), "no .*-test.tfrecord-"),
        (write_tfrecords, lambda f: cut(f / "cifar10-test.tfrecord-00000-of-00001", 0.33), "ends inside a record"),
        (write_tfrecords, record_lost, "19 of 20 test images"),
        (write_tfrecords, other_record(b"\xff\xff"), "00000-of-00001 holds a record that is no example"),
        (write_tfrecords, other_record(b""), "a record without an id, image or label"),
        (
            write_tfrecords,
            other_values(label=1.5),
            r"\(test\) has a record .*the label is 1.5, expected a whole",
        ),
        (write_tfrecords, other_values(label=b"cat"), r"\(test\) has a record .*the label is b'cat', expected"),
        (write_tfrecords, other_values(image=7), r"\(test\) has a record .*the image is 7, expected"),
        (write_tfrecords, other_values(id=b"test_" + b"9" * 19), r"\(test\) has a record .*too many digits"),
        (write_array_records, lambda f: cut(f / "cifar10-test.array_record-00000-of-00001"), "cannot be read"),
    ],
)
def test_damage_is_told_in_one_line(cifar: Path, write: Write, spoil: Callable[[Path], object], message: str) -> None:
    if write in (write_tfrecords, write_array_records):
        pytest.importorskip("tensorflow_datasets")
        pytest.importorskip("array_record")
    spoil(write(cifar / FOLDERS[write]))
    with pytest.raises(TaskError, match=message) as caught:
        origin_of(Source(raw=cifar))
    assert "\n" not in str(caught.value)
