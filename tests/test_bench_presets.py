"""`bench --as`: a preset's own step, on the documents that its run begins with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tyro

import lra
from lra.bench import operations, presets
from lra.bench.plan import BenchCell, make_plan
from lra.bench.wanted import Wanted
from lra.core.config import resolve
from lra.core.errors import UserError
from lra.model.batches import Epochs
from lra.model.padding import Grouping
from lra.scores import speeds

AS = ("--what", "train", "--as", "smoke", "--task", "listops", "--attn", "linear")


def cell(*words: str) -> BenchCell:
    pytest.importorskip("torch")
    return make_plan(tyro.cli(Wanted, args=(*AS, *words)), "cpu").cells[0]


def test_a_cell_has_the_presets_sizes_and_its_runs_first_documents() -> None:
    found, run = cell(), resolve("listops", "linear", preset="smoke")
    plan, model = run.train, run.model
    assert (found.length, found.batch, found.chunk) == (run.data.max_length, plan.batch_size, plan.chunk)
    assert (found.heads, found.head_dim, found.dropout) == (model.heads, model.width // model.heads, model.dropout)
    chunk, docs = presets.first_chunk(found, Grouping(groups=4, sizes=None)), presets.prepare(found).splits["train"]
    rows = Epochs(len(docs), 0).at(0, plan.chunk * plan.batch_size).reshape(plan.chunk, -1)
    drawn = np.take_along_axis(rows, chunk.places, 1)
    assert chunk.labels.tolist() == docs.labels[drawn].tolist()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--as", "smoke"), "go together"),
        (("--task", "text"), "go together"),
        (("--as", "smoke", "--task", "text"), "attend takes no step of a run"),
        (("--what", "train", "--as", "smoke", "--task", "text", "--batch", "3"), "leave those flags out"),
        (("--what", "train", "--as", "fast", "--task", "text"), "unknown preset"),
    ],
)
def test_what_a_preset_decides_is_not_asked_for(words: tuple[str, ...], told: str) -> None:
    pytest.importorskip("torch")
    with pytest.raises(UserError, match=told):
        make_plan(tyro.cli(Wanted, args=words), "cpu")


@pytest.mark.parametrize("train", [False, True])
def test_a_document_costs_what_it_would_cost_unpadded(train: bool) -> None:
    blueprint = presets.blueprint(cell())
    alone = [operations.ragged_cost(blueprint, np.array([[[n]]]), 4, 10, train=train) for n in (10, 40)]
    both = operations.ragged_cost(blueprint, np.array([[[10], [40]]]), 4, 10, train=train)
    mean = operations.ragged_cost(blueprint, np.array([[[10]], [[40]]]), 4, 10, train=train)
    flop: list[Any] = [each.flop for each in alone]
    assert both.flop == sum(flop) == 2 * (mean.flop or 0)
    full = operations.train_cost if train else operations.infer_cost
    assert alone[1] == full(blueprint, 1, 40, 4, *([10] if train else []))


@pytest.mark.slow
def test_real_documents_are_no_row_of_the_throughput_table(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    wanted = replace(tyro.cli(Wanted, args=AS), samples=2)
    record = lra.benchmark(wanted, results=tmp_path)
    assert record.documents == "listops smoke"
    assert speeds.read(tmp_path)[0] == []
