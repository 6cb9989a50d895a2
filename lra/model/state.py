"""The state of training as named arrays, the same in both frameworks: weights and the optimiser's moments."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lra.core.errors import UserError
from lra.model.weights import Weights, learned


def require_state(arrays: Weights | None, weights: Weights) -> None:
    """Raise UserError if a snapshot lacks the names, dtypes and shapes of a run with these weights."""
    own = {name: array for name, array in (arrays or {}).items() if name.startswith(("weights/", "adam."))}
    for problem in other_arrays(own, state_arrays(weights)) if arrays is not None else ():
        raise UserError(f"the snapshot {problem}: start the run without it")


def state_arrays(weights: Weights) -> Weights:
    """Arrays like those of a backend's state."""
    moments = {f"adam.{kind}/{name}": array for kind in ("mu", "nu") for name, array in learned(weights).items()}
    return {f"weights/{name}": array for name, array in weights.items()} | moments | {"adam.count": np.array(0)}


def other_arrays(arrays: Weights, expected: Weights) -> Iterator[str]:
    """The problems in names, dtypes and shapes of arrays. A reference without elements may have grown."""
    for name in sorted(expected.keys() - arrays.keys()):
        yield f"has no array {name}"
    for name in sorted(arrays.keys() - expected.keys()):
        yield f"has an array {name}, which is not expected"
    for name, like in expected.items():
        dtype, shape = arrays[name].dtype, arrays[name].shape
        same = shape == like.shape or (like.size == 0 and shape[1:] == like.shape[1:] and len(shape) == like.ndim)
        if dtype != like.dtype or not same:
            yield f"has an array {name} of {dtype} {shape}, expected {like.dtype} {like.shape}"
