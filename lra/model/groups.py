"""The learning rate and weight decay of each learned array, from the card's groups and the training's values."""

from __future__ import annotations

from typing import NamedTuple

from lra.model.blueprint import Blueprint

OWN = ".attention."  # part of the name of each array of a mechanism


class Setting(NamedTuple):
    """The optimiser's values for one array."""

    factor: float
    """Learning rate as a multiple of the schedule's."""
    decay: float
    """Decoupled weight decay."""


def setting(blueprint: Blueprint, name: str) -> Setting:
    """The values for a learned array, by its name in lra.model.weights."""
    train = blueprint.train
    group = blueprint.mechanism.card.group_of(name.partition(OWN)[2])
    usual = train.bias_decay if group is None and _of_block(name) and _bias_or_norm(name) else None
    rate = None if group is None else getattr(train, f"{group}_rate")
    decay = usual if group is None else getattr(train, f"{group}_decay")
    return Setting(
        factor=1.0 if rate is None else rate / train.learning_rate, decay=train.weight_decay if decay is None else decay
    )


def _of_block(name: str) -> bool:
    """Whether an array belongs to a block or to the norm after the last one, not to the input or the classifier."""
    return name.startswith(("layers.", "norm."))


def _bias_or_norm(name: str) -> bool:
    *owner, kind = name.split(".")
    return kind == "bias" or (OWN not in name and owner[-1].endswith("norm"))
