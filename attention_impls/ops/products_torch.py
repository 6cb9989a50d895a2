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


def over_tokens_and_sums(a: Float[Tensor, "B H N F"], b: Float[Tensor, "B H N D"]) -> Float[Tensor, "B H F more"]:
    """aᵀ [b, 1]: as one more column the sums of a, for which no product is needed."""
    result: Tensor = _OverTokensAndSums.apply(a, b)
    return result


class _OverTokensAndSums(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        ctx.save_for_backward(a, b)
        return torch.cat([a.mT @ b, a.sum(2)[..., None]], -1)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, Tensor]:
        a, b = ctx.saved_tensors
        of_products, of_sums = (each.mT.flatten(0, 1) for each in gradients[0].split([b.shape[-1], 1], -1))
        of_a = torch.baddbmm(of_sums, b.flatten(0, 1), of_products)  # one pass over a less than adding them
        return of_a.view_as(a), a @ of_products.mT.unflatten(0, a.shape[:2])


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
