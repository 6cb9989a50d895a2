"""Attention as a layer, alike in both frameworks: what it computes, whom it loads, and what it refuses."""

from __future__ import annotations

import inspect
import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from layer_cases import BACKENDS, SIZES, TOKENS, array, drawn, layers, made, numbers, outside, own_arrays

import attention_impls
from attention_impls.base import AttentionError
from attention_impls.choice import choose
from attention_impls.saved import read_run
from attention_impls.spec import parse_one
from lra.core.spec import Spec
from lra.library import resolve, train
from lra.training import checkpoint
from lra.training.record import Record

MASKS = {
    "behind": [[True] * 20 + [False] * 17, [True] * 37],
    "before": [[False] * 17 + [True] * 20, [False] * 37],
    "between": [([True, False] * 19)[:37], [True] * 5 + [False] * 30 + [True] * 2],
}


@BACKENDS
def test_importing_the_layers_loads_one_framework(backend: str) -> None:
    name = layers(backend).__name__
    code = f"import sys, {name}; print(*({{'torch', 'jax'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [backend]


@BACKENDS
@pytest.mark.parametrize("kind", MASKS)
def test_a_mask_gives_what_its_tokens_give_in_front(kind: str, backend: str) -> None:
    attention = made(backend, "elfatt@block_size=8")
    given, _ = drawn(backend)
    mask = np.array(MASKS[kind])
    out = numbers(attention(**given, mask=array(backend, mask)))
    assert not out[~mask].any()
    front = {letter: np.zeros((2, TOKENS, 2, 8), np.float32) for letter in given}
    for example, real in enumerate(mask):
        for letter, each in given.items():
            front[letter][example, : real.sum()] = numbers(each)[example, real]
    lengths = array(backend, mask.sum(1), np.int32)
    alone = numbers(attention(**{letter: array(backend, each) for letter, each in front.items()}, lengths=lengths))
    for example, real in enumerate(mask):
        np.testing.assert_array_equal(out[example][real], alone[example, : real.sum()])


@BACKENDS
def test_lengths_hide_what_stands_behind_them(backend: str) -> None:
    attention = made(backend, "elfatt@block_size=16")
    given, _ = drawn(backend)
    lengths = array(backend, [20, 37], np.int32)
    out = numbers(attention(**given, lengths=lengths))
    real = np.arange(37)[:, None, None] < 20
    spoilt = {letter: array(backend, np.where(real, numbers(each), np.nan)) for letter, each in given.items()}
    assert np.array_equal(numbers(attention(**spoilt, lengths=lengths))[0], out[0])
    assert not out[0, 20:].any()
    assert out[1].all(-1).all()


@BACKENDS
def test_a_mechanism_gets_what_it_takes(backend: str) -> None:
    given, x = drawn(backend)
    primal = made(backend, "primal@rank=4")
    out = numbers(primal(**given, x=x))
    assert np.array_equal(out, numbers(primal(given["q"], given["k"], x=x)))
    assert not np.array_equal(out, numbers(primal(given["q"], given["k"], x=2 * x)))
    parts = primal.parts({**given, "x": x}, None)
    assert numbers(parts.penalty).shape == (2,)
    assert parts.carry is None


CARD = """
from dataclasses import replace
from attention_impls.softmax import CARD as SOFTMAX
CARD = replace(SOFTMAX, title="Toy", inputs=("v",), carries=True, residual=True)
"""
CODE = """
def attend(v, layer):
    carry = v * (layer.index + 1) / layer.depth
    carry = carry if layer.carry is None else carry + layer.carry
    return (carry.reshape(layer.residual.shape) + layer.residual).reshape(v.shape), carry
"""


@BACKENDS
def test_a_layer_hands_on_what_its_card_says(backend: str, tmp_path: Path) -> None:
    folder = outside(tmp_path / "toy", CARD, CODE)
    first, second = (made(backend, folder, index=index, depth=2) for index in (0, 1))
    given, x = drawn(backend)
    below = first.parts({"v": given["v"]}, None, residual=x)
    above = numbers(second(v=given["v"], carry=below.carry, residual=x))
    expected = 1.5 * numbers(given["v"]).reshape(2, TOKENS, 16) + numbers(x)
    np.testing.assert_allclose(above.reshape(expected.shape), expected, rtol=1e-6)
    with pytest.raises(AttentionError, match="both mask and carry are given"):
        second(v=given["v"], carry=below.carry, residual=x, mask=array(backend, MASKS["behind"]))


REFUSED: dict[str, tuple[str, dict[str, Any]]] = {
    "unknown attention 'elfat': did you mean 'elfatt'": ("elfat", {}),
    "elfatt: unknown option 'blocksize': did you mean 'block_size'": ("elfatt", {"blocksize": 3}),
    "elfatt: block_size is 0, expected at least 1": ("elfatt", {"block_size": 0}),
    "elfatt: option block_size is in the text and an argument too": ("elfatt@block_size=16", {"block_size": 8}),
    "attention 'elfatt@': expected NAME@option=value": ("elfatt@", {}),
    "attention 'linear,softmax': expected NAME@option=value": ("linear,softmax", {}),
    "elfatt: grid is (7, 9), expected at least max_length": ("elfatt@layout=2d@block_size=16", {"grid": (7, 9)}),
    "softmax: heads is 0, expected at least 1": ("softmax", {"heads": 0}),
    "primal: width is 3, expected heads × head_dim = 16": ("primal", {"width": 3}),
}


@BACKENDS
@pytest.mark.parametrize("said", REFUSED)
def test_what_cannot_be_had_is_told_in_one_line(said: str, backend: str) -> None:
    name, given = REFUSED[said]
    with pytest.raises(AttentionError) as raised:
        made(backend, name, **given)
    assert str(raised.value).startswith(said)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ({"head_dim": 8.5}, "softmax: head_dim is 8.5, expected a whole number"),
        ({"grid": (3,)}, r"softmax: grid is \(3,\), expected null or a list of 2"),
    ],
)
def test_sizes_that_are_none_are_told_in_one_line(sizes: dict[str, Any], said: str) -> None:
    pytest.importorskip("torch")
    with pytest.raises(AttentionError, match=said):
        choose("softmax", "torch", {}, **{**SIZES, "grid": None, **sizes})


WRONG: dict[str, dict[str, Any]] = {
    "softmax takes q, k, v: v is missing": {"v": None},
    "q is float32 of shape (2, 37, 16), expected floating point of (B, N, H, D) = (2, 37, 2, 8)": {
        "q": np.ones((2, 37, 16))
    },
    "k is float32 of shape (2, 36, 2, 8), expected floating point of (B, N, H, D)": {"k": np.ones((2, 36, 2, 8))},
    "k is int32 of shape (2, 37, 2, 8), expected floating point": {"k": np.ones((2, 37, 2, 8), np.int32)},
    "q is float32, k is float16: give all in one dtype": {"k": np.ones((2, 37, 2, 8), np.float16)},
    "65 tokens given, expected at most 64": {letter: np.ones((2, 65, 2, 8)) for letter in "qkv"},
    "both lengths and mask are given: expected one of them": {
        "lengths": np.array([3, 4], np.int32),
        "mask": np.ones((2, 37), bool),
    },
    "lengths are float32 of shape (2,), expected whole numbers": {"lengths": np.ones(2)},
    "lengths are int32 of shape (3,), expected whole numbers of (B,) = (2,)": {"lengths": np.ones(3, np.int32)},
    "lengths are [3, 38], expected 0 to 37": {"lengths": np.array([3, 38], np.int32)},
    "mask is float32 of shape (2, 37), expected": {"mask": np.ones((2, 37))},
    "mask is bool of shape (2, 1, 37), expected": {"mask": np.ones((2, 1, 37), bool)},
}


@BACKENDS
@pytest.mark.parametrize("said", WRONG)
def test_inputs_that_do_not_fit_are_told_in_one_line(said: str, backend: str) -> None:
    given: dict[str, Any] = {**drawn(backend)[0]}
    given |= {name: None if each is None else array(backend, each) for name, each in WRONG[said].items()}
    with pytest.raises(ValueError, match=r"^[^\n]*$") as raised:
        made(backend, "softmax")(**given)
    assert str(raised.value).replace("torch.", "").startswith(said)


@BACKENDS
def test_on_a_grid_a_mask_may_only_end(backend: str) -> None:
    attention = made(backend, "elfatt@layout=2d@block_size=16", grid=(8, 8))
    given, _ = drawn(backend)
    behind, lengths = array(backend, MASKS["behind"]), array(backend, [20, 37], np.int32)
    np.testing.assert_array_equal(
        numbers(attention(**given, mask=behind)), numbers(attention(**given, lengths=lengths))
    )
    with pytest.raises(AttentionError, match="mask has padding before a real token"):
        attention(**given, mask=array(backend, MASKS["before"]))


@BACKENDS
def test_no_option_is_called_like_an_argument(backend: str) -> None:
    taken = set(inspect.signature(layers(backend).Attention.__init__).parameters)
    for name in attention_impls.names():
        assert not taken & {field.name for field in fields(attention_impls.load(name).card.options)}, name


@pytest.mark.parametrize(
    "text",
    ["elfatt", "focused-linear", 'sparse@pattern="fixed"', "performer@epsilon=1e-4@features=8", "elfatt@layout=2d"],
)
def test_a_spelling_means_what_it_means_on_the_command_line(text: str) -> None:
    spec = Spec.parse(text)
    assert parse_one(text) == (spec.name, spec.options)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Record, Path]]:
    """A trained run of each of two mechanisms, one of which has constants: its record and its folder of results."""
    pytest.importorskip("torch")
    results = tmp_path_factory.mktemp("results")
    specs = {"performer": "performer@features=16", "elfatt": "elfatt@block_size=16"}
    return {
        name: (train(resolve("listops", spec, backend="torch", preset="smoke"), results=results, device="cpu"), results)
        for name, spec in specs.items()
    }


@BACKENDS
@pytest.mark.parametrize("name", ["performer", "elfatt"])
def test_a_run_loads_into_a_layer(name: str, backend: str, runs: dict[str, tuple[Record, Path]]) -> None:
    record, results = runs[name]
    best = results / ".work" / record.run_id / "best.safetensors"
    saved = checkpoint.load(best)
    (found,) = results.glob(f"runs/*-{record.run_id[:8]}.json")
    for path in (best, best.parent, found, str(found)):
        attention = layers(backend).Attention.from_run(path, 1)
        arrays = own_arrays(backend, attention)
        assert arrays
        for own, values in arrays.items():
            kind = "constant/" if name == "performer" else ""
            np.testing.assert_array_equal(values, saved[f"{kind}layers.1.attention.{own}"])
    assert attention.dims.max_length == len(saved["positions.embedding"])
    assert vars(attention.options) == record.options


@BACKENDS
def test_a_run_that_is_not_there_is_told(backend: str, runs: dict[str, tuple[Record, Path]], tmp_path: Path) -> None:
    from_run = layers(backend).Attention.from_run
    record, results = runs["elfatt"]
    (found,) = results.glob(f"runs/*-{record.run_id[:8]}.json")
    for path, layer, said in (
        (found, 2, r"layer is 2, expected 0 to 1"),
        (tmp_path / "a.json", 0, r"a\.json cannot be read"),
        (tmp_path / ".work" / "abc" / "best.safetensors", 0, "no record of run abc"),
        (results / "runs", 0, "no record of run runs"),
    ):
        with pytest.raises(AttentionError, match=said):
            from_run(path, layer)
    (tmp_path / "runs").mkdir()
    for text, said in ((found.read_text(), "cannot be read: copy the weights"), ("{}", "is not the record of a run")):
        (tmp_path / "runs" / found.name).write_text(text)
        with pytest.raises(AttentionError, match=said):
            from_run(tmp_path / "runs" / found.name)
    (tmp_path / "runs" / found.name).write_text(found.read_text())
    weights = tmp_path / ".work" / record.run_id / "best.safetensors"
    weights.parent.mkdir(parents=True)
    weights.write_bytes(b"no weights")
    with pytest.raises(AttentionError, match="does not have the weights of the run"):
        from_run(weights)


def test_a_record_may_be_named_from_its_own_folder(
    runs: dict[str, tuple[Record, Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    record, results = runs["elfatt"]
    monkeypatch.chdir(results / "runs")
    (name,) = Path().glob(f"*-{record.run_id[:8]}.json")
    assert read_run(name, 0, None).mechanism == "elfatt"


def test_weights_of_another_run_are_refused(runs: dict[str, tuple[Record, Path]], tmp_path: Path) -> None:
    (one, results), (other, elsewhere) = runs["elfatt"], runs["performer"]
    (found,) = results.glob(f"runs/*-{one.run_id[:8]}.json")
    (tmp_path / "runs").mkdir()
    shutil.copy(found, tmp_path / "runs")
    folder = tmp_path / ".work" / one.run_id
    folder.mkdir(parents=True)
    shutil.copy(elsewhere / ".work" / other.run_id / "best.safetensors", folder)
    with pytest.raises(AttentionError, match=f"it is of run {other.run_id}, but the record of {one.run_id}"):
        read_run(tmp_path / "runs" / found.name, 0, None)


@BACKENDS
def test_arrays_that_do_not_fit_leave_a_layer_as_it_was(backend: str) -> None:
    attention = made(backend, "elfatt")
    before = own_arrays(backend, attention)
    good = {name: each + 1 for name, each in before.items()}
    name = "local_conv.bias"
    for wrong, said in (
        ({name: good[name]}, "array local_conv.weight is missing"),
        ({**good, "more": good[name]}, "array more is unknown"),
        ({**good, "local_conv.weight": good[name]}, r"local_conv.weight has shape \(2, 8\), expected \(2, 8, 3\)"),
    ):
        with pytest.raises(AttentionError, match=said):
            attention.load_arrays(wrong, {})
    for own, values in own_arrays(backend, attention).items():
        np.testing.assert_array_equal(values, before[own])
