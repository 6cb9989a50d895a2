"""Mechanisms from outside that are ordinary modules: `class Attention`, a torch.nn.Module or a flax.nnx.Module.

Its call takes (q, k, v, mask) and returns out: q, k, v and out (B, N, H, D); mask (B, N), True where a token is real,
or None where all are. Its constructor may name `dims` (attention_impls.base.Dims), `options` (those of a card, if there
is one) and in JAX `rngs`. Its parameters are learned, its buffers and other variables are constants; both are drawn by
the module itself from a seed of the run. It is called as in evaluation, so that its own dropout is off.
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
    """The card of a folder that brings none; whatever takes a cost from it gets an error."""

    def unknown(options: Any, dims: Dims, length: int) -> int:
        raise ValueError(f"{title} has no card that states its cost: write one into its __init__.py")

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
    """The card with the arrays of the module that one framework has; another framework's may have others."""
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
    """An instance, given what its constructor names; AttentionError where it wants something else."""
    _, *own = inspect.signature(module_class.__init__).parameters.values()  # without self
    named = {each.name for each in own}
    needed = (each for each in own if each.default is each.empty and each.kind is not each.VAR_POSITIONAL)
    strange = [each.name for each in needed if each.kind is not each.VAR_KEYWORD and each.name not in offered]
    if strange:
        raise AttentionError(
            f"class Attention of {module_class.__module__} wants {', '.join(strange)}: its constructor is given "
            f"{', '.join(offered)}, or those of them that it names"
        )
    return module_class(**{name: value for name, value in offered.items() if name in named})


def _seed(rng: np.random.Generator) -> int:
    return int(rng.integers(2**31))
