"""The history of a run: its curve, best weights and times, part of every snapshot. And the protocol of callbacks."""

from __future__ import annotations

from dataclasses import astuple, dataclass, field, fields
from typing import Annotated, Any, Protocol, runtime_checkable

import numpy as np
from annotated_types import Interval

from lra.core.config import Steps
from lra.core.environment import process_seconds
from lra.model.weights import Weights, within
from lra.training.disturbance import Disturbance

FIRST_STEPS = 20
"""Number of first steps whose losses are kept; repeating these steps shows whether it is the same run."""

Fraction = Annotated[float, Interval(ge=0, le=1)]


@dataclass(frozen=True, kw_only=True)
class Point:
    """One evaluation. Training loss and accuracy are means since the previous one."""

    step: Steps
    train_loss: float
    train_accuracy: Fraction
    validation_loss: float
    validation_accuracy: Fraction


COLUMNS = tuple(each.name for each in fields(Point))


@dataclass
class History:
    """The mutable state of one run's history. `arrays` and `from_arrays` store it in a snapshot bit for bit."""

    step: int = 0
    curve: list[list[float]] = field(default_factory=list)
    best: Weights = field(default_factory=dict)
    loss: float = 0.0  # summed over the examples since the last evaluation, as are the next two
    correct: int = 0
    count: int = 0
    seconds: float = 0.0  # of the timed steps; the first call of a process compiles, so it is left out
    timed_steps: int = 0
    first_call: tuple[int, float] = (0, 0.0)
    first_steps_after: float | None = None  # seconds from the start of the process to the end of its first call
    evaluation_seconds: float = 0.0
    first_losses: list[float] = field(default_factory=list)  # of the first FIRST_STEPS steps, means over their examples
    disturbance: Disturbance = field(default_factory=Disturbance)  # of its processes while they trained
    elapsed: float = 0.0  # awake seconds since the first call of this process, evaluations and data included

    @property
    def best_accuracy(self) -> float:
        """The best validation accuracy so far, −1 before the first evaluation."""
        return max((point[4] for point in self.curve), default=-1.0)

    @property
    def best_step(self) -> int:
        """The first step with the best accuracy."""
        return int(next(point[0] for point in self.curve if point[4] == self.best_accuracy))

    @property
    def mean_loss(self) -> float:
        """Mean training loss per example since the last evaluation."""
        return self.loss / max(self.count, 1)

    @property
    def steps_per_second(self) -> float:
        """Training speed. The first call, which compiles, counts only if there is no other."""
        steps, seconds = (self.timed_steps, self.seconds) if self.timed_steps else self.first_call
        return steps / seconds if seconds else 0.0

    def add_steps(self, steps: int, seconds: float, loss: float, correct: int, count: int) -> None:
        """Add the sums of one call of the backend."""
        self.step += steps
        self.loss += loss
        self.correct += correct
        self.count += count
        if self.first_call[0] == 0:
            self.first_call = (steps, seconds)
            self.first_steps_after = process_seconds()
        else:
            self.seconds += seconds
            self.timed_steps += steps

    def add_losses(self, losses: np.ndarray) -> None:
        """Keep the mean losses of these steps, as far as they are among the first FIRST_STEPS."""
        if len(self.first_losses) == self.step:  # older snapshots have no first losses
            self.first_losses += losses[: FIRST_STEPS - self.step].tolist() if self.step < FIRST_STEPS else []

    def add_evaluation(self, loss: float, accuracy: float) -> bool:
        """Add an evaluation to the curve. Returns whether its accuracy is the best so far."""
        better = accuracy > self.best_accuracy
        self.curve.append([self.step, self.mean_loss, self.correct / max(self.count, 1), loss, accuracy])
        self.loss, self.correct, self.count = 0.0, 0, 0
        return better

    def points(self) -> list[Point]:
        """The curve as named values, as in a record."""
        return [Point(step=int(step), **dict(zip(COLUMNS[1:], rest, strict=True))) for step, *rest in self.curve]

    def arrays(self) -> Weights:
        """The history as named arrays, without values of this process: the first call and the elapsed time."""
        return {
            "history.curve": np.array(self.curve, dtype=np.float64).reshape(-1, len(COLUMNS)),
            "history.whole": np.array([self.step, self.correct, self.count, self.timed_steps], dtype=np.int64),
            "history.real": np.array([self.loss, self.seconds, self.evaluation_seconds], dtype=np.float64),
            "history.first_losses": np.array(self.first_losses, dtype=np.float64),
            "history.disturbance": np.array(astuple(self.disturbance), dtype=np.float64),
            **{f"best/{name}": array for name, array in self.best.items()},
        }

    @classmethod
    def from_arrays(cls, arrays: Weights) -> History:
        """The inverse of `arrays`. Values that older snapshots lack are empty."""
        step, correct, count, timed_steps = (int(value) for value in arrays["history.whole"])
        loss, seconds, evaluation_seconds = (float(value) for value in arrays["history.real"])
        return cls(
            step=step,
            curve=arrays["history.curve"].tolist(),
            best=within(arrays, "best/"),
            loss=loss,
            correct=correct,
            count=count,
            seconds=seconds,
            timed_steps=timed_steps,
            evaluation_seconds=evaluation_seconds,
            first_losses=arrays.get("history.first_losses", np.empty(0)).tolist(),
            disturbance=_disturbance(arrays.get("history.disturbance", np.zeros(len(fields(Disturbance))))),
        )


def _disturbance(values: np.ndarray) -> Disturbance:
    return Disturbance(**dict(zip((each.name for each in fields(Disturbance)), values.tolist(), strict=True)))


@runtime_checkable
class Callback(Protocol):
    """An observer of a run. `losses` (K,) are the mean losses of the steps that were just taken."""

    def starts(self, history: History, facts: dict[str, Any]) -> None:
        """The run starts or continues. `facts` describe the framework and the device."""
        ...

    def advances(self, history: History, losses: np.ndarray) -> None:
        """Steps were taken."""
        ...

    def evaluates(self, history: History) -> None:
        """The validation split was evaluated."""
        ...

    def ends(self) -> None:
        """The run ended, or was interrupted. May be called more than once."""
        ...
