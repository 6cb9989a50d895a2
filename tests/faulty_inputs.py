"""Every file that the program reads, in miniature, with what reads it: the inputs of the campaign of faults."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tasks
from attention_impls import saved
from lra.bench import record as bench_record
from lra.cli.chosen import Chosen
from lra.core.config import Run, as_dict, from_dict, resolve
from lra.core.documents import json_document, read_yaml, yaml_text
from lra.core.environment import DATA
from lra.model.state import state_arrays
from lra.model.weights import initial_weights
from lra.regression import baselines
from lra.scores import claims, published
from lra.sweep import choice, lease, plan
from lra.training import checkpoint, record, snapshot
from lra.training.history import History
from tasks import store
from tasks import text as text_task
from tasks.base import Source
from tasks.image import official as images
from tasks.pathfinder import Pathfinder
from tasks.retrieval import Retrieval
from tasks.retrieval_aan1818 import corpus
from tasks.text import official as reviews
from tests import board_records, cifar_forms, retrieval_data, small, text_data


@dataclass(frozen=True)
class Input:
    """One kind of file: what writes it into a folder, what reads it from there, and whether damage has to be seen.

    `read` returns something to compare. `sealed`: the file has a checksum, so nothing else than it was may come back.
    """

    name: str
    write: Callable[[Path], None]
    read: Callable[[Path], Any]
    sealed: bool = False


def _record(folder: Path) -> None:
    made = record.sealed(board_records.made("listops", "elfatt", 0.5))
    (folder / "a.json").write_bytes(json_document(asdict(made)))


def _bench(folder: Path) -> None:
    board_records.write_timing(folder, "elfatt", 0.01).rename(folder / "a.json")
    (folder / "bench").rmdir()


def _snapshot(folder: Path) -> None:
    arrays = {"a": np.arange(12.0).reshape(3, 4), "b": np.arange(5)}
    checkpoint.save_atomically(arrays, folder / "a.safetensors", {"step": 3})


def _read_snapshot(folder: Path) -> Any:
    arrays, facts = checkpoint.read(folder / "a.safetensors")
    return {name: (array.dtype.str, array.tolist()) for name, array in arrays.items()}, facts


def _shared(folder: Path) -> None:
    weights = initial_weights(small.blueprint("linear"))
    history = History(step=6, curve=[[4.0, 2.3, 0.1, 2.2, 0.2]], best=weights, loss=9.0, correct=3, count=16)
    state = {name: np.abs(array) for name, array in state_arrays(weights).items()} | {"adam.count": np.array(6)}
    facts = snapshot.facts(_run(), "0123456789ab") | {"devices": [1, 2]}
    checkpoint.save_atomically(state | history.arrays(), folder / "a.safetensors", facts)


def _read_shared(folder: Path) -> Any:
    found = snapshot.read(folder / "a.safetensors", _run(), "0123456789ab", small.blueprint("linear"))
    return found.devices, {name: array.tolist() for name, array in found.arrays.items()}


def _run() -> Run:
    return small.smoke_run("listops", "linear", "torch", steps=8, evaluate_every=4, chunk=2)


def _trained(folder: Path) -> None:
    made = record.sealed(board_records.made("listops", "elfatt", 0.5))
    (folder / "runs").mkdir()
    (folder / "runs" / f"{record.name(made, made.run_id)}.json").write_bytes(json_document(asdict(made)))
    arrays = {"positions.embedding": np.zeros((8, 4)), "layers.0.attention.local_conv.bias": np.arange(4.0)}
    best = checkpoint.folder(folder, made.run_id) / saved.BEST
    best.parent.mkdir(parents=True)
    checkpoint.save_atomically(arrays, best, {"run": made.run_id})


def _read_trained(folder: Path) -> Any:
    found = [saved.read_run(path, 0, None) for path in (*folder.glob("runs/*"), *folder.glob(".work/*/*"))]
    return [(each.options, each.sizes, {name: array.tolist() for name, array in each.params.items()}) for each in found]


def _configuration(folder: Path) -> None:
    run = resolve("listops", "elfatt", backend="torch", preset="smoke")
    (folder / "a.yaml").write_text(yaml_text(as_dict(run)), encoding="utf-8")


def _choice(folder: Path) -> None:
    base = resolve("listops", "elfatt", backend="torch", preset="smoke")
    runs = [choice.shortened(replace(base, train=replace(base.train, learning_rate=rate)), 4) for rate in (1e-4, 1e-3)]
    search = choice.Search(base=base, runs=tuple(runs), names=("learning_rate",))
    found = [board_records.made("listops", "elfatt", 0.5), None]
    choice.write(search, found, {1: "it diverged"}, folder).rename(folder / "a.json")


def _plan(folder: Path) -> None:
    block = {"task": ["listops"], "attn": ["linear", "elfatt@block_size=16"], "backend": ["torch"], "preset": "smoke"}
    blocks = [block | {"seeds": 2, "grid": {"train.learning_rate": [1e-4, 1e-3]}}, {"bench": "--what train"}]
    (folder / "a.yaml").write_text(yaml_text({"sweep": blocks}), encoding="utf-8")


def _lease(folder: Path) -> None:
    values = {
        "host": "n1",
        "machine": "n1 kernel",
        "pid": 7,
        "started": 1.5,
        "since": 2.5,
        "released": False,
        "step": 3,
    }
    (folder / "lease.1.json").write_bytes(json_document(values))


def _copied(path: Path) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / path.name).write_bytes(path.read_bytes())

    return write


def _listops(folder: Path) -> None:
    for name, count in (("train", 6), ("val", 3), ("test", 3)):
        lines = ["( ( ( [MAX 2 ) 9 ) ] )\t9", "( ( ( [MIN 2 ) 9 ) ] )\t2"]
        text = "Source\tTarget\n" + "".join(f"{lines[i % 2]}\n" for i in range(count))
        (folder / f"basic_{name}.tsv").write_text(text, encoding="utf-8")


def _pairs(folder: Path) -> None:
    for name in ("train", "eval", "test"):
        rows = [f"{i % 2}.0\t{i}\t{i + 1}\tb'text {i}'\tb'other {i}'\n" for i in range(6)]
        (folder / f"new_aan_pairs.{name}.tsv").write_text("".join(rows), encoding="utf-8")


def _built(task: str, **options: Any) -> Callable[[Path], Any]:
    """Reads what a task builds from the files, and every value of it."""

    def read(folder: Path) -> Any:
        found = tasks.load(task)
        return [
            (block.split, block.tokens.tolist(), block.lengths.tolist(), block.labels.tolist())
            for block in found.build(found.options(**options), Source(raw=folder))
        ]

    return read


def _images(folder: Path) -> Any:
    blocks = images.read(Source(raw=folder), {"train": 5, "validation": 2, "test": 2}, cifar_forms.BATCH)
    return [(block.tokens.tolist(), block.labels.tolist()) for block in blocks]


def _pathfinder(folder: Path) -> None:
    from tests.test_pathfinder_official import LEVEL, write_release

    write_release(folder / "pathfinder32" / LEVEL, numpy_format=True)


def _prepared(folder: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LRA_HOME", str(folder))
        store.prepare(text_task.TASK, text_data.SMALL, Source(raw=text_data.as_folder(folder.with_name("raw"))))
        for lock in folder.glob("*.lock"):
            lock.unlink()


def _read_prepared(folder: Path) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LRA_HOME", str(folder))
        found, store_folder = store.verify(text_task.TASK, text_data.SMALL), store.inventory()[1]
        return None if found is None else (store.content_hash(found.splits), dict(found.meta), store_folder)


IMAGES: dict[str, Callable[[Path], Path]] = {
    "cifar-10-batches-py": cifar_forms.write_python,
    "cifar-10-batches-bin": cifar_forms.write_binary,
    "cifar10": cifar_forms.write_strips,
    "cifar10/3.0.2": cifar_forms.write_tfrecords,
}


def inputs() -> Iterator[Input]:
    """All of them. A new file that the program reads gets its entry here."""
    yield Input("a record", _record, lambda folder: record.load(folder / "a.json"), sealed=True)
    yield Input("a bench record", _bench, lambda folder: bench_record.load(folder / "a.json"))
    yield Input("a snapshot", _snapshot, _read_snapshot, sealed=True)
    yield Input("a snapshot of several devices", _shared, _read_shared, sealed=True)
    yield Input("a run as a layer", _trained, _read_trained, sealed=True)
    yield Input("a configuration", _configuration, lambda f: from_dict(read_yaml(f / "a.yaml"), str(f / "a.yaml")))
    yield Input("a choice", _choice, lambda f: Chosen.of(["--config", str(f / "a.json")]).run(None)[0])
    yield Input("a sweep's plan", _plan, lambda folder: plan.load(folder / "a.yaml"))
    yield Input("a lease", _lease, lambda folder: lease.held(folder))
    yield Input("published.yaml", _copied(published.PATH), lambda f: published.load(f / "published.yaml"))
    yield Input("claims.yaml", _copied(claims.PATH), lambda f: claims.load(f / "claims.yaml"))
    source = DATA / "results" / "baselines.yaml"
    yield Input("baselines.yaml", _copied(source), lambda f: baselines.load(f / "baselines.yaml"))
    yield Input("prepared data", _prepared, _read_prepared, sealed=True)
    counts = {"train": 6, "validation": 3, "test": 3}
    yield Input("ListOps", _listops, _built("listops", source="official", min_length=1, max_length=20, **counts))
    six = dict.fromkeys(("train", "validation", "test"), 6)
    yield Input("Retrieval", _pairs, _built("retrieval", **asdict(Retrieval(max_length=64, **six))))
    hard = Pathfinder(source="official", train=16, validation=2, test=2)
    yield Input("Pathfinder", _pathfinder, _built("pathfinder", **asdict(hard)))
    yield Input("AAN 1818", lambda f: void(retrieval_data.write(f)), lambda f: corpus.read(corpus.find(f), 9).texts)
    for form in (text_data.as_folder, text_data.as_archive, text_data.as_lines, text_data.as_tfds):
        yield Input(f"Text {form.__name__}", lambda f, form=form: void(form(f)), lambda f: reviews.read(Source(raw=f)))
    for name, form in IMAGES.items():
        yield Input(f"Image {name}", lambda f, form=form, name=name: void(form(f / name)), _images)


def void(_: object) -> None:
    """What a writer returns is not needed."""


@contextmanager
def miniature(home: Path) -> Iterator[None]:
    """Data of nobody else, and an IMDB and a CIFAR-10 as small as the files here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LRA_HOME", str(home / "home"))
        patch.setenv("TFDS_DATA_DIR", str(home / "tfds"))
        patch.setattr(reviews, "EACH", text_data.EACH)
        patch.setattr(text_task, "HELD_OUT", 4)
        yield
