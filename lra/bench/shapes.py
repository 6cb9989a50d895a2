"""The sizes of self-attention in well-known models, by name, and an encoder with these sizes.

The encoder is ours: the blocks of the standard model after an embedding of patches. It has the depth, the widths and
the patches of the model. It lacks other parts of the model, such as other stages, convolutions and cross-attention.
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

WINDOW = 64  # default block size of a mechanism with the 2d layout: square windows of 8×8 tokens


@dataclass(frozen=True, kw_only=True)
class ImageAttention:
    """One layer's self-attention over an image: (rows, columns) of tokens, heads, features of a head."""

    grid: tuple[int, int]
    heads: int
    head_dim: int
    patches: Patches
    """The patches of the tokens."""
    depth: int
    """Number of blocks with such a layer."""

    @property
    def tokens(self) -> int:
        """Tokens of the whole grid. There is no class token."""
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
    """The encoder of a shape. Its initial weights have the standard deviations of the `usual` model."""
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
    """Raise UserError for unknown shapes, repeated shapes, or shapes with different heads."""
    shown = ",".join(names)
    for name in names:
        if name not in SHAPES:
            raise UserError(f"--shape {name}: unknown shape:{did_you_mean(name, SHAPES)} expected {', '.join(SHAPES)}")
    if len(set(names)) < len(names):
        raise UserError(f"--shape {shown}: expected each shape once")
    if len({(SHAPES[name].heads, SHAPES[name].head_dim) for name in names}) > 1:
        raise UserError(f"--shape {shown}: these have different heads: time them in separate benchmarks")


def grid_of(name: str, length: int) -> tuple[int, int] | None:
    """The shape's grid; for another number of tokens, as in the check before timing, a nearly square one."""
    if not name or SHAPES[name].tokens == length:
        return SHAPES[name].grid if name else None
    columns = math.isqrt(length)
    return -(-length // columns), columns


def square(attn: str, chosen: dict[str, Any]) -> dict[str, Any]:
    """A mechanism's options. If it has a 2d layout and no layout is chosen, it gets square windows."""
    usual = asdict(attention_impls.load(attn).card.options())
    if "layout" not in usual or "layout" in chosen:
        return chosen
    return {"layout": "2d", "block_size": WINDOW} | chosen
