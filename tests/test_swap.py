"""Softmax replaced without training: what the evidence measures is what it says, on an encoder made by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small import MODEL, blueprint, split

from attention_impls.elfatt import Options
from lra import backends
from lra.core.config import Run, resolve
from lra.core.environment import ROOT
from lra.core.errors import UserError
from lra.model.batches import gatherers
from lra.model.blueprint import Blueprint
from lra.model.weights import initial_weights
from tests.evidence import swap

torch = pytest.importorskip("torch")


def with_options(attn: str, **options: object) -> Blueprint:
    made = blueprint(attn)
    return replace(made, options=replace(made.options, **options))


def layers() -> list[swap.Arrays]:
    plan = blueprint("softmax")
    return swap.recorded(plan, initial_weights(plan), split(), 4)


def test_the_examples_are_spread_over_a_sorted_split() -> None:
    whole = split(examples=10)
    assert swap.some(whole, 4).examples[:, 0].tolist() == [0, 3, 6, 9]
    assert swap.some(whole, 10).labels.tolist() == whole.labels.tolist()


def test_the_same_function_has_no_error_and_another_has_one() -> None:
    found = layers()
    assert [given["q"].shape for given in found] == MODEL.depth * [(4, found[0]["q"].shape[1], 2, 8)]
    whole = with_options("elfatt", local_conv=False, global_share=0.0, block_size=64)
    for same in (blueprint("softmax"), whole):  # one block that covers every token is softmax
        assert max(swap.output_errors(same, found)) < 1e-5
    for other in (blueprint("efficient"), with_options("local", block_size=8)):
        assert min(swap.output_errors(other, found)) > 1e-2


def test_the_mean_of_the_values_is_that_of_real_tokens() -> None:
    given = layers()[0]
    exact = given["out"].numpy()
    mean = np.zeros_like(exact)
    for number, length in enumerate(given["lengths"].flatten().tolist()):
        mean[number, :length] = given["v"][number, :length].numpy().mean(0)
    expected = np.linalg.norm(mean - exact) / np.linalg.norm(exact)
    assert swap.mean_errors([given]) == pytest.approx([expected], rel=1e-4)


def test_every_swap_has_the_arrays_of_softmax_and_one_with_arrays_of_its_own_is_refused() -> None:
    run = resolve("image", "softmax", backend="torch", preset="quick")
    assert [swap.swapped(run, attn).mechanism.name for attn in swap.SWAPS][:2] == ["softmax", "elfatt"]
    with pytest.raises(UserError, match="elfatt has other arrays than softmax"):
        swap.swapped(run, "elfatt")
    assert swap.swapped(run, "elfatt@local_conv=false").options == Options(local_conv=False)


def test_one_per_cent_of_the_steps_are_taken_on_the_batches_that_follow(monkeypatch: pytest.MonkeyPatch) -> None:
    plan, data = blueprint("efficient"), split(examples=10)
    backend, weights = backends.get("torch", [plan], "cpu"), initial_weights(plan)
    gather = gatherers({"train": data}, 4, 300, backend.grouping)["train"]
    taken = []
    train_steps = type(backend).train_steps

    def spy(self: object, state: object, chunks: list) -> object:
        taken.extend(chunks)
        return train_steps(backend, state, chunks)

    monkeypatch.setattr(type(backend), "train_steps", spy)
    state = swap.trained_on(backend, weights, gather, len(data), small_run())
    assert np.concatenate([chunk.steps for chunk in taken]).tolist() == [300, 301, 302]
    assert np.concatenate([chunk.rates for chunk in taken]).max() == small_run().train.learning_rate
    assert any((now != weights[name]).any() for name, now in backend.weights(state)[0].items())
    assert 0 <= swap.right_answers(backend, state, gather, 4) <= 10


def small_run() -> Run:
    run = resolve("image", "softmax", backend="torch", preset="smoke")
    return replace(run, train=replace(run.train, steps=300, batch_size=4, warmup=30, evaluate_every=100, chunk=2))


def test_a_page_says_what_was_swapped_and_draws_no_conclusion() -> None:
    text = swap.page([swap.row("elfatt", swap.Swapped(errors=[0.5, 0.25], right=30, later=None), 100)], "the command")
    assert "| elfatt | 0.500 | 0.250 | 30.0 ± 4.6 | – |" in text
    assert "- elfatt: `elfatt@local_conv=false`, blocks of 128\n" in text
    assert "Not measured: diffusion" in text


def test_another_run_than_softmax_is_refused_in_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = next((ROOT / "results" / "runs").glob("image-elfatt-torch-quick-s0-*.json"))
    monkeypatch.setattr("sys.argv", ["swap", str(path), "--page", str(tmp_path / "swap.md")])
    with pytest.raises(SystemExit) as left:
        swap.main()
    assert left.value.code == 2
    assert "expected softmax in torch without --attn.local-conv" in capsys.readouterr().err.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []
