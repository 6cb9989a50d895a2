"""The contract of `attend`, kept in one place: what every call checks, zeroes and chooses before and after it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from typing import Any

from attention_impls.base import Attention, AttentionError, Dims, Layer

Attend = Callable[..., Any]


def kept(attend: Attend, card: Attention, backend: str) -> Attend:
    """The `attend` of one framework as its callers see it; the same object for the same arguments.

        attend(*inputs, lengths, params, constants, options, dims, index=0, depth=1, carry=None, residual=None,
               drop=None)

    It returns what the mechanism returns. Inputs and result are zero at padded tokens, and no gradient comes from
    there, so that padding may hold anything, infinities and NaN included. ValueError for a sequence that is longer than
    dims.max_length; AttentionError for a result of another shape.
    """
    return _kept(attend, backend, card.kernel, card.penalty or card.carries)


@functools.cache
def _kept(attend: Attend, backend: str, kernel: Callable[..., str] | None, several: bool) -> Attend:
    _require_signature(attend)
    ops = import_module(f"attention_impls.ops.{backend}_ops")

    @functools.wraps(attend)
    def call(*inputs: Any, lengths: Any, options: Any, dims: Dims, **given: Any) -> Any:
        tokens = inputs[0].shape[1]
        check_length(tokens, dims)
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
        out, *more = found if several else (found,)
        _check_shape(out, (len(inputs[0]), tokens, dims.heads, dims.head_dim), attend)
        out = ops.zero_padding(out, real)
        return (out, *more) if several else out

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
            f"attend of {attend.__module__} takes {', '.join(named)}: define attend(q, k, v, layer) and read "
            "layer.lengths, layer.params, layer.constants, layer.options and layer.dims"
        )


def _check_shape(out: Any, expected: tuple[int, ...], attend: Attend) -> None:
    found = getattr(out, "shape", None)
    if found is None or tuple(found) != expected:
        shown = type(out).__name__ if found is None else tuple(found)
        raise AttentionError(f"{attend.__module__} returned {shown}, expected shape (B, N, H, D) = {expected}")
