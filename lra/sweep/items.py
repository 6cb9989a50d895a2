"""The items of a sweep: each run of the plan with its id, its record if there is one, and its estimate."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import tasks
from attention_impls.base import AttentionError
from lra.core.config import Run, settled
from lra.core.errors import UserError, of_file
from lra.core.frameworks import require_installed
from lra.core.identity import run_id
from lra.core.markup import one_line
from lra.sweep import benched, lease
from lra.sweep.engine import Order
from lra.sweep.estimate import UNKNOWN, RunCost
from lra.sweep.lease import Lease
from lra.sweep.plan import Piece, Timed
from lra.training import checkpoint, record
from lra.training.session import Job
from lra.training.trainer import Place, make_blueprint
from tasks import store
from tasks.base import TaskError

Status = Literal["waiting", "running", "held", "done", "failed"]
LOG = "sweep.log"
MINUTES = 6.0  # reserved for a benchmark; one that is stopped leaves no record


@dataclass(eq=False)
class Item:
    """One piece of a plan during a sweep."""

    title: str
    status: Status = "waiting"
    why: str = ""
    """The reason of a failure, the holder of a lease, or a note about what is done."""
    run: Run | None = None
    words: tuple[str, ...] = ()
    """The flags of a benchmark."""
    work: Path | None = None
    """The folder of a run; None while its id is unknown, because its data is not prepared."""
    record: Path | None = None
    estimate: RunCost = UNKNOWN
    deaths: int = 0
    """The number of times its process died."""
    before: bool = False
    """Whether it was done before this sweep."""
    took: float | None = None
    """Seconds that it took in this sweep."""

    @property
    def finished(self) -> bool:
        """Whether it is done or has failed."""
        return self.status in ("done", "failed")

    def log(self, results: Path) -> Path:
        """The file of its output."""
        return (self.work or checkpoint.folder(results, "bench")) / LOG

    def order(self, place: Place, key: str) -> Order:
        """The order for an engine."""
        results = place.results.absolute()
        if self.run is None:
            values = {"bench": list(self.words), "results": str(results)}
            return Order(key=key, title=self.title, values=values, log=self.log(results), alone=True)
        values = {"run": Job([self.run], place).as_values()}
        return Order(key=key, title=self.title, values=values, log=self.log(results), memory=self.estimate.memory)

    def look(self, results: Path) -> Lease | None:
        """Update the status from the files of other processes: a record, or a lease. Without access it has failed."""
        try:
            return self._looked(results)
        except BrokenPipeError:
            raise
        except OSError as error:
            self.fail(of_file(error))
            return None

    def fail(self, why: str) -> None:
        """Note that it has failed, with the reason."""
        self.status, self.why = "failed", one_line(why)

    def _looked(self, results: Path) -> Lease | None:
        if self.run is None or self.work is None:
            if self.words and benched.command(self.words) in benched.complete(results):
                self.status, self.why = "done", ""
            return None
        if path := record.find(results, self.run, self.work.name):
            self.status, self.record, self.why = "done", path, ""
            return None
        return lease.held(self.work)


def items(pieces: Iterable[Piece], on_gpu: Callable[[str], bool]) -> list[Item]:
    """The pieces as items. Impossible pieces have failed."""
    return [_item(each, on_gpu) for each in pieces]


def identify(found: Sequence[Item], results: Path, prepared: Callable[[Run], store.Prepared | None]) -> None:
    """Give each run its folder and mark the runs that are done. A run whose data is not prepared keeps no folder.

    `prepared` opens or prepares a run's data. If that fails, the run has failed.
    """
    known: dict[str, store.Prepared | str | None] = {}
    for item in found:
        if item.run is None or item.finished:
            continue
        key = json.dumps([item.run.task, asdict(item.run.data)], sort_keys=True)
        if key not in known:
            try:
                known[key] = prepared(item.run)
            except (UserError, TaskError) as error:
                known[key] = str(error)
            except BrokenPipeError:
                raise
            except OSError as error:
                known[key] = of_file(error)
        data = known[key]
        if isinstance(data, str):
            item.fail(data)
        elif data is not None:
            item.work = checkpoint.folder(results, run_id(item.run, data.hash))
    for item in found:
        if not item.finished:
            item.look(results)
            if item.run is not None and item.work is None and (path := record_of(item.run, results)):
                item.status, item.record = "done", path
            item.before = item.status == "done"


def opened(run: Run) -> store.Prepared | None:
    """A run's data if it is prepared, else None."""
    return store.load(tasks.load(run.task), run.data)


def _item(piece: Piece, on_gpu: Callable[[str], bool]) -> Item:
    if isinstance(piece, Timed):
        return Item(title=piece.title, words=piece.words, estimate=RunCost(seconds=60 * MINUTES, source="reserved"))
    if piece.run is None:
        return Item(title=piece.title, status="failed", why=one_line(piece.why))
    try:
        require_installed(piece.run.backend)
        run = settled(piece.run, on_gpu=on_gpu(piece.run.backend))
        make_blueprint(run, tasks.load(run.task))
    except (UserError, TaskError, AttentionError) as error:
        return Item(title=piece.title, status="failed", why=one_line(str(error)))
    return Item(title=piece.title, run=run)


def record_of(run: Run, results: Path) -> Path | None:
    """A record of the run, found without its data's hash, since the data is not prepared."""
    stem = record.name(run, "")
    for path in sorted((results / "runs").glob(f"{stem}*.json")):
        try:
            found = record.load(path)
        except UserError:
            continue
        if run_id(run, found.data_hash) == found.run_id:
            return path
    return None
