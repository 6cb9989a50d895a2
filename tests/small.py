"""A small encoder and a small data set, for tests of backends and of the loop."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import attention_impls
from attention_impls.base import Dims
from lra import backends
from lra.core.config import Model, Run, Train, resolve
from lra.model.batches import Chunk, Epochs, chunk_bounds, gatherers, training_chunks
from lra.model.blueprint import Blueprint
from lra.model.padding import WHOLE, Grouping
from lra.model.schedule import schedule
from lra.training.history import History
from lra.training.trainer import Place
from tasks.base import Split

MODEL = Model(
    width=16,
    depth=2,
    heads=2,
    ffn=32,
    classifier=24,
    vocabulary=12,
    dropout=0.0,
    embedding_std=1.0,
    position_std=0.02,
)
TRAIN = Train(
    steps=6,
    batch_size=4,
    learning_rate=1e-2,
    warmup=2,
    evaluate_every=3,
    weight_decay=0.01,
    beta1=0.9,
    beta2=0.999,
    epsilon=1e-6,
    chunk=3,
)
LENGTH = 37


def blueprint(attn: str = "softmax", model: Model = MODEL, towers: int = 1, length: int = LENGTH) -> Blueprint:
    """The small encoder around one mechanism with its default options."""
    mechanism = attention_impls.load(attn)
    return Blueprint(
        model=model,
        train=TRAIN,
        mechanism=mechanism,
        options=mechanism.card.options(),
        dims=Dims(
            heads=model.heads, head_dim=model.width // model.heads, width=model.width, max_length=length, grid=None
        ),
        classes=3,
        towers=towers,
        seed=0,
    )


def split(towers: int = 1, examples: int = 10, full: bool = False) -> Split:
    """Random documents; their lengths are ragged or all LENGTH."""
    rng = np.random.default_rng(5)
    lengths = np.full(examples * towers, LENGTH) if full else rng.integers(1, LENGTH + 1, examples * towers)
    return Split(
        tokens=rng.integers(1, 12, lengths.sum()).astype(np.uint8),
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        examples=np.arange(examples * towers).reshape(examples, towers),
        labels=rng.integers(0, 3, examples).astype(np.uint8),
    )


def chunks(data: Split, plan: Train = TRAIN, steps: int | None = None, grouping: Grouping = WHOLE) -> list[Chunk]:
    """The training chunks of the small data set."""
    bounds = chunk_bounds(0, steps or plan.steps, plan.evaluate_every, plan.chunk)
    gather = gatherers({"train": data}, plan.batch_size, plan.steps, grouping)["train"]
    return list(training_chunks(gather, Epochs(len(data), 0), bounds, plan.batch_size, schedule(plan)))


def rows(chunk: Chunk, of: slice) -> Chunk:
    """The chunk with some of each batch's rows, at their places."""
    lengths = None if chunk.lengths is None else chunk.lengths[:, of]
    return replace(
        chunk, tokens=chunk.tokens[:, of], lengths=lengths, labels=chunk.labels[:, of], places=chunk.places[:, of]
    )


def losses(
    name: str, plan: Blueprint, weights: dict[str, np.ndarray], feed: list[Chunk]
) -> tuple[np.ndarray, Any, Any]:
    """Mean loss of every step, the final state and the backend that made it; without the framework, a skipped test."""
    pytest.importorskip(name)
    backend = backends.get(name, [plan], "cpu")
    state = backend.start([weights])
    curve = []
    for chunk in feed:
        state, [sums] = backend.train_steps(state, [chunk])
        curve.append(sums.loss / sums.count)
    return np.concatenate(curve), state, backend


def smoke_run(task: str = "listops", attn: str = "softmax", backend: Any = None, **train: Any) -> Run:
    """The smoke preset with some training fields changed, in the framework that is installed where none is named."""
    base = resolve(task, attn, backend=backend, preset="smoke")
    values = {name: getattr(base, name) for name in Run.__dataclass_fields__}
    plan = {name: getattr(base.train, name) for name in Train.__dataclass_fields__}
    return Run(**{**values, "train": Train(**{**plan, **train})})


def place(results: Path, **flags: Any) -> Place:
    """Results under a test's own folder, on the CPU."""
    return Place(results=results, device="cpu", **flags)


class Quiet:
    """A Callback that only counts, and may act at a step."""

    def __init__(self, act: dict[int, Any] | None = None) -> None:
        self.act = act or {}

    def starts(self, history: History, facts: dict[str, Any]) -> None:
        """Nothing to show."""

    def advances(self, history: History, losses: Any) -> None:
        self.act.get(history.step, lambda: None)()

    def evaluates(self, history: History) -> None:
        """Nothing to show."""

    def ends(self) -> None:
        """Nothing to close."""
