"""Initial weights in NumPy: the same seed gives the same weights in PyTorch and in JAX.

The names and shapes here are the exchange format between frameworks and the content of a snapshot. Kernels have the
shape (inputs, outputs). Each array has its own generator, seeded by (seed, name). So the parameters of a mechanism do
not change those of the encoder.
"""

from __future__ import annotations

import zlib

import numpy as np

from attention_impls.saved import CONSTANT
from lra.core.environment import free_memory
from lra.core.errors import UserError
from lra.model.blueprint import Blueprint

Weights = dict[str, np.ndarray]

PROJECTIONS = {"q": "query", "k": "key", "v": "value"}
DRAWN_BYTES = 12  # per number: drawn in float64, then kept in float32


def initial_weights(blueprint: Blueprint) -> Weights:
    """Every learned array and constant of the encoder, in float32.

    Embeddings are normal with the configured standard deviations. Kernels and biases of dense layers are uniform within
    ±1/√inputs (PyTorch's default, which the published 2-layer models use). Norms start as the identity. The arrays of a
    mechanism come from its card.
    """
    model, draw = blueprint.model, _Draw(blueprint.seed)
    weights = _inputs(blueprint, draw)
    if model.norm == "pre":
        weights |= _norm("norm", model.width)
    features = model.width * (4 if blueprint.towers == 2 else 1)
    if model.classifier:
        weights |= draw.dense("classifier_in", features, model.classifier)
    weights |= draw.dense("classifier_out", model.classifier or features, blueprint.classes)
    for layer in range(model.depth):
        weights |= _block(blueprint, draw, layer)
    return {name: array.astype(np.float32) for name, array in weights.items()}


def require_memory(blueprint: Blueprint) -> None:
    """Raise UserError if drawing the initial weights needs more memory than is free.

    The arrays of the mechanism are not counted.
    """
    need, free = DRAWN_BYTES * _encoder_size(blueprint), free_memory()
    if need > free:
        raise UserError(
            f"the initial weights need {need / 1e9:,.1f} GB, expected at most the {free / 1e9:,.1f} GB that are "
            "free: lower model.width, depth, ffn, classifier or vocabulary, or the length of the data"
        )


def _encoder_size(blueprint: Blueprint) -> int:
    """The number of weights in embeddings and dense layers, without biases and norms."""
    model, features = blueprint.model, blueprint.model.width * (4 if blueprint.towers == 2 else 1)
    rows = 1 if model.pixels == "continuous" else model.vocabulary
    rows = rows if blueprint.patches is None else blueprint.patches.numbers
    rows += blueprint.dims.max_length if model.positions == "learned" else 0
    projections = model.projection + sum(letter in PROJECTIONS for letter in blueprint.inputs)
    block = model.width * (projections * model.width + 2 * model.ffn)
    classifier = model.classifier * features + (model.classifier or features) * blueprint.classes
    return rows * model.width + model.depth * block + classifier


def learned(weights: Weights) -> Weights:
    """The arrays that training changes."""
    return {name: array for name, array in weights.items() if not name.startswith(CONSTANT)}


def within(arrays: Weights, prefix: str) -> Weights:
    """The arrays whose names begin with `prefix`, without it."""
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def parameter_count(weights: Weights) -> int:
    """The number of learned numbers."""
    return sum(array.size for array in learned(weights).values())


class _Draw:
    """Draws each array from a generator that is seeded by (seed, name)."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def generator(self, name: str) -> np.random.Generator:
        return np.random.default_rng([self._seed, zlib.crc32(name.encode())])

    def normal(self, name: str, shape: tuple[int, ...], std: float) -> np.ndarray:
        return self.generator(name).normal(0.0, std, shape)

    def dense(self, name: str, inputs: int, outputs: int) -> Weights:
        bound = 1.0 / np.sqrt(inputs)
        return {
            f"{name}.kernel": self.generator(f"{name}.kernel").uniform(-bound, bound, (inputs, outputs)),
            f"{name}.bias": self.generator(f"{name}.bias").uniform(-bound, bound, outputs),
        }


def _norm(name: str, width: int) -> Weights:
    return {f"{name}.scale": np.ones(width), f"{name}.bias": np.zeros(width)}


def _inputs(blueprint: Blueprint, draw: _Draw) -> Weights:
    """The arrays that turn tokens, numbers or squares of pixels into vectors, and those of positions."""
    model, weights = blueprint.model, {}
    if blueprint.patches is not None:
        weights |= draw.dense("patches", blueprint.patches.numbers, model.width)
    elif model.pixels == "continuous":
        weights |= draw.dense("pixels", 1, model.width)
    else:
        name, shape = "tokens.embedding", (model.vocabulary, model.width)
        weights[name] = draw.normal(name, shape, model.embedding_std)
    if model.positions == "learned":
        name, shape = "positions.embedding", (blueprint.dims.max_length, model.width)
        weights[name] = draw.normal(name, shape, model.position_std)
    return weights


def _block(blueprint: Blueprint, draw: _Draw, layer: int) -> Weights:
    card, dims, model = blueprint.mechanism.card, blueprint.dims, blueprint.model
    at = f"layers.{layer}"
    weights = _norm(f"{at}.attention_norm", model.width)
    for letter in blueprint.inputs:
        if letter in PROJECTIONS:
            weights |= draw.dense(f"{at}.{PROJECTIONS[letter]}", model.width, model.width)
    if model.projection:
        weights |= draw.dense(f"{at}.output", model.width, model.width)
    if model.ffn:
        weights |= _norm(f"{at}.ffn_norm", model.width)
        weights |= draw.dense(f"{at}.ffn_in", model.width, model.ffn)
        weights |= draw.dense(f"{at}.ffn_out", model.ffn, model.width)
    own = card.learned(blueprint.options, dims, draw.generator(f"{at}.attention"), layer)
    drawn = card.constants(blueprint.options, dims, draw.generator(f"{CONSTANT}{at}.attention"))
    weights |= {f"{at}.attention.{name}": array for name, array in own.items()}
    weights |= {f"{CONSTANT}{at}.attention.{name}": array for name, array in drawn.items()}
    return weights
