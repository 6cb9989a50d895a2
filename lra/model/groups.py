"""Which learned arrays have a learning rate and a decay of their own, as a card's groups and the training say."""

from __future__ import annotations

from typing import NamedTuple

from lra.model.blueprint import Blueprint

OWN = ".attention."  # in the name of an array that a layer's mechanism has


class Setting(NamedTuple):
    """How the optimiser treats an array."""

    factor: float
    """Its learning rate over that of the schedule."""
    decay: float
    """Its decoupled weight decay."""


def setting(blueprint: Blueprint, name: str) -> Setting:
    """That of a learned array, by its name in lra.model.weights."""
    train = blueprint.train
    group = blueprint.mechanism.card.group_of(name.partition(OWN)[2])
    usual = train.bias_decay if group is None and _of_block(name) and _bias_or_norm(name) else None
    rate = None if group is None else getattr(train, f"{group}_rate")
    decay = usual if group is None else getattr(train, f"{group}_decay")
    return Setting(
        factor=1.0 if rate is None else rate / train.learning_rate, decay=train.weight_decay if decay is None else decay
    )


def _of_block(name: str) -> bool:
    """Whether an array is one of the blocks', the norm behind the last of them included: not of input or classifier."""
    return name.startswith(("layers.", "norm."))


def _bias_or_norm(name: str) -> bool:
    *owner, kind = name.split(".")
    return kind == "bias" or (OWN not in name and owner[-1].endswith("norm"))
