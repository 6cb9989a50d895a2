"""Raw files as people have them: renamed, unpacked, linked, copied, with a Mac's files beside them, or damaged."""

from __future__ import annotations

import gzip
import json
import lzma
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tasks import store
from tasks import text as text_task
from tasks.base import Archive, Source, TaskError
from tasks.image.official import find as find_images
from tasks.image.official import read as read_images
from tasks.pathfinder.official import find, read_records
from tasks.retrieval_aan1818.corpus import NETWORK, PAPERS
from tasks.retrieval_aan1818.corpus import read as read_papers
from tasks.text import official
from tests import cifar_forms, retrieval_data, text_data
from tests.test_pathfinder_official import LEVEL, write_release

LINES = [
    b"[]",
    b'{"label": 1}',
    b'{"label": true, "text": "a"}',
    b'{"label": [], "text": "a"}',
    b'{"label": 1, "text": "\\ud800"}',
    b'{"id": "a", "year": 1e999, "text": "a"}',
    b'{"id": [], "year": 2000, "text": "a"}',
    b'{"id": "a", "year": -1e30, "text": "a"}',
    b"[" * 100_000,
    b"\xff",
]


@pytest.fixture(autouse=True)
def miniature(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A home of its own, nothing of tensorflow-datasets, and an IMDB of eighty reviews."""
    monkeypatch.setenv("LRA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    monkeypatch.setattr(official, "EACH", text_data.EACH)
    monkeypatch.setattr(text_task, "HELD_OUT", 4)


def reviews(raw: Path) -> str:
    return store.prepare(text_task.TASK, text_data.SMALL, Source(raw=raw)).hash


def unpacked(place: Path) -> Path:
    """What a browser leaves: the archive without its compression."""
    archive = text_data.as_archive(place)
    (place / "aclImdb_v1.tar").write_bytes(gzip.decompress(archive.read_bytes()))
    archive.unlink()
    return place / "aclImdb_v1.tar"


def misnamed(place: Path) -> Path:
    """A plain tar under the archive's name."""
    plain = unpacked(place)
    return plain.rename(place / "aclImdb_v1.tar.gz").parent


def plain_lines(place: Path) -> Path:
    for path in (text_data.as_lines(place) / "imdb").iterdir():
        path.with_suffix("").write_bytes(lzma.decompress(path.read_bytes()))
        path.unlink()
    return place


def of_a_mac(place: Path) -> Path:
    for folder in (text_data.as_folder(place) / "aclImdb").glob("*/*"):
        (folder / "._0_9.txt").write_bytes(b"\0\x05\x16\x07 Mac OS X \xb0")
    return place


def copied_shards(place: Path) -> Path:
    """A second copy, a file of macOS and a foreign index beside the shards."""
    for shard in list(text_data.as_tfds(place).rglob("*.tfrecord-*")):
        for name in (f"Copy of {shard.name}", f"._{shard.name}", f"{shard.name}_index.json", f"{shard.name} (1)"):
            shard.with_name(name).write_bytes(b"{}")
    return place


@pytest.mark.parametrize("form", [unpacked, misnamed, plain_lines, of_a_mac, copied_shards])
def test_reviews_are_read_whatever_was_done_to_them(
    form: Callable[[Path], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = reviews(text_data.as_archive(tmp_path / "first"))
    monkeypatch.setenv("LRA_HOME", str(tmp_path / "second home"))
    assert reviews(form(tmp_path / "second")) == expected


@pytest.mark.parametrize("form", ["py", "bin"])
def test_an_archive_of_images_is_known_by_what_is_in_it(form: str, tmp_path: Path) -> None:
    folder = cifar_forms.write_python(tmp_path / "a") if form == "py" else cifar_forms.write_binary(tmp_path / "a")
    for kind in ("w:gz", "w"):
        path = tmp_path / f"download ({kind[1:]})"
        with tarfile.open(path, kind) as archive:
            archive.add(folder, "cifar")
        blocks = read_images(Source(raw=path), {"train": 5, "validation": 2, "test": 2}, cifar_forms.BATCH)
        assert sum(len(block.labels) for block in blocks) == 9


def test_a_file_that_is_none_of_the_data_is_refused(tmp_path: Path) -> None:
    """Nothing is downloaded in its place, nor read from where tensorflow-datasets keeps its own."""
    text_data.as_tfds(tmp_path / "tfds")
    (tmp_path / "page.html").write_text("<html>")
    source = Source(raw=tmp_path / "page.html", fetch=lambda archive: pytest.fail("downloaded"))
    for read in (official.read, find_images):
        with pytest.raises(TaskError, match=r"page\.html is none of .*: name one of them"):
            read(source)


def test_what_is_not_in_the_named_folder_is_told_before_it_is_fetched(tmp_path: Path) -> None:
    said: list[str] = []

    def fetch(archive: Archive) -> Path:
        assert said
        raise TaskError("there is no network")

    source = Source(raw=tmp_path, fetch=fetch, note=said.append)
    for read in (official.read, find_images):
        with pytest.raises(TaskError, match=f"in {tmp_path}; there is no network"):
            read(source)
    assert [line.partition(":")[0].endswith(str(tmp_path)) for line in said] == [True, True]


@pytest.mark.parametrize("spoil", [lambda path: path.write_bytes(b"\xff"), lambda path: (path.unlink(), path.mkdir())])
def test_the_one_bad_review_is_named(spoil: Callable[[Path], Any], tmp_path: Path) -> None:
    bad = text_data.as_folder(tmp_path) / "aclImdb" / "test" / "pos" / "3_3.txt"
    spoil(bad)
    with pytest.raises(TaskError, match=rf"^{bad}.*restore it$"):
        reviews(tmp_path)


@pytest.mark.parametrize("line", LINES)
def test_a_line_of_another_shape_is_named(line: bytes, tmp_path: Path) -> None:
    path = text_data.as_lines(tmp_path) / "imdb" / "train.jsonl.xz"
    path.write_bytes(lzma.compress(b"\n".join([*lzma.decompress(path.read_bytes()).splitlines()[:2], line])))
    with pytest.raises(TaskError, match=rf"^{path}:3: .*restore it$"):
        reviews(tmp_path)
    papers = retrieval_data.write(tmp_path / "aan") / PAPERS
    papers.write_bytes(lzma.compress(lzma.decompress(papers.read_bytes()) + line))
    with pytest.raises(TaskError, match=rf"^{papers}(:301: | is damaged).*restore it$"):
        read_papers(papers.parent, 10)


def test_papers_may_be_unpacked(tmp_path: Path) -> None:
    folder = retrieval_data.write(tmp_path)
    expected = read_papers(folder, 10).texts
    for name in (PAPERS, NETWORK):
        (folder / name.removesuffix(".xz")).write_bytes(lzma.decompress((folder / name).read_bytes()))
        (folder / name).unlink()
    assert read_papers(folder, 10).texts == expected


def test_a_link_may_have_the_name_or_lead_to_it(tmp_path: Path) -> None:
    write_release(tmp_path / "disk" / "pf" / LEVEL)
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "pathfinder32").symlink_to(tmp_path / "disk" / "pf")
    (tmp_path / "mine").symlink_to(tmp_path / "raw" / "pathfinder32")
    (tmp_path / "other").symlink_to(write_release(tmp_path / "pathfinder32" / LEVEL))
    for raw in ("raw", "raw/pathfinder32", f"raw/pathfinder32/{LEVEL}", "other"):
        assert len(read_records(find(tmp_path / raw, 32, "hard"))) == 20
    (tmp_path / "raw" / "pathfinder32" / LEVEL / "metadata" / "._0.npy").write_bytes(b"\0")
    assert len(read_records(find(tmp_path / "raw", 32, "hard"))) == 20


@pytest.mark.parametrize(
    "content",
    [b"", b"\x93NUMPY", b"\x93NUMPY\1\0\xff\xff", "imgs/0 é.png 0 1".encode("latin-1"), b"a b 0 2", b"a \0 0 1"],
)
def test_metadata_that_is_none_is_named(content: bytes, tmp_path: Path) -> None:
    folder = write_release(tmp_path / "pathfinder32" / LEVEL)
    path = folder / "metadata" / "1.npy"
    whole = tmp_path / "object.npy"
    np.save(whole, np.array([["a", 1, None, 0]], object), allow_pickle=True)
    for bad in (content, whole.read_bytes()):
        path.write_bytes(bad)
        if bad:
            with pytest.raises(TaskError, match=r"restore"):
                read_records(folder)
        else:
            assert len(read_records(folder)) == 10


def test_files_of_a_mac_beside_prepared_data_are_none_of_it(tmp_path: Path) -> None:
    options = replace(text_data.SMALL)
    ready = store.prepare(text_task.TASK, options, Source(raw=text_data.as_folder(tmp_path / "raw")))
    for path in list(ready.folder.rglob("*.npy")):
        path.with_name(f"._{path.name}").write_bytes(b"\0")
    assert json.loads((ready.folder / "meta.json").read_bytes())["hash"] == ready.hash
    again = store.verify(text_task.TASK, options)
    assert again is not None
    assert again.hash == ready.hash
