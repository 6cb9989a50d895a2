"""What `attend` may rely on, and what its callers may: the contract, tried with toy mechanisms from outside."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attention_cases import Case, dims_for, draw, output

import attention_impls
from attention_impls.base import AttentionError, Layer
from lra.model.weights import initial_weights
from tests import small

BACKENDS = pytest.mark.parametrize("backend", ["torch", "jax"])
# A sum of the values below is handed on, as Luna hands on a summary; the un-normed stream is added, as in Mega.
CARD = """
from dataclasses import replace
from attention_impls.softmax import CARD as SOFTMAX
CARD = replace(SOFTMAX, title="Toy", inputs=("v",), carries=True, residual=True)
"""
ATTEND = """
seen = []

def attend(v, layer):
    seen.append(layer)
    carry = v * (layer.index + 1) / layer.depth
    if layer.carry is not None:
        carry = carry + layer.carry
    inner = carry.reshape(layer.residual.shape) + layer.residual
    inner = inner if layer.drop is None else layer.drop(inner)
    return inner.reshape(v.shape), carry
"""


def folder(path: Path, code: str, card: str = CARD, backends: tuple[str, ...] = ("torch", "jax")) -> str:
    path.mkdir()
    (path / "__init__.py").write_text(card)
    for backend in backends:
        (path / f"{backend}_impl.py").write_text(code)
    return str(path)


def layers_seen(mechanism: attention_impls.Mechanism, backend: str) -> list[Layer]:
    return mechanism._code(backend).seen


@BACKENDS
def test_a_layer_knows_its_place_the_stream_and_what_is_handed_on(backend: str, tmp_path: Path) -> None:
    pytest.importorskip(backend)
    plan = small.blueprint(folder(tmp_path / "toy", ATTEND), replace(small.MODEL, dropout=0.1))
    curve, state, framework = small.losses(backend, plan, initial_weights(plan), small.chunks(small.split()))
    assert np.isfinite(curve).all()
    first, second = layers_seen(plan.mechanism, backend)[:2]
    assert [(each.index, each.depth) for each in (first, second)] == [(0, 2), (1, 2)]
    assert first.carry is None
    assert second.carry.shape == (*second.residual.shape[:2], plan.dims.heads, plan.dims.head_dim)
    assert first.drop is not None
    framework.evaluate(state, small.chunks(small.split())[0])
    assert layers_seen(plan.mechanism, backend)[-1].drop is None


def test_both_frameworks_agree_on_carry_residual_and_dropout(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("jax")
    plan = small.blueprint(folder(tmp_path / "toy", ATTEND), replace(small.MODEL, dropout=0.3))
    feed, weights = small.chunks(small.split()), initial_weights(plan)
    ours, theirs = (small.losses(backend, plan, weights, feed)[0] for backend in ("torch", "jax"))
    np.testing.assert_allclose(ours, theirs, rtol=2e-5)
    without = {"carry": ("layer.carry is not None", "False"), "residual": ("+ layer.residual", "")}
    for name, change in (without | {"drop": ("layer.drop is None", "True")}).items():
        toy = folder(tmp_path / name, ATTEND.replace(*change))
        other = small.losses("torch", small.blueprint(toy, replace(small.MODEL, dropout=0.3)), weights, feed)[0]
        assert abs(other - ours).max() > 1e-3, name


@BACKENDS
def test_the_stream_is_zero_where_no_token_is(backend: str, tmp_path: Path) -> None:
    arrays = pytest.importorskip("torch" if backend == "torch" else "jax.numpy")
    mechanism = attention_impls.load(folder(tmp_path / "toy", ATTEND))
    dims = dims_for(4, heads=1, head_dim=2)
    v, stream = arrays.ones((1, 4, 1, 2)), arrays.ones((1, 4, 2)) * float("nan")
    mechanism.attend(backend)(
        v,
        lengths=arrays.asarray([3]),
        params={},
        constants={},
        options=mechanism.card.options(),
        dims=dims,
        residual=stream,
    )
    given = layers_seen(mechanism, backend)[-1].residual
    assert not np.isfinite(np.asarray(given[:, :3])).any()
    assert not np.asarray(given[:, 3:]).any()


OLD = "def attend(q, k, v, *, lengths, params, constants, options, dims):\n    return v\n"
SOFTMAX = "from attention_impls.softmax import CARD"
WRONG = {
    "another shape": ("return v[:, :, 0]", r"returned \(4, 37, 8\), expected shape \(B, N, H, D\) = \(4, 37, 4, 8\)"),
    "no array": ("return None", r"returned NoneType, expected shape \(B, N, H, D\)"),
}


@BACKENDS
def test_the_old_signature_is_told_what_to_change(backend: str, tmp_path: Path) -> None:
    pytest.importorskip(backend)
    mechanism = attention_impls.load(folder(tmp_path / "old", OLD, SOFTMAX))
    with pytest.raises(
        AttentionError, match=r"_impl\.py: attend takes q, k, v, lengths, .*: define attend\(q, k, v, layer\) and read"
    ):
        mechanism.attend(backend)


@BACKENDS
@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_result_is_told(kind: str, backend: str, tmp_path: Path) -> None:
    pytest.importorskip(backend)
    body, said = WRONG[kind]
    name = folder(tmp_path / "wrong", f"def attend(q, k, v, layer):\n    {body}\n", SOFTMAX)
    case = Case(name, attention_impls.load(name).card.options())
    with pytest.raises(AttentionError, match=said):
        output(case, backend, draw(case, 37, (37, 0, 1, 20)))


@BACKENDS
@pytest.mark.parametrize(("returned", "said"), [("v", r"\w+"), ("(v,)", "a tuple of 1")])
def test_a_part_that_the_card_announces_is_missed(returned: str, said: str, backend: str, tmp_path: Path) -> None:
    pytest.importorskip(backend)
    card = "from dataclasses import replace\nfrom attention_impls.softmax import CARD as SOFTMAX\n"
    name = folder(
        tmp_path / "half",
        f"def attend(q, k, v, layer):\n    return {returned}\n",
        card + "CARD = replace(SOFTMAX, penalty=True)",
    )
    case = Case(name, attention_impls.load(name).card.options())
    with pytest.raises(AttentionError, match=rf"half/{backend}_impl\.py returned {said}, but its card has 2 parts"):
        output(case, backend, draw(case, 37, None))


@BACKENDS
def test_more_tokens_than_parameters_are_refused(backend: str) -> None:
    case: Any = Case("softmax", attention_impls.load("softmax").card.options())
    inputs = draw(case, 37, None)
    with pytest.raises(ValueError, match="37 tokens given, expected at most 16"):
        output(case, backend, replace(inputs, dims=dims_for(16)))
