"""The mechanisms in the vision transformers of timm (the extra `timm`).

    model = timm.create_model("vit_small_patch16_224", pretrained=True)
    attention_impls.timm.replace(model, "elfatt@block_size=49")

timm itself is not imported: an attention is recognised by its parts.
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
"""The parts of timm's plain attention. A module with other parts, such as a rotary embedding, is another kind."""
TOLD = 3  # the most modules in one message
TAKEN = {"x", "attn_mask", "is_causal"}
"""The arguments of timm's plain attention."""


class Replaced(NamedTuple):
    """The names of a model's attention modules."""

    replaced: list[str]
    skipped: list[str]
    """Attentions of another kind, which are unchanged, each with its class."""


class MechanismAttention(nn.Module):
    """Timm's attention with another mechanism between its projections. It keeps timm's modules and names."""

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
        """Mix the tokens, as timm's attention does. AttentionError for a mask of pairs."""
        if attn_mask is not None or is_causal:
            raise AttentionError(f"attn_mask or is_causal is given: {self.attention.mechanism.name} supports neither")
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
    """Put a mechanism into every plain attention of a timm model.

    Projections and their weights stay. The mechanism's parameters become parameters of the model. Tokens are patches.
    Layouts of two dimensions work if the model has no class or register tokens. A warning names attentions of another
    kind (rotary embedding, windows, EVA), which are unchanged.

    Args:
        model: The model; it is changed in place.
        mechanism: A name, a name with options (elfatt@block_size=64), or the path of a folder with a slash.
        max_length: The most tokens. Default: the number of the model's tokens.
        **options: Options of the mechanism's card.

    Returns:
        The names of the changed and of the unchanged attention modules.

    Raises:
        AttentionError: The model has no plain attention, drops attention weights (attn_drop), or has class or register
            tokens with a layout of two dimensions. The model is then unchanged.
    """
    found, skipped = _attentions(model)
    if not found:
        others = f", only {_listed(skipped)}" if skipped else ""
        raise AttentionError(f"{type(model).__name__} has no plain attention of timm{others}: nothing was replaced")
    tokens, grid = _tokens(model)
    chosen, named = find(mechanism)
    require_no_carry(chosen)
    if grid is None and getattr(options_of(chosen, {**named, **options}), "layout", "1d") != "1d":
        raise AttentionError(f"layout is 2d, but {type(model).__name__} has class or register tokens: use 1d")
    layers = {}
    for name, module in found.items():
        if module.attn_drop.p:
            raise AttentionError(
                f"{name} drops attention weights (attn_drop={module.attn_drop.p}), expected 0: set attn_drop_rate=0"
            )
        sizes = {"heads": module.num_heads, "head_dim": module.head_dim, "width": module.qkv.in_features}
        like = {"device": module.qkv.weight.device, "dtype": module.qkv.weight.dtype}
        layers[name] = Attention(mechanism, **sizes, max_length=max_length or tokens, grid=grid, **like, **options)
    for name, module in found.items():
        parent, _, own = name.rpartition(".")
        setattr(model.get_submodule(parent), own, MechanismAttention(module, layers[name]))
    if skipped:
        warnings.warn(f"attentions of another kind are unchanged: {_listed(skipped)}", stacklevel=2)
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
    """Whether a module has exactly the parts of timm's plain attention, and the usual scale."""
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
    """The first TOLD names, and the number of the others."""
    more = f" and {len(names) - TOLD} more" if len(names) > TOLD else ""
    return ", ".join(names[:TOLD]) + more


def _is_inside(name: str, plain: dict[str, Any]) -> bool:
    return any(name.startswith(f"{each}.") for each in plain)


def _tokens(model: Any) -> tuple[int | None, tuple[int, int] | None]:
    """The model's number of tokens, and the grid of its patches if every token is a patch."""
    patches = getattr(model, "patch_embed", None)
    grid, prefix = getattr(patches, "grid_size", None), getattr(model, "num_prefix_tokens", None)
    if grid is None or prefix is None:
        return None, None
    rows, columns = grid
    return rows * columns + prefix, None if prefix else (rows, columns)
