"""The tasks as builders of tensorflow-datasets. TensorFlow itself is not needed.

    import tasks.tfds
    import tensorflow_datasets as tfds
    train = tfds.data_source("lra_pathfinder32", split="train")
    train[0]  # {"tokens": uint8 (1024,), "label": 1}

Each builder prepares the task as `run_lra.py data prepare` does, and stores it again as ArrayRecord files. Raw files
come from $LRA_RAW, or from the builder's own download manager. Tokens are not padded. A two-tower task has tokens_0 and
tokens_1.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds

import tasks
from tasks import store
from tasks.base import SPLITS, Archive, Source, Split, Task
from tasks.download import through
from tasks.limits import usable_cores
from tasks.pathfinder import Pathfinder
from tasks.places import raw_folder


@dataclass(kw_only=True)
class Config(tfds.core.BuilderConfig):
    """The options of a builder: `options` is an instance of the task's options; None: its defaults."""

    options: Any = None


class Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """The base of all builders. A subclass names the task. Tasks without a subclass here get one."""

    TASK: ClassVar[str]
    BUILDER_CONFIGS: ClassVar = [Config(name="standard", description="what the standard preset trains on")]

    def __init_subclass__(cls, **flags: Any) -> None:
        cls.VERSION = tfds.core.Version(f"{tasks.load(cls.TASK).version}.0.0")
        super().__init_subclass__(**flags)

    def __init__(self, *, file_format: str | None = "array_record", **choices: Any) -> None:
        super().__init__(file_format=file_format, **choices)  # tfrecord, the usual default, needs TensorFlow

    @property
    def task(self) -> Task:
        """The task whose examples these are."""
        return tasks.load(self.TASK)

    @property
    def options(self) -> Any:
        """Which data of the task."""
        config = self.builder_config
        return self.task.options() if config is None or config.options is None else config.options

    def _info(self) -> tfds.core.DatasetInfo:
        tokens = tfds.features.Tensor(shape=(None,), dtype=np.uint8, encoding="bytes")
        features = dict.fromkeys(self._documents(), tokens)
        return tfds.core.DatasetInfo(
            builder=self,
            description=f"{self.task.title} of the Long Range Arena: {self.task.describe(self.options)}",
            features=tfds.features.FeaturesDict(
                {**features, "label": tfds.features.ClassLabel(num_classes=self.task.classes)}
            ),
            supervised_keys=None,
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator]:

        def fetch(archive: Archive) -> Path:
            return through(dl_manager, Path(dl_manager.download_dir), archive)

        source = Source(raw=raw_folder(), processes=usable_cores(), fetch=fetch)
        prepared = store.prepare(self.task, self.options, source)
        return {split: self._generate_examples(prepared.splits[split]) for split in SPLITS}

    def _generate_examples(self, split: Split) -> Iterator[tuple[int, dict[str, Any]]]:
        names = self._documents()
        for i, (rows, label) in enumerate(zip(split.examples, split.labels, strict=True)):
            documents = {name: np.asarray(split.document(int(row))) for name, row in zip(names, rows, strict=True)}
            yield i, {**documents, "label": int(label)}

    def _documents(self) -> list[str]:
        towers = self.task.towers
        return ["tokens"] if towers == 1 else [f"tokens_{tower}" for tower in range(towers)]


class LraPathfinder32(Builder):
    """Pathfinder at 32×32."""

    TASK = "pathfinder"


class LraPathfinder64(Builder):
    """Pathfinder at 64×64."""

    TASK = "pathfinder"
    BUILDER_CONFIGS: ClassVar = [Config(name="standard", options=Pathfinder(size=64))]


def _define(name: str) -> None:
    """Make the builder of one task. Its data set has the task's name, with the prefix `lra_` and without dashes."""
    title = "".join(word.capitalize() for word in ("lra", *name.split("-")))
    body = {"TASK": name, "__doc__": f"{tasks.load(name).title}.", "__module__": __name__}
    globals()[title] = type(title, (Builder,), body)


for _name in sorted({*tasks.names()} - {builder.TASK for builder in Builder.__subclasses__()}):
    _define(_name)
