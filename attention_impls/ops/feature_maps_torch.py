"""What mechanisms with a feature map φ share in PyTorch: similarity φ(q)·φ(k), so that no N × N array is needed."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from attention_impls.ops.torch_ops import Tokens


def heads_first(x: Tokens) -> Float[Tensor, "B H N D"]:
    """(B, H, N, D), in float32 at least: features are exponentials, powers and quotients."""
    return x.transpose(1, 2).to(torch.promote_types(x.dtype, torch.float32))


def factored_attention(
    queries: Float[Tensor, "B H N F"], keys: Float[Tensor, "B H N F"], v: Float[Tensor, "B H N D"]
) -> tuple[Float[Tensor, "B H N D"], Float[Tensor, "B H N 1"]]:
    """Σ_j s_ij v_j and Σ_j s_ij for s_ij = queries_i · keys_j; keys are zero at padded tokens."""
    return queries @ (keys.mT @ v), queries @ keys.sum(2)[..., None]
