"""Which of ELFATT's two ways is taken: the fused kernels or the composition; decided alike for runs and for records."""

from __future__ import annotations

import sys
from dataclasses import replace
from importlib.metadata import PackageNotFoundError
from typing import Any

import numpy as np
import pytest
from attention_cases import Case, draw, output

from attention_impls.base import AttentionError, Dims
from attention_impls.elfatt import CARD, Options
from attention_impls.elfatt.kernels import INSTALLED, LANGUAGES, kernel_used

DIMS = Dims(heads=2, head_dim=32, width=64, max_length=1024)
USUAL: dict[str, Any] = {
    "kernel": "auto",
    "backend": "torch",
    "device": "gpu",
    "dtype": "bfloat16",
    "head_dim": 32,
    "block_size": 128,
    "layout": "1d",
    "installed": True,
}
FORCED: dict[str, Any] = USUAL | {"kernel": "fused"}
IN_JAX: dict[str, Any] = {"kernel": "jax_triton", "backend": "jax"}


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({}, "fused"),
        ({"kernel": "fused"}, "fused"),
        ({"device": "cuda", "dtype": "float32"}, "fused"),
        ({"head_dim": 20, "block_size": 100}, "fused"),
        ({"kernel": "composed"}, "composed"),
        ({"installed": False}, "composed"),
        ({"device": "cpu"}, "composed"),
        ({"dtype": "float64"}, "composed"),
        ({"dtype": "float16"}, "composed"),
        ({"head_dim": 128}, "fused"),
        (IN_JAX, "jax_triton"),
        ({**IN_JAX, "head_dim": 20}, "jax_triton"),
        ({"head_dim": 128, "dtype": "float32"}, "composed"),
        ({"head_dim": 129}, "composed"),
        ({"block_size": 8}, "composed"),
        ({"block_size": 513}, "composed"),
        ({"layout": "2d", "block_size": 64}, "composed"),
    ],
    ids=str,
)
def test_the_fused_kernels_run_where_they_fit(changes: dict[str, Any], name: str) -> None:
    assert kernel_used(**USUAL | changes) == name


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"device": "cpu"}, "for bfloat16 on the cpu"),
        ({"dtype": "float64"}, "for float64 on the gpu"),
        ({"layout": "2d", "block_size": 64}, "layout 2d"),
        ({"block_size": 8}, "blocks of 8,"),
        ({"head_dim": 256}, "256 features a head: it needs a GPU, .*; take auto"),
        ({"installed": False}, "triton>=3.4 is not installed: pip install 'triton>=3.4'"),
        ({"backend": "numpy"}, "which numpy does not have: take composed, or auto"),
        ({"kernel": "jax_triton"}, "which torch does not have: take fused, composed, or auto"),
        ({**IN_JAX, "device": "cpu"}, "kernel 'jax_triton' given for bfloat16 on the cpu, .* at most 64; take auto"),
        ({**IN_JAX, "installed": False}, r"jax-triton>=0.3 is not installed: pip install 'jax-triton>=0.3', or take"),
    ],
    ids=str,
)
def test_fused_kernels_that_cannot_run_are_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(AttentionError, match=said) as raised:
        kernel_used(**FORCED | changes)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(("found", "installed"), [("3.3.1", False), ("3.4.0", True), ("4.0", True), (None, False)])
def test_an_old_triton_is_as_good_as_none(found: str | None, installed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        if found is None:
            raise PackageNotFoundError(name)
        return found

    monkeypatch.setattr("attention_impls.elfatt.kernels.version", version)
    assert LANGUAGES["fused", "torch"].found == installed
    assert not replace(LANGUAGES["fused", "torch"], inside="triton/no_such_module").found


def test_the_card_names_what_runs() -> None:
    assert CARD.kernel is not None
    where: dict[str, Any] = {"backend": "torch", "dtype": "float32", "ragged": True}
    assert CARD.kernel(Options(), DIMS, device="cpu", **where) == "composed"
    found = CARD.kernel(Options(), DIMS, device="gpu", **where)
    assert found == ("fused" if INSTALLED["fused", "torch"] else "composed")


def test_a_composition_needs_no_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    for module in [name for name in sys.modules if "elfatt.triton" in name]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "triton", None)  # pyright: ignore[reportArgumentType]
    inputs = draw(Case("elfatt", Options(block_size=16)), 37, (37, 20))
    assert np.isfinite(output(Case("elfatt", Options(block_size=16)), "torch", inputs)).all()
    monkeypatch.setattr("attention_impls.elfatt.kernel_used", lambda *args, **keywords: "fused")
    with pytest.raises(ImportError, match="triton"):
        output(Case("elfatt", Options(block_size=16)), "torch", inputs)


@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_the_kernel_asked_for_is_refused_or_obeyed(backend: str) -> None:
    inputs = draw(Case("elfatt", Options(block_size=16)), 37, (37, 20))
    composed = output(Case("elfatt", Options(block_size=16, kernel="composed")), backend, inputs)
    np.testing.assert_array_equal(composed, output(Case("elfatt", Options(block_size=16)), backend, inputs))
    if backend == "torch":
        with pytest.raises(AttentionError, match="kernel 'fused' given for float64 on the cpu"):
            output(Case("elfatt", replace(Options(), kernel="fused")), backend, inputs)
