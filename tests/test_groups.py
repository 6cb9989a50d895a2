"""Arrays with a learning rate and a decay of their own: what a card groups, a training sets, and both frameworks do."""

from __future__ import annotations

import importlib
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import attention_impls
from lra.core.config import as_dict, from_dict, resolve
from lra.core.documents import read_yaml
from lra.core.errors import UserError
from lra.core.identity import canonical_text, revisions, run_id
from lra.core.presets import CONFIGS, PRESETS, preset_values, presets_of
from lra.model.blueprint import Blueprint
from lra.model.groups import Setting, setting
from lra.model.weights import Weights, initial_weights, learned
from tests import small

GROUPS: dict[str, Any] = {"conv.weight": "kernel", "conv.bias": "step", "glu.weight": "state"}
RATES = {"state_rate": 0.005, "state_decay": 0.0, "step_rate": 0.0, "kernel_rate": 0.02, "kernel_decay": 0.5}
BACKENDS = ("torch", "jax")


def grouped(**rates: Any) -> Blueprint:
    """A small encoder whose mechanism has arrays in every group, with the main rate at 0.01 and its decay too."""
    plan = small.blueprint("window_conv", model=replace(small.MODEL, depth=1))
    card = replace(plan.mechanism.card, groups=GROUPS)
    return replace(plan, mechanism=replace(plan.mechanism, card=card), train=replace(small.TRAIN, **rates))


def in_float64(name: str) -> AbstractContextManager[Any]:
    """Inside, the framework keeps the digits of float64 arrays."""
    return importlib.import_module("jax").enable_x64(True) if name == "jax" else nullcontext()


def one_step(name: str, plan: Blueprint, rate: float = 0.01) -> tuple[Weights, Weights]:
    """The learned arrays before and after one step at that rate of the schedule."""
    weights = {key: array.astype(np.float64) for key, array in initial_weights(plan).items()}
    [chunk, *_] = small.chunks(small.split(full=True), replace(small.TRAIN, chunk=1))
    _, state, backend = small.losses(name, plan, weights, [replace(chunk, rates=np.array([rate]))])
    return learned(weights), learned(backend.weights(state)[0])


def directions(plan: Blueprint, before: Weights, after: Weights, chosen: Any = setting) -> Weights:
    """What Adam's update was, if each array was moved by its rate and decay; NaN where it was not to be moved."""
    found = {}
    for name, array in before.items():
        own = chosen(plan, name)
        with np.errstate(invalid="ignore"):
            found[name] = (array * (1 - 0.01 * own.factor * own.decay) - after[name]) / (0.01 * own.factor or np.nan)
    return found


@pytest.mark.parametrize("name", BACKENDS)
def test_each_group_moves_by_its_rate_and_its_decay(name: str) -> None:
    pytest.importorskip(name)
    plan = grouped(**RATES)
    with in_float64(name):
        plain, own = one_step(name, grouped()), one_step(name, plan)
    expected, found = directions(grouped(), *plain), directions(plan, *own)
    for key in expected:
        if "conv.bias" in key:
            np.testing.assert_array_equal(own[1][key], own[0][key])  # at rate 0 nothing moves
        else:
            np.testing.assert_allclose(found[key], expected[key], atol=1e-9, err_msg=key)

    def wrong(plan: Blueprint, name: str) -> Setting:
        """Kernel and state matrix exchanged."""
        swap = {"conv.weight": "glu.weight", "glu.weight": "conv.weight"}
        for one, other in swap.items():
            if name.endswith(one):
                return setting(plan, name.replace(one, other))
        return setting(plan, name)

    mistaken = directions(plan, *own, chosen=wrong)
    for key in ("layers.0.attention.conv.weight", "layers.0.attention.glu.weight"):
        assert np.abs(mistaken[key] - expected[key]).max() > 0.1


def test_a_training_with_groups_agrees_in_float64() -> None:
    pytest.importorskip("torch")
    jax = pytest.importorskip("jax")
    plan = grouped(**RATES)
    weights = {key: array.astype(np.float64) for key, array in initial_weights(plan).items()}
    feed = small.chunks(small.split(full=True), replace(small.TRAIN, chunk=1), steps=3)
    ours, state, backend = small.losses("torch", plan, weights, feed)
    with jax.enable_x64(True):
        theirs, other, twin = small.losses("jax", plan, weights, feed)
    np.testing.assert_allclose(ours, theirs, rtol=1e-9)
    [mine], [its] = backend.weights(state), twin.weights(other)
    for key in mine:
        np.testing.assert_allclose(mine[key], its[key], atol=1e-9, err_msg=key)


def test_the_captured_step_is_the_eager_one_with_groups() -> None:
    torch = pytest.importorskip("torch")
    from test_torch_graph import Plain, feed, require_same, trained

    from lra.backends.torch.backend import TorchBackend

    plan = grouped(state_rate=0.005, kernel_rate=0.02, kernel_decay=0.5)  # factors that float32 holds
    weights, cpu, chunks = initial_weights(plan), torch.device("cpu"), feed(full=True)
    captured = TorchBackend(plan, cpu, Plain)
    require_same(trained(captured, chunks, weights), trained(TorchBackend(plan, cpu), chunks, weights))
    assert captured.environment()["step"] == "captured"


def test_settings_follow_the_training_where_a_group_has_none_of_its_own() -> None:
    plan = grouped(kernel_rate=0.001)
    main = Setting(factor=1.0, decay=0.01)
    at = "layers.0.attention."
    assert setting(plan, f"{at}conv.weight") == Setting(factor=0.001 / 0.01, decay=0.01)
    for name in (f"{at}conv.bias", f"{at}glu.bias", "layers.0.output.kernel", "conv.weight", "tokens.embedding"):
        assert setting(plan, name) == main


@pytest.mark.parametrize("name", attention_impls.names())
def test_a_card_groups_arrays_that_it_has(name: str) -> None:
    card = attention_impls.load(name).card
    dims = small.blueprint().dims
    made = {key for each in card.variants for key in card.params(each, dims, np.random.default_rng(0))}
    assert card.groups.keys() <= made | {key.partition(".")[0] for key in made}


def test_groups_that_are_not_set_change_no_id() -> None:
    run = small.smoke_run()
    text = canonical_text(run, "0", revisions(run))
    assert not any(f"{group}_{kind}" in text for group in ("state", "step", "kernel") for kind in ("rate", "decay"))


@pytest.mark.parametrize("field", [*RATES, "step_decay"])
def test_a_group_that_a_mechanism_has_not_is_refused(field: str) -> None:
    values = as_dict(small.smoke_run())
    values["train"][field] = 0.5
    group = field.partition("_")[0]
    with pytest.raises(
        UserError, match=f"^here: train.{field} is 0.5, expected none: softmax has no array in group {group}"
    ):
        from_dict(values, "here")


def with_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """window_conv with arrays in every group."""
    load, mechanism = attention_impls.load, attention_impls.load("window_conv")
    mine = replace(mechanism, card=replace(mechanism.card, groups=GROUPS))
    monkeypatch.setattr(attention_impls, "load", lambda name: mine if name == "window_conv" else load(name))


def test_a_preset_sets_the_groups_that_a_mechanism_has(monkeypatch: pytest.MonkeyPatch) -> None:
    before = {preset: preset_values("listops", preset) for preset in PRESETS}
    with_groups(monkeypatch)
    for preset in PRESETS:
        assert preset_values("listops", preset, "softmax") == before[preset]
    run = resolve("listops", "window_conv", preset="quick")
    assert (run.train.state_rate, run.train.state_decay, run.train.kernel_rate) == (1e-3, 0.0, 1e-3)
    slower = replace(run, train=replace(run.train, kernel_rate=5e-4))
    assert run_id(slower, "0") != run_id(run, "0")
    assert from_dict(as_dict(slower), "here") == slower


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_task_sets_every_group(path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with_groups(monkeypatch)
    blocks = read_yaml(path)
    assert all(set(blocks[preset].get("groups", {})) <= {"state", "step", "kernel"} for preset in presets_of(path.stem))
    usual, quick = (resolve(path.stem, "window_conv", preset=preset).train for preset in ("standard", "quick"))
    assert usual.state_decay == usual.step_decay == quick.state_decay == quick.step_decay == 0.0
    for train in (usual, quick):
        for rate in (train.state_rate, train.step_rate, train.kernel_rate):
            assert (rate or train.learning_rate) <= train.learning_rate, "what is slower elsewhere is not faster here"


@pytest.mark.parametrize("name", ["torch", pytest.param("jax", marks=pytest.mark.slow)])
def test_arrays_of_a_group_keep_their_digits_where_all_else_is_rounded(name: str) -> None:
    """Frequencies that a bfloat16 holds are moved by less than it shows."""
    plan = small.blueprint("s4d", model=replace(small.MODEL, depth=1))
    plan = replace(plan, train=replace(plan.train, precision="bfloat16"))
    weights = initial_weights(plan)
    key = "layers.0.attention.frequency"
    weights[key] = np.broadcast_to(np.arange(weights[key].shape[1], dtype=np.float32), weights[key].shape)
    moved = weights | {key: weights[key] * np.float32(1 + 2.0**-10)}
    [chunk, *_] = small.chunks(small.split(full=True))
    losses = [small.losses(name, plan, each, [replace(chunk, rates=np.zeros(3))])[0][0] for each in (weights, moved)]
    assert losses[0] != losses[1]
    blind = replace(plan, mechanism=replace(plan.mechanism, card=replace(plan.mechanism.card, groups={})))
    rounded = [small.losses(name, blind, each, [replace(chunk, rates=np.zeros(3))])[0][0] for each in (weights, moved)]
    assert rounded[0] == rounded[1]
