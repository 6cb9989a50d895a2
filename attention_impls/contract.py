"""The contract of `attend`, kept in one place: what every call checks, zeroes and chooses before and after it."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from typing import Any

from attention_impls.base import Attention, AttentionError, Dims, Layer

Attend = Callable[..., Any]


def with_contract(attend: Attend, card: Attention, backend: str) -> Attend:
    """The `attend` of one framework as its callers see it; the same object for the same arguments.

        attend(*inputs, lengths, params, constants, options, dims, index=0, depth=1, carry=None, residual=None,
               drop=None)

    It returns what the mechanism returns. Inputs and result are zero at padded tokens, and no gradient comes from
    there, so that padding may hold anything, infinities and NaN included. ValueError for a sequence that is longer than
    dims.max_length; AttentionError for a result of another shape, and for a layer that misses what is handed on.
    """
    parts = 1 + card.penalty + card.carries
    return _with_contract(attend, backend, card.kernel, parts, bool(card.starts))


@functools.cache
def _with_contract(attend: Attend, backend: str, kernel: Callable[..., str] | None, parts: int, starts: bool) -> Attend:
    _require_signature(attend)
    ops = import_module(f"attention_impls.ops.{backend}_ops")

    @functools.wraps(attend)
    def call(*inputs: Any, lengths: Any, options: Any, dims: Dims, **given: Any) -> Any:
        tokens = inputs[0].shape[1]
        check_length(tokens, dims)
        if starts and given.get("index", 0) > 0 and given.get("carry") is None:
            raise AttentionError(f"layer {given['index']} is given no carry: give it what the layer below handed on")
        real = None if lengths is None else ops.real_tokens(lengths, tokens)
        chosen = ""
        if kernel is not None:  # that for as many tokens as there are
            device, dtype = ops.device_and_dtype(inputs[0])
            here, ragged = replace(dims, max_length=tokens), real is not None
            chosen = kernel(options, here, backend=backend, device=device, dtype=dtype, ragged=ragged)
        layer = Layer(lengths=lengths, real=real, options=options, dims=dims, kernel=chosen, **given)
        if layer.residual is not None:
            layer = replace(layer, residual=ops.zero_padding(layer.residual, real))
        found = attend(*(ops.zero_padding(x, real) for x in inputs), layer=layer)
        out, *more = _parts(found, parts, attend)
        _check_shape(out, (len(inputs[0]), tokens, dims.heads, dims.head_dim), attend)
        out = ops.zero_padding(out, real)
        return (out, *more) if more else out

    return call


def check_length(tokens: int, dims: Dims) -> None:
    """Raise ValueError where a sequence is longer than the parameters were made for."""
    if tokens > dims.max_length:
        raise ValueError(f"{tokens} tokens given, at most {dims.max_length} expected: raise max_length or cut them")


def _require_signature(attend: Attend) -> None:
    """AttentionError, with what to change, for an `attend` that takes no `layer`."""
    named = inspect.signature(attend).parameters
    if "layer" not in named:
        raise AttentionError(
            f"{_file(attend)}: attend takes {', '.join(named)}: define attend(q, k, v, layer) and read "
            "layer.lengths, layer.params, layer.constants, layer.options and layer.dims"
        )


def _parts(found: Any, count: int, attend: Attend) -> tuple[Any, ...]:
    """What was returned, as a tuple; AttentionError where the card announces more than that."""
    if count == 1:
        return (found,)
    if not isinstance(found, tuple) or len(found) != count:
        shown = f"a tuple of {len(found)}" if isinstance(found, tuple) else type(found).__name__
        raise AttentionError(f"{_file(attend)} returned {shown}, its card announces {count} parts (penalty, carries)")
    return found


def _check_shape(out: Any, expected: tuple[int, ...], attend: Attend) -> None:
    found = getattr(out, "shape", None)
    if found is None or tuple(found) != expected:
        shown = type(out).__name__ if found is None else tuple(found)
        raise AttentionError(f"{_file(attend)} returned {shown}, expected shape (B, N, H, D) = {expected}")


def _file(attend: Attend) -> str:
    """Where the user finds it."""
    return getattr(sys.modules.get(attend.__module__), "__file__", None) or attend.__module__
