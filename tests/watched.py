"""A cell of `check` that trains in a moment, and a baseline for tests that need no training."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import yaml

from lra.regression import baselines
from lra.regression.baselines import Baseline, Baselines, WatchedCell

CELL = WatchedCell(
    name="tiny",
    task="listops",
    attn="softmax",
    backend="torch",
    preset="smoke",
    changes={
        # Flat lists: the commonest label alone leaves chance.
        "data": {"train": 600, "test": 1000, "min_length": 4, "max_length": 17, "max_depth": 2, "max_args": 10},
        "model": {"width": 8, "depth": 1, "ffn": 8, "classifier": 8, "dropout": 0.0, "embedding_std": 1.0},
        "train": {"steps": 40, "batch_size": 32, "warmup": 4, "evaluate_every": 20, "learning_rate": 0.02},
    },
    seeds=[0, 1, 2, 3, 4, 5, 6, 7],
    check_seeds=[100],
)


def baseline(**changes: Any) -> Baseline:
    """A baseline that nothing was trained for."""
    accuracies = [0.5, 0.51, 0.49, 0.5, 0.52, 0.48, 0.5, 0.5]
    values = {
        **baselines.spread(accuracies),
        "accuracies": accuracies,
        "clean": [],
        "examples": 1000,
        "without_learning": {"chance": 0.1},
        "data": "flat lists",
        "data_hash": "0" * 64,
        "curve": [2.0] * 20,
        "ratio": None,
        "commit": "1234567890",
        "clean_checkout": True,
        "made": {},
    }
    return Baseline(**{**values, **changes})


def save(path: Path, *cells: WatchedCell) -> Path:
    """A file of baselines with these cells."""
    values = asdict(Baselines(schema=baselines.SCHEMA, level=0.01, cells=list(cells)))
    path.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    return path


def with_baseline(**changes: Any) -> WatchedCell:
    """The tiny cell with a made-up baseline."""
    return replace(CELL, baseline=baseline(**changes))
