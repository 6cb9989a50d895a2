"""A run's curve where people keep it: always as CSV beside its snapshots, and as TensorBoard's event files if asked."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from lra.core.config import Train
from lra.core.errors import UserError
from lra.core.files import write_atomically
from lra.core.markup import one_line
from lra.model.schedule import schedule
from lra.terminal.console import MOST, errors
from lra.training.history import COLUMNS, Callback, History

METRICS = "metrics.csv"
TAGS = {
    "train_loss": "loss/train",
    "train_accuracy": "accuracy/train",
    "validation_loss": "loss/validation",
    "validation_accuracy": "accuracy/validation",
    "learning_rate": "learning_rate",
}


class Silent:
    """A Callback that does nothing."""

    def starts(self, history: History, facts: dict[str, Any]) -> None:
        """Nothing to say."""

    def advances(self, history: History, losses: np.ndarray) -> None:
        """Nothing to say."""

    def evaluates(self, history: History) -> None:
        """Nothing to say."""

    def ends(self) -> None:
        """Nothing to close."""


class Several:
    """A Callback that passes on to others, in their order."""

    def __init__(self, *callbacks: Callback) -> None:
        self._callbacks = callbacks

    def starts(self, history: History, facts: dict[str, Any]) -> None:
        for each in self._callbacks:
            each.starts(history, facts)

    def advances(self, history: History, losses: np.ndarray) -> None:
        for each in self._callbacks:
            each.advances(history, losses)

    def evaluates(self, history: History) -> None:
        for each in self._callbacks:
            each.evaluates(history)

    def ends(self) -> None:
        for each in self._callbacks:
            each.ends()


class MetricsFile:
    """A Callback that keeps the whole curve in a CSV file, one row an evaluation.

    The file is written anew each time, so that after a resume it holds what the snapshot holds and then goes on.
    """

    def __init__(self, path: Path, plan: Train) -> None:
        self._path, self._plan = path, plan

    def starts(self, history: History, facts: dict[str, Any]) -> None:
        self.evaluates(history)

    def advances(self, history: History, losses: np.ndarray) -> None:
        """Nothing between evaluations."""

    def evaluates(self, history: History) -> None:
        file = io.StringIO()
        writer = csv.DictWriter(file, [*COLUMNS, "learning_rate"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(_rows(history, self._plan))
        write_atomically(file.getvalue().encode(), self._path)

    def ends(self) -> None:
        """Nothing to close."""


class TensorBoard:
    """A Callback that writes event files of the curve into a folder of the run's own.

    Those of an earlier attempt at the same run are replaced: the history of a resumed run holds all their points. A
    folder that cannot be written, or no longer, is told once: it is no reason to end a run, which has its curve as CSV.

    Events are written by this thread. That of tensorboardX's SummaryWriter dies of a full disk, and its queue then
    blocks whoever fills it.
    """

    def __init__(self, folder: Path, plan: Train) -> None:
        self._folder, self._plan = folder, plan
        self._writer: Any = None

    def starts(self, history: History, facts: dict[str, Any]) -> None:
        from tensorboardX.event_file_writer import EventsWriter

        with self._told():
            self._folder.mkdir(parents=True, exist_ok=True)
            for path in self._folder.glob("events.out.tfevents.*"):
                path.unlink()
            self._writer = EventsWriter(str(self._folder / "events"))
            self._write(_rows(history, self._plan))

    def advances(self, history: History, losses: np.ndarray) -> None:
        """Nothing between evaluations."""

    def evaluates(self, history: History) -> None:
        if self._writer:
            *_, newest = _rows(history, self._plan)
            with self._told():
                self._write([newest])

    def ends(self) -> None:
        writer, self._writer = self._writer, None  # a run that ends is told so more than once
        if writer:
            with self._told():
                writer.close()

    def _write(self, rows: Iterable[dict[str, int | float]]) -> None:
        protocol: Any = import_module("tensorboardX.proto.event_pb2")  # its classes are made when it is imported
        for row in rows:
            values = [{"tag": tag, "simple_value": row[name]} for name, tag in TAGS.items()]
            summary = {"value": values}
            self._writer.write_event(protocol.Event(wall_time=time.time(), step=int(row["step"]), summary=summary))
        self._writer.flush()

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Inside, what cannot be written is told in one line, and nothing is written from then on."""
        try:
            yield
        except OSError as error:
            writer, self._writer = self._writer, None
            why = f"{error.strerror or error}: {error.filename or self._folder}"
            errors.print(one_line(f"no more event files, the run goes on: {why}", MOST))
            with suppress(OSError):  # it still holds what did not fit
                if writer:
                    writer.close()


def require_tensorboard() -> None:
    """Raise UserError where event files cannot be written."""
    if find_spec("tensorboardX") is None:
        raise UserError("--tensorboard needs the package tensorboardX: pip install -e '.[tensorboard]'")


def _rows(history: History, plan: Train) -> Iterator[dict[str, int | float]]:
    """The curve with the learning rate of the last step before each evaluation."""
    for point in history.points():
        rate = schedule(plan)(np.array([point.step - 1]))
        yield {**asdict(point), "learning_rate": float(rate[0])}
