"""Image: the official split and gray values, what guessing scores, the prepared data."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import PIL.Image
import pytest

from tasks import load, store
from tasks.base import SPLITS, ExampleBlock, Shape, Source, Split
from tasks.image import Image, halved
from tasks.image.official import gray, read, split_numbers
from tasks.image.references import mean_images
from tests.cifar_forms import BATCH, write_binary

TASK = load("image")
SMALL = Image(train=90, validation=10, test=20)


def sha256(array: np.ndarray) -> str:
    return hashlib.sha256(array.tobytes()).hexdigest()


def test_the_official_split_has_its_check_values() -> None:
    parts = split_numbers()
    assert {split: len(part) for split, part in parts.items()} == TASK.counts(Image())
    known = [16399, 1680, 47917, 17307, 27051, 48736, 26263, 1456, 19135, 31598]  # ids that TFDS's catalogue shows
    assert parts["train"][:10].tolist() == known
    assert parts["validation"][:5].tolist() == [13431, 9237, 17462, 32685, 9518]
    assert parts["validation"][-3:].tolist() == [5073, 39601, 32842]
    digest = sha256(np.sort(parts["validation"]).astype("<u8"))
    assert digest == "fd5ad985924b17e92d7e73a5462b1f45ed4a28dd0e9c10f0021f8216d270fb83"
    by_digest = sorted(range(10_000), key=lambda n: int(hashlib.md5(f"test{n}".encode()).hexdigest(), 16))
    assert parts["test"].tolist() == by_digest


def test_the_real_images_have_their_gray_values(raw: Path) -> None:
    origins: list[str] = []
    blocks = list(read(Source(raw=raw, tell=origins.append), TASK.counts(Image())))
    parts = split_numbers()
    grays = {"train": np.zeros((50_000, 1024), np.uint8), "test": np.zeros((10_000, 1024), np.uint8)}
    labels = {split: np.zeros(len(array), np.uint8) for split, array in grays.items()}
    for split in SPLITS:
        stored = "test" if split == "test" else "train"
        chosen = [block for block in blocks if block.split == split]
        grays[stored][parts[split]] = np.concatenate([block.tokens for block in chosen]).reshape(-1, 1024)
        labels[stored][parts[split]] = np.concatenate([block.labels for block in chosen])
    assert np.bincount(labels["train"]).tolist() == [5000] * 10
    assert labels["train"][:10].tolist() == [6, 9, 9, 4, 1, 1, 2, 7, 8, 3]
    assert labels["test"][:10].tolist() == [3, 8, 8, 0, 6, 6, 1, 6, 3, 1]
    if "JPEG" not in origins[0]:
        pytest.skip(f"the check values are those of the PNG form, not of {origins[0]}")
    assert "73 train and 20 test images are JPEG decodes" in origins[0]
    assert sha256(grays["train"]) == "ba57ecac6fc17e0d3c4202f3185b8c665cd8ccde47fc4e47648905b199a9d278"
    assert sha256(grays["test"]) == "2d1738a61485cb688a35b14f3695e05b80553cb454dadd624ef118ba3662e95d"


def test_gray_is_the_truncated_weighted_sum() -> None:
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 256, (5000, 3), np.uint8)
    exact = colours @ np.array([0.2989, 0.5870, 0.1140]) * 255.5 / 255
    clear = np.abs(exact - np.rint(exact)) > 1e-4  # elsewhere rounding decides
    assert clear.mean() > 0.99
    np.testing.assert_array_equal(gray(colours)[clear], np.floor(exact)[clear])
    assert gray(np.array([[0, 0, 0], [255, 255, 255]], np.uint8)).tolist() == [0, 255]


@pytest.mark.parametrize("size", [32, 16])
def test_the_store_accepts_the_task(size: Literal[32, 16], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LRA_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("tasks.image.official.read", lambda source, counts: read(source, counts, BATCH))
    write_binary(tmp_path / "cifar-10-batches-bin")
    options, pixels = replace(SMALL, size=size), size**2
    prepared = store.prepare(TASK, options, Source(raw=tmp_path))
    assert store.verify(TASK, options) is not None
    assert store.bytes_needed(TASK, options) == 120 * pixels
    assert prepared.splits["test"].document(5).shape == (pixels,)
    some = store.prepare(TASK, Image(size=size, train=50, validation=3, test=7), Source(raw=tmp_path))
    for split in SPLITS:
        count = len(some.splits[split])
        np.testing.assert_array_equal(some.splits[split].labels, prepared.splits[split].labels[:count])
        np.testing.assert_array_equal(some.splits[split].tokens, prepared.splits[split].tokens[: count * pixels])
    TASK.picture(options, prepared.splits, tmp_path / "examples.png")
    with PIL.Image.open(tmp_path / "examples.png") as picture:
        assert min(picture.size) > 500
        assert len(np.unique(np.asarray(picture.convert("L")))) > 100


def test_the_small_form_is_made_of_means() -> None:
    rng = np.random.default_rng(0)
    tokens, labels = rng.integers(0, 256, 2 * 1024, dtype=np.uint8), np.array([3, 8], np.uint8)
    small = halved(ExampleBlock(split="test", tokens=tokens, lengths=np.array([1024, 1024]), labels=labels))
    images = tokens.reshape(2, 32, 32).astype(float)
    means = sum(images[:, i::2, j::2] for i in (0, 1) for j in (0, 1)) / 4
    np.testing.assert_array_equal(small.tokens.reshape(2, 16, 16), np.floor(means + 0.5))
    assert (small.split, small.lengths.tolist(), small.labels.tolist()) == ("test", [256, 256], [3, 8])


def flat(values: list[int], labels: list[int], size: int) -> Split:
    """Images of one gray value each."""
    count = len(values)
    return Split(
        tokens=np.repeat(np.array(values, np.uint8), size**2),
        offsets=np.arange(count + 1, dtype=np.int64) * size**2,
        examples=np.arange(count, dtype=np.int64)[:, None],
        labels=np.array(labels, np.uint8),
    )


@pytest.mark.parametrize("size", [32, 16])
def test_references_are_what_they_say(size: Literal[32, 16]) -> None:
    train = flat([10, 30, 100, 200], [2, 2, 2, 7], size)
    test = flat([90, 120, 130, 250], [2, 2, 7, 3], size)
    assert mean_images(train, size)[[2, 7, 3], 5].tolist() == [(10 + 30 + 100) / 3, 200, 0]
    found = TASK.references(Image(size=size), {"train": train, "test": test})
    assert found == {"chance": 0.1, "majority": 0.5, "nearest mean image": 0.75}  # 123 is the middle of 47 and 200
    shuffled = replace(train, examples=train.examples[::-1], labels=train.labels[::-1])
    assert TASK.references(Image(size=size), {"train": shuffled, "test": test}) == found


def test_every_pixel_is_a_token() -> None:
    assert TASK.shape(Image()) == Shape(max_length=1024, grid=(32, 32))
    assert TASK.shape(Image(size=16)) == Shape(max_length=256, grid=(16, 16))
    assert TASK.describe(Image(size=16)) == "16×16, gray"
    assert (TASK.vocab, TASK.classes) == (256, 10)
