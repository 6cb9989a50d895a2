"""Our tasks as tensorflow-datasets, prepared by its own download_and_prepare, TensorFlow never loaded."""

from __future__ import annotations

import io
import json
import lzma
import subprocess
import sys
import tarfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tasks
from lra.config import preset_values
from tasks import store, text_sources
from tasks.base import Source
from tasks.listops import ListOps
from tasks.pathfinder import Pathfinder
from tasks.text import Text

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


def test_every_task_has_a_builder_with_its_version_and_the_standard_data() -> None:
    builders = ours.Builder.__subclasses__()
    assert {builder.TASK for builder in builders} == set(tasks.names())
    for builder in builders:
        assert tfds.builder_cls(builder.name) is builder
        assert builder.VERSION.major == tasks.load(builder.TASK).version


@pytest.mark.parametrize("name", tasks.names())
def test_the_standard_preset_is_a_tasks_own_defaults(name: str) -> None:
    options = tasks.load(name).options
    assert asdict(options(**preset_values(name, "standard")["data"])) == asdict(options())


def test_tensorflow_is_never_imported() -> None:
    code = (
        "import sys, lra.data, tasks, tasks.tfds, tensorflow_datasets as tfds\n"
        "for name in tasks.names(): tasks.load(name)\n"
        "assert tfds.builder_cls('lra_text').TASK == 'text'\n"
        "print(sorted(name for name in sys.modules if name.partition('.')[0] == 'tensorflow'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_text_by_way_of_the_archive_that_would_be_downloaded(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The archive is rebuilt from the reviews and put where the download manager looks; the rest is its own code."""
    resource = pytest.importorskip("tensorflow_datasets.core.download.resource")
    archive = text_sources.ARCHIVE
    place = tmp_path / "downloads" / archive.dataset / resource.get_dl_fname(archive.url, archive.sha256)
    place.parent.mkdir(parents=True)
    with tarfile.open(place, "w:gz", compresslevel=1) as file:
        for split in ("train", "test"):
            with lzma.open(raw / "imdb" / f"{split}.jsonl.xz") as lines:
                for row in map(json.loads, lines):
                    content = row["text"].encode()
                    member = tarfile.TarInfo(f"aclImdb/{row['file']}")
                    member.size = len(content)
                    file.addfile(member, io.BytesIO(content))
    info = {"urls": [archive.url], "dataset_names": ["lra_text"], "url_info": {"size": archive.size}}
    place.with_name(place.name + ".INFO").write_text(json.dumps(info))
    monkeypatch.delenv("LRA_RAW")
    monkeypatch.setenv("LRA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    options = Text(train=900, validation=90, test=100)
    found = data_source("lra_text", options, tmp_path)
    assert [len(found[split]) for split in ("train", "validation", "test")] == [900, 90, 100]
    by_download = store.load(tasks.load("text"), options)
    monkeypatch.setenv("LRA_HOME", str(tmp_path / "second home"))
    assert by_download is not None
    assert by_download.meta["origin"] == archive.url
    assert by_download.hash == store.prepare(tasks.load("text"), options, Source(raw=raw)).hash
