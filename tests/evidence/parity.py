"""How far the loss curves of PyTorch and JAX lie apart: `python -m tests.evidence.parity`.

The first steps of real runs on quick's data, the same seed in both frameworks, float32, no dropout; trained as the
standard preset says, and as quick says. Quick's learning rate is twenty times greater, and with it grows whatever two
frameworks round differently.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import product

import numpy as np

import tasks
from lra import backends
from lra.core.config import resolve
from lra.model.batches import Epochs, chunk_bounds, gatherers, training_chunks
from lra.model.schedule import one_cycle
from lra.model.weights import initial_weights
from lra.training import data
from lra.training.trainer import make_blueprint

STEPS = 50


def curves(task: str, attn: str, preset: str, steps: int = STEPS) -> dict[str, np.ndarray]:
    """The loss of each of the first steps, by backend, with a preset's model and training on quick's data."""
    run = resolve(task, attn, preset=preset)
    run = replace(run, data=resolve(task, attn, preset="quick").data, model=replace(run.model, dropout=0.0))
    blueprint = make_blueprint(run, tasks.load(task))
    ready = data.prepare(task, run.data, data.source(None, None))
    plan, weights = run.train, initial_weights(blueprint)
    rate = partial(one_cycle, peak=plan.learning_rate, warmup=plan.warmup, total=plan.steps)
    epochs = Epochs(len(ready.splits["train"]), 0)
    found = {}
    for name in ("torch", "jax"):
        backend = backends.get(name, [blueprint], "cpu")
        gather = gatherers(ready.splits, plan.batch_size, plan.steps, backend.grouping)["train"]
        state, losses = backend.start([weights]), []
        for chunk in training_chunks(gather, epochs, chunk_bounds(0, steps, 10, 10), plan.batch_size, rate):
            state, [sums] = backend.train_steps(state, [chunk])
            losses.append(sums.loss / sums.count)
        found[name] = np.concatenate(losses)
    return found


def table() -> str:
    """A Markdown table of the greatest distance between the two curves."""
    rows = [
        f"| task | attention | trained as | loss at step 1 | at step {STEPS} | greatest difference |",
        "|---" * 6 + "|",
    ]
    for task, preset, attn in product(tasks.names(), ("standard", "quick"), ("softmax", "elfatt")):
        both = curves(task, attn, preset)
        first, last = both["torch"][0], both["torch"][-1]
        distance = np.abs(both["torch"] - both["jax"]).max()
        rows.append(f"| {task} | {attn} | {preset} | {first:.4f} | {last:.4f} | {distance:.1e} |")
    return "\n".join(rows)


if __name__ == "__main__":
    print(table())
