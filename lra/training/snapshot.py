"""The content of a run's snapshot, and the checks that a snapshot belongs to the run.

Before a backend gets an array, everything is compared with the run. That is the layout, revisions and run id; the
names, dtypes and shapes; and the values that follow from the step.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lra.core.config import Run, Train
from lra.core.errors import UserError
from lra.core.identity import revisions
from lra.model.blueprint import Blueprint
from lra.model.state import other_arrays, state_arrays
from lra.model.weights import Weights, initial_weights, within
from lra.training import checkpoint
from lra.training.history import History

LAYOUT = 2
"""Version of the layout, raised when arrays or facts change. Version 1 had neither facts nor a checksum."""


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """Arrays of a backend's state and of a History, and the reason if the run diverged."""

    arrays: Weights
    diverged: str | None
    devices: tuple[int, ...] = (1,)
    """How many have shared its batches so far, one after the other."""


SNAPSHOT, NEXT = "snapshot.safetensors", "next.safetensors"
"""A run's snapshot file, and its successor. The successor replaces it once those of all runs are written."""


def facts(run: Run, run_id: str) -> dict[str, Any]:
    """The facts in a file of the run's arrays."""
    return {"layout": LAYOUT, "run": run_id, "revisions": revisions(run)}


def read(path: Path, run: Run, run_id: str, blueprint: Blueprint) -> Snapshot:
    """The run's snapshot. `checkpoint.Refused` says what does not fit."""
    arrays, found = checkpoint.read(path)
    diverged = found.pop("diverged", None)
    found.pop("together", None)
    devices = found.pop("devices", [1])
    for check in (
        _other_origin(found, facts(run, run_id)),
        _impossible_devices(devices),
        other_arrays(arrays, _expected(arrays, initial_weights(blueprint))),
        _impossible_history(arrays, run.train),
        () if diverged else _not_finite(arrays),
    ):
        for problem in check:
            raise checkpoint.Refused(path, problem)
    return Snapshot(arrays=arrays, diverged=diverged, devices=tuple(devices))


def step(work: Path) -> int | None:
    """The step of the snapshot in a run's folder: None without one, 0 if `read` would refuse it."""
    path = work / SNAPSHOT
    return _stand(path)[0] or 0 if path.exists() else None


def settle(works: Sequence[Path]) -> None:
    """Complete an interrupted save, so that all runs of a process have the older or all have the newer state.

    Successors replace snapshots only after all of them are written. If every run has a successor of the same step, or
    has already been replaced, the other replacements are made now. Otherwise none was made, and the older states stay.
    """
    later = [work for work in works if (work / NEXT).exists()]
    complete = [work for work in later if _complete(work)]
    for work in later:
        if work in complete:
            (work / NEXT).replace(work / SNAPSHOT)
        else:
            (work / NEXT).unlink()


def _complete(work: Path) -> bool:
    """Whether every run that was saved with this one has its successor."""
    step, together = _stand(work / NEXT)
    saved = [{_stand(work.parent / each / name)[0] for name in (SNAPSHOT, NEXT)} for each in together]
    return step is not None and all(step in steps for steps in saved)


def remove(work: Path) -> None:
    """Delete the snapshots of a finished run."""
    for name in (SNAPSHOT, NEXT):
        (work / name).unlink(missing_ok=True)


def _stand(path: Path) -> tuple[int | None, list[str]]:
    """The step of a snapshot, None if it cannot be read, and the ids of the runs that were saved with it."""
    try:
        arrays, found = checkpoint.read(path)
        return int(arrays["history.whole"][0]), found.get("together", [])
    except (UserError, KeyError, IndexError):
        return None, []


def _other_origin(found: Mapping[str, Any], own: Mapping[str, Any]) -> Iterator[str]:
    if found.get("layout") != LAYOUT:
        yield f"has layout {found.get('layout')!r}, expected {LAYOUT}: it is from another version of this program"
    if found.get("revisions") != own["revisions"]:
        yield f"is of another revision of the code ({_told(found.get('revisions'))}; now {_told(own['revisions'])})"
    if found != own:
        yield f"is of another run ({found.get('run')}; this one is {own['run']})"


def _impossible_devices(devices: Any) -> Iterator[str]:
    if not (isinstance(devices, list) and devices and all(type(count) is int and count > 0 for count in devices)):
        yield f"has impossible counts of devices {devices!r}"


def _told(revised: Any) -> str:
    return ", ".join(f"{part} {number}" for part, number in revised.items()) if isinstance(revised, dict) else "unknown"


def _expected(arrays: Weights, weights: Weights) -> Weights:
    """Arrays with the names, dtypes and shapes of a snapshot. Best weights may all be missing."""
    best = weights if within(arrays, "best/") else {}
    return state_arrays(weights) | History(best=best).arrays()


def _impossible_history(arrays: Weights, plan: Train) -> Iterator[str]:
    history, points = History.from_arrays(arrays), arrays["history.curve"]
    if (arrays["history.whole"] < 0).any() or history.correct > history.count or history.timed_steps > history.step:
        yield f"has impossible counts {arrays['history.whole'].tolist()} (step, correct, examples, timed steps)"
    if not history.step == arrays["adam.count"] <= plan.steps:
        yield f"is at step {history.step}, its optimiser at {arrays['adam.count']}, expected one, up to {plan.steps}"
    evaluations = [*range(plan.evaluate_every, min(history.step + 1, plan.steps), plan.evaluate_every)]
    if points[:, 0].tolist() != evaluations + [plan.steps] * (history.step >= plan.steps):
        yield f"has a curve that is not of every {plan.evaluate_every} steps up to {history.step}"
    if not ((points[:, [2, 4]] >= 0) & (points[:, [2, 4]] <= 1)).all():
        yield "has a curve with an accuracy that is not within 0 and 1"
    if bool(history.best) != bool(len(points)):
        yield "has a curve without best weights, or best weights without a curve"


def _not_finite(arrays: Weights) -> Iterator[str]:
    for name, array in arrays.items():
        if name.startswith("adam.nu/"):  # squares may overflow to infinity; the optimiser's step is then 0
            if not (array >= 0).all():
                yield f"has an array {name} of squares with a value that is NaN or below 0"
        elif not np.isfinite(array).all():
            yield f"has an array {name} with a value that is not finite"
