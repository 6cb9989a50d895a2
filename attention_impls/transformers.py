"""The mechanisms in transformers (the extra `hf`), for bidirectional models such as BERT and ViT.

`register` makes mechanisms without parameters available by name, as sdpa is:

    import attention_impls.transformers as mechanisms
    mechanisms.register()
    model = BertModel.from_pretrained(path, attn_implementation="elfatt@local_conv=false")

`replace` puts any mechanism into an existing model. transformers does not save the name or place of such a layer. So
give the name again when loading, or call `replace` before loading weights with load_state_dict.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import fields
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

import attention_impls
from attention_impls import Mechanism
from attention_impls.base import AttentionError
from attention_impls.choice import Choice, choose, require_no_carry
from attention_impls.ranges import problems_in
from attention_impls.torch import Attention

try:  # by name, since to a checker of types this module is transformers
    library: Any = import_module("transformers")
    masks: Any = import_module("transformers.masking_utils")
    AttentionInterface, AttentionMaskInterface = library.AttentionInterface, library.AttentionMaskInterface
    both_ways = masks.bidirectional_mask_function
except (ImportError, AttributeError) as error:
    raise ImportError(f"transformers 5 is not installed ({error}): pip install 'transformers>=5'") from error

OWN = "lra_layer"
"""The name of the implementation for `replace`, and of the attribute in an attention module that has the layer."""


def register(*mechanisms: str) -> tuple[str, ...]:
    """Register mechanisms as attention implementations of transformers.

    Args:
        *mechanisms: Names with options. Default: every mechanism that can do without parameters, with the options for
            that; elfatt without its convolution is "elfatt@local_conv=false".

    Returns:
        The registered names, for `attn_implementation`.

    Raises:
        AttentionError: A mechanism has parameters, takes more than q, k and v, or needs max_length: use `replace`.
    """
    names = mechanisms or tuple(_without_parameters())
    for name in names:
        _require_function(_choice(name), name)
    for name in names:
        AttentionInterface.register(name, functools.partial(_attended, name))
        AttentionMaskInterface.register(name, _mask)
    return names


def replace(
    model: nn.Module,
    mechanism: str | Mechanism,
    *,
    max_length: int | None = None,
    grid: tuple[int, int] | None = None,
    **options: Any,
) -> list[str]:
    """Put a mechanism into every attention of a transformers model; its parameters become those of the model.

    Args:
        model: The model; it is changed in place.
        mechanism: A name, a name with options (elfatt@block_size=64), or the path of a folder with a slash.
        max_length: The most tokens. Only mechanisms with arrays of that size need it.
        grid: (rows, columns) of the pixels that the tokens scan, for layouts of two dimensions.
        **options: Options of the mechanism's card.

    Returns:
        The names of the changed modules. Their projections and weights stay.

    Raises:
        AttentionError: The mechanism takes x, or the model has causal, cross- or no attention; nothing is changed.
    """
    found = dict(_attentions(model))
    if not found or not hasattr(model, "set_attn_implementation"):
        raise AttentionError(f"{type(model).__name__} is not a model whose attention transformers can replace")
    layers = {}
    for name, module in found.items():
        if getattr(module, "is_causal", False) or "cross" in type(module).__name__.lower():
            raise AttentionError(f"{name} is causal or cross-attention, expected bidirectional self-attention")
        heads, head_dim = _sizes(module)
        like = next(module.parameters())
        sizes = {"heads": heads, "head_dim": head_dim, "max_length": max_length, "grid": grid}
        layers[name] = Attention(mechanism, **sizes, device=like.device, dtype=like.dtype, **options)
    require_no_carry(next(iter(layers.values())).mechanism)
    if "x" in (first := next(iter(layers.values()))).inputs:
        raise AttentionError(f"{first.mechanism.name} takes x, which transformers does not pass: choose another")
    AttentionInterface.register(OWN, _own)
    AttentionMaskInterface.register(OWN, _mask)
    for name, module in found.items():
        module.add_module(OWN, layers[name])
    model.set_attn_implementation(OWN)  # pyright: ignore[reportCallIssue]
    return list(found)


def _attentions(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The attention modules of the model: those with a scaling and a flag for causality."""
    for name, module in model.named_modules():
        if hasattr(module, "is_causal") and hasattr(module, "scaling") and hasattr(module, "config"):
            yield name, module


def _sizes(module: Any) -> tuple[int, int]:
    """The heads and head_dim of an attention module."""
    try:
        heads = module.config.num_attention_heads
        head_dim = getattr(module, "head_dim", None) or getattr(module, "attention_head_size", None)
        return heads, head_dim or module.config.hidden_size // heads
    except AttributeError as error:
        raise AttentionError(f"{type(module).__name__} does not say how many heads it has ({error})") from error


def _without_parameters() -> Iterator[str]:
    """The spelling of every mechanism that can do without parameters, with the options for that."""
    for name in attention_impls.names():
        if "flash" in name:  # transformers would use its own kernel for such a name; the mechanism is softmax
            continue
        kind = attention_impls.load(name).card.options
        off = [each for each in fields(kind) if _can_be_off(kind, each)]
        spellings = [f"{name}@{each.name}={'false' if each.default is True else 0}" for each in off]
        for spelling in (name, *spellings):
            try:
                _require_function(_choice(spelling), spelling)
            except AttentionError:
                continue
            yield spelling
            break


def _can_be_off(kind: type, option: Any) -> bool:
    """Whether an option is a switch that is on, or a size that may be 0."""
    return option.default is True or (type(option.default) is int and not problems_in({option.name: 0}, kind))


def _require_function(choice: Choice, name: str) -> None:
    """Raise AttentionError for a mechanism that needs more than q, k and v."""
    if "torch" not in choice.mechanism.backends or choice.arrays(0)[0]:
        raise AttentionError(f"{name} has parameters: take attention_impls.transformers.replace")
    if "x" in choice.inputs or choice.card.penalty or choice.card.carries or choice.card.residual:
        raise AttentionError(f"{name} needs more than q, k and v, but transformers passes nothing else: use replace")


def _choice(name: str) -> Choice:
    """The mechanism at arbitrary sizes."""
    return choose(name, "torch", {}, heads=2, head_dim=8, max_length=None, grid=None)


@functools.cache
def _function(name: str, heads: int, head_dim: int, device: torch.device) -> Attention:
    """A layer without parameters. Its constants are always those of seed 0."""
    return Attention(name, heads=heads, head_dim=head_dim, seed=0, device=device, dtype=torch.float32)


def _attended(name: str, module: nn.Module, query: Tensor, *given: Any, **settings: Any) -> tuple[Tensor, None]:
    """The function that transformers calls for a registered name."""
    layer = _function(name, query.shape[1], query.shape[3], query.device)
    return _called(layer, module, query, *given, **settings)


def _own(module: nn.Module, *given: Any, **settings: Any) -> tuple[Tensor, None]:
    """The function that transformers calls after `replace`."""
    layer = getattr(module, OWN, None)
    if layer is None:
        raise AttentionError(
            f"{type(module).__name__} has no layer of a mechanism: call replace(model, …) after creating the model"
        )
    return _called(layer, module, *given, **settings)


def _called(
    layer: Attention,
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None = None,
    *,
    dropout: float = 0.0,
    scaling: float | None = None,
    is_causal: bool | None = None,
    **settings: Any,
) -> tuple[Tensor, None]:
    """Mix q, k, v (B, H, N, D) with a mask (B, N), True where a token is real. Returns (out (B, N, H, D), None)."""
    name = layer.mechanism.name
    if getattr(module, "is_causal", False) if is_causal is None else is_causal:
        raise AttentionError(f"{type(module).__name__} is causal, but {name} is bidirectional: use sdpa there")
    if key.shape != query.shape or value.shape != query.shape:
        shapes = f"{tuple(query.shape)}, {tuple(key.shape)} and {tuple(value.shape)}"
        raise AttentionError(f"query, key and value are {shapes}, expected equal shapes: {name} is self-attention only")
    if dropout:
        raise AttentionError(
            f"dropout of weights is {dropout}, expected 0: set attention_probs_dropout_prob=0 in the config"
        )
    if attention_mask is not None and (attention_mask.ndim != 2 or attention_mask.is_floating_point()):
        kind = f"{attention_mask.dtype} of {attention_mask.ndim} axes"
        raise AttentionError(f"attention_mask is {kind}, expected torch.bool (B, N): {name} supports padding only")
    for setting in ("position_bias", "softcap", "sliding_window", "output_attentions"):
        if settings.get(setting) not in (None, False):
            raise AttentionError(f"{setting} is given, but {name} has no attention weights: leave it out")
    if scaling is not None:  # the mechanisms have 1/√D in them
        query = query if scaling == query.shape[-1] ** -0.5 else query * (scaling * query.shape[-1] ** 0.5)
    given = {letter: each.transpose(1, 2) for letter, each in zip("qkv", (query, key, value), strict=True)}
    return layer(**given, mask=None if attention_mask is None else attention_mask.bool()), None


def _mask(
    *,
    q_length: int,
    kv_length: int,
    mask_function: Any,
    attention_mask: Tensor | None = None,
    **settings: Any,
) -> Tensor | None:
    """The user's mask of padding (B, N). AttentionError for a model that needs another kind of mask."""
    if mask_function is not both_ways:
        raise AttentionError("this model needs a causal mask or another mask of pairs: use sdpa for it")
    if q_length != kv_length:
        raise AttentionError(f"{q_length} queries and {kv_length} keys given, expected equal numbers (self-attention)")
    return attention_mask
