"""The encoder and its step: equal in both frameworks, to the last digits that float64 gives."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import attention_impls
from attention_impls import primal
from lra.model.batches import NO_EXAMPLE
from lra.model.weights import initial_weights, parameter_count
from tests import small

torch = pytest.importorskip("torch")
jax = pytest.importorskip("jax")

BOTH = [name for name in attention_impls.names() if len(attention_impls.load(name).backends) == 2]

# One of each kind: whole heads, a penalty, a carry, a residual, groups with a scan. The others' steps are slow tests.
QUICK = ("elfatt", "softmax", "primal", "luna", "mega", "s5")

# Protocol: 2 layers, 64 wide, 2 heads, FFN 128; (vocabulary, positions, towers, classes) -> parameters as published.
PUBLISHED = {
    "listops": ((32, 2048, 1, 10), 209_802),
    "text": ((512, 4096, 1, 2), 370_562),
    "retrieval": ((512, 4096, 2, 2), 395_138),
    "image": ((512, 1024, 1, 10), 174_986),
    "pathfinder": ((512, 1024, 1, 2), 173_954),
}


def tier(attn: str) -> list[pytest.MarkDecorator]:
    return [] if attn in QUICK else [pytest.mark.slow]


def float64(weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: array.astype(np.float64) for name, array in weights.items()}


@pytest.mark.parametrize("task", PUBLISHED)
def test_parameter_counts_equal_the_published_ones(task: str) -> None:
    (vocabulary, length, towers, classes), published = PUBLISHED[task]
    model = replace(small.MODEL, width=64, ffn=128, classifier=128, vocabulary=vocabulary)
    plan = replace(small.blueprint(model=model, towers=towers, length=length), classes=classes)
    assert parameter_count(initial_weights(plan)) == published


@pytest.mark.parametrize(
    ("attn", "full"),
    [
        *(pytest.param(name, False, id=f"ragged-{name}", marks=tier(name)) for name in BOTH),
        *(pytest.param(name, True, id=f"full-{name}", marks=tier(name)) for name in ("elfatt", "nystrom", "softmax")),
    ],
)
def test_six_steps_agree_in_float64(attn: str, full: bool) -> None:
    plan = small.blueprint(attn)
    weights = float64(initial_weights(plan))
    feed = small.chunks(small.split(full=full), steps=6)
    ours, *_ = small.losses("torch", plan, weights, feed)
    with jax.enable_x64(True):
        theirs, *_ = small.losses("jax", plan, weights, feed)
    np.testing.assert_allclose(ours, theirs, rtol=1e-9)
    assert abs(ours[-1] - ours[0]) > 1e-3, "the loss has to move, or equal curves say nothing"


@pytest.mark.parametrize("attn", ["linear", "primal"])
def test_two_towers_agree(attn: str) -> None:
    plan = small.blueprint(attn, towers=2)
    weights = float64(initial_weights(plan))
    feed = small.chunks(small.split(towers=2), steps=3)
    ours, *_ = small.losses("torch", plan, weights, feed)
    with jax.enable_x64(True):
        theirs, *_ = small.losses("jax", plan, weights, feed)
    np.testing.assert_allclose(ours, theirs, rtol=1e-9)


@pytest.mark.parametrize("name", ["torch", "jax"])
def test_a_penalty_is_trained_on_but_not_reported(name: str) -> None:
    plan = small.blueprint("primal")
    weights, feed = initial_weights(plan), small.chunks(small.split(), steps=2)
    without, with_penalty = (
        small.losses(name, replace(plan, options=primal.Options(eta=eta)), weights, feed)[0] for eta in (0.0, 1.0)
    )
    assert without[0] == with_penalty[0], "before the first step only the penalty differs"
    assert without[1] != with_penalty[1]


@pytest.mark.parametrize("name", ["torch", "jax"])
def test_rows_without_an_example_have_no_penalty(name: str) -> None:
    plan = replace(small.blueprint("primal"), options=primal.Options(eta=1.0))
    (chunk,) = small.chunks(small.split(full=True), steps=3)
    labels = chunk.labels.copy()
    labels[:, 2:] = NO_EXAMPLE
    cut = small.rows(chunk, slice(2))
    masked, alone = (
        small.losses(name, plan, initial_weights(plan), [feed])[0] for feed in (replace(chunk, labels=labels), cut)
    )
    np.testing.assert_allclose(masked, alone, rtol=1e-5)


@pytest.mark.parametrize("attn", ["softmax", "elfatt"])
def test_fifty_steps_agree_in_float32(attn: str) -> None:
    model = replace(small.MODEL, width=32, ffn=64)
    plan = small.blueprint(attn, model=model)
    train = replace(small.TRAIN, steps=50, batch_size=8, learning_rate=2e-3, evaluate_every=25, chunk=25)
    feed = small.chunks(small.split(examples=64), train)
    weights = initial_weights(plan)
    ours, *_ = small.losses("torch", plan, weights, feed)
    theirs, *_ = small.losses("jax", plan, weights, feed)
    assert np.abs(ours - theirs).max() < 1e-4


@pytest.mark.parametrize("name", ["torch", pytest.param("jax", marks=pytest.mark.slow)])
@pytest.mark.parametrize("attn", ["elfatt", "softmax"])
def test_bfloat16_keeps_the_first_losses_and_what_is_learnt_in_float32(name: str, attn: str) -> None:
    plan = small.blueprint(attn)
    weights, feed = initial_weights(plan), small.chunks(small.split(full=True), steps=3)
    exact, *_ = small.losses(name, plan, weights, feed)
    rounded = replace(plan, train=replace(plan.train, precision="bfloat16"))
    found, state, backend = small.losses(name, rounded, weights, feed)
    np.testing.assert_allclose(found, exact, rtol=2e-2)
    assert (found != exact).all(), "losses that nothing has rounded say nothing"
    assert {array.dtype.name for array in backend.snapshots(state)[0].values()} == {"float32", "int64"}
    assert backend.environment()["precision"].split()[0] == "bfloat16"


@pytest.mark.parametrize(("trained", "scored"), [("torch", "jax"), ("jax", "torch")])
def test_a_checkpoint_scores_the_same_in_the_other_framework(trained: str, scored: str) -> None:
    plan = small.blueprint("elfatt")
    feed = small.chunks(small.split())
    _, state, backend = small.losses(trained, plan, initial_weights(plan), feed)
    [mine] = backend.evaluate(state, feed[0])
    [weights] = backend.weights(state)
    assert set(weights) == set(initial_weights(plan))
    other = small.backends.get(scored, [plan], "cpu")
    [theirs] = other.evaluate(other.start([weights]), feed[0])
    assert (mine.correct == theirs.correct).all()
    np.testing.assert_allclose(mine.loss, theirs.loss, rtol=1e-5)


@pytest.mark.parametrize("name", ["torch", "jax"])
def test_dropout_is_keyed_by_the_step_and_off_in_evaluation(name: str) -> None:
    plan = small.blueprint(model=replace(small.MODEL, dropout=0.5))
    weights, feed = initial_weights(plan), small.chunks(small.split())
    frozen = [replace(chunk, rates=np.zeros(3), tokens=feed[0].tokens, labels=feed[0].labels) for chunk in feed]
    frozen = [replace(chunk, lengths=feed[0].lengths) for chunk in frozen]
    first, state, backend = small.losses(name, plan, weights, frozen)
    again, *_ = small.losses(name, plan, weights, frozen)
    assert (first == again).all()
    assert (first[:3] != first[3:]).all(), "the same batches at other steps drop other units"
    scores = [backend.evaluate(state, frozen[0])[0].loss for _ in range(2)]
    assert (scores[0] == scores[1]).all()


# primal's arrays are drawn transposed, and PyTorch keeps the strides of what it copies from NumPy.
@pytest.mark.parametrize(("name", "attn"), [("torch", "elfatt"), ("torch", "primal"), ("jax", "elfatt")])
def test_a_snapshot_goes_on_bit_for_bit(name: str, attn: str) -> None:
    plan = small.blueprint(attn, model=replace(small.MODEL, dropout=0.2))
    weights, feed = initial_weights(plan), small.chunks(small.split())
    whole, *_ = small.losses(name, plan, weights, feed)
    _, state, backend = small.losses(name, plan, weights, feed[:1])
    arrays = backend.snapshots(state)
    fresh = small.backends.get(name, [plan], "cpu")
    _, [sums] = fresh.train_steps(fresh.start([weights], arrays), [feed[1]])
    assert (sums.loss / sums.count == whole[3:]).all()


@pytest.mark.parametrize("name", ["torch", "jax"])
def test_rows_without_an_example_count_nowhere(name: str) -> None:
    plan = small.blueprint()
    chunk = small.chunks(small.split())[0]
    labels = chunk.labels.copy()
    labels[:, 1:] = -1
    backend = small.backends.get(name, [plan], "cpu")
    state = backend.start([initial_weights(plan)])
    [alone] = backend.evaluate(state, replace(chunk, labels=labels))
    [first] = backend.evaluate(state, small.rows(chunk, slice(1)))
    assert alone.count.tolist() == [1, 1, 1]
    np.testing.assert_allclose(alone.loss, first.loss, rtol=1e-5)


@pytest.mark.parametrize("name", ["torch", "jax"])
def test_an_example_is_right_for_one_of_its_labels(name: str) -> None:
    plan = small.blueprint("linear")
    chunk = small.chunks(small.split())[0]
    backend = small.backends.get(name, [plan], "cpu")
    state = backend.start([initial_weights(plan)])
    found = [backend.evaluate(state, replace(chunk, labels=(chunk.labels + k) % plan.classes))[0] for k in range(3)]
    assert np.sum([each.correct for each in found], 0).tolist() == found[0].count.tolist()
