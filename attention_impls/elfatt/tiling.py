"""How ELFATT cuts N tokens into blocks; the same arithmetic for both frameworks, on Python integers only."""

from __future__ import annotations

import math
from dataclasses import dataclass

# einops patterns, by number of axes: a space of n blocks of w cells (and m of x), and one row of blocks.
SPACE = {1: "B (n w) ...", 2: "B (n w) (m x) ..."}
ROW = {1: "(B n) w ...", 2: "(B n m) (w x) ..."}


@dataclass(frozen=True)
class Tiling:
    """A grid of `space` cells, one axis in the 1d layout and (rows, columns) in the 2d one, cut into blocks.

    Blocks are anchored at cell 0. The last block of an axis may stick out; the cells beyond are internal padding.
    """

    space: tuple[int, ...]
    window: tuple[int, ...]

    @property
    def counts(self) -> tuple[int, ...]:
        """Blocks along each axis."""
        return tuple(-(-size // window) for size, window in zip(self.space, self.window, strict=True))

    @property
    def overhang(self) -> tuple[int, ...]:
        """Cells of internal padding at the end of each axis."""
        sides = zip(self.counts, self.window, self.space, strict=True)
        return tuple(count * window - size for count, window, size in sides)

    @property
    def cells(self) -> int:
        """Cells of the space: N, or more where the last row of a grid is not full."""
        return math.prod(self.space)

    @property
    def block_tokens(self) -> int:
        """Tokens of one block."""
        return math.prod(self.window)

    @property
    def padded_tokens(self) -> int:
        """Tokens of all blocks, internal padding included."""
        return math.prod(self.counts) * self.block_tokens

    @property
    def cut(self) -> str:
        """The einops pattern that cuts a space into a row of blocks."""
        return f"{SPACE[len(self.space)]} -> {ROW[len(self.space)]}"

    @property
    def join(self) -> str:
        """The inverse of `cut`."""
        return f"{ROW[len(self.space)]} -> {SPACE[len(self.space)]}"

    @property
    def sizes(self) -> dict[str, int]:
        """The sizes that `cut` and `join` cannot infer."""
        return dict(zip("nm", self.counts, strict=False)) | dict(zip("wx", self.window, strict=False))


def tile(tokens: int, block_size: int, columns: int | None) -> Tiling:
    """Blocks of `block_size` tokens; square ones where the tokens scan rows of `columns` pixels.

    No block is longer than what it cuts.
    """
    if columns is None:
        return Tiling((tokens,), (min(block_size, tokens),))
    rows, side = -(-tokens // columns), math.isqrt(block_size)
    return Tiling((rows, columns), (min(side, rows), min(side, columns)))
