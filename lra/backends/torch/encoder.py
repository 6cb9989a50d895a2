"""The encoder in PyTorch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn

from attention_impls.torch import Attention
from lra.backends import Products
from lra.backends.torch.dropout import Dropout, Dropping
from lra.model.blueprint import Blueprint
from lra.model.dropout import ATTENDED, EMBEDDED, HIDDEN, OUTPUT, WITHIN
from lra.model.rotary import turns
from lra.model.weights import CONSTANT, PROJECTIONS, Weights

NORM_EPSILON = 1e-5


class Block(nn.Module):
    """x + Drop(output(attend(norm x))), then x + Drop(ffn(norm x)): the pre-LN block.

    Where the model says so, each norm is behind its sum, nothing follows the attention, or there is no ffn.
    """

    def __init__(self, blueprint: Blueprint, number: int) -> None:
        super().__init__()
        model = blueprint.model
        self._blueprint, self._number = blueprint, number
        self.attention_norm = nn.LayerNorm(model.width, eps=NORM_EPSILON)
        for letter in blueprint.inputs:
            if letter in PROJECTIONS:
                self.add_module(PROJECTIONS[letter], nn.Linear(model.width, model.width))
        if model.projection:
            self.output = nn.Linear(model.width, model.width)
        if model.ffn:
            self.ffn_norm = nn.LayerNorm(model.width, eps=NORM_EPSILON)
            self.ffn_in = nn.Linear(model.width, model.ffn)
            self.ffn_out = nn.Linear(model.ffn, model.width)
        sizes, options = asdict(blueprint.dims), asdict(blueprint.options)
        place = {"index": number, "depth": model.depth}
        self.attention = Attention(blueprint.mechanism, **sizes, **place, seed=blueprint.seed, **options)

    def forward(
        self,
        x: Float[Tensor, "B N C"],
        lengths: Int[Tensor, " B"] | None,
        drop: Dropout | None,
        carry: Any,
    ) -> tuple[Float[Tensor, "B N C"], Float[Tensor, " B"], Any]:
        """The block's output, its attention's penalty, zero where the card has none, and what it hands on."""
        model = self._blueprint.model
        pre = model.norm == "pre"

        def dropped(y: Tensor, site: int) -> Tensor:
            return y if drop is None else drop(y, self._number, site)

        attended, penalty, carry = self.attention.parts(
            self._inputs(self.attention_norm(x) if pre else x),
            lengths,
            carry=carry,
            residual=x if self._blueprint.mechanism.card.residual else None,
            drop=None if drop is None else lambda y: dropped(y, WITHIN),
        )
        penalty = x.new_zeros(len(x)) if penalty is None else penalty.to(x.dtype)
        mixed = attended.flatten(-2)
        x = x + dropped(self.output(mixed) if model.projection else mixed, ATTENDED)
        x = x if pre else self.attention_norm(x)
        if model.ffn:
            hidden = dropped(F.gelu(self.ffn_in(self.ffn_norm(x) if pre else x)), HIDDEN)
            x = x + dropped(self.ffn_out(hidden), OUTPUT)
            x = x if pre else self.ffn_norm(x)
        return x, penalty, carry

    def _inputs(self, x: Float[Tensor, "B N C"]) -> dict[str, Tensor]:
        """What the mechanism takes, by letter; all projections come from one product, as views of its result."""
        dims, wanted = self._blueprint.dims, self._blueprint.inputs
        layers: list[Any] = [getattr(self, PROJECTIONS[letter]) for letter in wanted if letter in PROJECTIONS]
        if not layers:
            return dict.fromkeys(wanted, x)
        packed = F.linear(x, torch.cat([layer.weight for layer in layers]), torch.cat([layer.bias for layer in layers]))
        projected = iter(packed.unflatten(-1, (len(layers), dims.heads, dims.head_dim)).unbind(2))
        found = {letter: next(projected) if letter in PROJECTIONS else x for letter in wanted}
        if self._blueprint.model.positions != "rope":
            return found
        cosine, sine = _turns(x.shape[1], dims.head_dim, x.device, x.dtype)
        return {letter: _turned(y, cosine, sine) if letter in "qk" else y for letter, y in found.items()}


class Encoder(nn.Module):
    """Embeddings, blocks, a final norm, the mean over real tokens, and a two-layer classifier.

    `products` is the dtype of the blocks' products and attentions. The residual stream, the norms, the classifier
    (one row per document) and the logits stay in the dtype of the weights.
    """

    def __init__(self, blueprint: Blueprint, products: Products) -> None:
        super().__init__()
        model = blueprint.model
        self._products, self._towers, self._model = products, blueprint.towers, model
        self.dropping = Dropping(blueprint.seed, model.dropout, model.tied_dropout)
        self._patches, self._grid = blueprint.patches, blueprint.dims.grid
        if blueprint.patches is not None:
            self.patches = nn.Linear(blueprint.patches.numbers, model.width)
        elif model.pixels == "continuous":
            self.pixels = nn.Linear(1, model.width)
        else:
            self.tokens = nn.Embedding(model.vocabulary, model.width)
        if model.positions == "learned":
            self.positions = nn.Embedding(blueprint.dims.max_length, model.width)
        self.layers = nn.ModuleList(Block(blueprint, number) for number in range(model.depth))
        if model.norm == "pre":
            self.norm = nn.LayerNorm(model.width, eps=NORM_EPSILON)
        features = model.width * (4 if blueprint.towers == 2 else 1)
        if model.classifier:
            self.classifier_in = nn.Linear(features, model.classifier)
        self.classifier_out = nn.Linear(model.classifier or features, blueprint.classes)

    def forward(
        self, tokens: Int[Tensor, "B T N"], lengths: Int[Tensor, "B T"] | None, drop: Dropout | None = None
    ) -> tuple[Float[Tensor, "B classes"], Float[Tensor, " B"]]:
        """Logits and penalties of B examples with T documents each; tokens beyond a document's length are never seen.

        The penalties of the layers are added, those of an example's documents averaged. `drop` has a row for each
        document; None drops nothing.
        """
        flat = tokens.flatten(0, 1)
        real = None if lengths is None else lengths.flatten()
        x = self._embedded(flat)
        x = x if drop is None else drop.at_rate(self._model.embedding_dropout)(x, 0, EMBEDDED)
        penalty, carry = x.new_zeros(len(x)), None
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self._products == "bfloat16"):
            for layer in self.layers:
                x, more, carry = layer(x, real, drop, carry)
                penalty = penalty + more
        x = self.norm(x) if self._model.norm == "pre" else x
        features = _features(_mean(x, real).unflatten(0, (-1, self._towers)))
        if self._model.classifier:
            activation = F.relu if self._model.activation == "relu" else F.gelu
            features = activation(self.classifier_in(features))
        return self.classifier_out(features), penalty.unflatten(0, (-1, self._towers)).mean(1)

    def _embedded(self, tokens: Int[Tensor, "B P"]) -> Float[Tensor, "B N C"]:
        """A vector of each token, number, or square of pixels, and of its position where those are learned."""
        model = self._model
        if self._patches is not None:
            with torch.autocast(tokens.device.type, torch.bfloat16, enabled=self._products == "bfloat16"):
                x = self.patches(self._squares(tokens))
        elif model.pixels == "continuous":
            numbers = (tokens.to(self.pixels.weight.dtype) - model.pixel_mean) / model.pixel_std
            x = self.pixels(numbers[..., None])
        else:
            x = self.tokens(tokens)
        return x + self.positions.weight[: x.shape[1]] if model.positions == "learned" else x

    def _squares(self, pixels: Int[Tensor, "B P"]) -> Float[Tensor, "B N numbers"]:
        """The squares of images, row by row, their pixels between -1 and 1."""
        assert self._patches is not None, "the encoder is one of images"
        assert self._grid is not None, "images have a grid"
        scaled = pixels.to(self.patches.weight.dtype) / 127.5 - 1
        side, channels = self._patches.side, self._patches.channels
        sizes = {"r": self._grid[0], "c": self._grid[1], "y": side, "x": side, "h": channels}
        return rearrange(scaled, "b (r y c x h) -> b (r c) (y x h)", **sizes)

    def load(self, weights: Weights, device: torch.device) -> None:
        """Take over weights named as in lra.model.weights, in their dtype."""
        self.to(device=device, dtype=torch.from_numpy(weights["classifier_out.bias"]).dtype)
        with torch.no_grad():
            for ours, name, tensor in self._arrays():
                tensor.copy_(_to_torch(name, weights[ours]))

    def weights(self) -> Weights:
        """Learned arrays and constants as they are now, named as in lra.model.weights."""
        return {ours: to_numpy(name, tensor) for ours, name, tensor in self._arrays()}

    def _arrays(self) -> Iterator[tuple[str, str, Tensor]]:
        """Every array with its name in lra.model.weights and in PyTorch; the only buffers are mechanisms' constants."""
        yield from ((canonical(name), name, tensor) for name, tensor in self.named_parameters())
        yield from ((CONSTANT + name, name, tensor) for name, tensor in self.named_buffers())


@cache
def _turns(positions: int, head_dim: int, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Kept, since a GPU's captured step must not fetch them."""
    cosine, sine = (torch.from_numpy(array)[:, None].to(device, dtype) for array in turns(positions, head_dim))
    return cosine, sine


def _turned(x: Float[Tensor, "B N H D"], cosine: Tensor, sine: Tensor) -> Float[Tensor, "B N H D"]:
    """Queries or keys, turned by their positions, in their own dtype."""
    first, second = x.chunk(2, -1)
    return torch.cat([first * cosine - second * sine, second * cosine + first * sine], -1).to(x.dtype)


def canonical(name: str) -> str:
    """The name in lra.model.weights of a PyTorch parameter."""
    if ".attention." in name:
        return name
    owner, kind = name.rsplit(".", 1)
    if kind == "weight":
        kind = "scale" if owner.endswith("norm") else "embedding" if owner in ("tokens", "positions") else "kernel"
    return f"{owner}.{kind}"


def turned(name: str) -> bool:
    """Whether PyTorch keeps the transpose of our array: of its dense kernels, not of a mechanism's own."""
    return name.endswith(".weight") and canonical(name).endswith(".kernel")


def to_numpy(name: str, tensor: Tensor) -> Any:
    """The array of lra.model.weights for a PyTorch parameter, or for an optimiser moment of it."""
    array = tensor.detach().cpu()
    return (array.T if turned(name) else array).numpy().copy()


def _to_torch(name: str, array: Any) -> Tensor:
    tensor = torch.tensor(array)
    return tensor.T if turned(name) else tensor


def _mean(x: Float[Tensor, "B N C"], lengths: Int[Tensor, " B"] | None) -> Float[Tensor, "B C"]:
    if lengths is None:
        return x.mean(1)
    real = torch.arange(x.shape[1], device=x.device) < lengths[:, None]
    return (x * real[..., None]).sum(1) / lengths.clamp(min=1)[:, None]


def _features(pooled: Float[Tensor, "B T C"]) -> Float[Tensor, "B features"]:
    """One document as it is; two as [x0, x1, x0·x1, x0−x1]."""
    if pooled.shape[1] == 1:
        return pooled[:, 0]
    first, second = pooled.unbind(1)
    return torch.cat([first, second, first * second, first - second], -1)
