"""What padding costs: steps with every example padded to the longest, against batches cut by length.

    python -m tests.evidence.padding

Writes results/evidence/padding.md. `standard` without dropout, the same batches in turn in one process a row; speeds
and ratios are medians over the batches.
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np

import tasks
from lra import backends
from lra.backends import Backend
from lra.core.config import resolve
from lra.model.batches import Chunk
from lra.model.padding import WHOLE
from lra.model.weights import initial_weights
from lra.training.trainer import make_blueprint
from tests.evidence.stepping import first_steps, write_page

# Softmax by the kernel of each framework that needs no N × N array: JAX's other one, padded, takes 45 GB for Text.
SUBJECTS = (("elfatt", "torch"), ("elfatt", "jax"), ("softmax", "torch"), ("flash", "jax"))
ROWS = tuple((task, *subject) for task, subject in product(("text", "listops"), SUBJECTS))
STEPS = 6


def row(task: str, attn: str, name: str) -> str:
    """One row of the table."""
    run = resolve(task, attn, preset="standard")
    run = replace(run, backend=name, model=replace(run.model, dropout=0.0))
    blueprint, plan = make_blueprint(run, tasks.load(task)), run.train
    backend, weights = backends.get(name, [blueprint], "cpu"), initial_weights(blueprint)
    feeds = [first_steps(run, grouping, STEPS) for grouping in (WHOLE, backend.grouping)]
    seconds, losses = steps(backend, weights, feeds)
    padded, cut = plan.batch_size / np.median(seconds, 1)
    ratio, distance = np.median(seconds[0] / seconds[1]), np.abs(losses[0] - losses[1]).max()
    groups = feeds[1][0].size_of.shape[1]
    return f"| {task} | {attn} | {name} | {padded:.1f} | {cut:.1f} | {groups} | {ratio:.2f} | {distance:.0e} |"


def steps(backend: Backend, weights: Any, feeds: list[list[Chunk]]) -> tuple[np.ndarray, np.ndarray]:
    """Seconds and mean loss of every step of both feeds, taken in turn; one step of each compiles before."""
    for feed in feeds:
        backend.train_steps(backend.start([weights]), [feed[0]])
    states = [backend.start([weights]) for _ in feeds]
    seconds, losses = np.zeros((2, len(feeds), STEPS))
    for step, at in product(range(STEPS), range(len(feeds))):
        began = time.perf_counter()
        states[at], [sums] = backend.train_steps(states[at], [feeds[at][step]])
        seconds[at, step], losses[at, step] = time.perf_counter() - began, sums.loss[0] / sums.count[0]
    return seconds, losses


def main() -> None:
    """Each row in a process of its own, then the page."""
    if len(sys.argv) > 1:
        print(row(*sys.argv[1:]))
        return
    write_page(
        "padding",
        "What padding costs",
        "Training steps of `standard` (batch 32, no dropout, float32): every example padded to the longest, against "
        f"batches cut by length, in turn, the same batches. Medians of {STEPS} steps.",
        "| task | attention | backend | padded, samples/s | cut, samples/s | groups | ratio | losses differ by |",
        ROWS,
    )


if __name__ == "__main__":
    main()
