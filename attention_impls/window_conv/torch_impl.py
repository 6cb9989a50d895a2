"""Window convolution in PyTorch."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from attention_impls.base import Layer
from attention_impls.ops.gated_torch import gated
from attention_impls.ops.token_conv import FILTER
from attention_impls.ops.token_conv_torch import token_conv
from attention_impls.ops.torch_ops import Tokens
from attention_impls.window_conv import BIAS, BLOCK, Options


def attend(x: Float[Tensor, "B N C"], layer: Layer[Options]) -> Tokens:
    y = token_conv(x[..., None], layer.params[FILTER], BLOCK).squeeze(3) + layer.params[BIAS]  # eq. (conv)
    return gated(y, layer)  # eq. (output)
