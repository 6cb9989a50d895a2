"""What the tests of ELFATT's Triton kernels share: sizes, inputs, and both sides of a comparison."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from attention_cases import Arrays, Case, Inputs, dims_for, draw, gradients, reference

from attention_impls.base import Layer
from attention_impls.elfatt import Options

torch = pytest.importorskip("torch")
triton = pytest.importorskip("triton", reason="Triton is for Linux")

BOUND = {"float32": 1e-5, "bfloat16": 2e-2}
# What rounding may leave of a gradient that is zero, as those of q and k are with one token, where inputs are about 1.
NOTHING = 1e-2


@dataclass(frozen=True)
class Cell:
    """The sizes of one comparison; lengths None: one example without padding."""

    tokens: int
    lengths: tuple[int, ...] | None = None
    head_dim: int = 16
    block: int = 32
    heads: int = 2
    share: float = 0.5
    conv: bool = True

    @property
    def case(self) -> Case:
        return Case("elfatt", Options(block_size=self.block, global_share=self.share, local_conv=self.conv))

    def __str__(self) -> str:
        return "-".join(str(value) for value in vars(self).values())


def drawn(cell: Cell, dtype: str) -> Inputs:
    """Standard normal inputs, and the convolution's arrays, as `dtype` holds them, in float64."""
    lengths = (cell.tokens,) if cell.lengths is None else cell.lengths
    inputs = draw(cell.case, cell.tokens, lengths, dims=dims_for(cell.tokens, cell.heads, cell.head_dim))

    def near(arrays: Arrays) -> Arrays:
        return {name: rounded(x, dtype) for name, x in arrays.items()}

    return replace(
        inputs,
        arrays=near(inputs.arrays),
        params=near(inputs.params),
        lengths=None if cell.lengths is None else inputs.lengths,
    )


def rounded(x: np.ndarray, dtype: str) -> np.ndarray:
    """What `dtype` holds of it, in float64."""
    return torch.tensor(x).to(getattr(torch, dtype)).double().numpy()


def expected(cell: Cell, inputs: Inputs, cotangent: np.ndarray) -> Arrays:
    """The reference's output, and the gradients of the composition in float64."""
    composed = replace(cell.case, options=replace(cell.case.options, kernel="composed"))
    return {"out": reference(cell.case, inputs)} | gradients(composed, "torch", inputs, cotangent)[1]


def poisoned(inputs: Inputs, cotangent: np.ndarray, garbage: float) -> tuple[Inputs, np.ndarray]:
    """The same with `garbage` in all padding, that of the output's gradient too."""
    if inputs.lengths is None:
        return inputs, cotangent
    tokens = cotangent.shape[1]
    weight = replace(inputs, arrays={"out": cotangent}).padded_to(tokens, garbage)
    return inputs.padded_to(tokens, garbage), weight.arrays["out"]


def by_torch(
    cell: Cell, inputs: Inputs, cotangent: np.ndarray, dtype: str, device: str, garbage: float = np.nan
) -> Arrays:
    """The output and the gradients of ELFATT in PyTorch, with `garbage` in all padding, that of the cotangent too."""
    from attention_impls.elfatt.torch_impl import attend

    def tensor(x: np.ndarray) -> Any:
        return torch.tensor(x, dtype=getattr(torch, dtype), device=device)

    given, weight = poisoned(inputs, cotangent, garbage)
    arrays = {letter: tensor(x).requires_grad_() for letter, x in given.arrays.items()}
    params = {name: tensor(x).requires_grad_() for name, x in given.params.items()}
    lengths = None if inputs.lengths is None else torch.tensor(inputs.lengths, device=device)
    own: dict[str, Any] = {"params": params, "constants": {}, "options": cell.case.options, "dims": inputs.dims}
    # Not by way of the contract, which would zero the garbage.
    out = attend(*arrays.values(), layer=Layer(kernel="fused", lengths=lengths, **own))
    wanted = arrays | params
    found = torch.autograd.grad(out, list(wanted.values()), tensor(weight))
    every = {"out": out.detach()} | dict(zip(wanted, found, strict=True))
    return {name: x.double().cpu().numpy() for name, x in every.items()}


def assert_close(found: Arrays, expected: Arrays, bound: float) -> None:
    """Every head of every array is near, by that head's own size: a global head's gradients may be small."""
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        heads = 2 if array.ndim == 4 else 0  # of (B, N, H, D), or of (H, …)
        for h in range(array.shape[heads]):
            one, other = found[name].take(h, heads), array.take(h, heads)
            worst = np.abs(one - other).max() / max(np.abs(other).max(), NOTHING)
            assert worst < bound, f"{name} of head {h} is off by {worst:.1e}"  # NaN is not less
