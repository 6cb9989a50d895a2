"""The LRU in PyTorch."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from attention_impls.base import Layer
from attention_impls.lru import DECAY, GAIN, PHASE, Options
from attention_impls.ops.diagonal import B_IMAG, B_REAL, C_IMAG, C_REAL
from attention_impls.ops.diagonal_torch import diagonal_recurrence
from attention_impls.ops.gated import SKIP
from attention_impls.ops.gated_torch import gated
from attention_impls.ops.torch_ops import Tokens


def attend(x: Float[Tensor, "B N C"], layer: Layer[Options]) -> Tokens:
    wide = torch.promote_types(x.dtype, torch.float32)
    params = {name: array.to(wide) for name, array in layer.params.items()}
    decay = torch.complex(-params[DECAY].exp(), params[PHASE].exp()).exp()  # eq. (decay)
    b = params[GAIN].exp()[:, None] * torch.complex(params[B_REAL], params[B_IMAG])
    c = torch.complex(params[C_REAL], params[C_IMAG])
    read = diagonal_recurrence(x.to(wide), decay, b, c)  # eq. (state), (read)
    y = read.to(x.dtype) + layer.params[SKIP] * x
    return gated(y, layer)  # eq. (output)
