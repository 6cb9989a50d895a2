"""Mechanisms from outside that are plain modules: `class Attention`, a torch.nn.Module or a flax.nnx.Module.

A call takes (q, k, v, mask) and returns out. All but the mask are (B, N, H, D). The mask is (B, N), True where a token
is real, or None if all are. The constructor may have the arguments `dims` (attention_impls.base.Dims), `options` (of
the card, if there is one) and, in JAX, `rngs`. Parameters are learned; buffers and other variables are constants. The
module draws both itself, from a seed of the run. It is called in evaluation mode, so its own dropout is off.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

import numpy as np

from attention_impls.base import Arrays, Attention, AttentionError, Dims


@dataclass(frozen=True, kw_only=True)
class Options:
    """A mechanism without a card has no options."""


def default_card(title: str) -> Attention:
    """The default card of a folder without one. It states no costs, so using them raises an error."""

    def unknown(options: Any, dims: Dims, length: int) -> int:
        raise ValueError(f"{title} has no card, so its cost is unknown: write a card into its __init__.py")

    return Attention(
        title=title,
        year=0,
        paper="no paper: a module from outside",
        cost="?",
        operations=unknown,
        memory=unknown,
        options=Options,
        variants=(Options(),),
    )


def adapt_card(card: Attention, backend: str, module_class: type) -> Attention:
    """The card with the arrays of one framework's module. Another framework's module may have other arrays."""
    framework = import_module(f"{__name__}.{backend}_module")

    def params(options: Any, dims: Dims, rng: np.random.Generator) -> Arrays:
        return framework.arrays(module_class, options, dims, _seed(rng))[0]

    def constants(options: Any, dims: Dims, rng: np.random.Generator) -> Arrays:
        return framework.arrays(module_class, options, dims, _seed(rng))[1]

    return replace(card, inputs=("q", "k", "v"), params=params, constants=constants)


def adapt(backend: str, module_class: type) -> Callable[..., Any]:
    """The `attend` that calls the module."""
    return import_module(f"{__name__}.{backend}_module").attend_with(module_class)


def construct(module_class: type, **offered: Any) -> Any:
    """An instance of the module. AttentionError if its constructor needs other arguments."""
    _, *own = inspect.signature(module_class.__init__).parameters.values()  # without self
    named = {each.name for each in own}
    needed = (each for each in own if each.default is each.empty and each.kind is not each.VAR_POSITIONAL)
    strange = [each.name for each in needed if each.kind is not each.VAR_KEYWORD and each.name not in offered]
    if strange:
        raise AttentionError(
            f"class Attention of {module_class.__module__} needs {', '.join(strange)}: its constructor gets only "
            f"{', '.join(offered)}"
        )
    return module_class(**{name: value for name, value in offered.items() if name in named})


def _seed(rng: np.random.Generator) -> int:
    return int(rng.integers(2**31))
