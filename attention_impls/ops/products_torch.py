"""Products in PyTorch whose gradients are rows, as their factors are.

Autograd gives the gradient of a transposed factor as columns. On a CPU that product is slower, and so is every pass
over an array of columns and one of rows.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor


def over_tokens(a: Float[Tensor, "B H N F"], b: Float[Tensor, "B H N D"]) -> Float[Tensor, "B H F D"]:
    """aᵀ b: the sum of a_nᵀ b_n over tokens."""
    result: Tensor = _OverTokens.apply(a, b)
    return result


class _OverTokens(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        ctx.save_for_backward(a, b)
        return a.mT @ b

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, Tensor]:
        a, b = ctx.saved_tensors
        return b @ gradients[0].mT, a @ gradients[0]


def row_products(a: Float[Tensor, "*lead N D"], b: Float[Tensor, "*lead M D"]) -> Float[Tensor, "*lead N M"]:
    """a bᵀ: of each row of a with each row of b."""
    result: Tensor = _RowProducts.apply(a, b)
    return result


class _RowProducts(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        ctx.save_for_backward(a, b)
        return a @ b.mT

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, Tensor]:
        a, b = ctx.saved_tensors
        return gradients[0] @ b, gradients[0].mT @ a
