"""FNet in PyTorch."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from attention_impls.base import Layer
from attention_impls.fnet import Options
from attention_impls.ops.fourier_torch import ragged_dft
from attention_impls.ops.torch_ops import Tokens


def attend(x: Float[Tensor, "B N C"], layer: Layer[Options]) -> Tokens:
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    mixed = torch.fft.fft(torch.complex(wide, torch.zeros_like(wide)), dim=2)
    out = ragged_dft(mixed, layer.lengths).real  # eq. (output)
    return out.to(x.dtype).unflatten(2, (layer.dims.heads, layer.dims.head_dim))
