"""What test_devices_jax.py runs in a process with eight simulated devices: curves as JSON on standard output."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jax
import numpy as np

from lra.backends.jax.backend import JaxBackend
from lra.backends.jax.device import open_devices
from lra.backends.jax.switches import pinned
from lra.core.errors import DeviceFailed
from lra.model.batches import Chunk, gatherers
from lra.model.padding import WHOLE
from lra.model.weights import Weights, initial_weights, within
from tests.small import MODEL, TRAIN, blueprint, chunks, split

PLAN = replace(TRAIN, batch_size=16, steps=50, evaluate_every=50, chunk=10, learning_rate=1e-4)
MODEL_OF_ONE = replace(MODEL, depth=1, dropout=0.1)
SCORED = 21
KINDS = ("adam.mu/", "adam.nu/")
FAILURES = ("INTERNAL: a GPU fell off the bus", "RESOURCE_EXHAUSTED: out of memory")


def trained(backend: JaxBackend, feed: Sequence[Chunk], snapshot: Any = None) -> tuple[list[float], Any]:
    """Mean losses of the first seed, and the state."""
    plans = [plan] if len(backend._seeds) == 1 else plans_of_two
    state = backend.start([initial_weights(each) for each in plans], snapshot and [snapshot])
    losses: list[float] = []
    for chunk in feed:
        state, found = backend.train_steps(state, [chunk] * len(plans))
        losses += (found[0].loss / found[0].count).tolist()
    return losses, state


def scored(backend: JaxBackend, state: Any) -> tuple[float, int, list[float]]:
    """Loss and count over an odd number of examples, and their logits."""
    test = gatherers({"train": docs, "test": split(examples=SCORED)}, 16, 50, backend.grouping.whole)["test"]
    each = list(test.evaluation(16))
    sums = [backend.evaluate(state, chunk)[0] for chunk in each]
    logits = np.concatenate([backend.logits(state, chunk)[0][0] for chunk in each])[:SCORED]
    return (
        sum(float(own.loss.sum()) for own in sums),
        sum(int(own.count.sum()) for own in sums),
        logits.ravel().tolist(),
    )


def apart(ours: Weights, theirs: Weights) -> float:
    """The greatest difference of moments, over the greatest moment of its kind."""
    both = [
        [np.concatenate([a.ravel() for a in within(each, kind).values()]) for each in (ours, theirs)] for kind in KINDS
    ]
    return max(float(np.abs(own - other).max() / np.abs(own).max()) for own, other in both)


def failure(backend: JaxBackend, state: Any, chunk: Chunk, said: str) -> str:
    """How a failure of XLA is told, whose words these are."""

    def fail(*given: Any) -> None:
        raise jax.errors.JaxRuntimeError(said)

    failing: Any = backend
    failing._gradients = fail
    try:
        failing.train_steps(state, [chunk])
    except (DeviceFailed, RuntimeError) as error:
        return f"{type(error).__name__}: {error}"
    return "none"


plan = blueprint("elfatt", MODEL_OF_ONE)
plans_of_two = [plan, replace(plan, seed=1)]
docs = split(examples=48)

if __name__ == "__main__":
    devices = open_devices("cpu", 8)
    feed, halves = chunks(docs, PLAN, grouping=WHOLE), chunks(docs, PLAN, grouping=WHOLE._replace(parts=2))
    with pinned():
        one = JaxBackend([plan], devices[0], scanned=False)
        eight = JaxBackend([plan], *devices, scanned=False)
        assert eight.grouping.devices == 8
        alone, of_one = trained(one, feed)
        shared, of_eight = trained(eight, feed)
        _, state = trained(one, feed[:2])
        middle, state = trained(eight, feed[2:4], one.snapshots(state)[0])
        last, _ = trained(one, feed[4:], eight.snapshots(state)[0])
        told = {
            "alone": alone,
            "on eight": shared,
            "on one, on eight, on one": [*alone[:20], *middle, *last],
            "in parts": trained(JaxBackend([plan], *devices[:2], scanned=False, accumulate=2), halves)[0],
            "two seeds, one program a chunk": trained(JaxBackend(plans_of_two, *devices[:2], scanned=True), halves)[0],
            "moments": apart(one.snapshots(of_one)[0], eight.snapshots(of_eight)[0]),
            "scored": [scored(one, of_one), scored(eight, of_eight)],
            "names": eight.environment()["device_names"],
            "devices": len(jax.tree.leaves(of_eight.weights)[0].sharding.device_set),
        }
        told |= {"failures": [failure(eight, of_eight, feed[0], said) for said in FAILURES]}
    print(json.dumps(told))
