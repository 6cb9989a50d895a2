"""Our tasks as tensorflow-datasets, prepared by its own download_and_prepare, TensorFlow never loaded."""

from __future__ import annotations

import io
import json
import lzma
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Picture

import tasks
from tasks import store
from tasks.base import SPLITS, Archive, Source
from tasks.image import Image
from tasks.image.official import ARCHIVE as CIFAR
from tasks.listops import ListOps
from tasks.pathfinder import Pathfinder
from tasks.retrieval_aan1818 import RetrievalAAN
from tasks.text import Text
from tasks.text.official import ARCHIVE as IMDB

tfds = pytest.importorskip("tensorflow_datasets")
ours = pytest.importorskip("tasks.tfds")


def data_source(name: str, options: Any, folder: Path) -> dict[str, Any]:
    """Every split of a builder of ours with these options."""
    return tfds.data_source(name, data_dir=folder, builder_kwargs={"config": ours.Config(name="test", options=options)})


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("lra_listops", ListOps(train=60, validation=9, test=5, min_length=5, max_length=40)),
        ("lra_pathfinder32", Pathfinder(size=16, train=30, validation=5, test=4)),
    ],
)
def test_a_data_source_holds_the_prepared_examples(name: str, options: Any, tmp_path: Path) -> None:
    found = data_source(name, options, tmp_path)
    task = next(task for task in map(tasks.load, tasks.names()) if type(options) is task.options)
    for split, prepared in store.prepare(task, options, Source()).splits.items():
        expected = sorted((prepared.document(i).tobytes(), int(prepared.labels[i])) for i in range(len(prepared)))
        examples = [found[split][i] for i in range(len(found[split]))]
        assert all(example["tokens"].dtype == np.uint8 for example in examples)
        assert sorted((example["tokens"].tobytes(), int(example["label"])) for example in examples) == expected


def test_two_documents_have_names_of_their_own(raw: Path, tmp_path: Path) -> None:
    options = RetrievalAAN(max_length=64, train=40, validation=6, test=8)
    prepared = store.prepare(tasks.load("retrieval-aan1818"), options, Source(raw=raw)).splits["test"]
    found = data_source("lra_retrieval_aan1818", options, tmp_path)["test"]
    pairs = [tuple(prepared.document(int(row)).tobytes() for row in rows) for rows in prepared.examples]
    examples = [found[i] for i in range(len(found))]
    assert sorted(tuple(each[f"tokens_{i}"].tobytes() for i in (0, 1)) for each in examples) == sorted(pairs)


def test_every_task_has_a_builder_with_its_version_and_the_standard_data() -> None:
    builders = ours.Builder.__subclasses__()
    assert {builder.TASK for builder in builders} == set(tasks.names())
    for builder in builders:
        assert tfds.builder_cls(builder.name) is builder
        assert builder.VERSION.major == tasks.load(builder.TASK).version


def test_tensorflow_is_never_imported() -> None:
    code = (
        "import sys, lra.training.data, tasks, tasks.tfds, tensorflow_datasets as tfds\n"
        "for name in tasks.names(): tasks.load(name)\n"
        "assert tfds.builder_cls('lra_text').TASK == 'text'\n"
        "print(sorted(name for name in sys.modules if name.partition('.')[0] == 'tensorflow'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def place_for(archive: Archive, folder: Path) -> Path:
    """Where the download manager keeps an archive once it has been downloaded and checked; its note is written."""
    resource = pytest.importorskip("tensorflow_datasets.core.download.resource")
    place = folder / "downloads" / archive.dataset / resource.get_dl_fname(archive.url, archive.sha256)
    place.parent.mkdir(parents=True)
    info = {"urls": [archive.url], "dataset_names": [archive.dataset], "url_info": {"size": archive.size}}
    place.with_name(place.name + ".INFO").write_text(json.dumps(info))
    return place


def add(file: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    file.addfile(member, io.BytesIO(content))


def same_as_raw(name: str, options: Any, archive: Archive, raw: Path, folder: Path, patch: pytest.MonkeyPatch) -> None:
    """What download_and_prepare makes of the archive in its place is what the raw files give."""
    task = tasks.load(name)
    patch.delenv("LRA_RAW")
    patch.setenv("LRA_HOME", str(folder / "home"))
    patch.setenv("TFDS_DATA_DIR", str(folder))
    found = data_source(f"lra_{name}", options, folder)
    assert [len(found[split]) for split in SPLITS] == list(task.counts(options).values())
    by_download = store.load(task, options)
    assert by_download is not None
    assert by_download.meta["origin"] == archive.url
    patch.setenv("LRA_HOME", str(folder / "second home"))
    assert by_download.hash == store.prepare(task, options, Source(raw=raw)).hash


# The official archives are rebuilt from the raw data and put where the download manager looks for them; everything
# after that is what happens on a machine with a network.


def test_text_by_way_of_its_archive(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = IMDB
    with tarfile.open(place_for(archive, tmp_path), "w:gz", compresslevel=1) as file:
        for split in ("train", "test"):
            with lzma.open(raw / "imdb" / f"{split}.jsonl.xz") as lines:
                for row in map(json.loads, lines):
                    add(file, f"aclImdb/{row['file']}", row["text"].encode())
    same_as_raw("text", Text(train=900, validation=90, test=100), archive, raw, tmp_path, monkeypatch)


@pytest.mark.slow
def test_image_by_way_of_its_archive(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = CIFAR
    labels = np.load(raw / "cifar10" / "labels.npz")
    names = [f"data_batch_{number}" for number in range(1, 6)] + ["test_batch"]
    with tarfile.open(place_for(archive, tmp_path), "w:gz", compresslevel=1) as file:
        for batch, name in enumerate(names):
            split, first = ("train", batch) if batch < 5 else ("test", 0)
            strips = [
                np.asarray(Picture.open(raw / "cifar10" / "rgb_png" / f"{split}_{10 * first + i:02d}.png"))
                for i in range(10)
            ]
            pixels = np.concatenate(strips).reshape(-1, 32, 32, 3).transpose(0, 3, 1, 2).reshape(-1, 3072)
            numbers = labels[f"{split}_y"][10_000 * first : 10_000 * (first + 1)].astype(np.uint8)
            add(file, f"cifar-10-batches-bin/{name}.bin", np.column_stack([numbers, pixels]).tobytes())
    same_as_raw("image", Image(train=900, validation=90, test=100), archive, raw, tmp_path, monkeypatch)
