"""The mechanisms in the vision transformers of timm (the extra `timm`).

    model = timm.create_model("vit_small_patch16_224", pretrained=True)
    attention_impls.timm.replace(model, "elfatt@block_size=49")

timm itself is not imported: an attention is known by what it consists of.
"""

from __future__ import annotations

import inspect
import math
import warnings
from typing import Any, NamedTuple

from jaxtyping import Float
from torch import Tensor, nn

from attention_impls import Mechanism
from attention_impls.base import AttentionError
from attention_impls.choice import find, options_of, require_no_carry
from attention_impls.torch import Attention

NEEDED = {"qkv", "q_norm", "k_norm", "attn_drop", "proj", "proj_drop"}
KNOWN = NEEDED | {"norm", "gate"}
"""The parts of timm's plain attention; one that has others, such as a rotary embedding, is another attention."""
TOLD = 3  # modules that a message names
TAKEN = {"x", "attn_mask", "is_causal"}
"""What the call of timm's plain attention takes."""


class Replaced(NamedTuple):
    """Names of a model's modules."""

    replaced: list[str]
    skipped: list[str]
    """Attentions of another kind, which are as they were, each with its class."""


class MechanismAttention(nn.Module):
    """timm's attention with another mechanism between its projections, whose modules and names it keeps."""

    def __init__(self, theirs: Any, attention: Attention) -> None:
        super().__init__()
        for name, module in theirs.named_children():
            self.add_module(name, module)
        self.num_heads, self.head_dim = theirs.num_heads, theirs.head_dim
        self.attention = attention
        self.train(theirs.training)

    def forward(
        self, x: Float[Tensor, "B N C"], attn_mask: Tensor | None = None, is_causal: bool = False
    ) -> Float[Tensor, "B N C2"]:
        """As timm's own; AttentionError for a mask of pairs."""
        if attn_mask is not None or is_causal:
            raise AttentionError(f"attn_mask or is_causal given, which {self.attention.mechanism.name} does not know")
        parts: Any = self
        q, k, v = parts.qkv(x).unflatten(-1, (3, self.num_heads, self.head_dim)).unbind(2)
        out = self.attention(parts.q_norm(q), parts.k_norm(k), v, x=x).flatten(-2)
        if (norm := self._modules.get("norm")) is not None:
            out = norm(out)
        if (gate := self._modules.get("gate")) is not None:
            out = out * gate(x).sigmoid()
        return parts.proj_drop(parts.proj(out))


def replace(
    model: nn.Module,
    mechanism: str | Mechanism,
    *,
    max_length: int | None = None,
    **options: Any,
) -> Replaced:
    """Put a mechanism into every plain attention of a timm model, and say which; projections and weights stay.

    The layer's own parameters are the model's. Tokens are pixels' patches: where the model has no class or register
    tokens before them, the grid is that of the patches, and layouts of two dimensions can be had. `max_length` is by
    default the model's tokens. A warning names attentions of another kind (rotary embedding, windows, EVA), which stay.

    AttentionError, in one line, and nothing replaced, for a model without a plain attention, for one that drops weights
    (attn_drop), and for a layout of two dimensions with class or register tokens.
    """
    found, skipped = _attentions(model)
    if not found:
        others = f", only {_listed(skipped)}" if skipped else ""
        raise AttentionError(f"{type(model).__name__} has no plain attention of timm{others}: nothing is replaced")
    tokens, grid = _tokens(model)
    chosen, named = find(mechanism)
    require_no_carry(chosen)
    if grid is None and getattr(options_of(chosen, {**named, **options}), "layout", "1d") != "1d":
        raise AttentionError(f"layout 2d given, but {type(model).__name__} has tokens that are no patches: take 1d")
    layers = {}
    for name, module in found.items():
        if module.attn_drop.p:
            raise AttentionError(
                f"{name} drops weights (attn_drop={module.attn_drop.p}), expected 0: no mechanism does"
            )
        sizes = {"heads": module.num_heads, "head_dim": module.head_dim, "width": module.qkv.in_features}
        like = {"device": module.qkv.weight.device, "dtype": module.qkv.weight.dtype}
        layers[name] = Attention(mechanism, **sizes, max_length=max_length or tokens, grid=grid, **like, **options)
    for name, module in found.items():
        parent, _, own = name.rpartition(".")
        setattr(model.get_submodule(parent), own, MechanismAttention(module, layers[name]))
    if skipped:
        warnings.warn(f"attentions of another kind are as they were: {_listed(skipped)}", stacklevel=2)
    return Replaced(list(found), skipped)


def _attentions(model: nn.Module) -> tuple[dict[str, Any], list[str]]:
    """The plain attentions by name, and the names and classes of others."""
    plain = {name: module for name, module in model.named_modules() if name and _is_plain(module)}
    others = [
        f"{name} ({type(module).__name__})"
        for name, module in model.named_modules()
        if name and name not in plain and _looks_like_one(module) and not _is_inside(name, plain)
    ]
    return plain, others


def _is_plain(module: Any) -> bool:
    """Whether it has the parts of timm's plain attention, no others, and the usual scale."""
    parts = set(module._modules)
    if not NEEDED <= parts <= KNOWN or module._parameters or module._buffers or not isinstance(module.qkv, nn.Linear):
        return False
    if not set(inspect.signature(module.forward).parameters) <= TAKEN:
        return False
    usual = math.isclose(getattr(module, "scale", 0.0), module.head_dim**-0.5)
    return usual and module.qkv.out_features == 3 * module.num_heads * module.head_dim


def _looks_like_one(module: nn.Module) -> bool:
    name = type(module).__name__.lower()
    return ("attention" in name or "attn" in name or "qkv" in module._modules) and not isinstance(
        module, MechanismAttention | Attention
    )


def _listed(names: list[str]) -> str:
    """The first few, and how many more."""
    more = f" and {len(names) - TOLD} more" if len(names) > TOLD else ""
    return ", ".join(names[:TOLD]) + more


def _is_inside(name: str, plain: dict[str, Any]) -> bool:
    return any(name.startswith(f"{each}.") for each in plain)


def _tokens(model: Any) -> tuple[int | None, tuple[int, int] | None]:
    """How many tokens the model was made for, and the grid of its patches where every token is one."""
    patches = getattr(model, "patch_embed", None)
    grid, prefix = getattr(patches, "grid_size", None), getattr(model, "num_prefix_tokens", None)
    if grid is None or prefix is None:
        return None, None
    rows, columns = grid
    return rows * columns + prefix, None if prefix else (rows, columns)
