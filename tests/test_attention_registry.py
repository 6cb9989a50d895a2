"""The registry: the folder is the registry, loading is lazy, and mistakes are told in one line."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import fields, is_dataclass
from pathlib import Path

import numpy as np
import pytest
from attention_cases import cases, dims_for

import attention_impls
from attention_impls import UnknownAttention, elfatt
from attention_impls.base import Dims
from attention_impls.choice import find
from lra.core.spec import Spec, parse_specs

FOUR = ("efficient", "elfatt", "linear", "softmax")


def test_names_are_the_folders_with_code() -> None:
    assert set(FOUR) <= set(attention_impls.names())
    assert not {"ops", "__pycache__"} & set(attention_impls.names())


def test_cards_load_without_a_framework() -> None:
    code = (
        "import sys, attention_impls\n"
        "for name in attention_impls.names(): attention_impls.load(name).reference()\n"
        "print(sorted({'torch', 'jax', 'flax'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(("backend", "other"), [("torch", "jax"), ("jax", "torch")])
def test_one_framework_does_not_load_the_other(backend: str, other: str) -> None:
    pytest.importorskip(backend)
    code = (
        "import sys, attention_impls\n"
        "for name in attention_impls.names():\n"
        f"    mechanism = attention_impls.load(name)\n"
        f"    if {backend!r} in mechanism.backends: mechanism.attend({backend!r})\n"
        f"print({backend!r} in sys.modules, {other!r} in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False"]


def test_a_misspelt_name_is_corrected() -> None:
    with pytest.raises(UnknownAttention, match=r"^unknown attention 'sofmax': did you mean 'softmax'\? available: "):
        attention_impls.load("sofmax")


@pytest.mark.parametrize("name", ["\ud800/x", "a/\0", "x/" + "y" * 5000, "~nobody-of-that-name/x"])
def test_what_can_be_no_folder_is_told(name: str) -> None:
    for load in (attention_impls.load, find):
        with pytest.raises(UnknownAttention, match="expected the name of a folder"):
            load(name)
    assert parse_specs(f"{name},elfatt") == (Spec(name), Spec("elfatt"))
    assert parse_specs(name) == (Spec(name),)


def test_a_name_unlike_any_other_lists_them_all() -> None:
    with pytest.raises(UnknownAttention) as raised:
        attention_impls.load("zzzzzz")
    message = str(raised.value)
    assert "did you mean" not in message
    assert "\n" not in message
    assert all(name in message for name in FOUR)


def test_a_folder_from_outside_with_one_framework(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    source = Path(elfatt.__file__).parents[1] / "linear"
    (folder / "__init__.py").write_text((source / "__init__.py").read_text().replace('title="Linear"', 'title="Mine"'))
    code = (source / "torch_impl.py").read_text()
    (folder / "torch_impl.py").write_text(code.replace("from attention_impls.linear import", "from . import"))
    mechanism = attention_impls.load(str(folder))
    assert (mechanism.name, mechanism.card.title, mechanism.backends) == ("mine", "Mine", ("torch",))
    assert attention_impls.load(str(folder)).card is mechanism.card
    with pytest.raises(ValueError, match="mine is not written in jax: choose torch"):
        mechanism.attend("jax")
    pytest.importorskip("torch")
    assert mechanism.attend("torch").__module__ == f"{mechanism.module}.torch_impl"
    shutil.rmtree(folder)


def test_a_folder_without_code_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UnknownAttention, match=r"expected torch_impl\.py or jax_impl\.py"):
        attention_impls.load(f"{tmp_path}/")


def test_a_card_that_fails_to_import_can_be_mended(tmp_path: Path) -> None:
    (tmp_path / "torch_impl.py").touch()
    (tmp_path / "__init__.py").write_text("CARD = undefined")
    with pytest.raises(NameError):
        attention_impls.load(f"{tmp_path}/")
    (tmp_path / "__init__.py").write_text("from attention_impls.softmax import CARD")
    assert attention_impls.load(f"{tmp_path}/").card.title == "Softmax"


@pytest.mark.parametrize("name", attention_impls.names())
def test_a_card_is_complete(name: str) -> None:
    card = attention_impls.load(name).card
    for text in (card.title, card.papers, card.formulas, card.cost):
        assert text
    assert 2015 < card.year < 2100
    assert is_dataclass(card.options)
    assert hash(card.options()) == hash(card.options())
    assert all(isinstance(variant, card.options) for variant in card.variants)
    assert attention_impls.load(name).backends
    assert card.carries or not card.starts
    changed = {field.name for variant in card.variants for field in fields(variant)}
    assert changed == {field.name for field in fields(card.options)}


@pytest.mark.parametrize("case", cases(), ids=str)
def test_arrays_come_from_the_generator_alone(case) -> None:  # noqa: ANN001
    card, dims = case.mechanism.card, dims_for(64)
    for make in (card.params, card.constants):
        first, second, other = (make(case.options, dims, np.random.default_rng(seed)) for seed in (0, 0, 1))
        assert first.keys() == second.keys() == other.keys()
        for name, array in first.items():
            assert array.dtype in (np.float32, np.float64)
            np.testing.assert_array_equal(array, second[name])
            # An array of equal rows, such as zeros or a first state matrix, is laid down and needs no generator.
            rows = array.reshape(-1, array.shape[-1])
            laid_down = np.ptp(array) == 0 or (len(rows) > 1 and not np.ptp(rows, axis=0).any())
            assert laid_down or not np.array_equal(array, other[name])


def test_the_convolution_starts_like_a_pytorch_one() -> None:
    dims = Dims(heads=8, head_dim=64, width=512, max_length=16, grid=(4, 4))
    for options, shape in ((elfatt.Options(), (8, 64, 3)), (elfatt.Options(layout="2d", block_size=16), (8, 64, 3, 3))):
        arrays = elfatt.CARD.params(options, dims, np.random.default_rng(0))
        bound = np.prod(shape[2:]) ** -0.5
        assert arrays["local_conv.weight"].shape == shape
        assert arrays["local_conv.bias"].shape == (8, 64)
        for array in arrays.values():
            assert 0.95 * bound < np.abs(array).max() <= bound


@pytest.mark.parametrize(
    ("options", "grid", "message"),
    [
        (elfatt.Options(layout="2d", block_size=128), (8, 8), "block_size is 128, expected a square for layout 2d"),
        (elfatt.Options(layout="2d", block_size=64), None, "layout is 2d, expected 1d for a task without a pixel grid"),
        (elfatt.Options(layout="2d", block_size=64), (7, 9), "grid is \\(7, 9\\)"),
    ],
)
def test_elfatt_refuses_the_impossible(options: elfatt.Options, grid: tuple[int, int] | None, message: str) -> None:
    dims = Dims(heads=2, head_dim=8, width=16, max_length=64, grid=grid)
    with pytest.raises(ValueError, match=message):
        elfatt.check(options, dims)


@pytest.mark.parametrize(
    ("share", "heads", "expected"), [(0.5, 2, 1), (0.5, 3, 1), (0.5, 1, 0), (0.0, 4, 0), (1.0, 4, 4)]
)
def test_elfatt_gives_the_blocks_the_extra_head(share: float, heads: int, expected: int) -> None:
    dims = Dims(heads=heads, head_dim=8, width=8 * heads, max_length=64)
    assert elfatt.global_heads(elfatt.Options(global_share=share), dims) == expected


def test_a_share_that_is_no_binary_fraction_is_not_rounded_down_too_far() -> None:
    dims = Dims(heads=100, head_dim=8, width=800, max_length=64)
    assert elfatt.global_heads(elfatt.Options(global_share=0.29), dims) == 29
