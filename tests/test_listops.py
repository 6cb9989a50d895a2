"""ListOps: the compiled generator against the published recipe and figures, and the rules that need no learning."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.base import SPLITS, ExampleBlock, Source, Split, TaskError
from tasks.listops import TASK, ListOps
from tasks.listops.grammar import CLOSE, DIGIT, MAX, MIN, SM, VOCAB, decode, encode, evaluate
from tasks.listops.trees import sample
from tests.listops_data import SHORT, STANDARD, build, documents, join

DRAWN = 10_000
SIMULATED = 20_000  # trees behind the published label figures
SIGMAS = 4.5  # two-sided chance of 7e-6 a figure


def length_law(max_length: int, max_depth: int, max_args: int) -> np.ndarray:
    """Exact P(tree has n tokens), n < max_length, from the recipe alone: the law of a branching process by depth.

    law_d = 3/4 at one token + 1/4 · (two tokens + n arguments of law_{d-1}, n uniform in 2..max_args).
    """
    leaf = np.zeros(max_length)
    leaf[1] = 1
    law = leaf
    for _ in range(max_depth - 1):
        arguments, total = law, np.zeros(max_length)
        for _ in range(2, max_args + 1):
            arguments = np.convolve(arguments, law)[:max_length]
            total += arguments
        law = 0.75 * leaf
        law[2:] += 0.25 * total[:-2] / (max_args - 1)
    return law


@pytest.fixture(scope="module")
def standard() -> dict[str, Split]:
    return build(train=DRAWN, validation=10, test=2000)


@pytest.mark.parametrize("bounds", [STANDARD, SHORT], ids=["standard", "short"])
def test_lengths_follow_the_exact_law(bounds: dict[str, int]) -> None:
    law = length_law(bounds["max_length"], bounds["max_depth"], bounds["max_args"])
    law[: bounds["min_length"] + 1] = 0
    lengths = sample(np.random.default_rng(3), DRAWN, **bounds).lengths
    found = np.bincount(lengths, minlength=bounds["max_length"]) / DRAWN
    distance = np.abs(np.cumsum(found) - np.cumsum(law / law.sum())).max()
    assert distance < 2.47 / DRAWN**0.5, "Kolmogorov-Smirnov, exceeded by chance once in 100,000"


def test_exact_law_accepts_the_published_share_of_trees() -> None:
    law = length_law(2000, 10, 10)
    assert law[501:].sum() == pytest.approx(0.083, abs=5e-4)
    assert law[:501].sum() == pytest.approx(0.906, abs=5e-4)


def test_labels_have_the_published_frequencies(standard: dict[str, Split]) -> None:
    published = np.array([0.174, 0.089, 0.080, 0.082, 0.087, 0.083, 0.078, 0.073, 0.089, 0.166])
    share = np.bincount(standard["train"].labels, minlength=10) / DRAWN
    spread = np.sqrt(published * (1 - published) * (1 / DRAWN + 1 / SIMULATED))
    assert np.all(np.abs(share - published) < SIGMAS * spread + 5e-4)  # the figures are rounded to 0.001


@pytest.mark.parametrize(("rule", "published"), [("majority", 0.174), ("root operator", 0.363)])
def test_references_match_the_published_figures(standard: dict[str, Split], rule: str, published: float) -> None:
    # Scored on what the rule was fitted on, as the published figures were; 20,000 trees stand behind those.
    found = TASK.references(ListOps(), {"train": standard["train"], "test": standard["train"]})[rule]
    spread = (published * (1 - published) * (1 / DRAWN + 1 / SIMULATED)) ** 0.5
    assert abs(found - published) < SIGMAS * spread + 5e-4


def test_references_are_fitted_on_train_and_scored_on_test() -> None:
    def split(*examples: tuple[list[int], int]) -> Split:
        return join(
            [
                ExampleBlock(
                    split="test",
                    tokens=np.array([token for tokens, _ in examples for token in tokens], np.uint8),
                    lengths=np.array([len(tokens) for tokens, _ in examples]),
                    labels=np.array([label for _, label in examples], np.uint8),
                )
            ]
        )

    largest, lone = [MAX, DIGIT + 1, DIGIT + 9, CLOSE], [DIGIT + 4]
    train = split((largest, 9), (largest, 9), (largest, 8), (lone, 4), (lone, 4), (lone, 4), (lone, 4))
    test = split((largest, 9), (lone, 4), ([MIN, DIGIT, CLOSE], 0), ([SM, DIGIT + 4, CLOSE], 4))
    assert TASK.references(ListOps(), {"train": train, "test": test}) == {
        "chance": 0.1,
        "majority": 2 / 4,
        "root operator": 3 / 4,  # an operator that train lacks gets the majority label
    }


@st.composite
def bounds(draw: st.DrawFn) -> dict[str, int]:
    min_length = draw(st.integers(0, 20))
    return {
        "min_length": min_length,
        "max_length": min_length + draw(st.integers(15, 80)),
        "max_depth": draw(st.integers(3, 12)),
        "max_args": draw(st.integers(4, 12)),
    }


@settings(max_examples=60, deadline=None)
@given(bounds=bounds(), seed=st.integers(0, 2**32))
def test_generated_expressions_keep_every_bound_and_are_worth_their_value(bounds: dict[str, int], seed: int) -> None:
    trees = sample(np.random.default_rng(seed), 20, **bounds)
    assert len(trees.lengths) == len(trees.values) == 20
    assert trees.lengths.sum() == len(trees.tokens)
    assert trees.tokens.dtype == np.uint8
    assert trees.tokens.min() > 0
    assert trees.tokens.max() < VOCAB
    for tokens, value in zip(np.split(trees.tokens, np.cumsum(trees.lengths)[:-1]), trees.values, strict=True):
        assert bounds["min_length"] < len(tokens) < bounds["max_length"]
        assert evaluate(map(int, tokens)) == value  # evaluate refuses unbalanced brackets
        depth, arities = measure(tokens)
        assert depth <= bounds["max_depth"]
        assert all(2 <= arity <= bounds["max_args"] for arity in arities)


def measure(tokens: Iterable[int]) -> tuple[int, list[int]]:
    """Depth of the tree and the number of arguments of every list."""
    deepest, closed, opened = 1, [], [0]
    for token in tokens:
        if token == CLOSE:
            closed.append(opened.pop())
            continue
        deepest = max(deepest, len(opened))
        opened[-1] += 1
        if token >= MIN:
            opened.append(0)
    return deepest, closed


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("7", 7),
        ("[MIN 4 2 9 ]", 2),
        ("[MAX 4 2 9 ]", 9),
        ("[MED 9 1 4 ]", 4),
        ("[MED 9 1 4 5 ]", 4),  # the mean of 4 and 5, cut off
        ("[MED 8 6 ]", 7),
        ("[SM 9 9 9 ]", 7),
        ("[MAX 2 [MIN 8 [SM 5 6 ] 3 ] 0 ]", 2),
    ],
)
def test_values_by_hand(text: str, value: int) -> None:
    tokens = encode(text.encode())
    assert evaluate(tokens) == value
    assert decode(tokens) == text


@pytest.mark.parametrize("text", ["", "3 4", "[MIN 1 2", "[MIN ]", "]", "[MIN 1 ] ]"])
def test_what_is_no_expression_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected|closed|closes"):
        evaluate(encode(text.encode()))


@pytest.mark.parametrize("bounds", [STANDARD, SHORT], ids=["standard", "short"])
def test_data_do_not_depend_on_the_number_of_processes(bounds: dict[str, int]) -> None:
    counts: dict[str, Any] = {"train": 2500, "validation": 1200, "test": 300}
    one, two = (build(given=Source(processes=n), **counts, **bounds) for n in (1, 2))
    for split, count in counts.items():
        assert len(one[split]) == count
        assert documents(one[split]) == documents(two[split])
        assert one[split].labels.tolist() == two[split].labels.tolist()


def test_fewer_training_examples_are_the_beginning_of_more() -> None:
    few, many = (build(train=train, validation=20, test=30, **SHORT) for train in (700, 1700))
    assert documents(few["train"]) == documents(many["train"])[:700]
    assert documents(few["test"]) == documents(many["test"])


def test_another_seed_gives_other_examples() -> None:
    zero, one = (build(seed=seed, train=50, validation=50, test=50, **SHORT) for seed in (0, 1))
    for split in SPLITS:
        assert not set(documents(zero[split])) & set(documents(one[split]))


def test_version_1_means_these_examples() -> None:
    assert TASK.version == 1, "the digest below belongs to version 1"
    splits = build(train=300, validation=100, test=100)
    text = b"".join(splits[split].tokens.tobytes() + splits[split].labels.tobytes() for split in SPLITS)
    assert blake2b(text, digest_size=8).hexdigest() == "e7c69e9bb2ccb5b3"


def test_no_expression_occurs_twice() -> None:
    tiny: dict[str, Any] = {
        "min_length": 3,
        "max_length": 7,
        "max_depth": 2,
        "max_args": 4,
    }  # 44,400 expressions, 400 of them common
    splits = build(train=3000, validation=200, test=200, **tiny)
    every = [document for split in SPLITS for document in documents(splits[split])]
    assert len(set(every)) == len(every) == 3400


def test_a_used_up_supply_is_an_error() -> None:
    pairs: dict[str, Any] = {
        "min_length": 1,
        "max_length": 9,
        "max_depth": 2,
        "max_args": 2,
    }  # [op a b ]: 400 expressions
    splits = build(train=300, validation=50, test=50, **pairs)
    assert sum(map(len, splits.values())) == 400
    with pytest.raises(TaskError, match="no new expressions for 1 of 301 train examples"):
        build(train=301, validation=50, test=50, **pairs)


def test_bounds_that_hardly_any_tree_meets_are_an_error() -> None:
    with pytest.raises(TaskError, match="hardly any ListOps tree"):
        build(train=1, validation=1, test=1, min_length=100, max_length=103, max_depth=3, max_args=10)


@pytest.mark.parametrize(
    "options",
    [{"min_length": 1999}, {"max_depth": 2}, {"min_length": 8, "max_length": 9}],
    ids=" ".join,
)
def test_impossible_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(TaskError, match=r"^[^\n]+$"):
        TASK.check(ListOps(**options))


def test_a_build_given_up_leaves_no_thread_behind() -> None:
    before = threading.active_count()
    blocks = iter(TASK.build(ListOps(**SHORT), Source(processes=2)))
    next(blocks)
    assert threading.active_count() > before
    blocks.close()  # type: ignore[attr-defined]  # what a KeyboardInterrupt in the reader comes to
    assert threading.active_count() == before


@pytest.mark.parametrize(("max_length", "power"), [(2000, 2048), (2049, 2048), (2050, 4096), (64, 64), (65, 64)])
def test_shape_is_the_power_of_two_that_holds_the_longest(max_length: int, power: int) -> None:
    assert TASK.shape(ListOps(min_length=8, max_length=max_length)).max_length == power


def test_description_names_bounds_depth_and_source() -> None:
    assert TASK.describe(ListOps()) == "500–2,000 tokens, depth 10"
    assert TASK.describe(ListOps(source="official")) == "500–2,000 tokens, depth 10, released files"


def test_without_closing_brackets_nothing_else_changes(tmp_path: Path) -> None:
    bare, whole = (
        build(train=50, validation=5, test=5, brackets=brackets, **SHORT)["train"] for brackets in (False, True)
    )
    assert documents(bare) == [document.replace(bytes([CLOSE]), b"") for document in documents(whole)]
    assert bare.labels.tolist() == whole.labels.tolist()
    options = ListOps(train=50, brackets=False, **SHORT)
    assert "WITHOUT CLOSING BRACKETS" in TASK.describe(options)
    TASK.picture(options, {"train": bare}, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes()[:4] == b"\x89PNG"


def test_picture_is_drawn(tmp_path: Path) -> None:
    for name, bounds in {"long": STANDARD, "short": SHORT}.items():
        splits = build(train=120, validation=10, test=10, **bounds)
        TASK.picture(ListOps(**bounds), splits, tmp_path / f"{name}.png")
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_all_hundred_thousand_take_less_than_thirty_seconds() -> None:
    started = time.perf_counter()
    blocks = list(TASK.build(ListOps(), Source(processes=2)))
    assert time.perf_counter() - started < 30
    every = [document for block in blocks for document in np.split(block.tokens, np.cumsum(block.lengths)[:-1])]
    assert len({document.tobytes() for document in every}) == 100_000
