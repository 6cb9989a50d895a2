"""Self-attention as models have it that people run: the grid of tokens, the heads and their width, by name."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import attention_impls
from lra.core.errors import UserError, did_you_mean

WINDOW = 64  # pixels of the square window in which a mechanism with a 2d layout works, where none is asked for


@dataclass(frozen=True, kw_only=True)
class ImageAttention:
    """One layer's self-attention over an image: (rows, columns) of tokens, heads, features of a head."""

    grid: tuple[int, int]
    heads: int
    head_dim: int

    @property
    def tokens(self) -> int:
        """Those of the whole grid; there is no class token."""
        return math.prod(self.grid)


SHAPES = {
    # ViT-S/16 (Touvron et al., DeiT, arXiv 2012.12877, table 1) at this many pixels a side.
    **{
        f"vit-s-{side}": ImageAttention(grid=(side // 16, side // 16), heads=6, head_dim=64)
        for side in (224, 512, 1024, 2048)
    },
    # The first stage of Swin-T (Liu et al., arXiv 2103.14030, section 3.3): patches of 4, 96 wide.
    "swin-t-224": ImageAttention(grid=(56, 56), heads=3, head_dim=32),
    # The outermost attention of Stable Diffusion 1 (Rombach et al., arXiv 2112.10752): latents of 8, 320 wide.
    **{f"sd-{side}": ImageAttention(grid=(side // 8, side // 8), heads=8, head_dim=40) for side in (512, 1024)},
}


def check(names: Sequence[str]) -> None:
    """Raise UserError for names that are no shapes, are given twice, or have other heads than the first."""
    shown = ",".join(names)
    for name in names:
        if name not in SHAPES:
            raise UserError(f"--shape {name}: no such shape:{did_you_mean(name, SHAPES)} expected {', '.join(SHAPES)}")
    if len(set(names)) < len(names):
        raise UserError(f"--shape {shown}: expected each shape once")
    if len({(SHAPES[name].heads, SHAPES[name].head_dim) for name in names}) > 1:
        raise UserError(f"--shape {shown}: they have other heads than one another: time them apart")


def grid_of(name: str, length: int) -> tuple[int, int] | None:
    """The shape's grid; a nearly square one for another number of tokens, as the check before the clock takes."""
    if not name or SHAPES[name].tokens == length:
        return SHAPES[name].grid if name else None
    columns = math.isqrt(length)
    return -(-length // columns), columns


def square(attn: str, chosen: dict[str, Any]) -> dict[str, Any]:
    """A mechanism's options, with square windows where it can have them and no layout is chosen."""
    usual = asdict(attention_impls.load(attn).card.options())
    if "layout" not in usual or "layout" in chosen:
        return chosen
    return {"layout": "2d", "block_size": WINDOW} | chosen
