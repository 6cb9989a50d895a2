"""Dropout: the same bits in NumPy, PyTorch and JAX, and bits that know nothing of one another."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lra.model import dropout
from lra.model.dropout import ATTENDED, EMBEDDED, HIDDEN, OUTPUT
from lra.model.padding import WHOLE, Grouping
from lra.model.weights import initial_weights
from tests import small

SHAPE = (6, 33, 20)
PLACES = np.array([3, 0, 5, 1, 4, 2])
RATE = 0.3
BACKENDS = ("torch", "jax")


def kept(seed: int, step: int, layer: int, site: int, shape: tuple[int, ...] = SHAPE, rate: float = RATE) -> np.ndarray:
    places = PLACES if len(PLACES) == shape[0] else np.arange(shape[0])
    return dropout.kept(seed, step, places, shape[1], layer, site, shape[2], rate)


def dropped_by_torch(x: np.ndarray, seed: int, step: int, layer: int, site: int, dtype: str, towers: int = 1) -> Any:
    torch = pytest.importorskip("torch")
    from lra.backends.torch.dropout import Dropping

    places = torch.from_numpy(PLACES[: len(x) // towers].astype(np.int32))
    tokens = torch.zeros(len(places), towers, x.shape[1], dtype=torch.int32)
    drop = Dropping(seed, RATE).at(torch.tensor(step, dtype=torch.int32), places, tokens)
    assert drop is not None
    given = torch.tensor(x, dtype=getattr(torch, dtype), requires_grad=True)
    out = drop(given, layer, site)
    (gradient,) = torch.autograd.grad(out.sum(), given)
    return out.detach().double().numpy(), gradient.double().numpy()


def dropped_by_jax(x: np.ndarray, seed: int, step: int, layer: int, site: int, towers: int = 1) -> Any:
    jax = pytest.importorskip("jax")
    jnp = jax.numpy
    from lra.backends.jax.dropout import Dropping

    def dropped(given: Any, seed: Any, step: Any, places: Any, tokens: Any) -> Any:
        drop = Dropping(seed, step, RATE).of(places, tokens)
        assert drop is not None
        out = drop(given, layer, site)
        return out.sum(), out

    places = jnp.asarray(PLACES[: len(x) // towers], jnp.int32)
    tokens = jnp.zeros((len(places), towers, x.shape[1]), jnp.int32)
    gradient, out = jax.jit(jax.grad(dropped, has_aux=True))(
        jnp.asarray(x, jnp.float32), jnp.uint32(seed), jnp.int32(step), places, tokens
    )
    return np.asarray(out, float), np.asarray(gradient, float)


@pytest.mark.parametrize(
    ("seed", "step", "layer", "site"), [(0, 0, 0, EMBEDDED), (7, 4999, 1, HIDDEN), (2**32 - 1, 2**31 - 1, 11, 15)]
)
def test_every_framework_drops_what_the_definition_says(seed: int, step: int, layer: int, site: int) -> None:
    x = np.random.default_rng(0).normal(size=SHAPE)
    mask = kept(seed, step, layer, site) * dropout.Rate.of(RATE).scale
    for dtype, bound in (("float32", 1e-6), ("float64", 0), ("bfloat16", 1e-2)):  # bfloat16 takes the GPU's way
        out, gradient = dropped_by_torch(x, seed, step, layer, site, dtype)
        np.testing.assert_allclose(out, x * mask, rtol=bound)
        np.testing.assert_allclose(gradient, mask, rtol=bound)
    out, gradient = dropped_by_jax(x, seed, step, layer, site)
    np.testing.assert_allclose(out, x.astype(np.float32) * mask, rtol=1e-6)
    np.testing.assert_allclose(gradient, mask, rtol=1e-6)


def test_both_documents_of_an_example_have_rows_of_their_own() -> None:
    x = np.ones(SHAPE)
    rows = (PLACES[:3, None] * 2 + np.arange(2)).reshape(-1)
    mask = dropout.kept(1, 2, rows, SHAPE[1], 0, ATTENDED, SHAPE[2], RATE)
    for out in (dropped_by_torch(x, 1, 2, 0, ATTENDED, "float64", 2)[0], dropped_by_jax(x, 1, 2, 0, ATTENDED, 2)[0]):
        np.testing.assert_array_equal(out > 0, mask)


def test_a_mask_knows_nothing_of_padding_or_of_the_other_rows() -> None:
    whole = kept(3, 4, 1, OUTPUT)
    part = dropout.kept(3, 4, PLACES[2:4], 11, 1, OUTPUT, SHAPE[2], RATE)
    np.testing.assert_array_equal(part, whole[2:4, :11])


LARGE = (16, 128, 64)
AXES = {
    "seed": lambda n: kept(n, 5, 0, ATTENDED, LARGE),
    "step": lambda n: kept(1, 100 + n, 0, ATTENDED, LARGE),
    "layer": lambda n: kept(1, 5, n, ATTENDED, LARGE),
    "site": lambda n: kept(1, 5, 0, n, LARGE),
    "row": lambda n: np.roll(kept(1, 5, 0, ATTENDED, LARGE), n, 0),
    "position": lambda n: np.roll(kept(1, 5, 0, ATTENDED, LARGE), n, 1),
    "channel": lambda n: np.roll(kept(1, 5, 0, ATTENDED, LARGE), n, 2),
}


@pytest.mark.parametrize("axis", AXES)
def test_neighbours_along_every_coordinate_are_independent(axis: str) -> None:
    """Pairs of bits by chi-squared: 1 degree of freedom each, so 20 is once in 130,000 for true coins."""
    masks = [AXES[axis](number) for number in range(6)]
    for first, second in combinations(masks, 2):
        assert chi_squared(first, second) < 20


def chi_squared(first: np.ndarray, second: np.ndarray) -> float:
    """Of the four outcomes of a pair against those of independent bits with the rate that was asked for."""
    seen = np.bincount((2 * first.astype(int) + second).ravel(), minlength=4)
    keep = 1 - RATE
    expected = np.array([RATE**2, RATE * keep, keep * RATE, keep**2]) * first.size
    return float((np.square(seen - expected) / expected).sum() / 3)


@pytest.mark.parametrize("rate", [0.01, 0.1, 0.5, 0.9])
def test_rates_hold_overall_and_along_every_axis(rate: float) -> None:
    shape = (64, 128, 64)
    mask = np.stack([kept(0, step, 0, site, shape, rate) for step, site in [(0, 0), (1, 1), (50, 2), (4999, 3)]])
    for axes in [(), (0,), (1,), (2,), (3,), (0, 1), (1, 2), (2, 3)]:
        over = tuple(axis for axis in range(4) if axis not in axes)
        means = mask.mean(over)
        deviation = np.sqrt(rate * (1 - rate) / (mask.size / means.size))
        scores = (means - (1 - rate)) / deviation
        assert np.abs(scores).max() < 5.5  # of at most 8,192 means: once in 3,000 for true coins
        if means.size > 100:
            assert abs(scores.std() - 1) < 0.25, "means vary as those of coins do, not less and not more"


def test_the_channels_of_all_sites_are_pairwise_uncorrelated() -> None:
    shape = (64, 128, 24)
    masks = [kept(2, 9, layer, site, shape, 0.5) for layer in range(2) for site in range(4)]
    bits = np.concatenate([mask.reshape(-1, shape[2]) for mask in masks], 1) * 2.0 - 1
    correlations = bits.T @ bits / len(bits)
    off = correlations[np.triu_indices(len(correlations), 1)] * np.sqrt(len(bits))
    assert np.abs(off).max() < 5.5  # of 18,336 pairs: once in 1,400
    assert abs(off.std() - 1) < 0.05


def test_three_bits_of_a_row_have_no_common_parity() -> None:
    """A sum of words modulo a power of two would show here: such generators are linear along a row."""
    mask = kept(4, 2, 0, HIDDEN, (64, 128, 20), 0.5) * 2.0 - 1
    triples = [mask[..., i] * mask[..., j] * mask[..., k] for i, j, k in combinations(range(20), 3)]
    scores = np.array([triple.mean() * np.sqrt(triple.size) for triple in triples])
    assert np.abs(scores).max() < 5.0  # of 1,140
    assert abs(scores.std() - 1) < 0.1


def test_no_rate_and_the_highest_one() -> None:
    assert dropout.Rate.of(0.0).scale == 1
    assert dropout.Rate.of(1 - 1e-12).threshold == 2**32 - 1
    assert kept(0, 0, 0, 0, rate=1e-12).all()


def plan_of(rate: float = 0.2, attn: str = "softmax") -> Any:
    return small.blueprint(attn, model=replace(small.MODEL, dropout=rate))


def test_six_steps_with_dropout_agree_in_float64() -> None:
    jax = pytest.importorskip("jax")
    plan = plan_of(attn="linear")
    weights = {name: array.astype(np.float64) for name, array in initial_weights(plan).items()}
    feed = small.chunks(small.split(), steps=6)
    ours, *_ = small.losses("torch", plan, weights, feed)
    with jax.enable_x64(True):
        theirs, *_ = small.losses("jax", plan, weights, feed)
    np.testing.assert_allclose(ours, theirs, rtol=1e-9)
    without, *_ = small.losses("torch", plan_of(0.0, "linear"), weights, feed)
    assert np.abs(ours - without).min() > 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("name", BACKENDS)
def test_grouped_and_padded_batches_drop_the_same(name: str) -> None:
    pytest.importorskip(name)
    plan, data = plan_of(attn="elfatt"), small.split(examples=16)
    weights = initial_weights(plan)
    grouped, whole = (
        small.losses(name, plan, weights, small.chunks(data, grouping=grouping))[0]
        for grouping in (Grouping(groups=4, sizes=3), WHOLE)
    )
    np.testing.assert_allclose(grouped, whole, rtol=2e-5)


@pytest.mark.parametrize("name", BACKENDS)
def test_a_snapshot_goes_on_with_the_same_masks(name: str) -> None:
    pytest.importorskip(name)
    plan, feed = plan_of(), small.chunks(small.split())
    weights = initial_weights(plan)
    whole, *_ = small.losses(name, plan, weights, feed)
    first, state, backend = small.losses(name, plan, weights, feed[:1])
    state = backend.start([weights], backend.snapshots(state))
    state, [sums] = backend.train_steps(state, [feed[1]])
    np.testing.assert_array_equal(np.concatenate([first, sums.loss / sums.count]), whole)


def test_a_batch_in_parts_drops_what_the_whole_batch_does() -> None:
    """Each part on a device of its own, the gradients added: here as two chunks of half the rows."""
    plan = plan_of()
    weights = initial_weights(plan)
    whole = small.chunks(small.split(full=True))[0]
    parts = [small.rows(whole, slice(0, 2)), small.rows(whole, slice(2, 4))]
    together, *_ = small.losses("torch", plan, weights, [whole])
    apart = [small.losses("torch", plan, weights, [part])[0] for part in parts]
    np.testing.assert_allclose(np.mean(apart, 0)[0], together[0], rtol=1e-6)
    assert not np.isclose(apart[0][0], apart[1][0])


def test_compiled_code_is_kept_for_the_constants_that_it_was_made_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    from lra.backends.torch.dropout import compiled_loop

    monkeypatch.setattr(import_module("numba.core.config"), "CACHE_DIR", str(tmp_path))
    a, channels = np.arange(1, 9, dtype=np.uint32), np.arange(1, 6, dtype=np.uint32)
    found = []
    for factors in (dropout.FACTORS, (3, 5)):
        out = np.empty((len(a), len(channels)), np.float32)
        scale = np.float32(1)
        compiled_loop(dropout.SHIFTS, factors)(a, a, channels, np.uint32(2**31), scale, np.ones_like(out), out)
        found.append(out)
    assert len(list(tmp_path.rglob("*.nbc"))) == 2
    assert not np.array_equal(*found)
