"""The check before timing: a mechanism must equal its reference in the configuration that is timed."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from attention_impls.base import Arrays
from lra.backends import Clock
from lra.bench.plan import BenchCell, blueprint_of
from lra.model.blueprint import Blueprint

# Odd, so that no block divides it. On a GPU also an even one, since some kernels accept no odd lengths.
LENGTHS = {"cpu": (131,), "gpu": (131, 128)}
BATCH = 1
BOUND = {"float32": 2e-5, "bfloat16": 2e-2}  # of the output; twice that for gradients, which are rounded twice
DIRECTIONS = 2
STEP = 1e-6  # of central differences in float64, relative to the array's size; small, so that they cross few corners
SMALLEST = 1e-3  # below this size, rounding of the loss would be visible


def draw(blueprint: Blueprint, batch: int, length: int, seed: int) -> tuple[Arrays, Arrays, Arrays, Arrays]:
    """Standard normal inputs by letter, params, constants, and {"cotangent": …}, as NumPy arrays of float32."""
    dims, card = blueprint.dims, blueprint.mechanism.card
    rng = np.random.default_rng(seed)
    tokens, heads = (batch, length), (dims.heads, dims.head_dim)
    shapes = {letter: (*tokens, dims.width) if letter == "x" else (*tokens, *heads) for letter in blueprint.inputs}
    shapes["cotangent"] = (*tokens, *heads)
    given = {name: rng.standard_normal(shape, dtype=np.float32) for name, shape in shapes.items()}
    own = (card.params(blueprint.options, dims, rng), card.constants(blueprint.options, dims, rng))
    params, constants = ({name: _single(array) for name, array in arrays.items()} for arrays in own)
    return {letter: given[letter] for letter in blueprint.inputs}, params, constants, {"cotangent": given["cotangent"]}


def check(cell: BenchCell, clock: Clock) -> dict[str, float]:
    """The greatest errors of the output and of the gradients, their bounds, and the seconds of the check.

    The output's error is max|a − b| / max|b|. A gradient is projected on random directions, for each input and
    parameter. Its error is the distance to the reference's slopes along them (root mean square), relative to the
    gradient's norm. Inputs are rounded to the cell's dtype first, for both sides.

    Raises:
        FileNotFoundError: The mechanism has no reference.
    """
    began = time.perf_counter()
    pairs = [_errors(cell, clock, length) for length in LENGTHS[cell.device]]
    output, gradient = (float(worst) for worst in np.max(pairs, axis=0))
    return {
        "output": output,
        "gradient": gradient,
        "output_bound": BOUND[cell.dtype],
        "gradient_bound": 2 * BOUND[cell.dtype],
        "seconds": time.perf_counter() - began,
    }


def _errors(cell: BenchCell, clock: Clock, length: int) -> tuple[float, float]:
    blueprint = blueprint_of(cell, length)
    if not (blueprint.mechanism.folder / "reference.py").exists():
        raise FileNotFoundError(f"{cell.label} has no reference.py to check it against, so it is not timed: write one")
    placed = [clock.place(arrays, cell.dtype) for arrays in draw(blueprint, BATCH, length, cell.seed)]
    out, gradients = clock.attend(blueprint)(*placed[:3], placed[3]["cotangent"])
    given, params, constants, weight = ({name: clock.numpy(a) for name, a in arrays.items()} for arrays in placed)

    def reference(arrays: Arrays) -> tuple[np.ndarray, float]:
        found = blueprint.mechanism.reference()(
            *(arrays[letter] for letter in blueprint.inputs),
            lengths=None,
            params={name: arrays[name] for name in params},
            constants=constants,
            options=blueprint.options,
            dims=blueprint.dims,
        )
        out, penalty, _ = blueprint.mechanism.card.parts(found)
        return out, float((out * weight["cotangent"]).sum() + (0 if penalty is None else penalty.sum()))

    expected, _ = reference(given | params)
    found = clock.numpy(out)
    output = float(np.abs(found - expected).max() / np.abs(expected).max())
    return output, _gradient_error(
        {name: clock.numpy(array) for name, array in gradients.items()}, given | params, lambda a: reference(a)[1]
    )


def _gradient_error(gradients: Arrays, arrays: Arrays, loss: Callable[[Arrays], float]) -> float:
    rng = np.random.default_rng(1)
    whole = np.sqrt(sum(float((gradient**2).sum()) for gradient in gradients.values()))

    def miss(name: str, direction: np.ndarray) -> float:
        step = STEP * _size(arrays[name])
        ahead, behind = (loss(arrays | {name: arrays[name] + sign * step * direction}) for sign in (1, -1))
        return float((gradients[name] * direction).sum()) - (ahead - behind) / (2 * step)

    errors = []
    for name, gradient in gradients.items():
        misses = [miss(name, rng.standard_normal(gradient.shape)) for _ in range(DIRECTIONS)]
        # Also relative to the whole gradient, since the gradient of one array may be pure rounding.
        size = max(float(np.linalg.norm(gradient)), 1e-3 * whole, np.finfo(np.float32).tiny)
        errors.append(float(np.sqrt(np.mean(np.square(misses)))) / size)
    return float(np.max(errors))  # NaN if one of them is NaN


def _size(array: np.ndarray) -> float:
    """The root mean square, between SMALLEST and 1; 1 for zeros."""
    return float(np.clip(np.sqrt(np.mean(np.square(array))), SMALLEST, 1)) if array.any() else 1.0


def _single(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float32) if np.issubdtype(array.dtype, np.floating) else array
