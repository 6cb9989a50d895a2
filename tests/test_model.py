"""What a model may have otherwise: norms, layers, positions, continuous pixels, dropout; alike in both frameworks."""

from __future__ import annotations

import importlib
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tasks
from attention_impls.s4 import Options as S4
from lra import backends
from lra.core.errors import UserError
from lra.model import dropout
from lra.model.blueprint import Blueprint, require_input
from lra.model.groups import setting
from lra.model.rotary import turns
from lra.model.schedule import schedule
from lra.model.weights import initial_weights, learned
from lra.training import data
from lra.training.loop import Interrupted
from lra.training.trainer import train
from tests import small

BACKENDS = pytest.mark.parametrize("name", ["torch", "jax"])
S4_BLOCK: dict[str, Any] = {"projection": False, "ffn": 0, "positions": "none"}
PLANS: dict[str, tuple[str, dict[str, Any], int]] = {
    "post": ("s4", {**S4_BLOCK, "norm": "post", "classifier": 0, "dropout": 0.3, "tied_dropout": True}, 1),
    "towers": ("s4", {**S4_BLOCK, "activation": "gelu"}, 2),
    "post-ffn": ("softmax", {"norm": "post", "positions": "rope", "dropout": 0.3, "embedding_dropout": 0.0}, 1),
    "pixels": ("mega", {**S4_BLOCK, "pixels": "continuous", "pixel_mean": 5.0, "pixel_std": 3.0}, 1),
}


def planned(name: str) -> Blueprint:
    attn, changes, towers = PLANS[name]
    plan = small.blueprint(attn, replace(small.MODEL, **changes), towers=towers)
    return replace(plan, options=S4(state=4)) if attn == "s4" else plan


@pytest.mark.parametrize("name", PLANS)
def test_three_steps_agree_in_float64(name: str) -> None:
    pytest.importorskip("torch")
    jax = pytest.importorskip("jax")
    plan = planned(name)
    weights = {key: array.astype(np.float64) for key, array in initial_weights(plan).items()}
    feed = small.chunks(small.split(towers=plan.towers, full=name == "pixels"), steps=3)
    ours, state, framework = small.losses("torch", plan, weights, feed)
    with jax.enable_x64(True):
        theirs, other, twin = small.losses("jax", plan, weights, feed)
    np.testing.assert_allclose(ours, theirs, rtol=1e-9)
    [mine], [its] = framework.weights(state), twin.weights(other)
    assert mine.keys() == its.keys() == weights.keys()
    still = [key for key in learned(mine) if np.array_equal(mine[key], weights[key])]
    assert still == [], "every learned array has to move"


def test_arrays_that_a_model_does_not_need_are_not_there() -> None:
    """At width 16 and depth 2; the numbers of the mechanism are its card's."""
    plan = planned("post")
    names = set(learned(initial_weights(plan)))
    assert {name for name in names if ".attention." not in name} == {
        "tokens.embedding", "classifier_out.kernel", "classifier_out.bias",
        *(f"layers.{layer}.attention_norm.{kind}" for layer in (0, 1) for kind in ("scale", "bias")),
    }  # fmt: skip
    pixels = initial_weights(planned("pixels"))
    assert pixels["pixels.kernel"].shape == (1, 16)
    assert not {"tokens.embedding", "positions.embedding"} & set(pixels)


@BACKENDS
def test_continuous_pixels_are_numbers(name: str) -> None:
    """(8 − 5) / 3 is the number that 1 is where nothing is subtracted, and 5 is 0."""
    shifted = planned("pixels")
    plain = replace(shifted, model=replace(shifted.model, pixel_mean=0.0, pixel_std=1.0))
    values = np.where(np.arange(small.LENGTH) % 3, 1, 0)
    ours = scores(name, shifted, 5 + 3 * values)
    np.testing.assert_allclose(ours, scores(name, plain, values), rtol=1e-5, atol=1e-6)
    assert np.abs(ours - scores(name, shifted, 8 - 3 * values)).max() > 1e-4


def scores(name: str, plan: Blueprint, values: np.ndarray) -> np.ndarray:
    """Logits of a batch whose rows all have these tokens."""
    pytest.importorskip(name)
    [chunk] = small.chunks(small.split(full=True), replace(small.TRAIN, chunk=1), steps=1)
    tokens = np.broadcast_to(values, chunk.tokens.shape).astype(chunk.tokens.dtype)
    backend = backends.get(name, [plan], "cpu")
    return backend.logits(backend.start([initial_weights(plan)]), replace(chunk, tokens=tokens))[0]


def test_rotations_make_scores_of_distances() -> None:
    cosine, sine = turns(40, 8)
    rng = np.random.default_rng(0)
    q, k = rng.normal(size=8), rng.normal(size=8)

    def turned(x: np.ndarray, at: int) -> np.ndarray:
        a, b = x[:4], x[4:]
        return np.concatenate([a * cosine[at] - b * sine[at], b * cosine[at] + a * sine[at]])

    assert turned(q, 7) @ turned(k, 3) == pytest.approx(turned(q, 36) @ turned(k, 32))
    assert turned(q, 7) @ turned(k, 3) != pytest.approx(turned(q, 7) @ turned(k, 4))


@BACKENDS
def test_rope_tells_the_order_of_tokens_and_none_does_not(name: str) -> None:
    values, apart = np.random.default_rng(0).integers(1, 12, small.LENGTH), {}
    for positions in ("rope", "none"):
        plan = small.blueprint("softmax", replace(small.MODEL, positions=positions))
        apart[positions] = np.abs(scores(name, plan, values) - scores(name, plan, np.roll(values, 5))).max()
    assert apart["none"] < 1e-5 < 1e-4 < apart["rope"]


@pytest.mark.parametrize("towers", [1, 2])
def test_tied_dropout_has_one_mask_for_all_positions(towers: int) -> None:
    torch = pytest.importorskip("torch")
    jax = pytest.importorskip("jax")
    from lra.backends.jax.dropout import Dropping as OfJax
    from lra.backends.torch.dropout import Dropping as OfTorch

    places, x = np.array([3, 0, 2], np.int32), np.ones((3 * towers, 33, 20), np.float32)
    tokens = np.zeros((3, towers, 33), np.int32)
    drop = OfTorch(7, 0.3, True).at(torch.tensor(5, dtype=torch.int32), torch.tensor(places), torch.tensor(tokens))
    twin = OfJax(jax.numpy.uint32(7), jax.numpy.int32(5), 0.3, True).of(
        jax.numpy.asarray(places), jax.numpy.asarray(tokens)
    )
    assert drop is not None
    assert twin is not None
    rows = (places[:, None] * towers + np.arange(towers)).ravel()
    expected = dropout.kept(7, 5, rows, 33, 1, dropout.WITHIN, 20, 0.3, tied=True)
    assert (expected == expected[:, :1]).all()
    assert 0.5 < expected[:, 0].mean() < 0.9
    found = drop(torch.tensor(x), 1, dropout.WITHIN).numpy(), np.asarray(twin(jax.numpy.asarray(x), 1, dropout.WITHIN))
    for each in found:
        np.testing.assert_array_equal(each != 0, expected)
    assert not (drop.at_rate(0.0)(torch.tensor(x), 1, dropout.WITHIN) == 0).any()


@pytest.mark.parametrize(
    ("attn", "changes", "told"),
    [
        ("s4d", {"positions": "rope"}, "model.positions is rope, expected learned or none: s4d takes x"),
        ("softmax", {"positions": "rope", "heads": 16}, "model.positions is rope, expected an even head_dim"),
        ("softmax", {"pixels": "continuous"}, "model.pixels is continuous, expected embedded for mine"),
        ("softmax", {"vocabulary": 4}, "model.vocabulary is 4, expected at least 12 for mine"),
    ],
)
def test_models_that_do_not_fit_are_refused(attn: str, changes: dict[str, Any], told: str) -> None:
    plan = small.blueprint(attn, replace(small.MODEL, **changes))
    with pytest.raises(UserError, match=f"^{told}"):
        require_input(plan, "mine", 12)


def test_biases_and_norms_of_the_blocks_may_have_a_decay_of_their_own() -> None:
    plan = small.blueprint("s4d", small.MODEL)
    plan = replace(plan, train=replace(small.TRAIN, weight_decay=0.05, bias_decay=0.0, state_decay=0.3))
    decays = {name: setting(plan, name).decay for name in learned(initial_weights(plan))}
    free = {name for name, decay in decays.items() if decay == 0.0}
    blocks = {name for name in decays if name.startswith("layers.")}
    assert free - blocks == {"norm.scale", "norm.bias"}
    assert {name.partition(".")[2].partition(".")[2] for name in free & blocks} == {
        "attention_norm.scale", "attention_norm.bias", "ffn_norm.scale", "ffn_norm.bias",
        "output.bias", "ffn_in.bias", "ffn_out.bias", "attention.glu.bias",
    }  # fmt: skip
    assert decays["layers.0.attention.skip"] == decays["tokens.embedding"] == decays["classifier_in.bias"] == 0.05
    assert decays["layers.0.attention.b.imag"] == 0.3


def test_the_cosine_is_that_of_a_warm_up_and_half_a_period() -> None:
    train = replace(small.TRAIN, steps=90, warmup=20, cycle=100, schedule="cosine", learning_rate=0.01)
    rates = schedule(train)(np.array([0, 1, 10, 20, 60, 80, 100]))
    np.testing.assert_allclose(rates, 0.01 * np.array([0, 0.05, 0.5, 1, 0.5, (1 - np.sqrt(0.5)) / 2, 0]), atol=1e-12)


@pytest.mark.parametrize("name", ["torch", pytest.param("jax", marks=pytest.mark.slow)])
def test_a_run_of_such_a_model_goes_on_and_its_layers_are_loaded(name: str, tmp_path: Path) -> None:
    """Stopped and resumed it is the run that was never stopped; without positions a file says how long it may be."""
    pytest.importorskip(name)
    layers = importlib.import_module({"torch": "attention_impls.torch", "jax": "attention_impls.flax"}[name])
    run = small.smoke_run("listops", "s4", backend=name, steps=4, evaluate_every=2, chunk=1, schedule="cosine")
    run = replace(run, model=replace(run.model, norm="post", classifier=0, **S4_BLOCK), options=S4(state=4))
    prepared = data.prepare(run.task, run.data, data.source(None, 1))
    stop = small.Quiet({2: lambda: signal.raise_signal(signal.SIGINT)})
    with pytest.raises(Interrupted, match="step 2 of 4"):
        train(run, prepared, small.place(tmp_path / "cut"), stop)
    cut, path = train(run, prepared, small.place(tmp_path / "cut", resume=True), small.Quiet())
    whole, _ = train(run, prepared, small.place(tmp_path / "whole"), small.Quiet())
    assert cut.curve == whole.curve
    assert cut.test_accuracy == whole.test_accuracy
    attention = layers.Attention.from_run(path, 1)
    assert attention.dims.max_length == tasks.load("listops").shape(run.data).max_length
    assert attention.options == run.options
