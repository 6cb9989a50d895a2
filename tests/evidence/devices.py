"""How far the losses of several devices lie from those of one: `python -m tests.evidence.devices [BACKEND …]`.

The first steps of ListOps as `standard` trains it, at its peak rate and with shorter documents, in float32 on a
CPU: processes that gloo joins in PyTorch, simulated devices in JAX. Then 101 examples are scored. Writes
results/evidence/devices.md; where backends are named, their rows of it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

import tasks
from lra import backends
from lra.core.config import BackendName, Run, resolve
from lra.core.environment import ROOT, environment, git_state
from lra.model.batches import Epochs, chunk_bounds, gatherers, training_chunks
from lra.model.schedule import schedule
from lra.model.sharing import ALONE, Sharing
from lra.model.weights import initial_weights
from lra.training import data
from lra.training.trainer import make_blueprint

STEPS, SCORED = 50, 101
SHORTEST, LONGEST = 100, 400  # tokens
ATTN = "elfatt"
SHARED: dict[BackendName, tuple[Sharing, ...]] = {
    "torch": (Sharing(2), Sharing(4), Sharing(1, 4), Sharing(2, 2)),
    "jax": (Sharing(2), Sharing(8), Sharing(1, 4)),
}
PAGE = ROOT / "results" / "evidence" / "devices.md"
HEAD = (
    "| backend | devices | parts each | loss at step 1 | at step 50 | greatest difference | of the mean of 101 scores |"
)


def curve(run: Run, sharing: Sharing) -> np.ndarray:
    """The loss of each of the first steps, and then the mean loss of the examples that are scored."""
    blueprint, ready = make_blueprint(run, tasks.load(run.task)), data.prepare(run.task, run.data, data.source(None, 1))
    backend, plan = backends.get(run.backend, [blueprint], "cpu", sharing), run.train
    try:
        gather = gatherers(ready.splits, plan.batch_size, plan.steps, backend.grouping)
        epochs, bounds = Epochs(len(ready.splits["train"]), run.seed), chunk_bounds(0, STEPS, 10, 10)
        state, losses = backend.start([initial_weights(blueprint)]), []
        for chunk in training_chunks(gather["train"], epochs, bounds, plan.batch_size, schedule(plan)):
            state, [sums] = backend.train_steps(state, [chunk])
            losses.append(sums.loss / sums.count)
        scored = [backend.evaluate(state, chunk)[0] for chunk in gather["test"].evaluation(plan.batch_size)]
    finally:
        backend.close()
    assert sum(int(each.count.sum()) for each in scored) == SCORED, "every example is scored once"
    return np.append(np.concatenate(losses), sum(float(each.loss.sum()) for each in scored) / SCORED)


def rows(name: BackendName) -> Iterator[str]:
    """A line of the table for each way to share a batch."""
    run = resolve("listops", ATTN, backend=name, preset="standard")
    short = replace(run.data, train=2000, validation=100, test=SCORED, min_length=SHORTEST, max_length=LONGEST)
    run = replace(run, data=short, train=replace(run.train, warmup=1))  # the peak rate from the first step on
    with backends.pinned(name):
        one = curve(run, ALONE)
        for sharing in SHARED[name]:
            apart = np.abs(curve(run, sharing) - one)
            cells = (name, sharing.devices, sharing.accumulate, f"{one[0]:.4f}", f"{one[-2]:.4f}")
            yield f"| {' | '.join(map(str, cells))} | {apart[:-1].max():.1e} | {apart[-1]:.1e} |"


def main(*names: str) -> None:
    """Compute each framework in a process of its own and write the page."""
    simulated = {"XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8"}
    kept = PAGE.read_text(encoding="utf-8").splitlines() if names and PAGE.exists() else []
    told = []
    for name in SHARED:
        lines = kept
        if not names or name in names:
            line = [
                sys.executable,
                "-c",
                f"from tests.evidence import devices; print(*devices.rows({name!r}), sep='\\n')",
            ]
            made = subprocess.run(line, stdout=subprocess.PIPE, text=True, check=True, env={**os.environ, **simulated})
            lines = made.stdout.splitlines()
        told += [row for row in lines if row.startswith(f"| {name}")]
    commit = git_state()
    at = f"{(commit['commit'] or 'unknown')[:7]}{'' if commit['clean'] else ' with changes'}"
    text = (
        "# Several devices\n\n"
        f"The first {STEPS} steps of ListOps as `standard` trains `{ATTN}`, with its model, batches and dropout. Its "
        "learning rate is at the peak from the first step on. The documents are shorter, with "
        f"{SHORTEST} to {LONGEST} tokens. Everything is float32. "
        "In PyTorch a device is a process on a CPU, joined to the others by gloo. In JAX it is a simulated one. "
        f"Each loss is compared with that of one device. Then {SCORED} examples are scored, which no number of devices "
        f"divides. Made by `python -m tests.evidence.devices` on {environment()['cpu']}, commit {at}.\n\n"
        f"{HEAD}\n|{'---|' * (HEAD.count('|') - 1)}\n" + "\n".join(told) + "\n"
    )
    PAGE.write_text(text, encoding="utf-8")
    print(*told, sep="\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
