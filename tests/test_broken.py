"""What the evidence of `check` breaks on purpose is broken: each fault is far from elfatt's reference."""

from __future__ import annotations

import numpy as np
import pytest

import attention_impls
from attention_impls.base import Dims
from attention_impls.elfatt import Options
from tests.evidence.check import FAULTS, FOLDER

torch = pytest.importorskip("torch")

DIMS = Dims(heads=2, head_dim=8, width=16, max_length=37, grid=None)
OPTIONS = Options(block_size=8)


def distance(attn: str) -> float:
    """From the reference, relative to its greatest value, with ragged lengths."""
    rng = np.random.default_rng(0)
    elfatt = attention_impls.load("elfatt")
    drawn = {name: rng.standard_normal((3, 37, 2, 8)) for name in "qkv"}
    params = {name: rng.standard_normal(array.shape) for name, array in elfatt.card.params(OPTIONS, DIMS, rng).items()}
    lengths, common = np.array([37, 20, 5], np.int32), {"constants": {}, "options": OPTIONS, "dims": DIMS}
    right = elfatt.reference()(*drawn.values(), lengths=lengths, params=params, **common)
    tensors = {name: torch.from_numpy(array) for name, array in params.items()}
    inputs = [torch.from_numpy(array) for array in drawn.values()]
    attend = attention_impls.load(attn).attend("torch")
    found = attend(*inputs, lengths=torch.from_numpy(lengths), params=tensors, **common).numpy()
    return float(abs(found - right).max() / abs(right).max())


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_one(fault: str) -> None:
    assert distance(str(FOLDER / fault)) > 0.05


def test_what_is_not_broken_equals_its_reference() -> None:
    assert distance("elfatt") < 1e-9
