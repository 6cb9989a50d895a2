"""A replacement of torch.nn.MultiheadAttention with any mechanism."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from attention_impls import Mechanism
from attention_impls.base import AttentionError
from attention_impls.choice import require_no_carry
from attention_impls.torch.layer import Attention

LETTERS = "qkv"  # in the order of in_proj_weight's thirds


class MultiheadAttention(nn.MultiheadAttention):
    """nn.MultiheadAttention with another mechanism between its projections, for bidirectional self-attention.

        layer = nn.TransformerEncoderLayer(512, 8, batch_first=True)
        layer.self_attn = MultiheadAttention(512, 8, mechanism="elfatt@block_size=128", batch_first=True)

    Projections have the names, shapes and initial values of nn.MultiheadAttention, so its weights load. Use
    strict=False if the mechanism has its own arrays, which are in `attention`. For mechanisms that take x, it is the
    query before its projection. Arguments that are not listed here are those of nn.MultiheadAttention.

    Args:
        mechanism: A name, a name with options (elfatt@block_size=64), or the path of a folder with a slash.
        max_length: The most tokens. Only mechanisms with arrays of that size need it.
        grid: (rows, columns) of the pixels that the tokens scan, for layouts of two dimensions.
        seed: The seed of the mechanism's arrays. Default: PyTorch's generator.
        **options: Options of the mechanism's card.

    Raises:
        AttentionError: Dropout of attention weights, add_bias_kv, add_zero_attn, or other widths of keys and values,
            which no mechanism here supports.
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        device: Any = None,
        dtype: Any = None,
        *,
        mechanism: str | Mechanism = "softmax",
        max_length: int | None = None,
        grid: tuple[int, int] | None = None,
        seed: int | None = None,
        **options: Any,
    ) -> None:
        if dropout:
            raise AttentionError(f"dropout is {dropout}, expected 0: mechanisms drop no weights; drop the output")
        if add_bias_kv or add_zero_attn:
            raise AttentionError("add_bias_kv or add_zero_attn is given, which no mechanism supports: leave it out")
        if (kdim or embed_dim) != embed_dim or (vdim or embed_dim) != embed_dim:
            raise AttentionError(f"kdim is {kdim}, vdim is {vdim}, expected embed_dim = {embed_dim}: leave them out")
        if num_heads < 1 or embed_dim % num_heads:
            raise AttentionError(f"embed_dim is {embed_dim}, expected a multiple of num_heads = {num_heads}")
        super().__init__(embed_dim, num_heads, bias=bias, batch_first=batch_first, device=device, dtype=dtype)
        # With False, nn.TransformerEncoderLayer does not use its fast path, which would compute softmax.
        self._qkv_same_embed_dim = False
        sizes = {"heads": num_heads, "head_dim": embed_dim // num_heads, "width": embed_dim}
        place = {"max_length": max_length, "grid": grid, "seed": seed, "device": device, "dtype": dtype}
        self.attention = Attention(mechanism, **sizes, **place, **options)
        require_no_carry(self.attention.mechanism)

    @property
    def penalty(self) -> Float[Tensor, " B"] | None:
        """The penalty (B,) of the last call, to add to the loss; None if the mechanism has none."""
        return self.attention.penalty

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = False,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, None]:
        """Mix the tokens. A nested tensor has its own lengths.

        Args:
            query: (B, N, E) with batch_first, else (N, B, E); or (N, E) without a batch.
            key: The same tensor as `query`.
            value: The same tensor as `query`.
            key_padding_mask: (B, N), True or -inf at padding. No token attends to padding; the output there is the
                bias of the last projection.
            need_weights: Must be False.
            attn_mask: Must be None.
            average_attn_weights: Has no effect.
            is_causal: Must be False.

        Returns:
            (out, None), with out in the shape of `query`.

        Raises:
            AttentionError: Weights, a mask of pairs, or causal or cross-attention are asked for.
        """
        self._refuse(query, key, value, need_weights, attn_mask, is_causal)
        if query.is_nested:
            return self._nested(query, key_padding_mask), None
        batched = query.ndim == 3
        x = query if batched else query[None]
        x = x if self.batch_first or not batched else x.transpose(0, 1)
        real = None
        if key_padding_mask is not None:
            mask = key_padding_mask if batched else key_padding_mask[None]
            real = _real(mask, (x.shape[0], x.shape[1]))
        out = self._attended(x, mask=real)
        if not batched:
            return out[0], None
        return (out if self.batch_first else out.transpose(0, 1)), None

    def _attended(self, x: Float[Tensor, "B N E"], **padding: Any) -> Float[Tensor, "B N E"]:
        """Project, attend and project back. Only the projections that the mechanism takes are computed."""
        wanted = [letter for letter in self.attention.inputs if letter in LETTERS]
        weights, biases = self.in_proj_weight.chunk(3), (None,) * 3
        if self.in_proj_bias is not None:
            biases = self.in_proj_bias.chunk(3)
        given: dict[str, Tensor] = {}
        for letter in wanted:
            at = LETTERS.index(letter)
            given[letter] = F.linear(x, weights[at], biases[at]).unflatten(-1, (self.num_heads, self.head_dim))
        return self.out_proj(self.attention(**given, x=x, **padding).flatten(-2))

    def _nested(self, query: Tensor, mask: Tensor | None) -> Tensor:
        """Mix a nested tensor, in which nn.TransformerEncoder passes a batch without its padding."""
        if mask is not None:
            raise AttentionError("key_padding_mask is given, but a nested tensor has its own lengths: leave it out")
        rows = query.unbind()
        lengths = torch.tensor([len(row) for row in rows], device=query.device)
        out = self._attended(torch.nested.to_padded_tensor(query, 0.0), lengths=lengths)
        return torch.nested.as_nested_tensor([each[: len(row)] for each, row in zip(out, rows, strict=True)])

    def _refuse(
        self, query: Tensor, key: Tensor, value: Tensor, weights: bool, pairs: Tensor | None, is_causal: bool
    ) -> None:
        """Raise AttentionError for features that no mechanism supports."""
        name = self.attention.mechanism.name
        if weights:
            raise AttentionError(f"need_weights is True, but {name} has no attention weights: give False")
        if pairs is not None:
            raise AttentionError(f"attn_mask is given, but {name} supports padding only: give key_padding_mask")
        if is_causal:
            raise AttentionError(f"is_causal is True, but {name} is bidirectional: give False")
        if key is not query or value is not query:
            raise AttentionError(f"key or value is not query, but {name} is self-attention: give the same tensor")
        if not query.is_nested and (query.ndim not in (2, 3) or query.shape[-1] != self.embed_dim):
            raise AttentionError(
                f"query has shape {tuple(query.shape)}, expected 2 or 3 axes, the last {self.embed_dim}"
            )


def _real(mask: Tensor, shape: tuple[int, int]) -> Bool[Tensor, "B N"]:
    """True where a token is real, from a mask that is True or -inf where none is."""
    if tuple(mask.shape) != shape:
        raise AttentionError(f"key_padding_mask has shape {tuple(mask.shape)}, expected (B, N) = {shape}")
    if mask.dtype == torch.bool:
        return ~mask
    if not mask.is_floating_point():
        raise AttentionError(f"key_padding_mask is {mask.dtype}, expected torch.bool, or 0 and -inf")
    said = "key_padding_mask is neither 0 nor -inf somewhere, expected padding only, no bias"
    real = mask == 0
    sound = (real | (mask == -torch.inf)).all()
    if torch.compiler.is_compiling():
        torch._assert_async(sound, said)  # pyright: ignore[reportPrivateImportUsage]
    elif not sound:
        raise AttentionError(said)
    return real
