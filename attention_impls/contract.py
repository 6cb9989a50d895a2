"""The contract of `attend`: the checks, the zeros at padding and the choice of a kernel, around every call."""

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
    """The `attend` of one framework for callers; the same object for the same arguments.

        attend(*inputs, lengths, params, constants, options, dims, index=0, depth=1, carry=None, residual=None,
               drop=None)

    It returns the mechanism's result. Inputs and result are zero at padded tokens, and no gradient comes from there. So
    padding may hold anything, even infinities and NaN. It raises ValueError for a sequence that is longer than
    dims.max_length, and AttentionError for a result of another shape or a missing carry.
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
            raise AttentionError(f"layer {given['index']} has no carry: give it the carry of the layer below")
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
    """Raise ValueError if a sequence is longer than the parameters allow."""
    if tokens > dims.max_length:
        raise ValueError(f"{tokens} tokens given, expected at most {dims.max_length}: raise max_length, or cut them")


def _require_signature(attend: Attend) -> None:
    """Raise AttentionError for an `attend` that takes no `layer`."""
    named = inspect.signature(attend).parameters
    if "layer" not in named:
        raise AttentionError(
            f"{_file(attend)}: attend takes {', '.join(named)}: define attend(q, k, v, layer) and read "
            "layer.lengths, layer.params, layer.constants, layer.options and layer.dims"
        )


def _parts(found: Any, count: int, attend: Attend) -> tuple[Any, ...]:
    """The results as a tuple. AttentionError if the card announces more of them."""
    if count == 1:
        return (found,)
    if not isinstance(found, tuple) or len(found) != count:
        shown = f"a tuple of {len(found)}" if isinstance(found, tuple) else type(found).__name__
        raise AttentionError(f"{_file(attend)} returned {shown}, but its card has {count} parts (penalty, carries)")
    return found


def _check_shape(out: Any, expected: tuple[int, ...], attend: Attend) -> None:
    found = getattr(out, "shape", None)
    if found is None or tuple(found) != expected:
        shown = type(out).__name__ if found is None else tuple(found)
        raise AttentionError(f"{_file(attend)} returned {shown}, expected shape (B, N, H, D) = {expected}")


def _file(attend: Attend) -> str:
    """The file of the function, for messages."""
    return getattr(sys.modules.get(attend.__module__), "__file__", None) or attend.__module__
