"""S5 in PyTorch."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from attention_impls.base import Layer
from attention_impls.ops.diagonal import B_IMAG, B_REAL, C_IMAG, C_REAL
from attention_impls.ops.diagonal_torch import diagonal_recurrence
from attention_impls.ops.gated import SKIP
from attention_impls.ops.gated_torch import gated
from attention_impls.ops.torch_ops import Tokens
from attention_impls.s5 import IMAG, LEAST_DECAY, REAL, STEP, Options


def attend(x: Float[Tensor, "B N C"], layer: Layer[Options]) -> Tokens:
    wide = torch.promote_types(x.dtype, torch.float32)
    params = {name: array.to(wide) for name, array in layer.params.items()}
    real = params[REAL].clamp(max=-LEAST_DECAY) if layer.options.clip else params[REAL]
    eigenvalues = torch.complex(real, params[IMAG]).flatten()
    moved = params[STEP].exp().flatten() * eigenvalues
    held = moved.expm1() / eigenvalues  # eq. (discrete)
    b = held[:, None] * torch.complex(params[B_REAL], params[B_IMAG])
    c = 2 * torch.complex(params[C_REAL], params[C_IMAG])
    read = diagonal_recurrence(x.to(wide), moved.exp(), b, c)  # eq. (state), (read)
    y = read.to(x.dtype) + layer.params[SKIP] * x
    return gated(y, layer)  # eq. (output)
