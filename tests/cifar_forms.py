"""CIFAR-10 in miniature, twenty images a file instead of ten thousand, in every form that the reader knows."""

from __future__ import annotations

import io
import struct
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

BATCH = 20
NUMPY_ARRAY = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
NUMPY_BYTE = b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"


@dataclass(frozen=True)
class Photos:
    """One of the two sets: (n, 32, 32, 3) pixels and (n,) labels in the archive's order."""

    pixels: np.ndarray
    labels: np.ndarray

    def batches(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """A file's worth at a time: (20, 3072), channel after channel, and the labels."""
        for first in range(0, len(self.labels), BATCH):
            part = slice(first, first + BATCH)
            yield self.pixels[part].transpose(0, 3, 1, 2).reshape(BATCH, -1), self.labels[part]


def photos() -> dict[str, Photos]:
    """The same hundred training images and twenty test images every time."""
    rng = np.random.default_rng(0)
    return {
        split: Photos(rng.integers(0, 256, (n, 32, 32, 3), np.uint8), rng.integers(0, 10, n).astype(np.uint8))
        for split, n in (("train", 5 * BATCH), ("test", BATCH))
    }


def files(suffix: str = "") -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """The six files of a release: name, planes, labels."""
    for split, found in photos().items():
        for number, (planes, labels) in enumerate(found.batches(), start=1):
            yield (f"data_batch_{number}" if split == "train" else "test_batch") + suffix, planes, labels


def python2_pickle(planes: np.ndarray, labels: np.ndarray) -> bytes:
    """What Python 2's cPickle makes, in protocol 2, of {"labels": [...], "data": array}."""
    shape = struct.pack("<cici", b"J", planes.shape[0], b"J", planes.shape[1]) + b"\x86"
    content = struct.pack("<ci", b"T", planes.size) + planes.tobytes()
    data = NUMPY_ARRAY + b"(K\x01" + shape + NUMPY_BYTE + b"\x89" + content + b"tb"
    listed = b"](" + b"".join(b"K" + bytes([label]) for label in labels) + b"e"
    return b"\x80\x02}(U\x06labels" + listed + b"U\x04data" + data + b"u."


def write_python(folder: Path) -> Path:
    """The pickles."""
    folder.mkdir(parents=True)
    for name, planes, labels in files():
        (folder / name).write_bytes(python2_pickle(planes, labels))
    return folder


def write_binary(folder: Path) -> Path:
    """The binary files."""
    folder.mkdir(parents=True)
    for name, planes, labels in files(".bin"):
        (folder / name).write_bytes(np.concatenate([labels[:, None], planes], axis=1).tobytes())
    return folder


def packed(folder: Path, path: Path) -> Path:
    """A folder as .tar.gz, its files in no good order, with a stranger among them."""
    (folder / "readme.html").write_text("see the homepage")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as archive:
        for name in sorted((file.name for file in folder.iterdir()), reverse=True):
            archive.add(folder / name, f"{folder.name}/{name}")
    return path


def write_strips(folder: Path) -> Path:
    """rgb_png/ and labels.npz."""
    (folder / "rgb_png").mkdir(parents=True)
    length = BATCH // 10
    for split, found in photos().items():
        for first in range(0, len(found.labels), length):
            strip = Image.fromarray(found.pixels[first : first + length].reshape(-1, 32, 3))
            strip.save(folder / "rgb_png" / f"{split}_{first // length:02}.png")
    train_y, test_y = (found.labels for found in photos().values())
    lossy_train, lossy_test = np.array([3, 5, 6]), np.array([7])
    np.savez(folder / "labels.npz", train_y=train_y, test_y=test_y, lossy_train=lossy_train, lossy_test=lossy_test)
    return folder


def examples(split: str) -> Iterator[bytes]:
    """The serialised examples of a split, in no good order."""
    found = photos()[split]
    for number in reversed(range(len(found.labels))):
        png = io.BytesIO()
        Image.fromarray(found.pixels[number]).save(png, "PNG")
        yield example(id=f"{split}_{number:05}".encode(), image=png.getvalue(), label=int(found.labels[number]))


def example(**values: bytes | int | float) -> bytes:
    """A serialised example with one value in each feature."""
    from tensorflow_datasets.proto import tf_example_pb2

    made = tf_example_pb2.Example()  # pyright: ignore[reportAttributeAccessIssue]
    lists = {bytes: "bytes_list", int: "int64_list", float: "float_list"}
    for name, value in values.items():
        getattr(made.features.feature[name], lists[type(value)]).value.append(value)
    return made.SerializeToString()


def framed(payload: bytes) -> bytes:
    """One record of a TFRecord file; its checksums are left at zero."""
    return struct.pack("<QI", len(payload), 0) + payload + bytes(4)


def write_tfrecords(folder: Path) -> Path:
    """What tensorflow-datasets prepares, the training set in two shards."""
    folder.mkdir(parents=True)
    train = list(examples("train"))
    parts = {"train.tfrecord-00000-of-00002": train[:60], "train.tfrecord-00001-of-00002": train[60:]}
    parts["test.tfrecord-00000-of-00001"] = list(examples("test"))
    for name, payloads in parts.items():
        (folder / f"cifar10-{name}").write_bytes(b"".join(map(framed, payloads)))
    return folder


def write_array_records(folder: Path) -> Path:
    """The same in its newer format."""
    from array_record.python.array_record_module import ArrayRecordWriter

    folder.mkdir(parents=True)
    for split in ("train", "test"):
        writer = ArrayRecordWriter(str(folder / f"cifar10-{split}.array_record-00000-of-00001"), "group_size:1")
        for payload in examples(split):
            writer.write(payload)
        writer.close()
    return folder
