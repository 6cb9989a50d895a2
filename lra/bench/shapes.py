"""Self-attention as models have it that people run, and an encoder around it, by name.

The encoder is our own: the blocks of the standard model, behind an embedding of patches. It has the depth, the widths
and the patches of the model; what else the model has (other stages, convolutions, cross-attention) it lacks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import attention_impls
from lra.core.config import Model
from lra.core.errors import UserError, did_you_mean
from lra.model.blueprint import Patches

WINDOW = 64  # pixels of the square window in which a mechanism with a 2d layout works, where none is asked for


@dataclass(frozen=True, kw_only=True)
class ImageAttention:
    """One layer's self-attention over an image: (rows, columns) of tokens, heads, features of a head."""

    grid: tuple[int, int]
    heads: int
    head_dim: int
    patches: Patches
    """What a token is made of."""
    depth: int
    """Blocks that have such a layer."""

    @property
    def tokens(self) -> int:
        """Those of the whole grid; there is no class token."""
        return math.prod(self.grid)


SHAPES = {
    # ViT-S/16 (Touvron et al., DeiT, arXiv 2012.12877, table 1) at this many pixels a side: 12 blocks, 384 wide.
    **{
        f"vit-s-{side}": ImageAttention(
            grid=(side // 16, side // 16), heads=6, head_dim=64, patches=Patches(side=16, channels=3), depth=12
        )
        for side in (224, 512, 1024, 2048)
    },
    # The first stage of Swin-T (Liu et al., arXiv 2103.14030, section 3.3): patches of 4, 2 blocks, 96 wide.
    "swin-t-224": ImageAttention(grid=(56, 56), heads=3, head_dim=32, patches=Patches(side=4, channels=3), depth=2),
    # The outermost attention of Stable Diffusion 1 (Rombach et al., arXiv 2112.10752): latents of 8 pixels and 4
    # channels, 320 wide; 2 blocks on the way down and 3 on the way up.
    **{
        f"sd-{side}": ImageAttention(
            grid=(side // 8, side // 8), heads=8, head_dim=40, patches=Patches(side=1, channels=4), depth=5
        )
        for side in (512, 1024)
    },
}
FFN = 4  # hidden channels of a block's feed-forward layer for each channel, in all of these models
CLASSES = 1000  # of ImageNet


def encoder(name: str, usual: Model, dropout: float) -> Model:
    """The encoder of a shape; its first weights are spread as those of the `usual` one."""
    shape = SHAPES[name]
    width = shape.heads * shape.head_dim
    sizes = {"width": width, "depth": shape.depth, "heads": shape.heads, "ffn": FFN * width, "classifier": 0}
    return replace(usual, dropout=dropout, **sizes)


def told(name: str) -> str:
    """The encoder of a shape in words."""
    shape, width = SHAPES[name], SHAPES[name].heads * SHAPES[name].head_dim
    patches = f"{shape.patches.side}×{shape.patches.side}×{shape.patches.channels}"
    return f"{shape.depth} blocks, {width} wide, feed-forward {FFN * width:,}, patches of {patches}"


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
