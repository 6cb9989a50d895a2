"""An IMDB of eighty reviews, in every form that the reader knows."""

from __future__ import annotations

import hashlib
import io
import json
import lzma
import struct
import tarfile
from pathlib import Path

import pytest

from tasks.text import Text
from tasks.text.official import LABELS

EACH = 20  # reviews of one label in one split of the miniature
SMALL = Text(train=36, validation=4, test=40, max_length=64)
NAMES = [(split, name) for split in ("train", "test") for name in LABELS]
REVIEWS = {
    f"{split}/{name}/{i}_{i % 10}.txt": f"{split} {name} review {i}: café <br /> {'very ' * i}long"
    + ("\n" if i == 3 else "")
    for split, name in NAMES
    for i in range(EACH)
}


def as_folder(place: Path) -> Path:
    """The folder that the archive unpacks to."""
    for name, text in REVIEWS.items():
        path = place / "aclImdb" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (place / "aclImdb" / "train" / "unsup").mkdir()
    (place / "aclImdb" / "train" / "unsup" / "0_0.txt").write_text("of no label")
    return place


def as_archive(place: Path) -> Path:
    """The archive."""
    place.mkdir(exist_ok=True)
    with tarfile.open(place / "aclImdb_v1.tar.gz", "w:gz") as archive:
        for name, text in {**REVIEWS, "train/unsup/0_0.txt": "of no label"}.items():
            content = text.encode()
            member = tarfile.TarInfo(f"aclImdb/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return place / "aclImdb_v1.tar.gz"


def as_lines(place: Path) -> Path:
    """Lines of JSON."""
    (place / "imdb").mkdir(parents=True)
    for split in ("train", "test"):
        rows = [
            json.dumps({"file": name, "label": LABELS[name.split("/")[1]], "text": text})
            for name, text in REVIEWS.items()
            if name.startswith(split)
        ]
        (place / "imdb" / f"{split}.jsonl.xz").write_bytes(lzma.compress("\n".join(rows).encode()))
    return place


def as_tfds(place: Path) -> Path:
    """Records of tensorflow-datasets."""
    tf_example_pb2 = pytest.importorskip("tensorflow_datasets.proto.tf_example_generated_pb2")

    folder = place / "imdb_reviews" / "plain_text" / "1.0.0"
    folder.mkdir(parents=True)
    for split in ("train", "test"):
        with (folder / f"imdb_reviews-{split}.tfrecord-00000-of-00001").open("wb") as file:
            for name in sorted(REVIEWS, key=lambda name: hashlib.md5(name.encode()).digest()):
                if name.startswith(split):
                    example = tf_example_pb2.Example()
                    example.features.feature["text"].bytes_list.value.append(REVIEWS[name].strip().encode())
                    example.features.feature["label"].int64_list.value.append(LABELS[name.split("/")[1]])
                    payload = example.SerializeToString()
                    file.write(struct.pack("<QI", len(payload), 0) + payload + bytes(4))
    return place
