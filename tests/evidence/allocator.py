"""What keeping freed buffers is worth: a training step with the C library's allocator as it is, and as we set it.

    python -m tests.evidence.allocator

Writes results/evidence/allocator.md. Two worker processes of the benchmark a row, woken in turn.
"""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import Any
from unittest.mock import patch

import numpy as np

from lra.bench.plan import BenchCell
from lra.core.environment import ROOT, environment, git_state
from lra.core.workers import Child

ROUNDS = 10
LEFT_ALONE = {"MALLOC_ARENA_TEST": "8"}  # glibc's own default on 64 bits; any such variable keeps our hands off


class Worker(Child):
    """One process of `bench`."""

    def __init__(self, cell: BenchCell, extra: dict[str, str]) -> None:
        with patch.dict(os.environ, extra):
            super().__init__("lra.bench.worker", visible=True)
        self.ask({"cell": asdict(cell)})

    def rate(self) -> float:
        """Calls a second in one sample."""
        taken = self.ask({"sample": True})
        return taken["calls"] / taken["seconds"]


def row(backend: Any, length: int, batch: int) -> str:
    """One row of the table."""
    cell = BenchCell(
        kind="train", backend=backend, device="cpu", dtype="float32", attn="elfatt", length=length, batch=batch,
        heads=2, head_dim=32,
    )  # fmt: skip
    workers = [Worker(cell, LEFT_ALONE), Worker(cell, {})]
    rates = batch * np.array([[worker.rate() for worker in workers] for _ in range(ROUNDS)])
    for worker in workers:
        worker.end()
    before, after = np.median(rates, 0)
    ratio = np.median(rates[:, 1] / rates[:, 0])
    return f"| {backend} | {length:,} × {batch} | {before:.1f} | {after:.1f} | {ratio:.2f} |"


def main() -> None:
    """Measure and write the page."""
    rows = [row(backend, *shape) for backend in ("torch", "jax") for shape in ((1024, 32), (16384, 1))]
    facts, commit = environment(), git_state()
    text = (
        "# What the allocator is worth\n\nA training step of `standard` with elfatt, float32, samples a second: "
        "glibc's allocator as it is, and keeping its buffers (lra/core/allocator.py). "
        f"Medians of {ROUNDS} samples, taken in turn. "
        f"`python -m tests.evidence.allocator` on {facts['cpu']}, {facts['cores']} cores, commit "
        f"{(commit['commit'] or 'unknown')[:7]}{'' if commit['clean'] else ' with changes'}.\n\n"
        f"| backend | tokens × batch | as it is | buffers kept | ratio |\n|{'---|' * 5}\n" + "\n".join(rows) + "\n"
    )
    print(text)
    (ROOT / "results" / "evidence" / "allocator.md").write_text(text)


if __name__ == "__main__":
    main()
