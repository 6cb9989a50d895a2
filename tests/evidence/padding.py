"""What padding costs: steps with every example padded to the longest, against batches cut by length.

    python -m tests.evidence.padding

Writes results/evidence/padding.md. `standard` without dropout, the same batches in turn in one process a row; speeds
and ratios are medians over the batches.
"""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any

import numpy as np

import tasks
from lra import backends, data
from lra.backends import Backend
from lra.batches import Chunk, Epochs, chunk_bounds, gatherers, training_chunks
from lra.config import resolve
from lra.environment import ROOT, environment, git_state
from lra.init import initial_weights
from lra.padding import WHOLE
from lra.schedule import one_cycle
from lra.train import make_blueprint

# Softmax by the kernel of each framework that needs no N × N array: JAX's other one, padded, takes 45 GB for Text.
SUBJECTS = (("elfatt", "torch"), ("elfatt", "jax"), ("softmax", "torch"), ("flash", "jax"))
ROWS = tuple((task, *subject) for task, subject in product(("text", "listops"), SUBJECTS))
STEPS = 6


def row(task: str, attn: str, name: str) -> str:
    """One row of the table."""
    run = resolve(task, attn, preset="standard")
    run = replace(run, backend=name, model=replace(run.model, dropout=0.0))
    blueprint, plan = make_blueprint(run, tasks.load(task)), run.train
    prepared = data.prepare(task, run.data, data.source(None, None))
    backend, weights = backends.get(name, blueprint, "cpu"), initial_weights(blueprint)
    rate = partial(one_cycle, peak=plan.learning_rate, warmup=plan.warmup, total=plan.steps)
    epochs, feeds = Epochs(len(prepared.splits["train"]), run.seed), []
    for grouping in (WHOLE, backend.grouping):
        gather = gatherers(prepared.splits, plan.batch_size, plan.steps, grouping)["train"]
        feeds.append(list(training_chunks(gather, epochs, chunk_bounds(0, STEPS, 1, 1), plan.batch_size, rate)))
    seconds, losses = steps(backend, weights, feeds)
    padded, cut = plan.batch_size / np.median(seconds, 1)
    ratio, distance = np.median(seconds[0] / seconds[1]), np.abs(losses[0] - losses[1]).max()
    groups = feeds[1][0].size_of.shape[1]
    return f"| {task} | {attn} | {name} | {padded:.1f} | {cut:.1f} | {groups} | {ratio:.2f} | {distance:.0e} |"


def steps(backend: Backend, weights: Any, feeds: list[list[Chunk]]) -> tuple[np.ndarray, np.ndarray]:
    """Seconds and mean loss of every step of both feeds, taken in turn; one step of each compiles before."""
    for feed in feeds:
        backend.train_steps(backend.start(weights), feed[0])
    states = [backend.start(weights) for _ in feeds]
    seconds, losses = np.zeros((2, len(feeds), STEPS))
    for step, at in product(range(STEPS), range(len(feeds))):
        began = time.perf_counter()
        states[at], sums = backend.train_steps(states[at], feeds[at][step])
        seconds[at, step], losses[at, step] = time.perf_counter() - began, sums.loss[0] / sums.count[0]
    return seconds, losses


def main() -> None:
    """Each row in a process of its own, then the page."""
    if len(sys.argv) > 1:
        print(row(*sys.argv[1:]))
        return
    facts, commit, rows = environment(), git_state(), []
    for each in ROWS:
        command = [sys.executable, "-m", "tests.evidence.padding", *each]
        rows.append(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()[-1])
        print(rows[-1], flush=True)
    text = (
        "# What padding costs\n\nTraining steps of `standard` (batch 32, no dropout, float32): every example padded to "
        "the longest, against batches cut by length, in turn, the same batches. Medians of "
        f"{STEPS} steps. `python -m tests.evidence.padding` on {facts['cpu']}, {facts['cores']} cores, commit "
        f"{(commit['commit'] or 'unknown')[:7]}{'' if commit['clean'] else ' with changes'}.\n\n"
        "| task | attention | backend | padded, samples/s | cut, samples/s | groups | ratio | losses differ by |\n"
        f"|{'---|' * 8}\n" + "\n".join(rows) + "\n"
    )
    (ROOT / "results" / "evidence" / "padding.md").write_text(text)


if __name__ == "__main__":
    main()
