"""The common part of both Retrieval tasks: tokens are bytes plus one, and an example is two documents."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tasks.base import ExampleBlock, Split


def block(
    split: str, documents: Sequence[bytes], examples: np.ndarray, labels: np.ndarray, **extras: np.ndarray
) -> ExampleBlock:
    """A block of pairs (n, 2) of these documents, none of them empty."""
    return ExampleBlock(
        split=split,
        tokens=np.frombuffer(b"".join(documents), np.uint8) + np.uint8(1),
        lengths=np.array([len(document) for document in documents], np.int64),
        labels=labels.astype(np.uint8),
        examples=examples,
        extras=extras,
    )


def text(split: Split, document: int) -> bytes:
    """The bytes of one document."""
    return (split.document(document) - np.uint8(1)).tobytes()


def popularity(split: Split) -> np.ndarray:
    """(n, 2) the number of the split's pairs with each document of an example."""
    return np.bincount(split.examples.reshape(-1))[split.examples]
