"""A record's first losses, and at will the whole run, computed again."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np

import tasks
from lra import backends
from lra.backends import TOGETHER, products_of
from lra.core.config import Run, settled
from lra.core.environment import environment, git_state
from lra.core.errors import UserError
from lra.core.frameworks import Device, installed
from lra.core.identity import revisions
from lra.core.markup import one_line
from lra.regression.prediction import Expected
from lra.regression.verdict import TOLERANCE
from lra.training.callbacks import Silent
from lra.training.history import FIRST_STEPS, History
from lra.training.loop import Diverged, Interrupted
from lra.training.record import Record
from lra.training.trainer import Place, make_blueprint, train
from lra.verification.findings import Finding, failed, not_checked, not_comparable, passed
from lra.verification.paper import revised
from tasks.store import Prepared

LEVEL = 0.01  # probability that a full run of unchanged code is called a failure
SAME = ("framework", "device", "cpu", "numpy", "python", "framework_threads", "commit")
"""What two runs have to share for the same bits: code that is written anew may round otherwise."""


class _Enough(Exception):
    """All losses that are wanted are there, or time is over."""


class _Watch(Silent):
    """A Callback that keeps the first losses."""

    def __init__(self, wanted: int, until: float) -> None:
        self.losses: list[float] = []
        self.facts: dict[str, Any] = {}
        self._wanted, self._until = wanted, until

    def starts(self, history: History, facts: dict[str, Any]) -> None:
        self.facts = facts

    def advances(self, history: History, losses: np.ndarray) -> None:
        self.losses += losses.tolist()
        if len(self.losses) >= self._wanted or time.monotonic() > self._until:
            raise _Enough


@dataclass(frozen=True, kw_only=True)
class Here:
    """Where records are checked."""

    device: Device | None
    minutes: float


def first_losses(record: Record, run: Run, ready: Prepared | None, here: Here) -> Finding:
    """As many of its first losses as there is time for: the same, bit for bit or within TOLERANCE."""
    if not record.first_losses:
        return not_checked("first losses", "records of schema 1 have none" if record.schema == 1 else "it has none")
    if other := _other(record, run, ready, here, "first losses"):
        return other
    assert ready is not None
    watch = _Watch(min(len(record.first_losses), FIRST_STEPS), time.monotonic() + 60 * here.minutes)
    short = replace(run, train=replace(run.train, chunk=1, evaluate_every=run.train.steps))
    try:
        _trained(short, ready, here, watch)
    except _Enough:
        pass
    except Diverged as error:
        return failed("first losses", one_line(str(error)))
    except (UserError, MemoryError, RuntimeError) as error:
        return not_checked("first losses", one_line(f"they cannot be computed here: {error}"))
    return _compared(record, watch, here)


def whole_run(record: Record, run: Run, ready: Prepared | None, here: Here, others: Sequence[Record]) -> Finding:
    """The run trained again: the same curve, or an accuracy that seeds of it may have.

    `others` are records of other seeds, whose spread is what the regression test compares with.
    """
    if other := _other(record, run, ready, here, "full run"):
        return other
    assert ready is not None
    try:
        again = _trained(run, ready, here, Silent())
    except Diverged as error:
        return failed("full run", one_line(str(error)))
    except (UserError, MemoryError, RuntimeError) as error:
        return not_checked("full run", one_line(f"it cannot be computed here: {error}"))
    told = f"{100 * again.test_accuracy:.2f} %, it says {100 * record.test_accuracy:.2f} %"
    if (again.curve, again.test_accuracy) == (record.curve, record.test_accuracy):
        return passed("full run", f"the same curve, bit for bit: {told}")
    scores = [each.test_accuracy for each in (record, *others)]
    if len(scores) < 2:
        return not_checked("full run", f"{told}: the spread of seeds is not known, name records of other seeds too")
    expected = Expected(mean=fmean(scores), std=stdev(scores), n=len(scores))
    p = expected.p_value(again.test_accuracy, 1)
    why = f"{told}; p = {p:.3f} of so low an accuracy among {len(scores)} seeds"
    return failed("full run", why) if p < LEVEL else passed("full run", why)


def _trained(run: Run, ready: Prepared, here: Here, callback: Silent) -> Record:
    with tempfile.TemporaryDirectory(prefix="lra-verify-") as folder:
        try:
            return train(run, ready, Place(results=Path(folder), device=here.device), callback)[0]
        except Interrupted as stop:
            raise KeyboardInterrupt from stop


def _compared(record: Record, watch: _Watch, here: Here) -> Finding:
    told, own = record.first_losses[: len(watch.losses)], watch.losses
    if not own:
        return not_checked("first losses", f"not one step fits into {here.minutes:g} minutes: raise --minutes")
    count = f"{len(own)} of {len(record.first_losses)}"
    apart = [abs(a - b) / abs(b) if b else float(a != b) for a, b in zip(own, told, strict=True)]
    left = [number for number, each in enumerate(apart, start=1) if not each <= TOLERANCE]
    if left:
        return failed("first losses", f"step {left[0]}: {own[left[0] - 1]:.7g}, it says {told[left[0] - 1]:.7g}")
    if own == told:
        return passed("first losses", f"{count}, bit for bit")
    within = f"{count}, at most {max(apart):.1e} off"
    if differs := _differs(record, watch.facts):
        return passed("first losses", f"{within}; {differs}")
    return failed("first losses", f"{within}, on the same code, versions and CPU, where they have to be the same bits")


def _differs(record: Record, facts: dict[str, Any]) -> str:
    """What keeps two runs from the same bits."""
    if record.backend in TOGETHER:
        return f"{record.backend} may have trained seeds together, which rounds differently"
    if (record.devices or 1) > 1 or record.accumulate > 1:
        return "another number of devices, or of parts of a batch"
    theirs, mine = dict(record.environment), environment() | facts
    theirs["commit"], mine["commit"] = record.git["commit"], git_state()["commit"]
    return next((f"another {name}" for name in SAME if theirs.get(name) != mine.get(name)), "")


def _other(record: Record, run: Run, ready: Prepared | None, here: Here, check: str) -> Finding | None:
    """Why this machine cannot compute it, or computes something else."""
    if not installed(run.backend):
        return not_checked(check, f"{run.backend} is not installed")
    if ready is None:
        return not_checked(check, "its data is not here")
    if (made := revised(record, run)) != (now := revisions(run)):
        which = next(name for name in now if made.get(name) != now[name])
        return not_comparable(check, f"made by revision {made.get(which)} of its {which}, this is {now[which]}")
    try:
        on_gpu = backends.on_gpu(run.backend, here.device)
        precision = products_of(make_blueprint(settled(run, on_gpu=on_gpu), tasks.load(run.task)), on_gpu=on_gpu)
    except (UserError, MemoryError) as error:
        return not_checked(check, one_line(str(error)))
    if on_gpu != (record.environment["device"] != "cpu"):
        mine = "a GPU" if on_gpu else "a CPU"
        return not_comparable(check, f"made on {record.environment['device']}, this is {mine}")
    theirs = (record.precision or record.environment.get("precision") or "float32").split()[0]
    if theirs != precision:
        return not_comparable(check, f"made in {theirs}, this machine computes in {precision}")
    return None
