"""ELFATT's Triton kernels: in Triton's interpreter, compiled without a GPU, and on one where there is one."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attention_cases import cotangent_for
from elfatt_cells import BOUND, Cell, assert_close, by_torch, drawn, expected, rounded, torch, triton
from elfatt_kernels import recorded

on_gpu = pytest.param("cuda", marks=pytest.mark.gpu)
devices = pytest.mark.parametrize("device", ["cpu", on_gpu])

FEW = [
    ("float32", Cell(1, block=128)),
    ("float32", Cell(63, (63, 1), share=0.0, conv=False, block=16)),
    ("float32", Cell(65, (65, 64), head_dim=64, block=64, heads=3)),
    ("float32", Cell(97, (97, 0, 1))),
    ("bfloat16", Cell(64, (0, 64), share=1.0, head_dim=24)),
    ("bfloat16", Cell(127, (1, 127), head_dim=128, block=512)),
    ("bfloat16", Cell(200, (200, 130), head_dim=32, block=160)),
]
# Each border of a tile, of a block and of both, each size of a head, and each kind of heads alone, once in each dtype;
# tiles have 32 rows in float32, and up to 128 in bfloat16.
MANY = [
    ("float32", Cell(1, block=16)),
    ("float32", Cell(63, (63, 31), head_dim=20, block=64)),
    ("float32", Cell(64, (32, 64), head_dim=32, block=17)),
    ("float32", Cell(65, head_dim=64, block=512)),
    ("float32", Cell(127, (127, 0, 1, 64), heads=3, share=0.34, block=64)),
    ("float32", Cell(129, (129, 0, 1, 64), share=0.0, conv=False, block=128)),
    ("float32", Cell(129, share=1.0, conv=False)),
    ("float32", Cell(300, (300, 257), head_dim=24, block=128)),
    ("bfloat16", Cell(1, block=512)),
    ("bfloat16", Cell(63, (63, 62), head_dim=100, block=16)),
    ("bfloat16", Cell(65, (65, 64), head_dim=20, block=17)),
    ("bfloat16", Cell(128, (128, 0, 1, 127), head_dim=64, block=128)),
    ("bfloat16", Cell(129, (129, 128), heads=3, share=0.34, conv=False, block=512)),
    ("bfloat16", Cell(129, (129, 64), share=0.0, block=64)),
    ("bfloat16", Cell(300, (300, 257), share=1.0, head_dim=128)),
    ("bfloat16", Cell(1000, head_dim=32, block=256)),
]
LONG = ("bfloat16", Cell(8704, (8703,), block=128))  # more than 64 splits of the usual length would be
# On a GPU also every length in every block, and lengths that take the interpreter minutes: many splits of the length,
# many blocks, and both beside a short and an empty example.
EVERY = [
    *itertools.product(
        BOUND,
        (
            Cell(n, block=block)
            for n, block in itertools.product((1, 63, 64, 65, 127, 129, 300, 1000), (16, 17, 64, 128, 512))
        ),
    ),
    *itertools.product(BOUND, (Cell(300, (300, 0, 1, 257), head_dim=d, block=128) for d in (16, 20, 32, 64, 100, 128))),
    ("float32", Cell(4097, (4097, 0, 1, 2500), head_dim=64, block=128)),
    ("float32", Cell(16384, (16384,), block=32)),
    ("bfloat16", Cell(16384, (16384, 0, 9001), head_dim=32, block=256)),
    ("bfloat16", Cell(65536, (50001,), block=512)),
    ("bfloat16", Cell(65536, (65536, 0, 40001), head_dim=128, block=128)),
]


@pytest.fixture(autouse=True)
def new_memory_is_nan(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel that leaves something unwritten is found out."""
    empty = torch.empty

    def poisoned(*args: Any, **keywords: Any) -> Any:
        made = empty(*args, **keywords)
        return made.fill_(float("nan")) if made.is_floating_point() and made.device.type != "meta" else made

    monkeypatch.setattr(torch, "empty", poisoned)


def check(cell: Cell, dtype: str, device: str) -> None:
    """The fused kernels give the reference's output and the gradients of the composition in float64."""
    inputs = drawn(cell, dtype)
    cotangent = rounded(cotangent_for(inputs), dtype)
    found = by_torch(cell, inputs, cotangent, dtype, device)
    assert_close(found, expected(cell, inputs, cotangent), BOUND[dtype])
    for i, length in enumerate(() if cell.lengths is None else cell.lengths):
        assert not any(found[name][i, length:].any() for name in ("out", *inputs.arrays))


def test_the_documentation_says_which_tiles_there_are() -> None:
    from attention_impls.elfatt.triton import plan

    def rows(dtype: str, head_dim: int) -> tuple[int, ...]:
        sizes = plan.Sizes(1, 4096, 2, head_dim, getattr(torch, dtype).itemsize, 1, 512, (1, 1, 1), False, False)
        steps = (plan.block_forward(sizes), plan.global_forward(sizes)[-1])
        return tuple(step.constants["ROWS"] for step in steps)

    page = (Path(__file__).parents[1] / "docs" / "pages" / "explanation" / "kernels.md").read_text(encoding="utf-8")
    told = re.findall(r"\| (bfloat16|float32) \| (?:16 to )?(\d+) \| (\d+) \| (\d+) \|", page)
    assert len(told) == 3
    for dtype, width, *each in told:
        narrow = [16, 32, 64] if width == "64" else [int(width)]
        assert {rows(dtype, head_dim) for head_dim in narrow} == {tuple(map(int, each))}


@devices
@pytest.mark.parametrize(("dtype", "cell"), FEW, ids=str)
def test_outputs_and_gradients(cell: Cell, dtype: str, device: str) -> None:
    assert triton.knobs.runtime.interpret == (device == "cpu"), "make test-gpu compiles, make test interprets"
    check(cell, dtype, device)


@pytest.mark.parametrize("device", [pytest.param("cpu", marks=pytest.mark.slow), on_gpu])
@pytest.mark.parametrize(("dtype", "cell"), [*MANY, LONG], ids=str)
def test_outputs_and_gradients_of_many_shapes(cell: Cell, dtype: str, device: str) -> None:
    check(cell, dtype, device)


@pytest.mark.gpu
@pytest.mark.parametrize(("dtype", "cell"), EVERY, ids=str)
def test_outputs_and_gradients_of_every_shape(cell: Cell, dtype: str) -> None:
    check(cell, dtype, "cuda")


def test_splits_of_the_greatest_length_are_few_and_are_combined_by_several_programs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from attention_impls.elfatt.triton import plan

    monkeypatch.setattr(plan, "SPLITS", 2)
    monkeypatch.setattr(plan, "COMBINED", 256)
    cell = Cell(259, (259,), heads=1, share=1.0)  # no other test has these sizes, whose launches are kept
    with recorded(run=True) as launches:
        check(cell, "float32", "cpu")
    combine = next(each.step for each in launches if "splits" in each.step.numbers)
    assert (combine.numbers["splits"], combine.grid[0]) == (2, 2)


@devices
def test_extreme_inputs_stay_finite(device: str) -> None:
    cell = Cell(40, (40, 0, 1, 33))
    inputs = drawn(cell, "float32")
    extreme = replace(inputs, arrays={letter: 1e4 * array for letter, array in inputs.arrays.items()})
    found = by_torch(cell, extreme, cotangent_for(inputs), "float32", device, garbage=1e4)
    assert all(np.isfinite(array).all() for array in found.values())


@devices
def test_two_calls_agree_to_the_last_bit(device: str) -> None:
    cell = Cell(50, (50, 37))
    inputs = drawn(cell, "bfloat16")
    first, second = (by_torch(cell, inputs, cotangent_for(inputs), "bfloat16", device) for _ in range(2))
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name], err_msg=name)


@devices
def test_the_gradient_of_keys_sums_to_zero_in_a_global_head(device: str) -> None:
    from attention_impls.elfatt.triton.torch_attend import attend_fused

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
    from attention_impls.elfatt.triton.torch_attend import attend_fused

    packed = torch.randn(2, 40, 3, 4, 16, generator=torch.Generator().manual_seed(0)).to(device)
    views = packed.unbind(2)
    keywords: dict[str, Any] = {"lengths": None, "conv": None, "global_heads": 2, "block_size": 16}
    with recorded(run=True) as launches:
        found = attend_fused(*views, **keywords)
    assert found.is_contiguous()
    np.testing.assert_array_equal(found.cpu(), attend_fused(*(x.contiguous() for x in views), **keywords).cpu())
    places = [x.untyped_storage().data_ptr() for each in launches for x in each.tensors if x.ndim == 4]
    assert places.count(packed.untyped_storage().data_ptr()) == 2 + 2 + 3  # k, v, then q, v, then q, k, v
    assert places.count(found.untyped_storage().data_ptr()) == 2


@devices
def test_the_gradient_of_the_output_may_lie_anywhere(device: str) -> None:
    from attention_impls.elfatt.triton.torch_attend import attend_fused

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
    from attention_impls.elfatt.triton.torch_attend import attend_fused

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
