"""What is left of a plan: each of its runs with its id, its record where there is one, and what it should take."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import tasks
from attention_impls.base import AttentionError
from lra.bench import record as bench_record
from lra.core.config import Run, settled
from lra.core.errors import UserError
from lra.core.frameworks import require_installed
from lra.core.identity import run_id
from lra.core.markup import one_line
from lra.sweep import lease
from lra.sweep.engine import Order
from lra.sweep.estimate import UNKNOWN, RunCost
from lra.sweep.lease import Lease
from lra.sweep.plan import Piece, Timed
from lra.sweep.work import elsewhere
from lra.training import checkpoint, record
from lra.training.session import Job
from lra.training.trainer import Place, make_blueprint
from tasks import store
from tasks.base import TaskError

Status = Literal["waiting", "running", "held", "done", "failed"]
LOG = "sweep.log"
MINUTES = 6.0  # that a benchmark may take: nothing of one that is stopped is kept


@dataclass(eq=False)
class Item:
    """One piece of a plan while a sweep works on it."""

    title: str
    status: Status = "waiting"
    why: str = ""
    """Why it failed, or who holds it."""
    run: Run | None = None
    words: tuple[str, ...] = ()
    """Of a benchmark."""
    work: Path | None = None
    """The folder of a run; None where its id is not known yet, for want of data."""
    record: Path | None = None
    estimate: RunCost = UNKNOWN
    deaths: int = 0
    """How often its process died."""
    before: bool = False
    """Whether it was done before this sweep began."""
    took: float | None = None
    """Seconds from its start to its end, in this sweep."""

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do."""
        return self.status in ("done", "failed")

    def log(self, results: Path) -> Path:
        """Where what it prints is kept."""
        return (self.work or checkpoint.folder(results, "bench")) / LOG

    def order(self, place: Place, key: str) -> Order:
        """What an engine performs."""
        results = place.results.absolute()
        if self.run is None:
            values = {"bench": list(self.words), "results": str(results)}
            return Order(key=key, title=self.title, values=values, log=self.log(results), alone=True)
        values = {"run": Job([self.run], place).as_values()}
        return Order(key=key, title=self.title, values=values, log=self.log(results), memory=self.estimate.memory)

    def look(self, results: Path) -> Lease | None:
        """Take over what other processes did: its record, or who holds it."""
        if self.run is None or self.work is None:
            self.status = "done" if self.words and benched(self.words, results) else self.status
            return None
        if path := record.find(results, self.run, self.work.name):
            self.status, self.record = "done", path
            return None
        return lease.held(self.work)


def items(pieces: Iterable[Piece], on_gpu: Callable[[str], bool]) -> list[Item]:
    """The pieces as items; those that cannot be are failed ones."""
    return [_item(each, on_gpu) for each in pieces]


def identify(found: Sequence[Item], results: Path, prepared: Callable[[Run], store.Prepared | None]) -> None:
    """Give each run its folder, by its data, and mark those that are done. What has no data yet keeps none.

    `prepared` opens a run's data, or makes it. Runs whose data cannot be had are failed.
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
                known[key] = one_line(str(error))
        data = known[key]
        if isinstance(data, str):
            item.status, item.why = "failed", data
        elif data is not None:
            item.work = checkpoint.folder(results, run_id(item.run, data.hash))
    for item in found:
        if not item.finished:
            item.look(results)
            if item.run is not None and item.work is None and (path := same(item.run, results)):
                item.status, item.record = "done", path
            item.before = item.status == "done"


def opened(run: Run) -> store.Prepared | None:
    """A run's data where it is prepared."""
    return store.load(tasks.load(run.task), run.data)


def benched(words: Sequence[str], results: Path) -> bool:
    """Whether there is a complete record of this benchmark, known by its command."""
    command = shlex.join(["python", "run_lra.py", "bench", *words, *elsewhere(results)])
    for path in (results / "bench").glob("[!.]*.json"):
        try:
            found = bench_record.load(path)
        except UserError:
            continue
        if found.complete and found.command == command:
            return True
    return False


def _item(piece: Piece, on_gpu: Callable[[str], bool]) -> Item:
    if isinstance(piece, Timed):
        return Item(title=piece.title, words=piece.words, estimate=RunCost(seconds=60 * MINUTES, source="at most"))
    if piece.run is None:
        return Item(title=piece.title, status="failed", why=one_line(piece.why))
    try:
        require_installed(piece.run.backend)
        run = settled(piece.run, on_gpu=on_gpu(piece.run.backend))
        make_blueprint(run, tasks.load(run.task))
    except (UserError, TaskError, AttentionError) as error:
        return Item(title=piece.title, status="failed", why=one_line(str(error)))
    return Item(title=piece.title, run=run)


def same(run: Run, results: Path) -> Path | None:
    """A record of the run on whatever data it had, where the run's own data is not there to tell."""
    stem = record.name(run, "")
    for path in sorted((results / "runs").glob(f"{stem}*.json")):
        try:
            found = record.load(path)
        except UserError:
            continue
        if run_id(run, found.data_hash) == found.run_id:
            return path
    return None
