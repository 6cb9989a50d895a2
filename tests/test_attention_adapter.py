"""A mechanism written as an ordinary module, in a folder outside, trains like any other."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attention_cases import Case, draw, error, output, reference

import attention_impls
from attention_impls.base import AttentionError
from lra.cli.main import main
from lra.model.weights import initial_weights, learned
from lra.training import checkpoint
from tests import small

# Softmax attention whose scores are multiplied by a learned scale, and a table that is not learned.
TORCH = """
import torch
from torch import nn

class Attention(nn.Module):
    def __init__(self, dims):
        super().__init__()
        self.mix = nn.Linear(dims.head_dim, dims.head_dim, bias=False)
        self.register_buffer("heads", torch.arange(dims.heads))
        self.drop = nn.Dropout(0.5)

    def forward(self, q, k, v, mask):
        scores = torch.einsum("bnhd,bmhd->bhnm", self.drop(self.mix(q)), k[:, :, self.heads]) / q.shape[-1] ** 0.5
        if mask is not None:
            scores = scores.masked_fill(~mask[:, None, None], -1e9)
        return torch.einsum("bhnm,bmhd->bnhd", scores.softmax(-1), v)
"""
JAX = """
import jax
import jax.numpy as jnp
from flax import nnx

class Attention(nnx.Module):
    def __init__(self, dims, rngs):
        self.mix = nnx.List([nnx.Linear(dims.head_dim, dims.head_dim, rngs=rngs)])
        self.heads = nnx.Variable(jnp.arange(dims.heads))
        self.drop = nnx.Dropout(0.5, rngs=rngs)

    def __call__(self, q, k, v, mask):
        scores = jnp.einsum("bnhd,bmhd->bhnm", self.drop(self.mix[0](q)), k[:, :, self.heads[...]])
        if mask is not None:
            scores = jnp.where(mask[:, None, None], scores / q.shape[-1] ** 0.5, -1e9)
        return jnp.einsum("bhnm,bmhd->bnhd", jax.nn.softmax(scores, -1), v)
"""
OWN = {"torch": {"mix.weight"}, "jax": {"mix.0.kernel", "mix.0.bias"}}
EYE = {"mix.weight": np.eye(8), "mix.0.kernel": np.eye(8), "mix.0.bias": np.zeros(8)}
both = pytest.mark.parametrize("backend", ["torch", "jax"])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a module for each framework and nothing else."""
    made = tmp_path / "mine"
    made.mkdir()
    (made / "torch_impl.py").write_text(TORCH)
    (made / "jax_impl.py").write_text(JAX)
    return made


def plan(folder: Path, backend: str) -> Any:
    """The small encoder around the folder's mechanism."""
    mechanism = attention_impls.load(str(folder)).on(backend)
    return replace(small.blueprint("linear"), mechanism=mechanism, options=mechanism.card.options())


@both
def test_a_module_sees_the_mask_and_its_arrays(folder: Path, backend: str) -> None:
    case = Case(str(folder), attention_impls.load(str(folder)).card.options())
    inputs = replace(draw(case, 37, (37, 0, 1, 20)), constants={"heads": np.arange(4.0)})
    inputs = replace(inputs, params={name: EYE[name] for name in OWN[backend]})
    softmax = Case("softmax", attention_impls.load("softmax").card.options())
    assert error(output(case, backend, inputs), reference(softmax, replace(inputs, params={}))) < 1e-9
    doubled = replace(inputs, params={name: 2 * array for name, array in inputs.params.items()})
    assert error(output(case, backend, doubled), output(case, backend, inputs)) > 1e-2


@both
def test_its_arrays_are_drawn_from_the_seed(folder: Path, backend: str) -> None:
    pytest.importorskip(backend)
    first = plan(folder, backend)
    one, two, other = (initial_weights(each) for each in (first, first, replace(first, seed=1)))
    names = [f"layers.{layer}.attention.{name}" for layer in (0, 1) for name in OWN[backend]]
    assert {name for name in learned(one) if ".attention." in name} == set(names)
    assert one["constant/layers.0.attention.heads"].tolist() == [0, 1]
    weight = next(name for name in names if not name.endswith("bias"))
    np.testing.assert_array_equal(one[weight], two[weight])
    assert not np.array_equal(one[weight], other[weight])
    assert not np.array_equal(one[weight], one[weight.replace("layers.0", "layers.1")])


def test_drawing_leaves_the_generator_of_pytorch_alone(folder: Path) -> None:
    torch = pytest.importorskip("torch")
    before = torch.get_rng_state()
    initial_weights(plan(folder, "torch"))
    assert torch.equal(torch.get_rng_state(), before)


@both
def test_a_snapshot_goes_on_bit_for_bit(folder: Path, backend: str) -> None:
    pytest.importorskip(backend)
    blueprint = plan(folder, backend)
    weights, feed = initial_weights(blueprint), small.chunks(small.split())
    whole, *_ = small.losses(backend, blueprint, weights, feed)
    _, state, opened = small.losses(backend, blueprint, weights, feed[:1])
    fresh = small.backends.get(backend, [blueprint], "cpu")
    _, [sums] = fresh.train_steps(fresh.start([weights], opened.snapshots(state)), [feed[1]])
    assert (sums.loss / sums.count == whole[3:]).all()


@both
def test_a_run_trains_the_module(folder: Path, backend: str, tmp_path: Path) -> None:
    pytest.importorskip(backend)
    words = ["--task", "listops", "--attn", str(folder), "--preset", "smoke", "--device", "cpu", "--backend", backend]
    assert main([*words, "--results", str(tmp_path / "results")]) == 0
    record = json.loads(next((tmp_path / "results" / "runs").glob("listops-mine-*.json")).read_text())
    assert (record["attn"], record["options"]) == (str(folder), {})
    assert np.isfinite([point["train_loss"] for point in record["curve"]]).all()
    best = checkpoint.load(next((tmp_path / "results" / ".work").glob("*/best.safetensors")))
    assert {f"layers.0.attention.{name}" for name in OWN[backend]} <= set(best)


def test_loading_a_folder_loads_no_framework(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "torch_impl.py").write_text("raise RuntimeError('imported')")
    mechanism = attention_impls.load(str(folder))
    assert (mechanism.name, mechanism.card.title, mechanism.backends) == ("mine", "mine", ("torch", "jax"))
    with pytest.raises(ValueError, match="mine has no card, so its cost is unknown"):
        mechanism.card.operations(None, small.blueprint().dims, 64)


def test_a_card_and_its_options_may_stand_beside_a_module(folder: Path) -> None:
    pytest.importorskip("torch")
    (folder / "__init__.py").write_text("from attention_impls.linear import CARD")
    (folder / "torch_impl.py").write_text(TORCH.replace("(self, dims)", "(self, dims, options)"))
    mechanism = attention_impls.load(str(folder)).on("torch")
    assert mechanism.card.title == "Linear"
    made = mechanism.card.params(mechanism.card.options(), small.blueprint().dims, np.random.default_rng(0))
    assert set(made) == OWN["torch"]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("class Attention", "class Attentoin", "has neither `attend` nor `class Attention`"),
        ("(self, dims)", "(self, width)", "needs width: its constructor gets only dims, options"),
        (
            'return torch.einsum("bhnm,bmhd->bnhd"',
            'return torch.einsum("bhnm,bmhd->bhnd"',
            "expected shape (B, N, H, D)",
        ),
    ],
)
def test_a_mistake_gets_one_line(
    old: str, new: str, said: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    (folder / "torch_impl.py").write_text(TORCH.replace(old, new))
    words = ["--task", "listops", "--attn", str(folder), "--preset", "smoke", "--device", "cpu"]
    assert main([*words, "--results", str(tmp_path / "results")]) == 2
    assert said in capsys.readouterr().err.strip().splitlines()[-1]
    assert issubclass(AttentionError, ValueError)
