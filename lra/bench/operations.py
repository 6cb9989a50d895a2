"""The least operations and bytes of a forward pass or a training step, counted by formula.

A matrix product has two operations for a multiply-add. A Fourier transform has 5 N log₂ N for N complex numbers, half
for real ones. A linear recurrence has a multiply-add for each state and token. The mechanism's card gives those of the
attention; the encoder's layers give the rest. A training step has each product three times: once forward, and once for
the gradient of each factor. It has each transform and each recurrence twice. Nothing else counts: no exponentials,
norms, short convolutions or optimiser, and no repeated computation of an implementation.

Bytes are the least memory traffic: every matrix product reads its factors and writes its result once, and everything
between products is fused into them. The attention reads its inputs and writes its output; backward, it reads its inputs
and the output's gradient and writes the inputs' gradients. AdamW reads four numbers per parameter and writes three.
Real code needs more. So a share of the measured bandwidth is a lower bound.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from lra.model.blueprint import Blueprint
from lra.model.weights import PROJECTIONS

FLOAT32 = 4  # bytes of a parameter and of each moment, in any precision of the arithmetic
OPTIMISER_ACCESSES = 7  # AdamW: weight, gradient and two moments in, weight and two moments out


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Floating-point operations and bytes moved. Operations are None if the card does not state them."""

    flop: int | None
    bytes: int


def attend_cost(blueprint: Blueprint, batch: int, length: int, itemsize: int) -> Cost:
    """One layer's attention alone, forward and backward, for a batch of full sequences of `length` tokens."""
    elements = _attention_elements(blueprint, batch, length, backward=True)
    return Cost(flop=_attention_flop(blueprint, batch, length, backward=True), bytes=itemsize * elements)


def infer_cost(blueprint: Blueprint, batch: int, length: int, itemsize: int) -> Cost:
    """The encoder's forward pass."""
    return _encoder_cost(blueprint, batch, length, itemsize, backward=False)


def train_cost(blueprint: Blueprint, batch: int, length: int, itemsize: int, parameters: int) -> Cost:
    """One optimiser step: the encoder forward and backward, and AdamW over all parameters."""
    encoder = _encoder_cost(blueprint, batch, length, itemsize, backward=True)
    return Cost(flop=encoder.flop, bytes=encoder.bytes + FLOAT32 * OPTIMISER_ACCESSES * parameters)


def ragged_cost(
    blueprint: Blueprint, lengths: Int[np.ndarray, "K B T"], itemsize: int, parameters: int, *, train: bool
) -> Cost:
    """The mean over K steps, for documents of their own lengths, as if each were alone and without padding."""
    costs = [_encoder_cost(blueprint, 1, int(length), itemsize, backward=train) for length in lengths.ravel()]
    flop = [cost.flop for cost in costs if cost.flop is not None]
    over = blueprint.towers * len(lengths)
    moved = FLOAT32 * OPTIMISER_ACCESSES * parameters if train else 0
    return Cost(
        flop=sum(flop) // over if len(flop) == len(costs) else None,
        bytes=sum(cost.bytes for cost in costs) // over + moved,
    )


def dense_layers(blueprint: Blueprint, batch: int, length: int) -> list[tuple[int, int, int]]:
    """(rows, inputs, outputs) of every dense matrix product, without that of patches. Those of q, k, v count as one."""
    model = blueprint.model
    tokens = batch * blueprint.towers * length
    projections = sum(letter in PROJECTIONS for letter in blueprint.inputs)
    block = [(tokens, model.width, projections * model.width)] if projections else []
    block += [(tokens, model.width, model.width)] if model.projection else []
    block += [(tokens, model.width, model.ffn), (tokens, model.ffn, model.width)] if model.ffn else []
    features = model.width * (4 if blueprint.towers == 2 else 1)
    sizes = [features, model.classifier, blueprint.classes] if model.classifier else [features, blueprint.classes]
    return block * model.depth + [(batch, *each) for each in itertools.pairwise(sizes)]


def _encoder_cost(blueprint: Blueprint, batch: int, length: int, itemsize: int, *, backward: bool) -> Cost:
    model, documents = blueprint.model, batch * blueprint.towers
    layers, times = dense_layers(blueprint, batch, length), 3 if backward else 1
    attention = _attention_flop(blueprint, documents, length, backward=backward)
    multiply_adds = sum(rows * inputs * outputs for rows, inputs, outputs in layers)
    dense = sum(rows * (inputs + outputs) + inputs * outputs for rows, inputs, outputs in layers)
    patches = 0 if blueprint.patches is None else blueprint.patches.numbers
    rows, once = documents * length, 2 if backward else 1  # pixels need no gradient
    multiply_adds = times * multiply_adds + once * rows * patches * model.width
    embedding = 2 * rows * model.width + (rows + model.width) * patches
    elements = times * dense + once * embedding
    elements += model.depth * _attention_elements(blueprint, documents, length, backward=backward)
    return Cost(
        flop=None if attention is None else 2 * multiply_adds + model.depth * attention,
        bytes=itemsize * elements,
    )


def _attention_flop(blueprint: Blueprint, sequences: int, length: int, *, backward: bool) -> int | None:
    """Operations of one layer's attention for full sequences; None if the card does not state them."""
    card, given = blueprint.mechanism.card, (blueprint.options, blueprint.dims, length)
    try:
        products, transforms, once = card.operations(*given), card.transforms(*given, False), card.once(*given)
    except ValueError:
        return None
    scans = 2 * sequences * card.scans(*given)
    products = sequences * (products - once.operations) + once.operations
    transforms = sequences * (transforms - once.transforms) + once.transforms
    return 2 * products * (3 if backward else 1) + (transforms + scans) * (2 if backward else 1)


def _attention_elements(blueprint: Blueprint, sequences: int, length: int, *, backward: bool) -> int:
    """The numbers that one layer's attention reads and writes."""
    inputs = len(blueprint.inputs)
    arrays = inputs + 1 + (2 * inputs + 1 if backward else 0)
    return arrays * sequences * length * blueprint.dims.heads * blueprint.dims.head_dim
