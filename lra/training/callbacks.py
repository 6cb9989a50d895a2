"""Callbacks that write a run's curve: always as CSV beside its snapshots, and as TensorBoard event files on demand."""

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
        """Do nothing."""

    def advances(self, history: History, losses: np.ndarray) -> None:
        """Do nothing."""

    def evaluates(self, history: History) -> None:
        """Do nothing."""

    def ends(self) -> None:
        """Do nothing."""


class Several:
    """A Callback that calls several others in their order."""

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
    """A Callback that keeps the whole curve in a CSV file, one row for each evaluation.

    The file is written anew each time. So after a resume it has the points of the snapshot and those that follow.
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
    """A Callback that writes event files of the curve into the run's own folder.

    Event files of an earlier attempt at the run are replaced, since the history of a resumed run has all their points.
    If the folder cannot be written, this is printed once and the run goes on: its curve is in the CSV file too.

    Events are written by this thread. The thread of tensorboardX's SummaryWriter dies on a full disk, and its queue
    then blocks the caller.
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
        writer, self._writer = self._writer, None  # `ends` may be called more than once
        if writer:
            with self._told():
                writer.close()

    def _write(self, rows: Iterable[dict[str, int | float]]) -> None:
        protocol: Any = import_module("tensorboardX.proto.event_pb2")  # its classes are created at import
        for row in rows:
            values = [{"tag": tag, "simple_value": row[name]} for name, tag in TAGS.items()]
            summary = {"value": values}
            self._writer.write_event(protocol.Event(wall_time=time.time(), step=int(row["step"]), summary=summary))
        self._writer.flush()

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Within this context, a failed write is printed in one line, and nothing more is written."""
        try:
            yield
        except OSError as error:
            writer, self._writer = self._writer, None
            why = f"{error.strerror or error}: {error.filename or self._folder}"
            errors.print(one_line(f"event files cannot be written ({why}): the run continues without them", MOST))
            with suppress(OSError):  # it still has events that did not fit on the disk
                if writer:
                    writer.close()


def require_tensorboard() -> None:
    """Raise UserError if tensorboardX is not installed."""
    if find_spec("tensorboardX") is None:
        raise UserError("--tensorboard needs the package tensorboardX: pip install -e '.[tensorboard]'")


def _rows(history: History, plan: Train) -> Iterator[dict[str, int | float]]:
    """The curve with the learning rate of the last step before each evaluation."""
    for point in history.points():
        rate = schedule(plan)(np.array([point.step - 1]))
        yield {**asdict(point), "learning_rate": float(rate[0])}
