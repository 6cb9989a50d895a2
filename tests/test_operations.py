"""Counted operations are those that PyTorch's own counter sees, layer by layer and for the whole step."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from attention_meter import torch_scans, torch_transforms
from small import MODEL, blueprint

from attention_impls.base import Once
from lra.bench.operations import attend_cost, dense_layers, infer_cost, train_cost
from lra.model.blueprint import Blueprint
from lra.model.weights import initial_weights

torch = pytest.importorskip("torch")

BATCH, LENGTH, FLOAT32 = 3, 64, 4


def encoder(plan: Blueprint) -> Any:
    from lra.backends.torch.encoder import Encoder

    model = Encoder(plan, "float32")
    model.load(initial_weights(plan), torch.device("cpu"))
    return model


def forward(plan: Blueprint, model: Any) -> Any:
    tokens = torch.randint(1, 12, (BATCH, plan.towers, LENGTH))
    logits, penalty = model(tokens, None)
    return logits.sum() + penalty.sum()


def counted(plan: Blueprint, backward: bool) -> int:
    """What FlopCounterMode sees, convolutions left out; of fused attention it knows that of GPUs only."""
    from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

    fused = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    mapping = {
        fused: lambda q, k, v, *args, **keywords: sdpa_flop_count(q, k, v),
        torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: (
            lambda grad, q, k, v, *args, **keywords: 2 * sdpa_flop_count(q, k, v)
        ),
    }
    mapping |= torch_transforms() | torch_scans()
    model = encoder(plan)
    with FlopCounterMode(display=False, custom_mapping=mapping) as counter, torch.set_grad_enabled(backward):
        loss = forward(plan, model)
        if backward:
            loss.backward()
    return sum(n for op, n in counter.get_flop_counts()["Global"].items() if "convolution" not in str(op))


@pytest.mark.parametrize("towers", [1, 2])
@pytest.mark.parametrize("attn", ["softmax", "linear", "efficient", "elfatt", "fnet", "window_conv", "lru"])
def test_operations_are_what_the_counter_of_pytorch_sees(attn: str, towers: int) -> None:
    plan = blueprint(attn, towers=towers, length=LENGTH)
    assert infer_cost(plan, BATCH, LENGTH, FLOAT32).flop == counted(plan, backward=False)
    assert train_cost(plan, BATCH, LENGTH, FLOAT32, 0).flop == counted(plan, backward=True)


def test_what_a_batch_needs_once_counts_once() -> None:
    plan = blueprint("linear", length=LENGTH)
    card = plan.mechanism.card

    def alone(once: Once, batch: int) -> int:
        shared = replace(card, transforms=lambda *given: 1000, once=lambda *given: once)
        other = replace(plan, mechanism=replace(plan.mechanism, card=shared))
        return attend_cost(other, batch, LENGTH, FLOAT32).flop or 0

    products = card.operations(plan.options, plan.dims, LENGTH)
    assert alone(Once(), BATCH) == BATCH * (6 * products + 2 * 1000)
    assert alone(Once(operations=10, transforms=400), BATCH) == alone(Once(), BATCH) - (BATCH - 1) * (6 * 10 + 2 * 400)
    assert alone(Once(operations=10, transforms=400), 1) == alone(Once(), 1)


def test_a_mechanism_without_a_matrix_product_has_a_cost() -> None:
    plan = blueprint("fnet", length=LENGTH)
    cost = attend_cost(plan, BATCH, LENGTH, FLOAT32)
    assert cost.flop == 2 * BATCH * plan.mechanism.card.transforms(plan.options, plan.dims, LENGTH, False)


def test_attention_alone_is_the_rest_of_the_step() -> None:
    plan = blueprint("linear", replace(MODEL, depth=1), length=LENGTH)
    alone, whole = (cost(plan, BATCH, LENGTH, FLOAT32) for cost in (attend_cost, infer_cost))
    assert alone.flop is not None
    assert whole.flop is not None
    dense = 2 * sum(math.prod(layer) for layer in dense_layers(plan, BATCH, LENGTH))
    assert alone.flop == 3 * (whole.flop - dense)
    q_k_v, arrays = 3, BATCH * LENGTH * MODEL.width * FLOAT32
    assert alone.bytes == (q_k_v + 1 + q_k_v + 1 + q_k_v) * arrays


@pytest.mark.parametrize("towers", [1, 2])
def test_dense_layers_move_what_matrix_products_read_and_write(towers: int) -> None:
    from torch.utils._python_dispatch import TorchDispatchMode

    aten = torch.ops.aten
    moved = []

    class Callback(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            out = func(*args, **(kwargs or {}))
            if func in (aten.mm.default, aten.addmm.default):
                moved.append(sum(tensor.numel() for tensor in (*args[-2:], out)))
            return out

    plan = blueprint("softmax", towers=towers, length=LENGTH)  # its attention is fused, and so no product here
    model = encoder(plan)
    with Callback():
        forward(plan, model).backward()
    layers = dense_layers(plan, BATCH, LENGTH)
    assert len(moved) == 3 * len(layers)
    assert sum(moved) == 3 * sum(rows * (ins + outs) + ins * outs for rows, ins, outs in layers)


def test_the_optimiser_moves_seven_numbers_a_parameter() -> None:
    plan = blueprint("softmax", length=LENGTH)
    without, having = (train_cost(plan, BATCH, LENGTH, FLOAT32, count).bytes for count in (0, 1000))
    assert having - without == 7 * 1000 * FLOAT32
