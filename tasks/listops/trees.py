"""Random ListOps expressions, compiled: the published recursive sampler with rejection on length.

A node above the depth limit is an operator with probability 1/4 and a digit otherwise; at the limit it is a digit.
Operators, digits and the number of arguments (2 to the greatest allowed) are uniform. A tree is kept if its length
lies strictly between the two bounds. Source: the generator described by Nangia and Bowman 2018 and used with depth
10 and ten arguments by Tay et al. 2020. Trees that outgrow the upper bound are given up on the way; that changes
the time spent on them and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np

import tasks.compiled  # noqa: F401 - decides where compiled code is kept
from tasks.listops.grammar import CLOSE, DIGIT, MAX, MED, MIN

OPERATOR_PROBABILITY = 0.25
PATIENCE = 10_000  # trees tried for every one asked for; bounds that fewer than one in so many meets are refused


@dataclass(frozen=True, kw_only=True)
class Trees:
    """Expressions end to end: their tokens (uint8), lengths (int64) and values (uint8)."""

    tokens: np.ndarray
    lengths: np.ndarray
    values: np.ndarray


def sample(
    rng: np.random.Generator, count: int, *, min_length: int, max_length: int, max_depth: int, max_args: int
) -> Trees:
    """Draw `count` expressions of more than `min_length` and fewer than `max_length` tokens.

    Fewer come back where the bounds are met by less than one tree in PATIENCE. Releases the interpreter lock.
    """
    tokens, lengths, values = _fill(rng, count, min_length, max_length, max_depth, max_args)
    return Trees(tokens=tokens, lengths=lengths, values=values)


@numba.njit(cache=True, nogil=True)
def _fill(rng, count, min_length, max_length, max_depth, max_args):  # noqa: ANN001, ANN202
    tokens = np.empty(count * (max_length - 1), np.uint8)
    lengths = np.empty(count, np.int64)
    values = np.empty(count, np.uint8)
    pending = np.empty(max_depth, np.int64)
    stack = np.empty((3, max_length), np.int64)
    kept = written = 0
    for _ in range(count * PATIENCE):
        end = _grow(rng, tokens[written : written + max_length - 1], max_depth, max_args, pending)
        if end > min_length:
            lengths[kept] = end
            values[kept] = _evaluate(tokens[written : written + end], stack)
            written += end
            kept += 1
            if kept == count:
                break
    return tokens[:written].copy(), lengths[:kept], values[:kept]


@numba.njit(cache=True, nogil=True)
def _grow(rng, tokens, max_depth, max_args, pending):  # noqa: ANN001, ANN202
    """Write one tree from the left. Return its length, or -1 if it does not fit into `tokens`.

    `pending[depth]` counts the arguments that the open list at that depth still waits for; the root has depth 1.
    """
    end = 0
    depth = 1
    while end < len(tokens):
        if depth < max_depth and rng.random() < OPERATOR_PROBABILITY:
            tokens[end] = MIN + int(4 * rng.random())
            pending[depth] = 2 + int((max_args - 1) * rng.random())
            end += 1
            depth += 1
            continue
        tokens[end] = DIGIT + int(10 * rng.random())
        end += 1
        while depth > 1:
            pending[depth - 1] -= 1
            if pending[depth - 1] > 0:
                break
            if end == len(tokens):
                return -1
            tokens[end] = CLOSE
            end += 1
            depth -= 1
        if depth == 1:
            return end
    return -1


@numba.njit(cache=True, nogil=True)
def _evaluate(tokens, stack):  # noqa: ANN001, ANN202
    """The value of a complete expression; `stack` (3, at least len(tokens)) is scratch memory."""
    values, operators, starts = stack
    top = opened = 0
    for token in tokens:
        if token == CLOSE:
            opened -= 1
            start = starts[opened]
            values[start] = _apply(operators[opened], values[start:top])
            top = start + 1
        elif token >= MIN:
            operators[opened], starts[opened] = token, top
            opened += 1
        else:
            values[top] = token - DIGIT
            top += 1
    return values[0]


@numba.njit(cache=True, nogil=True)
def _apply(operator, arguments):  # noqa: ANN001, ANN202
    if operator == MIN:
        return arguments.min()
    if operator == MAX:
        return arguments.max()
    if operator == MED:
        arguments.sort()
        return (arguments[(len(arguments) - 1) // 2] + arguments[len(arguments) // 2]) // 2
    return arguments.sum() % 10
