"""One diagonal recurrence for a whole layer in PyTorch. Axis letters: attention_impls/base.py, S for states."""

from __future__ import annotations

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from attention_impls.ops.scan_torch import linear_scan


def diagonal_recurrence(
    x: Float[Tensor, "B N C"], decay: Complex[Tensor, " S"], b: Complex[Tensor, "S C"], c: Complex[Tensor, "way C S"]
) -> Float[Tensor, "B N C"]:
    """Re Σ over one or both ways of C h, h the states that λ = decay and B x make; x is zero at padding.

    Products are of real and imaginary parts side by side, which is faster than of complex numbers.
    """
    driven = x @ torch.cat([b.real, b.imag]).mT
    inputs = torch.complex(*driven.chunk(2, -1))
    states = [linear_scan(decay[None, None], inputs, reverse=reverse) for reverse in (False, True)[: len(c)]]
    parts = torch.cat([part for state in states for part in (state.real, state.imag)], -1)
    return parts @ torch.cat([part for way in c for part in (way.real, -way.imag)], -1).mT
