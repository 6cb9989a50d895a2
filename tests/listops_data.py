"""ListOps data in memory, for its tests: two settings, and the three splits as the store would join them."""

from __future__ import annotations

from typing import Any

import numpy as np

from tasks.base import SPLITS, ExampleBlock, Source, Split
from tasks.listops import TASK, ListOps

STANDARD: dict[str, Any] = {"min_length": 500, "max_length": 2000, "max_depth": 10, "max_args": 10}
SHORT: dict[str, Any] = {"min_length": 8, "max_length": 64, "max_depth": 4, "max_args": 10}


def build(*, given: Source | None = None, **options: Any) -> dict[str, Split]:
    """The three splits of ListOps(**options), built from what was given."""
    blocks = list(TASK.build(ListOps(**options), given or Source()))
    return {split: join([block for block in blocks if block.split == split]) for split in SPLITS}


def join(blocks: list[ExampleBlock]) -> Split:
    """The split that consists of those blocks."""
    lengths = np.concatenate([block.lengths for block in blocks])
    return Split(
        tokens=np.concatenate([block.tokens for block in blocks]),
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        examples=np.arange(len(lengths))[:, None],
        labels=np.concatenate([block.labels for block in blocks]),
    )


def documents(split: Split) -> list[bytes]:
    """The tokens of every example."""
    return [split.document(i).tobytes() for i in range(len(split))]
