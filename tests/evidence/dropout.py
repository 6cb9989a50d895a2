"""What dropout costs in a step of `standard`: none, ours, and each framework's own.

    python -m tests.evidence.dropout

Writes results/evidence/dropout.md. The same batches of ListOps in turn, all three in one process a framework; seconds
and ratios are medians over the batches. The framework's own draws as it was used before: F.dropout with one generator
in PyTorch, jax.random.bernoulli with one key a site in JAX.
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from importlib import import_module
from itertools import product
from typing import Any

import numpy as np

import tasks
from lra import backends
from lra.core.config import resolve
from lra.model.weights import initial_weights
from lra.training.trainer import make_blueprint
from tests.evidence.stepping import first_steps, write_page

STEPS = 12
NONE, OURS, OWN = "none", "ours", "the framework's own"


def own_of_torch(drop: Any, x: Any, layer: int, site: int) -> Any:
    """PyTorch's dropout in the place of ours."""
    import torch.nn.functional as F

    return F.dropout(x, 1 - 1 / drop.rate.scale, training=True)


def own_of_jax(drop: Any, x: Any, layer: int, site: int) -> Any:
    """JAX's bits in the place of ours; a row's word makes the key another one each step."""
    import jax
    import jax.numpy as jnp

    key = jax.random.fold_in(jax.random.key(layer), drop.a[0, 0] + site)
    return x * jnp.where(jax.random.bernoulli(key, 1 / drop.rate.scale, x.shape), drop.rate.scale, 0)


def row(name: str) -> str:
    """One row of the table."""
    run = replace(resolve("listops", "elfatt", preset="standard"), backend=name)
    dropping = import_module(f"lra.backends.{name}.dropout").Dropout
    calls = {NONE: None, OURS: dropping.__call__, OWN: {"torch": own_of_torch, "jax": own_of_jax}[name]}
    rates = {NONE: 0.0, OURS: run.model.dropout, OWN: run.model.dropout}
    task, opened = tasks.load(run.task), {}
    for kind in calls:
        plan = make_blueprint(replace(run, model=replace(run.model, dropout=rates[kind])), task)
        opened[kind] = backends.get(name, [plan], "cpu")
    weights = initial_weights(make_blueprint(run, task))
    steps = first_steps(run, opened[OURS].grouping, STEPS)
    states = {kind: backend.start([weights]) for kind, backend in opened.items()}
    seconds = {kind: np.zeros(STEPS) for kind in calls}
    for at, kind in product(range(-1, STEPS), calls):  # the first round compiles
        dropping.__call__ = calls[kind] or dropping.__call__
        began = time.perf_counter()
        states[kind], _ = opened[kind].train_steps(states[kind], [steps[max(at, 0)]])
        seconds[kind][at] = time.perf_counter() - began
    shown = [f"{1e3 * np.median(each):.0f} ms" for each in seconds.values()]
    costs = [f"{np.median(seconds[kind] / seconds[NONE]):.2f}" for kind in (OURS, OWN)]
    return f"| {name} | {' | '.join([*shown, *costs])} | {np.median(seconds[OWN] / seconds[OURS]):.2f} |"


def main() -> None:
    """Each framework in a process of its own, then the page."""
    if len(sys.argv) > 1:
        with backends.pinned(sys.argv[1]):
            print(row(sys.argv[1]))
        return
    write_page(
        "dropout",
        "What dropout costs",
        "Training steps of ListOps `standard` with elfatt (batch 32, dropout 0.1, float32): without dropout, with ours "
        "(`lra/model/dropout.py`), and with the framework's own in its place. The same batches in turn, medians of "
        f"{STEPS} steps.",
        "| backend | none | ours | the framework's own | ours / none | own / none | own / ours |",
        [["torch"], ["jax"]],
    )


if __name__ == "__main__":
    main()
