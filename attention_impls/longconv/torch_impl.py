"""Long convolution in PyTorch."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from attention_impls.base import Layer
from attention_impls.longconv import KERNEL, Options
from attention_impls.ops.fourier_torch import two_sided_conv
from attention_impls.ops.gated import SKIP
from attention_impls.ops.gated_torch import gated
from attention_impls.ops.torch_ops import Tokens


def attend(x: Float[Tensor, "B N C"], layer: Layer[Options]) -> Tokens:
    kernel = layer.params[KERNEL][..., : x.shape[1]].to(torch.promote_types(x.dtype, torch.float32))
    most = layer.options.threshold
    after, before = kernel - kernel.clamp(-most, most)  # eq. (squash)
    y = two_sided_conv(x, after, before) + layer.params[SKIP] * x  # eq. (conv)
    return gated(y, layer)  # eq. (output)
