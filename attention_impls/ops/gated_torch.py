"""GELU and a gated linear unit in PyTorch. Axis letters: attention_impls/base.py."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from attention_impls.base import Layer
from attention_impls.ops.gated import BIAS, WEIGHT, unit
from attention_impls.ops.torch_ops import Tokens


def gated(y: Float[Tensor, "B N C"], layer: Layer[Any]) -> Tokens:
    """g = GELU(y), the layer's dropout, and where `options.glu` is on a·σ(b) with (a, b) = W g + c; C as heads.

    Half a unit has b = W g + c alone, and g or y as a.
    """
    kind, g = unit(layer.options), F.gelu(y)
    g = g if layer.drop is None else layer.drop(g)
    if kind == "full":
        g = F.glu(g @ layer.params[WEIGHT] + layer.params[BIAS])
    elif kind != "none":
        g = (g if kind == "half1" else y) * (g @ layer.params[WEIGHT] + layer.params[BIAS]).sigmoid()
    return g.unflatten(2, (layer.dims.heads, layer.dims.head_dim))
