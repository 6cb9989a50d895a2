"""Flash attention: which kernel runs, the way to flash-attn, and memory that stays linear in the backward pass."""

from __future__ import annotations

import inspect
import itertools
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from attention_cases import Case, cotangent_for, dims_for, draw, error, gradients, jax_call, output, reference
from attention_meter import jaxpr_footprint

import attention_impls
from attention_impls.flash import Options
from attention_impls.flash.kernels import kernel_used

CASE = Case("flash", Options(block_size=16))
USUAL: dict[str, Any] = {
    "kernel": "auto",
    "backend": "torch",
    "device": "gpu",
    "dtype": "bfloat16",
    "head_dim": 32,
    "tokens": 1024,
    "ragged": False,
    "flash_attn": False,
    "varlen": True,
}


def flash_attn_func(q: Any, k: Any, v: Any, dropout_p: float = 0.0, softmax_scale: Any = None) -> Any:
    """The function of flash-attn 2 with this name and these arguments, as plain softmax attention."""
    import torch.nn.functional as F

    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2)


def flash_attn_varlen_func(
    q: Any,
    k: Any,
    v: Any,
    cu_seqlens_q: Any,
    cu_seqlens_k: Any,
    max_seqlen_q: int,
    max_seqlen_k: int,
    dropout_p: float = 0.0,
    softmax_scale: Any = None,
) -> Any:
    """The same for examples that lie one behind the other, (tokens of all, H, D), between int32 borders."""
    import torch

    assert q.ndim == 3
    assert len(q) == cu_seqlens_q[-1]
    for borders, most in ((cu_seqlens_q, max_seqlen_q), (cu_seqlens_k, max_seqlen_k)):
        assert borders.dtype == torch.int32
        assert (borders.diff() <= most).all()
    parts = [slice(*ends) for ends in itertools.pairwise(cu_seqlens_q.tolist()) if ends[0] < ends[1]]
    return torch.cat([flash_attn_func(q[None, part], k[None, part], v[None, part])[0] for part in parts])


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({}, "sdpa flash"),
        ({"flash_attn": True}, "flash-attn"),
        ({"flash_attn": True, "ragged": True}, "flash-attn"),
        ({"flash_attn": True, "kernel": "sdpa"}, "sdpa flash"),
        ({"flash_attn": True, "dtype": "float32"}, "sdpa efficient"),
        ({"ragged": True}, "sdpa varlen"),
        ({"ragged": True, "varlen": False}, "sdpa efficient"),
        ({"ragged": True, "head_dim": 12}, "sdpa efficient"),
        ({"ragged": True, "dtype": "float32"}, "sdpa efficient"),
        ({"device": "cpu", "flash_attn": True}, "sdpa cpu"),
        ({"backend": "jax"}, "cudnn"),
        ({"backend": "jax", "ragged": True}, "cudnn"),
        ({"backend": "jax", "kernel": "scan"}, "scan"),
        ({"backend": "jax", "dtype": "float32"}, "scan"),
        ({"backend": "jax", "tokens": 1023}, "scan"),
        ({"backend": "jax", "head_dim": 12}, "scan"),
        ({"backend": "jax", "device": "cpu"}, "scan"),
    ],
    ids=str,
)
def test_the_kernel_is_the_first_that_fits(changes: dict[str, Any], name: str) -> None:
    assert kernel_used(**USUAL | changes) == name


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"kernel": "scan"}, "which torch does not have: use flash-attn or sdpa, or auto"),
        ({"kernel": "sdpa", "backend": "jax"}, "which jax does not have: use cudnn or scan, or auto"),
        ({"kernel": "flash-attn"}, "flash_attn is not installed"),
        ({"kernel": "flash-attn", "flash_attn": True, "device": "cpu"}, "needs 16 bits on a GPU"),
        ({"kernel": "cudnn", "backend": "jax", "dtype": "float32"}, "for float32 on the gpu"),
    ],
    ids=str,
)
def test_a_kernel_that_cannot_run_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        kernel_used(**USUAL | changes)


@pytest.mark.parametrize(
    ("kernel", "lengths"),
    [("flash-attn", None), *itertools.product(("flash-attn", "sdpa varlen"), [(37, 0, 1, 20), (0, 0)])],
    ids=str,
)
def test_the_way_to_a_librarys_function(
    kernel: str, lengths: tuple[int, ...] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch_impl = pytest.importorskip("attention_impls.flash.torch_impl")
    inputs = draw(CASE, 37, lengths)
    expected, by_sdpa = gradients(CASE, "torch", inputs, cotangent_for(inputs))
    functions = {"flash_attn_func": flash_attn_func, "flash_attn_varlen_func": flash_attn_varlen_func}
    monkeypatch.setitem(sys.modules, "flash_attn", SimpleNamespace(**functions))  # pyright: ignore[reportArgumentType]
    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", flash_attn_varlen_func)
    monkeypatch.setattr("attention_impls.flash.kernel_used", lambda *args, **keywords: kernel)
    monkeypatch.setattr(torch_impl, "PADDING", 16)  # so that the padding of 37 tokens is more than one sequence
    found, by_stand_in = gradients(CASE, "torch", inputs, cotangent_for(inputs))
    np.testing.assert_allclose(found, expected, atol=1e-12)
    for name, gradient in by_sdpa.items():
        np.testing.assert_allclose(by_stand_in[name], gradient, atol=1e-12)


def test_torchs_function_takes_what_the_stand_in_takes() -> None:
    varlen = pytest.importorskip("torch.nn.attention.varlen")
    theirs = list(inspect.signature(varlen.varlen_attn).parameters.values())[:7]
    assert all(each.kind is each.POSITIONAL_OR_KEYWORD for each in theirs)
    assert [each.name for each in theirs] == ["query", "key", "value", "cu_seq_q", "cu_seq_k", "max_q", "max_k"]


@pytest.mark.gpu
@pytest.mark.parametrize("lengths", [None, (1000, 0, 1, 613)], ids=str)
def test_a_gpu_gives_the_reference(lengths: tuple[int, ...] | None) -> None:
    torch = pytest.importorskip("torch")
    attend = attention_impls.load("flash").attend("torch")

    rng = np.random.default_rng(0)
    q, k, v, do = (torch.tensor(rng.normal(size=(4, 1000, 2, 32)), dtype=torch.float32) for _ in range(4))

    def run(device: str, dtype: Any) -> list[Any]:
        given = [x.to(device, dtype).requires_grad_() for x in (q, k, v)]
        own = None if lengths is None else torch.tensor(lengths, dtype=torch.int32, device=device)
        dims = dims_for(1000, heads=2)
        out = attend(*given, lengths=own, params={}, constants={}, options=Options(), dims=dims)
        found = [out, *torch.autograd.grad(out, given, do.to(device, dtype))]
        return [each.detach().cpu().double() for each in found]

    for found, expected in zip(run("cuda", torch.bfloat16), run("cpu", torch.float32), strict=True):
        assert (found - expected).abs().max() <= 2e-2 * expected.abs().max()


def test_every_block_size_gives_the_same() -> None:
    inputs = draw(CASE, 37, (37, 0, 1, 20))
    for block in (1, 7, 37, 512):
        assert error(output(Case("flash", Options(block_size=block)), "jax", inputs), reference(CASE, inputs)) < 1e-12


def test_the_backward_pass_of_the_scan_is_linear_in_memory() -> None:
    jax = pytest.importorskip("jax")
    jnp = jax.numpy

    def peak(tokens: int) -> int:
        dims = dims_for(8192, heads=2)
        call = jax_call(CASE.mechanism.attend("jax"), CASE, dims)
        array = jax.ShapeDtypeStruct((1, tokens, 2, 8), jnp.float32)
        given = dict.fromkeys("qkv", array)
        found = jaxpr_footprint(call.trace(given, {}, {}, jax.ShapeDtypeStruct((1,), jnp.int32), array).jaxpr.jaxpr)
        assert found.largest <= 16 * tokens * 2 * 8
        return found.peak

    assert peak(8192) / peak(2048) == pytest.approx(4, rel=0.15)
