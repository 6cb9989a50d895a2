"""Pieces of PyTorch with gradients of their own: they are right, and of the layout that is fast."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from attention_impls.focused_linear.torch_impl import _Focused  # noqa: E402 - PyTorch may be missing
from attention_impls.linear.torch_impl import _features  # noqa: E402
from attention_impls.ops.products_torch import over_tokens, over_tokens_and_sums, row_products  # noqa: E402
from attention_impls.ops.softmax_torch import softmax_parts  # noqa: E402
from attention_impls.ops.torch_ops import swapped  # noqa: E402


def drawn(*shape: int) -> Any:
    """Normal numbers in float64."""
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()


@pytest.mark.parametrize(
    ("call", "shapes"),
    [
        (over_tokens, [(2, 1, 5, 3), (2, 1, 5, 2)]),
        (over_tokens_and_sums, [(2, 1, 5, 3), (2, 1, 5, 2)]),
        (row_products, [(2, 5, 3), (2, 4, 3)]),
        (swapped, [(2, 5, 3, 2)]),
        (softmax_parts, [(2, 5, 4)]),
        (_features, [(1, 2, 5, 3)]),
        (lambda x: _Focused.apply(x.square() + 0.1, 3), [(2, 5, 4)]),
    ],
    ids=["over_tokens", "over_tokens_and_sums", "row_products", "swapped", "softmax_parts", "linear", "focused_linear"],
)
def test_gradients_agree_with_differences(call: Callable[..., Any], shapes: list[tuple[int, ...]]) -> None:
    assert torch.autograd.gradcheck(call, [drawn(*shape) for shape in shapes])


@pytest.mark.parametrize("product", [over_tokens, over_tokens_and_sums, row_products])
def test_gradients_of_products_are_rows(product: Any) -> None:
    factors = drawn(2, 1, 5, 3), drawn(2, 1, 5, 3)
    for gradient in torch.autograd.grad(product(*factors).sum(), factors):
        assert gradient.is_contiguous()


def test_a_swap_and_its_gradient_are_copies() -> None:
    x = drawn(2, 5, 3, 4)
    out = swapped(x)
    [gradient] = torch.autograd.grad(out, x, out.transpose(1, 2).contiguous().transpose(1, 2))
    assert out.is_contiguous()
    assert gradient.is_contiguous()
    assert torch.equal(gradient, x)


@pytest.mark.parametrize("output", [0, 1, 2])
def test_what_softmax_parts_gives_is_what_three_operations_give(output: int) -> None:
    x = (2 * drawn(3, 6)).round().detach().requires_grad_()  # with ties
    parts = softmax_parts(x)
    plain = x.softmax(-1), x.logsumexp(-1, keepdim=True), x.amax(-1, keepdim=True)
    assert any(row.eq(row.max()).sum() > 1 for row in x)
    weights = torch.arange(parts[output].numel(), dtype=x.dtype).view_as(parts[output])
    torch.testing.assert_close(parts[output], plain[output], rtol=1e-12, atol=1e-12)
    ours, theirs = (torch.autograd.grad(each[output], x, weights)[0] for each in (parts, plain))
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
