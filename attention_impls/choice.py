"""The choice of a layer from user input: a mechanism, its options and its sizes. Errors have one line."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import dacite
import numpy as np

import attention_impls
from attention_impls import Mechanism
from attention_impls.base import Arrays, Attention, AttentionError, Dims, nearest
from attention_impls.ranges import problems_in, shown
from attention_impls.spec import is_folder, parse_one

LONGEST = 65_536
"""The longest sequence that any option supports."""


@dataclass(frozen=True)
class Choice:
    """A mechanism with checked options and sizes, in one framework."""

    mechanism: Mechanism
    options: Any
    dims: Dims
    backend: str
    inputs: tuple[str, ...] = field(init=False, compare=False)
    """The inputs that the mechanism takes, of x, q, k and v, in its order."""
    attend: Callable[..., Any] = field(init=False, compare=False)
    """The mechanism's `attend`, with the checks of contract.py."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "inputs", self.card.inputs_of(self.options))
        object.__setattr__(self, "attend", self.mechanism.attend(self.backend))

    @property
    def card(self) -> Attention:
        """The mechanism's card."""
        return self.mechanism.card

    def arrays(self, seed: Any, index: int = 0) -> tuple[Arrays, Arrays]:
        """The learned arrays and the constants of a layer, by name, from this seed, in float64."""
        rng = np.random.default_rng(seed)
        learned = self.card.learned(self.options, self.dims, rng, index)
        return learned, self.card.constants(self.options, self.dims, rng)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shapes of all arrays, by name."""
        return {name: array.shape for arrays in self.arrays(0) for name, array in arrays.items()}

    def __str__(self) -> str:
        shown = asdict(self.dims) | asdict(self.options)
        return ", ".join([repr(self.mechanism.name), *(f"{name}={value!r}" for name, value in shown.items())])

    def __reduce__(self) -> tuple[Callable[..., Choice], tuple[Any, ...]]:
        """Copies and pickles hold no code. Options are plain values, since their class may be in a folder."""
        return _again, (self.mechanism, asdict(self.options), self.dims, self.backend)


def _again(mechanism: Mechanism, options: dict[str, Any], dims: Dims, backend: str) -> Choice:
    """The inverse of `Choice.__reduce__`."""
    return Choice(mechanism, mechanism.card.options(**options), dims, backend)


def choose(mechanism: str | Mechanism, backend: str, options: Mapping[str, Any], **sizes: Any) -> Choice:
    """Check a mechanism with its options and sizes.

    Args:
        mechanism: A name, elfatt@block_size=64, the path of a folder with a slash, or a Mechanism.
        backend: "torch" or "jax".
        options: Changes to the options of the card.
        **sizes: The fields of Dims. A width of None is heads × head_dim. A max_length of None is the number of the
            grid's pixels, or LONGEST if no array of the mechanism has that size.

    Raises:
        AttentionError: Something is impossible.
    """
    found, named = find(mechanism)
    title = found.name
    if backend not in found.backends:
        raise AttentionError(f"{title} is not written in {backend}: choose {' or '.join(found.backends)}")
    if twice := sorted(named.keys() & options.keys()):
        raise AttentionError(f"{title}: option {twice[0]} is in the text and an argument too: keep one")
    found = found.on(backend)
    chosen = options_of(found, {**named, **options})
    if sizes["max_length"] is None:
        sizes["max_length"] = _longest(found, chosen, backend, sizes)
    dims = _dims(title, **sizes)
    try:
        found.card.check(chosen, dims)
    except ValueError as error:
        raise AttentionError(f"{title}: {error}") from error
    return Choice(found, chosen, dims, backend)


def require_no_carry(mechanism: Mechanism) -> None:
    """Raise AttentionError for a mechanism whose layers pass a carry, which layers of other models do not."""
    if mechanism.card.carries:
        raise AttentionError(
            f"{mechanism.name} passes a carry from layer to layer, which these layers do not: use Attention, and give "
            "each layer the carry of the one below"
        )


def options_of(mechanism: Mechanism, values: Mapping[str, Any]) -> Any:
    """The card's options with these changes. AttentionError for an unknown option or a value out of range."""
    kind = mechanism.card.options
    known = [each.name for each in fields(kind)]
    for name in values:
        if name not in known:
            has = f"{nearest(name, known)}available: {', '.join(known)}" if known else "it has none"
            raise AttentionError(f"{mechanism.name}: unknown option {name!r}: {has}")
    if wrong := problems_in(values, kind):
        raise AttentionError(f"{mechanism.name}: {wrong[0]}")
    return dacite.from_dict(kind, dict(values), dacite.Config(cast=[tuple, float]))


def find(mechanism: str | Mechanism) -> tuple[Mechanism, dict[str, Any]]:
    """The mechanism and the options in its spelling. AttentionError if there is no such mechanism."""
    if isinstance(mechanism, Mechanism):
        return mechanism, {}
    if not isinstance(mechanism, str):
        raise AttentionError(f"mechanism is {shown(mechanism)}, expected a name such as 'elfatt@block_size=64'")
    if is_folder(mechanism):
        return attention_impls.load(mechanism), {}
    name, options = parse_one(mechanism)
    return attention_impls.load(name), options


def _longest(mechanism: Mechanism, options: Any, backend: str, sizes: Mapping[str, Any]) -> int:
    """The default of max_length. AttentionError if arrays of the mechanism depend on it."""
    if sizes["grid"] is not None:
        return math.prod(sizes["grid"])
    short, long = (
        Choice(mechanism, options, _dims(mechanism.name, **{**sizes, "max_length": tokens}), backend).arrays(0)
        for tokens in (64, 128)
    )
    if not all(_equal(*pair) for pair in zip(short, long, strict=True)):
        raise AttentionError(f"{mechanism.name} has arrays for max_length tokens: give max_length")
    return LONGEST


def _equal(first: Arrays, second: Arrays) -> bool:
    """Whether arrays have the same names, shapes and numbers."""
    return first.keys() == second.keys() and all(np.array_equal(array, second[name]) for name, array in first.items())


def _dims(title: str, *, width: Any = None, **sizes: Any) -> Dims:
    wrong = problems_in(sizes | ({} if width is None else {"width": width}), Dims)
    if wrong:
        raise AttentionError(f"{title}: {wrong[0]}")
    if sizes["grid"] is not None:
        sizes["grid"] = tuple(sizes["grid"])
    return Dims(**sizes, width=sizes["heads"] * sizes["head_dim"] if width is None else width)
