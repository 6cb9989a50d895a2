"""Attention as a torch.nn.Module: what PyTorch's users do with modules."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from layer_cases import drawn, made
from test_attention_adapter import TORCH

import attention_impls

torch = pytest.importorskip("torch")
NAMES = ("elfatt@block_size=16", "performer@features=16", "primal@rank=4", "softmax")
each = pytest.mark.parametrize("name", NAMES)


def called(attention: Any) -> Any:
    given, x = drawn("torch")
    return attention(**given, x=x)


@each
def test_copies_and_saved_modules_compute_the_same(name: str, tmp_path: Path) -> None:
    attention = made("torch", name)
    out = called(attention)
    other = made("torch", name, seed=1)
    assert name == "softmax" or not torch.equal(called(other), out)
    other.load_state_dict(attention.state_dict())
    torch.save(attention, tmp_path / "module.pt")
    for copied in (
        copy.deepcopy(attention),
        pickle.loads(pickle.dumps(attention)),
        torch.load(tmp_path / "module.pt", weights_only=False),
        other,
    ):
        assert torch.equal(called(copied), out)


def test_a_module_from_outside_is_copied_and_saved_too(tmp_path: Path) -> None:
    (tmp_path / "torch_impl.py").write_text(TORCH)
    attention = made("torch", f"{tmp_path}/")
    assert set(attention.state_dict()) == {"mix.weight", "heads"}
    for copied in (copy.deepcopy(attention), pickle.loads(pickle.dumps(attention))):
        assert torch.equal(called(copied), called(attention))


def test_learned_arrays_are_parameters_and_constants_are_buffers() -> None:
    attention = made("torch", "performer@features=16")
    assert [name for name, _ in attention.named_buffers()] == ["projection.weight"]
    assert list(attention.parameters()) == []
    assert {name for name, _ in made("torch", "elfatt").named_parameters()} == {"local_conv.weight", "local_conv.bias"}


def test_arrays_are_drawn_from_the_generator_of_pytorch() -> None:
    drawn_arrays = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        drawn_arrays.append(made("torch", "elfatt", seed=None).local_conv.weight)
    assert torch.equal(*drawn_arrays[:2])
    assert not torch.equal(*drawn_arrays[1:])
    before = torch.get_rng_state()
    made("torch", "elfatt", seed=0)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
@each
def test_a_module_moves_to_another_dtype(name: str, dtype: Any) -> None:
    attention = made("torch", name).to(dtype)
    given, x = drawn("torch")
    out = attention(**{letter: array.to(dtype) for letter, array in given.items()}, x=x.to(dtype))
    assert out.dtype == dtype
    tolerance = 1e-4 if dtype == torch.float64 else 0.1
    torch.testing.assert_close(out.float(), called(made("torch", name)), atol=tolerance, rtol=tolerance)
    assert all(tensor.dtype == dtype for tensor in made("torch", name, dtype=dtype).state_dict().values())


@each
def test_autocast_decides_the_dtype(name: str) -> None:
    attention = made("torch", name)
    with torch.autocast("cpu", torch.bfloat16):
        out = called(attention)
    assert out.dtype == torch.bfloat16
    given, x = drawn("torch")
    half = copy.deepcopy(attention).bfloat16()
    assert torch.equal(out, half(**{letter: array.bfloat16() for letter, array in given.items()}, x=x.bfloat16()))
    learned = list(attention.parameters())
    if learned:
        loss = out.float().sum() + (0 if attention.penalty is None else attention.penalty.sum())
        assert all(gradient.dtype == torch.float32 for gradient in torch.autograd.grad(loss, learned))


@each
def test_gradients_are_the_same_with_checkpoints(name: str) -> None:
    from torch.utils.checkpoint import checkpoint

    def gradients(through: bool) -> list[Any]:
        attention = made("torch", name)
        given, x = drawn("torch")
        q = given["q"].requires_grad_()
        keywords = {"k": given["k"], "v": given["v"], "x": x}
        out = checkpoint(attention, q, use_reentrant=False, **keywords) if through else attention(q, **keywords)
        loss = out.square().sum() + (0 if attention.penalty is None else attention.penalty.sum())
        return list(torch.autograd.grad(loss, [q, *attention.parameters()]))

    for through, plain in zip(gradients(True), gradients(False), strict=True):
        assert torch.equal(through, plain)


def test_a_penalty_is_that_of_the_last_call() -> None:
    attention = made("torch", "primal@rank=4")
    assert attention.penalty is None
    called(attention)
    assert attention.penalty is not None
    assert attention.penalty.shape == (2,)
    attention.penalty.sum().backward()
    assert copy.deepcopy(attention).penalty is None
    attention = made("torch", "elfatt")
    called(attention)
    assert attention.penalty is None


def test_a_module_prints_what_it_is() -> None:
    shown = repr(made("torch", "elfatt@block_size=16"))
    assert "'elfatt', heads=2, head_dim=8, width=16, max_length=64, grid=None, block_size=16, layout='1d'" in shown


def test_a_name_that_pytorch_keeps_for_itself_is_told(tmp_path: Path) -> None:
    (tmp_path / "__init__.py").write_text(
        "import numpy as np\nfrom dataclasses import replace\nfrom attention_impls.softmax import CARD as SOFTMAX\n"
        "CARD = replace(SOFTMAX, params=lambda options, dims, rng: {'forward': np.ones(3)})\n"
    )
    (tmp_path / "torch_impl.py").write_text("from attention_impls.softmax.torch_impl import attend\n")
    with pytest.raises(attention_impls.AttentionError, match="array forward is impossible in PyTorch"):
        made("torch", f"{tmp_path}/")


# In a process of its own, without the checks of annotations, which are no part of a graph.
COMPILE = """
import warnings
from dataclasses import asdict
import torch, attention_impls
from attention_impls.torch import Attention, MultiheadAttention
warnings.simplefilter("ignore")
torch._dynamo.config.recompile_limit = 64
generator = torch.Generator().manual_seed(0)
given = {letter: torch.randn(2, 37, 2, 8, generator=generator) for letter in "qkv"}
given["x"] = torch.randn(2, 37, 16, generator=generator)
padding = {"lengths": torch.tensor([30, 37])}, {"mask": torch.arange(37) >= torch.tensor([[7], [0]])}
for name in attention_impls.names():
    card = attention_impls.load(name).card
    if "torch" not in attention_impls.load(name).backends or card.one_graph is not True:
        continue
    attention = Attention(name, heads=2, head_dim=8, max_length=64, seed=0, **asdict(card.variants[0]))
    for more in padding if name in ("elfatt", "primal") else padding[:1]:
        compiled = torch.compile(attention, fullgraph=True, backend="aot_eager")
        results = []
        for call in (compiled, attention):
            taken = {letter: given[letter].clone().requires_grad_() for letter in attention.inputs}
            out = call(**taken, **more)
            (out.square().sum() + (0 if attention.penalty is None else attention.penalty.sum())).backward()
            results.append((out, attention.penalty, *(array.grad for array in taken.values())))
        for found, expected in zip(*results):
            torch.testing.assert_close(found, expected)
    print(name)

layer = torch.nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
layer.self_attn = MultiheadAttention(16, 2, mechanism="elfatt@block_size=16", batch_first=True)
compiled = torch.compile(layer.eval(), fullgraph=True, backend="aot_eager")
for mask in (padding[1]["mask"], torch.where(padding[1]["mask"], 0.0, -torch.inf)):
    mask = ~mask if mask.dtype == torch.bool else mask
    found = compiled(given["x"], src_key_padding_mask=mask)
    torch.testing.assert_close(found, layer(given["x"], src_key_padding_mask=mask))
try:
    compiled(given["x"], src_key_padding_mask=torch.full((2, 37), 0.5))
except RuntimeError as error:
    assert "neither 0 nor -inf" in str(error), error
else:
    raise AssertionError("a mask of other numbers was taken")
"""


@pytest.mark.slow
def test_mechanisms_compile_as_one_graph() -> None:
    done = subprocess.run([sys.executable, "-c", COMPILE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    assert {"elfatt", "softmax", "performer", "primal"} <= set(done.stdout.split())
