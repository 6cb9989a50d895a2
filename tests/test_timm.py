"""The mechanisms in timm's vision transformers: on a stand-in with timm's names, and on timm itself where it loads."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from attention_impls.base import AttentionError

torch = pytest.importorskip("torch")
nn = torch.nn


class Attention(nn.Module):
    """Softmax attention whose parts are named as in timm."""

    def __init__(self, width: int = 16, heads: int = 2, attn_drop: float = 0.0, gated: bool = False) -> None:
        super().__init__()
        self.num_heads, self.head_dim, self.scale = heads, width // heads, (width // heads) ** -0.5
        self.qkv = nn.Linear(width, 3 * width)
        self.q_norm, self.k_norm = nn.LayerNorm(width // heads), nn.LayerNorm(width // heads)
        self.attn_drop = nn.Dropout(attn_drop)
        self.norm = nn.LayerNorm(width) if gated else nn.Identity()
        self.gate = nn.Linear(width, width) if gated else None
        self.proj, self.proj_drop = nn.Linear(width, width), nn.Dropout(0.0)

    def forward(self, x: Any, attn_mask: Any = None) -> Any:
        q, k, v = self.qkv(x).unflatten(-1, (3, self.num_heads, self.head_dim)).permute(2, 0, 3, 1, 4)
        out = nn.functional.scaled_dot_product_attention(self.q_norm(q), self.k_norm(k), v, attn_mask=attn_mask)
        out = self.norm(out.transpose(1, 2).flatten(-2))
        return self.proj_drop(self.proj(out if self.gate is None else out * self.gate(x).sigmoid()))


class AttentionRope(Attention):
    """Takes a rotary embedding too."""

    def forward(self, x: Any, rope: Any = None) -> Any:
        return super().forward(x)


class WindowAttention(Attention):
    """Has a table of relative positions."""

    def __init__(self) -> None:
        super().__init__()
        self.relative_position_bias_table = nn.Parameter(torch.zeros(4))


class Block(nn.Module):
    def __init__(self, attention: nn.Module) -> None:
        super().__init__()
        self.norm1, self.attn = nn.LayerNorm(16), attention

    def forward(self, x: Any) -> Any:
        return x + self.attn(self.norm1(x))


class VisionTransformer(nn.Module):
    """Blocks on patches, with as many tokens before them as there are `prefix`."""

    def __init__(self, *attentions: nn.Module, prefix: int = 1) -> None:
        super().__init__()
        self.num_prefix_tokens = prefix
        self.patch_embed = nn.Conv2d(3, 16, 4, 4)
        self.patch_embed.grid_size = (4, 4)
        self.blocks = nn.Sequential(*map(Block, attentions))
        self.extra = nn.Parameter(torch.zeros(1, prefix, 16))

    def forward(self, images: Any) -> Any:
        patches = self.patch_embed(images).flatten(2).mT
        return self.blocks(torch.cat([self.extra.expand(len(patches), -1, -1), patches], 1))


def images() -> Any:
    return torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def model(*attentions: nn.Module, prefix: int = 1) -> Any:
    torch.manual_seed(0)
    return VisionTransformer(*(attentions or (Attention(), Attention(gated=True))), prefix=prefix)


@pytest.fixture
def replace() -> Any:
    from attention_impls.timm import replace

    return replace


def test_softmax_in_the_place_of_softmax_changes_nothing(replace: Any) -> None:
    theirs = model()
    for parameter in theirs.parameters():
        nn.init.normal_(parameter, std=0.3)
    ours = copy.deepcopy(theirs)
    assert replace(ours, "softmax") == (["blocks.0.attn", "blocks.1.attn"], [])
    torch.testing.assert_close(ours(images()), theirs(images()))
    assert ours.state_dict().keys() == theirs.state_dict().keys()


@pytest.mark.parametrize("name", ["elfatt@block_size=8", "primal@rank=4", "linformer@rank=4", "performer"])
def test_any_mechanism_learns_between_the_projections(name: str, replace: Any) -> None:
    ours = model()
    expected = set(ours.state_dict())
    replace(ours, name)
    assert expected <= set(ours.state_dict())
    loss = ours(images()).square().sum()
    penalties = [block.attn.attention.penalty for block in ours.blocks]
    (loss + sum(penalty.sum() for penalty in penalties if penalty is not None)).backward()
    assert all(block.attn.qkv.weight.grad.any() for block in ours.blocks)
    for parameter in ours.blocks[0].attn.attention.parameters():
        assert parameter.grad is not None
    with pytest.raises(AttentionError, match="attn_mask or is_causal is given"):
        ours.blocks[0].attn(torch.zeros(1, 17, 16), attn_mask=torch.zeros(17, 17))


def test_windows_of_patches_need_that_all_tokens_are_patches(replace: Any) -> None:
    name = "elfatt@layout=2d@block_size=4"
    ours = model(prefix=0)
    replace(ours, name)
    assert ours.blocks[0].attn.attention.dims.grid == (4, 4)
    assert ours(images()).shape == (2, 16, 16)
    with pytest.raises(AttentionError, match="layout is 2d, but VisionTransformer has class or register tokens"):
        replace(model(prefix=1), name)


def test_attentions_of_another_kind_are_named_and_stay(replace: Any) -> None:
    ours = model(Attention(), AttentionRope(), WindowAttention())
    with pytest.warns(UserWarning, match=r"unchanged: blocks\.1\.attn \(AttentionRope\), blocks\.2\.attn \(Window"):
        found = replace(ours, "linear")
    assert found.replaced == ["blocks.0.attn"]
    assert len(found.skipped) == 2
    assert type(ours.blocks[1].attn) is AttentionRope
    with pytest.raises(AttentionError, match=r"no plain attention of timm, only blocks\.0\.attn \(AttentionRope\)"):
        replace(model(AttentionRope()), "linear")


def test_what_cannot_be_had_leaves_the_model_as_it_was(replace: Any) -> None:
    for ours, name, said in (
        (model(Attention(), Attention()), "luna", "luna passes a carry from layer to layer"),
        (
            model(Attention(), Attention(attn_drop=0.1)),
            "linear",
            r"blocks\.1\.attn drops attention weights \(attn_drop=0\.1\)",
        ),
        (model(), "lineare", "unknown attention 'lineare'"),
        (model(), "linear@x=1", "linear: unknown option 'x'"),
    ):
        with pytest.raises(AttentionError, match=said):
            replace(ours, name)
        assert type(ours.blocks[0].attn) is Attention


def test_timms_own_vision_transformer(replace: Any) -> None:
    try:
        import timm  # pyright: ignore[reportMissingImports]
    except (ImportError, RuntimeError) as error:  # its torchvision does not load beside every PyTorch
        pytest.skip(f"timm does not load here ({error}): extra timm")
    torch.manual_seed(0)
    theirs = timm.create_model("vit_tiny_patch16_224", img_size=64, depth=2).eval()
    ours = copy.deepcopy(theirs)
    pixels = torch.randn(2, 3, 64, 64)
    assert replace(ours, "softmax").replaced == ["blocks.0.attn", "blocks.1.attn"]
    torch.testing.assert_close(ours(pixels), theirs(pixels), atol=1e-5, rtol=1e-5)
    replace(theirs, "elfatt@block_size=8")
    assert theirs(pixels).isfinite().all()
    for name in ("eva02_tiny_patch14_224", "swin_tiny_patch4_window7_224"):
        other = timm.create_model(name)
        with pytest.raises(AttentionError, match="has no plain attention of timm, only"):
            replace(other, "linear")
