"""GELU and a gated linear unit in PyTorch. Axis letters: attention_impls/base.py."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from attention_impls.base import Layer
from attention_impls.ops.gated import BIAS, WEIGHT
from attention_impls.ops.torch_ops import Tokens


def gated(y: Float[Tensor, "B N C"], layer: Layer[Any]) -> Tokens:
    """GELU(y), the layer's dropout, and where `options.glu` is on a·σ(b) with (a, b) = W y + c; C as heads."""
    y = F.gelu(y)
    y = y if layer.drop is None else layer.drop(y)
    if layer.options.glu:
        y = F.glu(y @ layer.params[WEIGHT] + layer.params[BIAS])
    return y.unflatten(2, (layer.dims.heads, layer.dims.head_dim))
