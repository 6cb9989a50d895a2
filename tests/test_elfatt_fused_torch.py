"""ELFATT's Triton kernels: in Triton's interpreter, compiled without a GPU, and on one where there is one."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from attention_cases import Arrays, Case, Inputs, cotangent_for, dims_for, draw, gradients, reference

from attention_impls.base import Layer
from attention_impls.elfatt import Options

torch = pytest.importorskip("torch")
triton = pytest.importorskip("triton", reason="Triton is for Linux")

BOUND = {"float32": 1e-5, "bfloat16": 2e-2}
# What rounding may leave of a gradient that is zero, as those of q and k are with one token, where inputs are about 1.
NOTHING = 1e-2

on_gpu = pytest.param("cuda", marks=pytest.mark.gpu)
devices = pytest.mark.parametrize("device", ["cpu", on_gpu])


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


FEW = [
    ("float32", Cell(1, block=128)),
    ("float32", Cell(63, (63, 1), share=0.0, conv=False, block=16)),
    ("float32", Cell(65, (65, 64), head_dim=64, block=64, heads=3)),
    ("float32", Cell(129, (129, 0, 1, 70))),
    ("bfloat16", Cell(64, (0, 64), share=1.0, head_dim=24)),
    ("bfloat16", Cell(127, (1, 127), head_dim=128, block=512)),
    ("bfloat16", Cell(300, (300, 130), head_dim=32, block=256)),
    ("bfloat16", Cell(1000, head_dim=32, block=128)),
]
MANY = [
    *(Cell(n, block=block) for n in (1, 63, 64, 65, 127, 129, 300, 1000) for block in (16, 17, 64, 128, 512)),
    *(Cell(300, (300, 0, 1, 257), head_dim=d, block=128) for d in (16, 20, 32, 64, 100, 128)),
    *(Cell(129, (129, 64), heads=3, share=share, conv=conv) for share in (0.0, 0.34, 1.0) for conv in (True, False)),
    Cell(1000, (1000, 513), head_dim=64, block=512),
]
# Many splits of the length, many blocks, and both beside a short and an empty example.
LARGE = [
    ("float32", Cell(4097, (4097, 0, 1, 2500), head_dim=64, block=128)),
    ("bfloat16", Cell(16384, (16384, 0, 9001), head_dim=32, block=256)),
    ("bfloat16", Cell(65536, (65536, 0, 40001), head_dim=128, block=128)),
]
LONGEST = [
    ("float32", Cell(16384, (16384,), block=32)),
    ("bfloat16", Cell(16384, (16384,), block=128)),
    ("bfloat16", Cell(65536, (50001,), block=512)),
]


@pytest.fixture(autouse=True)
def new_memory_is_nan(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel that leaves something unwritten is found out."""
    empty = torch.empty

    def poisoned(*args: Any, **keywords: Any) -> Any:
        made = empty(*args, **keywords)
        return made.fill_(float("nan")) if made.is_floating_point() and made.device.type != "meta" else made

    monkeypatch.setattr(torch, "empty", poisoned)


@pytest.fixture
def fused(monkeypatch: pytest.MonkeyPatch) -> None:
    """ELFATT takes its fused kernels wherever it runs."""
    monkeypatch.setattr("attention_impls.elfatt.kernel_used", lambda *args, **keywords: "fused")


def drawn(cell: Cell, dtype: str) -> Inputs:
    """Standard normal inputs, and the convolution's arrays, as `dtype` holds them, in float64."""
    lengths = (cell.tokens,) if cell.lengths is None else cell.lengths
    inputs = draw(cell.case, cell.tokens, lengths, dims=dims_for(cell.tokens, cell.heads, cell.head_dim))

    def rounded(arrays: Arrays) -> Arrays:
        return {name: torch.tensor(x).to(getattr(torch, dtype)).double().numpy() for name, x in arrays.items()}

    return replace(
        inputs,
        arrays=rounded(inputs.arrays),
        params=rounded(inputs.params),
        lengths=None if cell.lengths is None else inputs.lengths,
    )


def computed(
    cell: Cell, inputs: Inputs, cotangent: np.ndarray, dtype: str, device: str, garbage: float = np.nan
) -> Arrays:
    """The output and the gradients of ELFATT in PyTorch, with `garbage` in all padding, that of the cotangent too."""
    from attention_impls.elfatt.torch_impl import attend

    def tensor(x: np.ndarray) -> Any:
        return torch.tensor(x, dtype=getattr(torch, dtype), device=device)

    given = inputs if inputs.lengths is None else inputs.padded_to(cell.tokens, garbage)
    arrays = {letter: tensor(x).requires_grad_() for letter, x in given.arrays.items()}
    params = {name: tensor(x).requires_grad_() for name, x in given.params.items()}
    weight = replace(given, arrays={"out": cotangent})
    weight = weight if inputs.lengths is None else weight.padded_to(cell.tokens, garbage)
    lengths = None if inputs.lengths is None else torch.tensor(inputs.lengths, device=device)
    given = {"params": params, "constants": {}, "options": cell.case.options, "dims": inputs.dims, "lengths": lengths}
    # Not by way of the contract, which would zero the garbage.
    out = attend(*arrays.values(), layer=Layer(kernel="fused", **given))
    wanted = arrays | params
    found = torch.autograd.grad(out, list(wanted.values()), tensor(weight.arrays["out"]))
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


def check(cell: Cell, dtype: str, device: str) -> None:
    """The fused kernels give the reference's output and the gradients of the composition in float64."""
    inputs = drawn(cell, dtype)
    cotangent = torch.tensor(cotangent_for(inputs)).to(getattr(torch, dtype)).double().numpy()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("attention_impls.elfatt.kernel_used", lambda *args, **keywords: "composed")
        expected = gradients(cell.case, "torch", inputs, cotangent)[1]
    found = computed(cell, inputs, cotangent, dtype, device)
    assert_close(found, {"out": reference(cell.case, inputs)} | expected, BOUND[dtype])
    for i, length in enumerate(() if cell.lengths is None else cell.lengths):
        assert not any(found[name][i, length:].any() for name in ("out", *inputs.arrays))


@devices
@pytest.mark.parametrize(("dtype", "cell"), FEW, ids=str)
@pytest.mark.usefixtures("fused")
def test_outputs_and_gradients(cell: Cell, dtype: str, device: str) -> None:
    assert triton.knobs.runtime.interpret == (device == "cpu"), "make test-gpu compiles, make test interprets"
    check(cell, dtype, device)


@pytest.mark.timeout(1800)  # the interpreter takes minutes for 65,536 tokens
@pytest.mark.parametrize("device", [pytest.param("cpu", marks=pytest.mark.slow), on_gpu])
@pytest.mark.parametrize(("dtype", "cell"), [*itertools.product(BOUND, MANY), *LONGEST], ids=str)
@pytest.mark.usefixtures("fused")
def test_outputs_and_gradients_of_many_shapes(cell: Cell, dtype: str, device: str) -> None:
    check(cell, dtype, device)


@pytest.mark.gpu
@pytest.mark.parametrize(("dtype", "cell"), LARGE, ids=str)
@pytest.mark.usefixtures("fused")
def test_outputs_and_gradients_of_large_shapes(cell: Cell, dtype: str) -> None:
    check(cell, dtype, "cuda")


@devices
@pytest.mark.usefixtures("fused")
def test_extreme_inputs_stay_finite(device: str) -> None:
    cell = Cell(40, (40, 0, 1, 33))
    inputs = drawn(cell, "float32")
    extreme = replace(inputs, arrays={letter: 1e4 * array for letter, array in inputs.arrays.items()})
    found = computed(cell, extreme, cotangent_for(inputs), "float32", device, garbage=1e4)
    assert all(np.isfinite(array).all() for array in found.values())


@devices
@pytest.mark.usefixtures("fused")
def test_two_calls_agree_to_the_last_bit(device: str) -> None:
    cell = Cell(50, (50, 37))
    inputs = drawn(cell, "bfloat16")
    first, second = (computed(cell, inputs, cotangent_for(inputs), "bfloat16", device) for _ in range(2))
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name], err_msg=name)


@devices
def test_the_gradient_of_keys_sums_to_zero_in_a_global_head(device: str) -> None:
    from attention_impls.elfatt.triton_attend import attend_fused

    generator = torch.Generator().manual_seed(0)
    q, k, v, weight = (torch.randn(1, 300, 1, 32, generator=generator).to(device, torch.bfloat16) for _ in range(4))
    k.requires_grad_()
    # A large common part of v leaves the formula's dK as it is, and takes 8 bits from a careless one.
    out = attend_fused(q, k, v + 100, lengths=None, conv=None, global_heads=1, block_size=64)
    out.backward(weight)
    columns = k.grad.double().sum(1).abs().max() / k.grad.double().abs().sum(1).max()
    assert columns < 2**-9  # what rounding dK itself leaves


@devices
def test_a_packed_projection_is_read_where_it_lies(device: str) -> None:
    from elfatt_kernels import recorded

    from attention_impls.elfatt.triton_attend import attend_fused

    packed = torch.randn(2, 40, 3, 4, 16, generator=torch.Generator().manual_seed(0)).to(device)
    views = packed.unbind(2)
    keywords: dict[str, Any] = {"lengths": None, "conv": None, "global_heads": 2, "block_size": 16}
    with recorded(run=True) as launches:
        found = attend_fused(*views, **keywords)
    assert found.is_contiguous()
    np.testing.assert_array_equal(found.cpu(), attend_fused(*(x.contiguous() for x in views), **keywords).cpu())
    read = {x.untyped_storage().data_ptr() for each in launches for x in each.tensors if x.ndim == 4}
    assert packed.untyped_storage().data_ptr() in read
    assert sum(x.shape == views[0][:, :, :2].shape for each in launches for x in each.tensors) == 5 + 4


@devices
def test_the_gradient_of_the_output_may_lie_anywhere(device: str) -> None:
    from attention_impls.elfatt.triton_attend import attend_fused

    generator = torch.Generator().manual_seed(0)
    given = [torch.randn(2, 40, 2, 16, generator=generator).to(device).requires_grad_() for _ in range(3)]
    out = attend_fused(*given, lengths=None, conv=None, global_heads=1, block_size=16)
    full = torch.randn(2, 40, 2, 16, generator=generator).to(device)
    for strange in (full[:1, :1].expand(out.shape), full.transpose(1, 2).contiguous().transpose(1, 2)):
        assert not strange.is_contiguous()
        found = torch.autograd.grad(out, given, strange, retain_graph=True)
        expected = torch.autograd.grad(out, given, strange.contiguous(), retain_graph=True)
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_array_equal(a.cpu(), b.cpu())


def test_tokens_too_far_apart_for_32_bits_are_brought_together() -> None:
    from elfatt_kernels import recorded

    from attention_impls.elfatt.triton_attend import attend_fused

    def strides(step: int) -> set[int]:
        x = torch.empty_strided((2, 65536, 2, 16), (32, step, 16, 1), dtype=torch.bfloat16, device="meta")
        with recorded(run=False) as launches:
            attend_fused(x, x, x, lengths=None, conv=None, global_heads=1, block_size=128)
        return {x.stride(1) for each in launches for x in each.tensors if x.shape[:2] == (2, 65536)}

    assert strides(32_000) == {32_000, 32}  # of what is read, and of the output
    assert strides(33_000) == {32}


@pytest.mark.parametrize(("kind", "forward", "backward"), [("global", 5, 8), ("block", 4, 7)])
@pytest.mark.parametrize("head_dim", [32, 64])
def test_bytes(kind: str, forward: int, backward: int, head_dim: int) -> None:
    from elfatt_kernels import TOKENS, planned

    launches = planned(torch.bfloat16, head_dim, 128, 1, int(kind == "global"))
    for each, limit in zip(launches, (forward, backward), strict=True):
        tensors = [x for launch in each for x in launch.tensors]
        large = [x for x in tensors if x.shape == (2, TOKENS, 1, head_dim)]
        one = large[0].nbytes
        assert sum(x.nbytes for x in large) == limit * one
        assert sum(x.nbytes for x in tensors) <= (limit + 0.6) * one
