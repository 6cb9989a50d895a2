"""FNet: a Fourier transform over tokens and channels in the place of attention; nothing is learned."""

from __future__ import annotations

from dataclasses import dataclass

from attention_impls.base import Attention, Dims
from attention_impls.citation import Citation
from attention_impls.equation import Equation
from attention_impls.ops.fourier import RAGGED_ROUNDING, ragged_transforms, transform_operations


@dataclass(frozen=True, kw_only=True)
class Options:
    """FNet has no options."""


def transforms(options: Options, dims: Dims, length: int, ragged: bool) -> int:
    """One over the channels of each token, and over the tokens one for each channel, three where lengths differ."""
    over_channels = transform_operations(dims.width, length, real=False)
    if ragged:
        return over_channels + ragged_transforms(dims.width, length)
    return over_channels + transform_operations(length, dims.width, real=False)


CARD = Attention(
    title="FNet",
    year=2021,
    paper=Citation(
        authors="James Lee-Thorp, Joshua Ainslie, Ilya Eckstein, Santiago Ontanon",
        title="FNet: Mixing Tokens with Fourier Transforms",
        venue="NAACL",
        year=2022,
        arxiv="2105.03824",
        doi="10.18653/v1/2022.naacl-main.319",
        pages="4296–4313",
    ),
    equations=(
        Equation(
            "output",
            r"O_{kc} = \operatorname{Re} \sum_{j=0}^{n-1} \sum_{d=0}^{C-1} "
            r"e^{-2 \pi i (jk/n + dc/C)} \, x_{jd}",
            "over the $n$ real tokens of the sequence and all $C$ channels",
        ),
    ),
    cost="O(D·N·log N)",
    operations=lambda options, dims, length: 0,
    transforms=transforms,
    options=Options,
    variants=(Options(),),
    inputs=("x",),
    differs=(
        "Each sequence is transformed over its own length, by Bluestein's algorithm, so padding changes nothing. The "
        "authors transform the padded array, whose frequencies depend on its length. The encoder's output projection "
        "and dropout follow; the paper's block has neither."
    ),
    rounding=RAGGED_ROUNDING,
)
