"""What dropout costs in a step of `standard`: none, ours, and each framework's own.

    python -m tests.evidence.dropout

Writes results/evidence/dropout.md. The same batches of ListOps in turn, all three in one process a framework; seconds
and ratios are medians over the batches. The framework's own draws as it was used before: F.dropout with one generator
in PyTorch, jax.random.bernoulli with one key a site in JAX.
"""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from importlib import import_module
from itertools import product
from typing import Any

import numpy as np

import tasks
from lra import backends, data
from lra.batches import Chunk, Epochs, chunk_bounds, gatherers, training_chunks
from lra.config import resolve
from lra.environment import ROOT, environment, git_state
from lra.init import initial_weights
from lra.schedule import one_cycle
from lra.train import make_blueprint

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


def feed(run: Any, grouping: Any) -> list[Chunk]:
    """The first steps of the run, one a chunk."""
    plan, prepared = run.train, data.prepare(run.task, run.data, data.source(None, None))
    rate = partial(one_cycle, peak=plan.learning_rate, warmup=plan.warmup, total=plan.steps)
    gather = gatherers(prepared.splits, plan.batch_size, plan.steps, grouping)["train"]
    epochs = Epochs(len(prepared.splits["train"]), run.seed)
    return list(training_chunks(gather, epochs, chunk_bounds(0, STEPS, 1, 1), plan.batch_size, rate))


def row(name: str) -> str:
    """One row of the table."""
    run = replace(resolve("listops", "elfatt", preset="standard"), backend=name)
    dropping = import_module(f"lra.backends.{name}_dropout").Dropout
    calls = {NONE: None, OURS: dropping.__call__, OWN: {"torch": own_of_torch, "jax": own_of_jax}[name]}
    rates = {NONE: 0.0, OURS: run.model.dropout, OWN: run.model.dropout}
    task, opened = tasks.load(run.task), {}
    for kind in calls:
        plan = make_blueprint(replace(run, model=replace(run.model, dropout=rates[kind])), task)
        opened[kind] = backends.get(name, plan, "cpu")
    weights = initial_weights(make_blueprint(run, task))
    steps = feed(run, opened[OURS].grouping)
    states = {kind: backend.start(weights) for kind, backend in opened.items()}
    seconds = {kind: np.zeros(STEPS) for kind in calls}
    for at, kind in product(range(-1, STEPS), calls):  # the first round compiles
        dropping.__call__ = calls[kind] or dropping.__call__
        began = time.perf_counter()
        states[kind], _ = opened[kind].train_steps(states[kind], steps[max(at, 0)])
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
    facts, commit, rows = environment(), git_state(), []
    for name in ("torch", "jax"):
        command = [sys.executable, "-m", "tests.evidence.dropout", name]
        rows.append(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()[-1])
        print(rows[-1], flush=True)
    text = (
        "# What dropout costs\n\nTraining steps of ListOps `standard` with elfatt (batch 32, dropout 0.1, float32): "
        "without dropout, with ours (`lra/dropout.py`), and with the framework's own in its place. The same batches in "
        f"turn, medians of {STEPS} steps. `python -m tests.evidence.dropout` on {facts['cpu']}, {facts['cores']} "
        f"cores, commit {(commit['commit'] or 'unknown')[:7]}{'' if commit['clean'] else ' with changes'}.\n\n"
        "| backend | none | ours | the framework's own | ours / none | own / none | own / ours |\n"
        f"|{'---|' * 7}\n" + "\n".join(rows) + "\n"
    )
    (ROOT / "results" / "evidence" / "dropout.md").write_text(text)


if __name__ == "__main__":
    main()
