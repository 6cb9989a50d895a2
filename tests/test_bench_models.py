"""`bench --what model`: a whole encoder of images, the same in both frameworks, at the sizes of models people run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tyro
from bench_records import bench_record, timing
from small import MODEL, losses
from small import blueprint as small_blueprint
from test_operations import counted

from lra import backends
from lra.bench import shapes, subjects
from lra.bench.operations import infer_cost, train_cost
from lra.bench.plan import BenchCell, Plan, blueprint_of, make_plan
from lra.bench.record import What
from lra.bench.summary import summarize
from lra.bench.table import markdown
from lra.cli.bench import BenchFlags
from lra.model.batches import Chunk
from lra.model.blueprint import Blueprint, Patches
from lra.model.weights import initial_weights, parameter_count

GRID, PATCHES = (3, 5), Patches(side=2, channels=3)


def plan(what: What, *words: str, backend: str = "torch") -> Plan:
    pytest.importorskip(backend)
    return make_plan(tyro.cli(BenchFlags, args=("--what", what, "--backend", backend, *words)), "cpu")


def of_images(attn: str = "softmax", depth: int = 1) -> Blueprint:
    """The small encoder, of images of 6 times 10 pixels."""
    made = small_blueprint(attn, replace(MODEL, depth=depth))
    dims = replace(made.dims, grid=GRID, max_length=GRID[0] * GRID[1])
    return replace(made, dims=dims, patches=PATCHES)


def chunk(blueprint: Blueprint, batch: int = 2) -> Chunk:
    cell = BenchCell(kind="model", backend="torch", device="cpu", dtype="float32", length=15, batch=batch)
    return subjects.of_images(subjects.random_chunk(cell), blueprint, seed=1)


def test_a_shape_gives_depth_widths_patches_and_classes() -> None:
    cells = plan("model", "--shape", "vit-s-224,vit-s-1024", "--attn", "elfatt,softmax").cells
    assert [(cell.length, cell.batch, cell.chunk) for cell in cells] == 2 * [(196, 10, 1)] + 2 * [(4096, 1, 1)]
    made = blueprint_of(cells[0])
    assert (made.model.depth, made.model.width, made.model.ffn, made.classes) == (12, 384, 1536, 1000)
    assert (made.patches, made.dims.grid, made.options.layout) == (Patches(side=16, channels=3), (14, 14), "2d")
    assert blueprint_of(replace(cells[0], kind="attend")).patches is None


def test_vit_s_has_the_parameters_of_its_paper() -> None:
    """22,050,664 in DeiT-S, whose class token and its position ours lacks."""
    (cell,) = plan("model", "--shape", "vit-s-224", "--attn", "softmax").cells
    assert parameter_count(initial_weights(blueprint_of(cell))) == 22_050_664 - 2 * 384


def test_the_encoders_of_both_frameworks_agree_in_float64() -> None:
    jax = pytest.importorskip("jax")
    made = of_images("elfatt")
    weights = {name: array.astype(np.float64) for name, array in initial_weights(made).items()}
    feed = [replace(chunk(made), labels=np.array([[0, 2]], np.int32), rates=np.array([rate])) for rate in (1e-2, 1e-2)]
    ours, *_ = losses("torch", made, weights, feed)
    with jax.enable_x64(True):
        theirs, *_ = losses("jax", made, weights, feed)
    np.testing.assert_allclose(ours, theirs, rtol=1e-9)
    assert abs(ours[1] - ours[0]) > 1e-3, "the loss has to move, or equal curves say nothing"


def test_a_token_is_a_square_of_pixels() -> None:
    torch = pytest.importorskip("torch")
    from lra.backends.torch.encoder import Encoder

    made = of_images()
    encoder = Encoder(made, "float32")
    weights = initial_weights(made)
    encoder.load(weights, torch.device("cpu"))
    image = np.random.default_rng(0).integers(0, 256, (6, 10, 3))
    with torch.no_grad():
        found = encoder._embedded(torch.tensor(image.reshape(1, -1)))[0].numpy()
    pixels = image[2:4, 8:10].reshape(-1) / 127.5 - 1  # second row of squares, fifth column
    expected = pixels @ weights["patches.kernel"] + weights["patches.bias"] + weights["positions.embedding"][1 * 5 + 4]
    np.testing.assert_allclose(found[1 * 5 + 4], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("backward", [False, True])
def test_the_operations_of_patches_are_counted(backward: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    made = of_images("linear", depth=2)
    pixels = 15 * PATCHES.numbers
    monkeypatch.setattr("test_operations.LENGTH", pixels)
    cost = train_cost(made, 3, 15, 4, 0) if backward else infer_cost(made, 3, 15, 4)
    assert cost.flop == counted(made, backward=backward)


@pytest.mark.parametrize("what", ["model", "model-infer"])
def test_a_step_of_it_is_timed(what: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = replace(shapes.SHAPES["sd-512"], grid=(4, 4), heads=1, head_dim=8, depth=1)
    monkeypatch.setitem(shapes.SHAPES, "sd-512", tiny)
    (cell,) = plan(what, "--shape", "sd-512", "--attn", "elfatt", "--batch", "2").cells
    timed = subjects.subject(cell, backends.get_clock("torch", "cpu"))
    timed.load()
    found = timed.call()
    assert (getattr(found, "optimiser", None) is not None) == (what == "model")
    assert timed.cost().flop


def test_a_record_tells_the_encoder_and_counts_images() -> None:
    cells = [timing("elfatt", 196, [1.0, 1.0], shape="vit-s-224")]
    told = shapes.told("vit-s-224")
    text = markdown(summarize(bench_record(what="model", cells=cells, encoder=told)))
    assert told == "12 blocks, 384 wide, feed-forward 1,536, patches of 16×16×3"
    assert "model: a training step of a whole encoder of images" in text
    assert told in text
    assert "images/s" in text
