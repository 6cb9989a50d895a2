"""Repeating a record's first losses and, on demand, its whole run."""

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

LEVEL = 0.01  # probability of a false alarm for a full run of unchanged code
SAME = ("framework", "device", "cpu", "numpy", "python", "framework_threads", "commit")
"""Facts that two runs must share for equal bits; other versions may round in another way."""


class _Enough(Exception):
    """All losses have been computed, or the time is over."""


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
    """The device and the time for checks."""

    device: Device | None
    minutes: float


def first_losses(record: Record, run: Run, ready: Prepared | None, here: Here) -> Finding:
    """Compare as many first losses as fit into the time: bit for bit, or within TOLERANCE."""
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
    """Train the run again, and expect the same curve, or an accuracy within the spread of seeds.

    `others` are records of other seeds, which give the spread, as in the regression test.
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
    told = f"{100 * again.test_accuracy:.2f} %, the record has {100 * record.test_accuracy:.2f} %"
    if (again.curve, again.test_accuracy) == (record.curve, record.test_accuracy):
        return passed("full run", f"the same curve, bit for bit: {told}")
    scores = [each.test_accuracy for each in (record, *others)]
    if len(scores) < 2:
        return not_checked("full run", f"{told}: the spread of seeds is unknown, so name records of other seeds too")
    expected = Expected(mean=fmean(scores), std=stdev(scores), n=len(scores))
    p = expected.p_value(again.test_accuracy, 1)
    why = f"{told}; p = {p:.3f} for so low an accuracy, from {len(scores)} seeds"
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
        return not_checked("first losses", f"no step fits into {here.minutes:g} minutes: raise --minutes")
    count = f"{len(own)} of {len(record.first_losses)}"
    apart = [abs(a - b) / abs(b) if b else float(a != b) for a, b in zip(own, told, strict=True)]
    left = [number for number, each in enumerate(apart, start=1) if not each <= TOLERANCE]
    if left:
        return failed("first losses", f"step {left[0]}: {own[left[0] - 1]:.7g}, the record has {told[left[0] - 1]:.7g}")
    if own == told:
        return passed("first losses", f"{count}, bit for bit")
    within = f"{count}, largest difference {max(apart):.1e}"
    if differs := _differs(record, watch.facts):
        return passed("first losses", f"{within}; {differs}")
    return failed("first losses", f"{within}, but on the same code, versions and CPU the bits must be equal")


def _differs(record: Record, facts: dict[str, Any]) -> str:
    """The reason why two runs may differ in bits; empty if there is none."""
    if record.backend in TOGETHER:
        return f"{record.backend} may have trained several seeds together, which rounds in another way"
    if (record.devices or 1) > 1 or record.accumulate > 1:
        return "another number of devices, or of parts of a batch"
    theirs, mine = dict(record.environment), environment() | facts
    theirs["commit"], mine["commit"] = record.git["commit"], git_state()["commit"]
    return next((f"another {name}" for name in SAME if theirs.get(name) != mine.get(name)), "")


def _other(record: Record, run: Run, ready: Prepared | None, here: Here, check: str) -> Finding | None:
    """The finding if this machine cannot repeat the run, or would compute other numbers; else None."""
    if not installed(run.backend):
        return not_checked(check, f"{run.backend} is not installed")
    if ready is None:
        return not_checked(check, "its data is not prepared here")
    if (made := revised(record, run)) != (now := revisions(run)):
        which = next(name for name in now if made.get(name) != now[name])
        return not_comparable(check, f"made by revision {made.get(which)} of its {which}, now {now[which]}")
    try:
        on_gpu = backends.on_gpu(run.backend, here.device)
        precision = products_of(make_blueprint(settled(run, on_gpu=on_gpu), tasks.load(run.task)), on_gpu=on_gpu)
    except (UserError, MemoryError) as error:
        return not_checked(check, one_line(str(error)))
    if on_gpu != (record.environment["device"] != "cpu"):
        mine = "a GPU" if on_gpu else "a CPU"
        return not_comparable(check, f"made on {record.environment['device']}, this machine uses {mine}")
    theirs = (record.precision or record.environment.get("precision") or "float32").split()[0]
    if theirs != precision:
        return not_comparable(check, f"made in {theirs}, this machine uses {precision}")
    return None
