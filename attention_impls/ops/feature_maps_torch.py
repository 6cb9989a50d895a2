"""What mechanisms with a feature map φ share in PyTorch: similarity φ(q)·φ(k), so that no N × N array is needed.

On a CPU their time goes into passes over memory, and a pass over arrays of two layouts costs several of one. So both
directions of these pieces, results and gradients, keep the tokens of a head together, feature after feature.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from attention_impls.ops.products_torch import over_tokens, over_tokens_and_sums
from attention_impls.ops.torch_ops import Real, Tokens, swapped


def heads_first(x: Tokens) -> Float[Tensor, "B H N D"]:
    """(B, H, N, D), in float32 at least: features are exponentials, powers and quotients."""
    return swapped(x).to(torch.promote_types(x.dtype, torch.float32))


def tokens_first(x: Float[Tensor, "B H N D"], dtype: torch.dtype) -> Tokens:
    """Back to (B, N, H, D) in that dtype."""
    return swapped(x.to(dtype))


def factored_attention(
    queries: Float[Tensor, "B H N F"], keys: Float[Tensor, "B H N F"], v: Float[Tensor, "B H N D"], real: Real | None
) -> tuple[Float[Tensor, "B H N D"], Float[Tensor, "B H N 1"]]:
    """Σ_j s_ij v_j and Σ_j s_ij over real tokens j, for s_ij = queries_i · keys_j. Keys may be anything at padding."""
    context = over_tokens_and_sums(keys, v) if real is None else over_tokens(keys, with_ones(v, real))
    out, total = (queries @ context).split([v.shape[-1], 1], -1)  # one product is faster than two
    return out, total


def with_ones(v: Float[Tensor, "B H N D"], real: Real | None) -> Float[Tensor, "B H N more"]:
    """[v, 1], where there is no token [0, 0]: multiplied by that, whatever stands at padding counts in no sum."""
    ones = torch.ones_like(v[..., :1]) if real is None else real[:, None, :, None].expand(*v.shape[:3], 1).to(v.dtype)
    return torch.cat([v, ones], -1)
