"""Reads PNG files of known size and channels, without any loss.

Files with the same numbers in another form are converted (1-bit gray, a palette of grays, gray stored as RGB). Files
that would lose or change a value are refused, and so are files with wrong checksums.
"""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.ExifTags import Base

from tasks.base import TaskError

# The first bytes of a PNG (W3C PNG, 5.2 and 11.2.1): signature, IHDR's length and name; then width, height, bits, kind.
_HEADER = struct.Struct(">16sIIBB")
_START = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
_KINDS = {0: "gray", 2: "RGB", 3: "palette", 4: "gray with alpha", 6: "RGB with alpha"}
_DAMAGED = (OSError, SyntaxError, ValueError, struct.error, zlib.error)  # what Pillow raises
_OPAQUE = 255


class _Refused(Exception):
    """The reason why a file does not have the expected image."""


def read_png(file: Path | bytes, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The image as uint8 of `shape`: (height, width) for gray, (height, width, 3) for RGB.

    `file` is a path or the file's content; messages use `name`.

    Raises:
        TaskError: The file is damaged, animated, rotated by EXIF, transparent, or not exact in 8 bits of `shape`.
    """
    try:
        content = file if isinstance(file, bytes) else file.read_bytes()
        mode = _mode(content, shape)
        with Image.open(BytesIO(content), formats=["PNG"]) as image:
            image.verify()  # the chunks' checksums, which decoding does not look at
        with Image.open(BytesIO(content), formats=["PNG"]) as image:
            return _channels(_pixels(image, mode), len(shape))
    except _Refused as reason:
        expected = f"{shape[1]}×{shape[0]} 8-bit {'gray' if len(shape) == 2 else 'RGB'}"
        raise TaskError(f"{name} {reason}, expected a PNG of {expected}: restore it") from None
    except _DAMAGED as error:
        raise TaskError(f"{name} cannot be read ({error}): restore it") from None


def _mode(content: bytes, shape: tuple[int, ...]) -> str:
    """Bits and kind, such as "8-bit palette". A wrong size is refused here, before anything is decompressed."""
    if len(content) < _HEADER.size or not content.startswith(_START):
        raise _Refused("is not a PNG file")
    _, width, height, bits, kind = _HEADER.unpack_from(content)
    mode = f"{bits}-bit {_KINDS.get(kind, f'kind {kind}')}"
    if (height, width) != shape[:2]:
        raise _Refused(f"is {width}×{height} {mode}")
    if bits == 16 and kind != 0:  # Pillow keeps only the high bytes of these
        raise _Refused(f"is {mode}")
    return mode


def _pixels(image: Image.Image, mode: str) -> np.ndarray:
    """(height, width) or (height, width, 3) uint8, the values that the file holds."""
    if getattr(image, "n_frames", 1) != 1:
        raise _Refused("is animated")
    if image.getexif().get(Base.Orientation, 1) != 1:
        raise _Refused("is rotated by its EXIF orientation")
    if image.mode == "I;16":
        return _eight_bits(image)
    if image.mode == "P" and np.asarray(image).max() >= len(image.getpalette() or ()) // 3:
        raise _Refused("names colours that its palette lacks")
    if image.mode in ("L", "RGB") and "transparency" not in image.info:
        return np.asarray(image)
    pixels = np.asarray(image.convert("RGBA"))
    if (pixels[:, :, 3] != _OPAQUE).any():
        raise _Refused(f"is {mode} with transparent pixels")
    return pixels[:, :, :3]


def _eight_bits(image: Image.Image) -> np.ndarray:
    """16-bit gray as 8 bits. Each low byte must repeat the high byte, as in 8 bits that were written as 16."""
    values = np.asarray(image)
    high = values >> 8
    if "transparency" in image.info or (values != high * 257).any():
        raise _Refused("is 16-bit gray that does not fit into 8 bits")
    return high.astype(np.uint8)


def _channels(pixels: np.ndarray, axes: int) -> np.ndarray:
    """The pixels as gray (2 axes) or RGB (3)."""
    if axes == pixels.ndim:
        return pixels
    if axes == 3:
        return np.repeat(pixels[:, :, None], 3, axis=2)
    if (pixels != pixels[:, :, :1]).any():
        raise _Refused("has colours")
    return pixels[:, :, 0]
