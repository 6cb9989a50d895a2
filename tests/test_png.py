"""PNG files are read exactly or refused in one line, whatever they hold."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from tasks.base import TaskError
from tasks.png import read_png

SIDE = 6
GRAY = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE), dtype=np.uint8)
BITS = np.where(GRAY > 127, np.uint8(255), np.uint8(0))
RGB = np.random.default_rng(1).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
SAME = np.repeat(GRAY[:, :, None], 3, axis=2)


def png(image: Image.Image | np.ndarray, form: str = "PNG", **flags: object) -> bytes:
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    file = BytesIO()
    image.save(file, form, **flags)
    return file.getvalue()


def indexed(pixels: np.ndarray) -> Image.Image:
    """An image with a palette, whose indices are other numbers than the grays they mean."""
    grays, indices = np.unique(pixels, return_inverse=True)
    image = Image.fromarray((len(grays) - 1 - indices).reshape(pixels.shape).astype(np.uint8), "P")
    image.putpalette(np.repeat(grays[::-1], 3).tobytes())
    return image


def with_alpha(pixels: np.ndarray, alpha: int) -> Image.Image:
    image = Image.fromarray(pixels)
    image.putalpha(alpha)
    return image


def rotated() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return png(GRAY, exif=exif)


def sixteen_bit_rgb() -> bytes:
    """Pillow writes none, so the header and the rows are put together here."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in RGB)
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", SIDE, SIDE, 16, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def lacking_colours() -> bytes:
    image = Image.fromarray(np.full((SIDE, SIDE), 3, np.uint8), "P")
    image.putpalette(bytes(range(12)))
    content = png(image, bits=8)
    assert read_png(content, "four colours", (SIDE, SIDE, 3)).max() == 11
    image = Image.fromarray(np.full((SIDE, SIDE), 4, np.uint8), "P")
    image.putpalette(bytes(range(15)))
    whole = png(image, bits=8)
    palette = content[content.index(b"PLTE") - 4 : content.index(b"IDAT") - 4]
    return whole[: whole.index(b"PLTE") - 4] + palette + whole[whole.index(b"IDAT") - 4 :]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (png(GRAY), GRAY),
        (png(RGB), RGB),
        (png(BITS > 0), BITS),
        (png(indexed(GRAY)), GRAY),
        (png(indexed(BITS), bits=2), BITS),
        (png(SAME), GRAY),
        (png(GRAY), SAME),
        (png(with_alpha(GRAY, 255)), GRAY),
        (png(with_alpha(RGB, 255)), RGB),
        (png(GRAY.astype(np.uint16) * 257), GRAY),
        (png(Image.fromarray(RGB).quantize(36)), np.asarray(Image.fromarray(RGB).quantize(36).convert("RGB"))),
    ],
    ids=str,
)
def test_the_same_numbers_held_in_another_way_are_read(content: bytes, expected: np.ndarray, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(content)
    for file in (content, tmp_path / "a.png"):
        found = read_png(file, "a.png", expected.shape)
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (png(RGB), "has colours"),
        (png(Image.fromarray(RGB).quantize(8)), "has colours"),
        (png(GRAY.astype(np.uint16) * 257 + 1), "is 16-bit gray that does not fit into 8 bits"),
        (sixteen_bit_rgb(), "is 16-bit RGB"),
        (png(with_alpha(GRAY, 254)), "is 8-bit gray with alpha with transparent pixels"),
        (png(with_alpha(SAME, 0)), "is 8-bit RGB with alpha with transparent pixels"),
        (png(GRAY, transparency=int(GRAY[0, 0])), "is 8-bit gray with transparent pixels"),
        (png(indexed(GRAY), transparency=0), "is 8-bit palette with transparent pixels"),
        (lacking_colours(), "names colours that its palette lacks"),
        (png(GRAY, save_all=True, append_images=[Image.fromarray(BITS)]), "is animated"),
        (rotated(), "is rotated by its EXIF orientation"),
        (png(GRAY[:5]), "is 6×5 8-bit gray"),
        (png(GRAY, "JPEG"), "is not a PNG file"),
        (png(GRAY, "GIF"), "is not a PNG file"),
        (b"", "is not a PNG file"),
        (png(GRAY)[:20], "is not a PNG file"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_anything_else_is_refused_in_one_line(content: bytes, message: str) -> None:
    with pytest.raises(TaskError) as caught:
        read_png(content, "a.png", (SIDE, SIDE))
    assert str(caught.value) == f"a.png {message}, expected a PNG of 6×6 8-bit gray: restore it"


@pytest.mark.filterwarnings("error")
def test_a_bomb_is_refused_before_it_is_unpacked() -> None:
    content = bytearray(png(GRAY))
    content[16:24] = (60_000).to_bytes(4, "big") * 2
    with pytest.raises(TaskError, match="is 60000×60000 8-bit gray"):
        read_png(bytes(content), "a.png", (SIDE, SIDE))


def test_a_text_that_unpacks_without_end_is_refused() -> None:
    text = PngImagePlugin.PngInfo()
    text.add_text("bomb", "0" * 2_000_000, zip=True)
    with pytest.raises(TaskError, match=r"a.png cannot be read \(Decompressed data too large"):
        read_png(png(GRAY, pnginfo=text), "a.png", (SIDE, SIDE))


def damages(content: bytes) -> Iterator[bytes]:
    """The file cut at every byte, and with every one of its bits flipped."""
    yield from (content[:end] for end in range(len(content)))
    for place in range(len(content)):
        for bit in range(8):
            yield content[:place] + bytes([content[place] ^ 1 << bit]) + content[place + 1 :]


@pytest.mark.parametrize("content", [png(GRAY), png(indexed(GRAY)), rotated()], ids=["gray", "palette", "exif"])
def test_damage_is_refused_or_changes_nothing(content: bytes) -> None:
    for damaged in damages(content):
        try:
            found = read_png(damaged, "a.png", (SIDE, SIDE))
        except TaskError:
            continue
        np.testing.assert_array_equal(found, GRAY)


def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    for name in ("missing.png", "."):
        with pytest.raises(TaskError, match=r"a\.png cannot be read"):
            read_png(tmp_path / name, "a.png", (SIDE, SIDE))
