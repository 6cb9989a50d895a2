"""A mechanism's cost grows as its card claims: multiply-adds and memory, counted on shapes and not timed."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from attention_cases import Case, dims_for, measured_implementations, uphold
from attention_meter import footprint, jaxpr_footprint, live_elements
from tiers import in_tiers

import attention_impls


@pytest.mark.parametrize(("case", "backend"), in_tiers(measured_implementations()))
def test_cost_grows_as_claimed(case: Case, backend: str) -> None:
    uphold(case, "cost_grows_as_claimed")
    card = case.mechanism.card
    lengths = (1024, 4096) if card.quadratic else (1024, 4096, 16384)
    dims = dims_for(lengths[-1], heads=2)
    found = {tokens: footprint(case, backend, tokens, dims.max_length) for tokens in lengths}
    claimed = {tokens: card.operations(case.options, dims, tokens) for tokens in lengths}
    transforms = {tokens: card.transforms(case.options, dims, tokens, True) for tokens in lengths}
    held = {tokens: card.memory(case.options, dims, tokens) for tokens in lengths}
    for tokens in lengths:
        assert found[tokens].multiply_adds == pytest.approx(claimed[tokens], rel=0.15)
        assert found[tokens].transforms == pytest.approx(transforms[tokens], rel=0.01)
        assert found[tokens].scans == card.scans(case.options, dims, tokens)
    for short, long in itertools.pairwise(lengths):
        if claimed[short]:  # a mechanism may have no matrix product
            work = found[long].multiply_adds / found[short].multiply_adds
            assert work == pytest.approx(claimed[long] / claimed[short], rel=0.15)
        memory = found[long].peak / found[short].peak
        if case.name == "softmax" or (card.quadratic and backend == "torch"):  # a fused softmax keeps no scores
            assert memory <= held[long] / held[short] * 1.15
        else:
            assert memory == pytest.approx(held[long] / held[short], rel=0.15)


@pytest.mark.parametrize(
    ("case", "backend"),
    in_tiers(each for each in measured_implementations() if not each.values[0].mechanism.card.quadratic),
)
def test_no_array_of_tokens_by_tokens(case: Case, backend: str) -> None:
    card, dims = case.mechanism.card, dims_for(32768, heads=2)
    small, large = (footprint(case, backend, tokens, 32768).largest for tokens in (4096, 32768))
    claimed = card.memory(case.options, dims, 32768) / card.memory(case.options, dims, 4096)
    assert claimed <= 8**1.5, "a memory that grows faster than N·√N is a quadratic card's"
    assert large / small <= claimed * 1.15
    assert large < 32768**2 / 8


@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_the_meter_sees_softmax(backend: str) -> None:
    found = footprint(Case("softmax", attention_impls.load("softmax").card.options()), backend, 1024, 1024)
    assert found.multiply_adds == 2 * 2 * 8 * 1024**2
    # JAX on a CPU has the scores of 128 queries of one head; PyTorch's kernel has none.
    assert found.largest == (128 * 1024 if backend == "jax" else 2 * 8 * 1024)
    assert found.peak > found.largest


def test_the_meter_of_pytorch_follows_what_is_alive() -> None:
    torch = pytest.importorskip("torch")
    given = torch.zeros(10, device="meta")
    with live_elements([given]) as meter:
        kept = given[:, None] * given  # 100
        given.view(2, 5).add_(1)  # nothing new
        (kept + 1).sum()  # 100 and 1 more, which nothing holds
        kept[:5].clone()  # 50
    assert (meter.peak, meter.largest, meter.live) == (201, 100, 100)


def test_the_meter_of_jax_follows_what_is_alive() -> None:
    jax = pytest.importorskip("jax")

    def call(given: Any) -> Any:
        kept = given[:, None] * given  # two inputs of (10, 1) and (1, 10), and 100
        return jax.lax.scan(lambda total, row: (total + row, row * 2), given, kept + 1)[1]

    found = jaxpr_footprint(jax.make_jaxpr(call)(jax.numpy.zeros(10)).jaxpr)
    assert found.largest == 100
    assert found.peak == 100 + (10 + 100) + (10 + 10)  # the scan's input, its results, and one turn of its body
