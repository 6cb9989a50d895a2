"""Estimates for the items that are left, from records or from a probe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from lra.core.config import Run
from lra.core.documents import json_text
from lra.core.tuning import BUDGET
from lra.core.workers import Child
from lra.sweep.estimate import UNKNOWN, WORTH, Known, RunCost, from_probe
from lra.sweep.items import Item
from lra.sweep.local import Share
from lra.sweep.work import Probe
from lra.terminal.console import console
from lra.training.session import Job
from lra.training.trainer import Place


def estimated(
    items: Sequence[Item],
    place: Place,
    share: Share | None,
    *,
    probe: bool,
    on_gpu: bool,
    known_from: Path | None = None,
) -> None:
    """Give each item that is left its estimate. A probe gets the same `share` of the machine as a run.

    Without a share there is no probe. Runs that are shorter than a probe, or whose data is not prepared, are not
    probed. `known_from` is the folder of records to read; None: the place's own results.
    """
    left = [item for item in items if item.run is not None and not item.finished]
    if not left:
        return
    known, probed = Known.of(known_from or place.results, on_gpu), dict[str, RunCost]()
    for item in left:
        assert item.run is not None
        item.estimate = known.estimate(item.run)
        if item.estimate is UNKNOWN and probe and share and item.work is not None and item.run.train.steps >= WORTH:
            key = _alike(item.run)
            if key not in probed:
                console.print(f"two steps of {item.title} …")
                probed[key] = _probe(item.run, place, share)
            item.estimate = probed[key]


def _alike(run: Run) -> str:
    """A key that is equal for runs of equal cost."""
    same = asdict(replace(run, seed=0))
    same["train"] = {name: value for name, value in same["train"].items() if name in BUDGET}
    return json_text(same, sort_keys=True)


def _probe(run: Run, place: Place, share: Share) -> RunCost:
    child = Child("lra.sweep.worker", visible=False, environment=share.environment)
    try:
        answer = child.ask({"probe": Job([run], place).as_values(), "cores": list(share.cores)})
    finally:
        child.kill()
    if not answer or answer["state"] != "done":
        return RunCost(source=f"the probe failed: {answer['why']}" if answer else "the probe's process died")
    return from_probe(run, Probe(**{name: answer[name] for name in ("first", "step", "memory")}))
