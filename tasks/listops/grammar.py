"""The language of ListOps: its fifteen tokens, their spelling, and the value of an expression.

An expression is a digit, or an operator, its arguments and a closing bracket: `[MAX 4 [MIN 2 3 ] 0 ]` is 4. The
round parentheses of the released files carry no information (they spell the binary tree behind the list) and are
not tokens. Source: Nangia and Bowman 2018 (arXiv 1804.06028), with the operators and the modulus of Tay et al. 2020
(arXiv 2011.04006).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from statistics import median

import numpy as np

DIGIT = 1  # digit d is token DIGIT + d; 0 pads a batch and is no token of the language
MIN, MAX, MED, SM = 11, 12, 13, 14
CLOSE = 15
VOCAB = 16

WORDS = ("", *"0123456789", "[MIN", "[MAX", "[MED", "[SM", "]")
_TOKENS = {word.encode(): token for token, word in enumerate(WORDS) if word}
_APPLY: dict[int, Callable[[Sequence[int]], int]] = {
    MIN: min,
    MAX: max,
    MED: lambda values: int(median(values)),
    SM: lambda values: sum(values) % 10,
}


def encode(text: bytes) -> bytes:
    """The tokens of a written expression, one byte each. ValueError for an unknown word."""
    try:
        return bytes(map(_TOKENS.__getitem__, text.translate(None, b"()").split()))
    except KeyError as unknown:
        word = unknown.args[0].decode("utf-8", "replace")
        raise ValueError(f"unknown token {word!r}") from None


def decode(tokens: Iterable[int]) -> str:
    """The expression as text, with single spaces between words."""
    return " ".join(WORDS[token] for token in tokens)


def evaluate(tokens: Iterable[int]) -> int:
    """The value of an expression, by a stack of open lists.

    MED rounds a median of .5 down; SM is the sum modulo 10.

    Raises:
        ValueError: The tokens are not a single, complete expression.
    """
    operators: list[int] = []
    values: list[list[int]] = [[]]  # values[0] takes the result, values[i] the arguments of operators[i - 1]
    for token in tokens:
        if MIN <= token <= SM:
            operators.append(token)
            values.append([])
        elif DIGIT <= token < DIGIT + 10:
            values[-1].append(token - DIGIT)
        elif token != CLOSE:
            raise ValueError(f"token {token} is not in the language")
        elif operators and values[-1]:
            arguments = values.pop()
            values[-1].append(_APPLY[operators.pop()](arguments))
        else:
            raise ValueError("a ] closes " + ("an empty list" if operators else "nothing"))
    if operators:
        raise ValueError("a list is never closed")
    if len(values[0]) != 1:
        raise ValueError(f"{len(values[0])} expressions where one was expected")
    return values[0][0]


def depth(tokens: np.ndarray) -> int:
    """The number of operators around the innermost argument; 0 for a digit."""
    opened = (tokens >= MIN) & (tokens < CLOSE)
    return int(np.cumsum(opened.astype(np.int64) - (tokens == CLOSE)).max(initial=0))
