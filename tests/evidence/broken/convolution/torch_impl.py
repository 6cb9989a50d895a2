"""The convolution of V gives nothing; its parameters are there and are never learned."""

from __future__ import annotations

from torch import Tensor

from tests.evidence.broken import copy_of_elfatt, replace


def nothing(v: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Zeros that keep the parameters in the graph."""
    return v * 0 + (weight.sum() + bias.sum()) * 0


code = copy_of_elfatt()
replace(code, "depthwise_conv", nothing)
attend = code.attend
