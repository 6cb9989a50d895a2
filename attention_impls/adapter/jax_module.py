"""A flax.nnx.Module of (q, k, v, mask) as a pure function of its parameters."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array

from attention_impls.adapter import construct
from attention_impls.base import Arrays, Dims, Layer

_Flat = dict[tuple[Any, ...], Any]


def arrays(module_class: type[nnx.Module], options: Any, dims: Dims, seed: int) -> tuple[Arrays, Arrays]:
    """Parameters and other variables, keys of random numbers left out, as the module draws them under this seed."""
    _, params, _, others = _split(module_class, options, dims, seed)
    return _named(params), _named(others)


@functools.cache
def attend_with(module_class: type[nnx.Module]) -> Callable[..., Array]:
    """The `attend` that calls the module with the arrays it is given."""

    def attend(q: Array, k: Array, v: Array, layer: Layer[Any]) -> Array:
        graph, learned, keys, others = _skeleton(module_class, layer.options, layer.dims)
        own = nnx.from_flat_state({path: layer.params[_name(path)] for path in learned})
        rest = {path: _as_drawn(layer.constants[_name(path)], drawn) for path, drawn in others.items()}
        module = nnx.merge(graph, own, keys, nnx.from_flat_state(rest))
        return module(q, k, v, layer.real)

    attend.__module__ = module_class.__module__  # which errors name
    return attend


def _as_drawn(given: Array, drawn: Array) -> Array:
    """Tables of whole numbers are stored as floats and used as what they were."""
    return given if jnp.issubdtype(drawn.dtype, jnp.floating) else given.astype(drawn.dtype)


@functools.cache
def _skeleton(module_class: type[nnx.Module], options: Any, dims: Dims) -> tuple[nnx.GraphDef, _Flat, Any, _Flat]:
    """A module's structure; of its numbers only the keys of random numbers are ever used."""
    return _split(module_class, options, dims, 0)


def _split(
    module_class: type[nnx.Module], options: Any, dims: Dims, seed: int
) -> tuple[nnx.GraphDef, _Flat, Any, _Flat]:
    with jax.ensure_compile_time_eval():  # the first call of all may come from inside a jit
        module = construct(module_class, dims=dims, options=options, rngs=nnx.Rngs(seed))
        module.eval()
    graph, params, keys, others = nnx.split(module, nnx.Param, nnx.RngState, ...)
    return graph, _flat(params), keys, _flat(others)


def _flat(state: Any) -> _Flat:
    return {path: variable[...] for path, variable in nnx.to_flat_state(state)}


def _named(flat: _Flat) -> Arrays:
    return {_name(path): np.asarray(array, np.float64) for path, array in flat.items()}


def _name(path: tuple[Any, ...]) -> str:
    return ".".join(str(part) for part in path)
