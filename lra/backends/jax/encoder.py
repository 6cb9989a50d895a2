"""The encoder in Flax NNX."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np
from einops import rearrange
from flax import nnx
from jaxtyping import Array, Float, Int

from attention_impls.flax import Attention
from attention_impls.ops.jax_ops import gelu
from lra.backends import Products
from lra.backends.jax.dropout import Dropout
from lra.model.blueprint import Blueprint
from lra.model.dropout import ATTENDED, EMBEDDED, HIDDEN, OUTPUT, WITHIN
from lra.model.rotary import turns
from lra.model.weights import CONSTANT, PROJECTIONS, Weights

NORM_EPSILON = 1e-5


class Block(nnx.Module):
    """x + Drop(output(attend(norm x))), then x + Drop(ffn(norm x)): the pre-LN block.

    Where the model says so, each norm is behind its sum, nothing follows the attention, or there is no ffn.
    """

    def __init__(self, blueprint: Blueprint, products: Products, number: int, rngs: nnx.Rngs) -> None:
        model = blueprint.model
        self._blueprint = nnx.static(blueprint)
        self._products: Products = products
        self._number = number
        dense = partial(nnx.Linear, dtype=_dtype(products), rngs=rngs)
        self.attention_norm = _norm(model.width, rngs)
        for letter in blueprint.inputs:
            if letter in PROJECTIONS:
                setattr(self, PROJECTIONS[letter], dense(model.width, model.width))
        if model.projection:
            self.output = dense(model.width, model.width)
        if model.ffn:
            self.ffn_norm = _norm(model.width, rngs)
            self.ffn_in = dense(model.width, model.ffn)
            self.ffn_out = dense(model.ffn, model.width)
        sizes, options = asdict(blueprint.dims), asdict(blueprint.options)
        place = {"index": number, "depth": model.depth, "dtype": _dtype(products)}
        self.attention = Attention(blueprint.mechanism, **sizes, **place, rngs=rngs, **options)

    def __call__(
        self,
        x: Float[Array, "B N C"],
        lengths: Int[Array, " B"] | None,
        drop: Dropout | None,
        carry: Any,
    ) -> tuple[Float[Array, "B N C"], Float[Array, " B"], Any]:
        """The block's output, its attention's penalty, zero where the card has none, and what it hands on."""
        model = self._blueprint.model
        pre = model.norm == "pre"

        def dropped(y: Array, site: int) -> Array:
            return y if drop is None else drop(y, self._number, site)

        attended, penalty, carry = self.attention.parts(
            self._inputs(self.attention_norm(x) if pre else x),
            lengths,
            carry=carry,
            residual=x if self._blueprint.mechanism.card.residual else None,
            drop=None if drop is None else lambda y: dropped(y, WITHIN),
        )
        penalty = jnp.zeros(len(x), x.dtype) if penalty is None else penalty.astype(x.dtype)
        mixed = attended.reshape(x.shape)
        x = x + dropped(_by_rows(self.output, mixed) if model.projection else mixed, ATTENDED)
        x = x if pre else self.attention_norm(x)
        if model.ffn:
            hidden = dropped(gelu(_by_rows(self.ffn_in, self.ffn_norm(x) if pre else x)), HIDDEN)
            x = x + dropped(_by_rows(self.ffn_out, hidden), OUTPUT)
            x = x if pre else self.ffn_norm(x)
        return x, penalty, carry

    def _inputs(self, x: Float[Array, "B N C"]) -> dict[str, Array]:
        """What the mechanism takes, by letter; all projections come from one product."""
        dims, wanted = self._blueprint.dims, self._blueprint.inputs
        layers = [getattr(self, PROJECTIONS[letter]) for letter in wanted if letter in PROJECTIONS]
        if not layers:
            return dict.fromkeys(wanted, x)
        kernel = self._rounded(jnp.concatenate([layer.kernel[...] for layer in layers], 1))
        bias = self._rounded(jnp.concatenate([layer.bias[...] for layer in layers]))
        packed = _by_rows(lambda rows: rows @ kernel + bias, self._rounded(x))
        shape = (*x.shape[:2], dims.heads, dims.head_dim)
        projected = iter(part.reshape(shape) for part in jnp.split(packed, len(layers), -1))
        found = {letter: next(projected) if letter in PROJECTIONS else x for letter in wanted}
        if self._blueprint.model.positions != "rope":
            return found
        return {letter: _turned(y, x.dtype) if letter in "qk" else y for letter, y in found.items()}

    def _rounded(self, array: Array) -> Array:
        """What a product is given of an array; its gradient comes back in the array's own dtype."""
        dtype = _dtype(self._products) if jnp.issubdtype(array.dtype, jnp.floating) else None
        return array if dtype is None else array.astype(dtype)


class Encoder(nnx.Module):
    """Embeddings, blocks, a final norm, the mean over real tokens, and a two-layer classifier.

    `products` is the dtype of the blocks' products and attentions. The residual stream, the norms, the classifier
    (one row per document) and the logits stay in the dtype of the weights.
    """

    def __init__(self, blueprint: Blueprint, products: Products, rngs: nnx.Rngs) -> None:
        model = blueprint.model
        self._towers, self._model = blueprint.towers, nnx.static(model)
        self._patches, self._grid = nnx.static(blueprint.patches), nnx.static(blueprint.dims.grid)
        if blueprint.patches is not None:
            self.patches = nnx.Linear(blueprint.patches.numbers, model.width, dtype=_dtype(products), rngs=rngs)
        elif model.pixels == "continuous":
            self.pixels = nnx.Linear(1, model.width, rngs=rngs)
        else:
            self.tokens = nnx.Embed(model.vocabulary, model.width, rngs=rngs)
        if model.positions == "learned":
            self.positions = nnx.Embed(blueprint.dims.max_length, model.width, rngs=rngs)
        self.layers = nnx.List([Block(blueprint, products, number, rngs) for number in range(model.depth)])
        if model.norm == "pre":
            self.norm = _norm(model.width, rngs)
        features = model.width * (4 if blueprint.towers == 2 else 1)
        if model.classifier:
            self.classifier_in = nnx.Linear(features, model.classifier, rngs=rngs)
        self.classifier_out = nnx.Linear(model.classifier or features, blueprint.classes, rngs=rngs)

    def __call__(
        self, tokens: Int[Array, "B T N"], lengths: Int[Array, "B T"] | None, drop: Dropout | None = None
    ) -> tuple[Float[Array, "B classes"], Float[Array, " B"]]:
        """Logits and penalties of B examples with T documents each; tokens beyond a document's length are never seen.

        The penalties of the layers are added, those of an example's documents averaged. `drop` has a row for each
        document; None drops nothing.
        """
        flat = tokens.reshape(-1, tokens.shape[-1])
        real = None if lengths is None else lengths.reshape(-1)
        x = self._embedded(flat)
        x = x if drop is None else drop.at_rate(self._model.embedding_dropout)(x, 0, EMBEDDED)
        penalty, carry = jnp.zeros(len(x), x.dtype), None
        for block in self.layers:
            x, more, carry = block(x, real, drop, carry)
            penalty = penalty + more
        x = self.norm(x) if self._model.norm == "pre" else x
        features = _features(_mean(x, real).reshape(-1, self._towers, x.shape[-1]))
        if self._model.classifier:
            activation = nnx.relu if self._model.activation == "relu" else gelu
            features = activation(self.classifier_in(features))
        return self.classifier_out(features), penalty.reshape(-1, self._towers).mean(1)

    def _embedded(self, tokens: Int[Array, "B P"]) -> Float[Array, "B N C"]:
        """A vector of each token, number, or square of pixels, and of its position where those are learned."""
        model = self._model
        if self._patches is not None:
            x = _by_rows(self.patches, self._squares(tokens))
        elif model.pixels == "continuous":
            numbers = (tokens.astype(self.pixels.kernel.dtype) - model.pixel_mean) / model.pixel_std
            x = self.pixels(numbers[..., None])
        else:
            # By index, since calling an nnx.Embed casts to the dtype that it was made with.
            x = self.tokens.embedding[tokens]
        if model.positions != "learned":
            return x
        return x + _repeated(self.positions.embedding[: x.shape[1]], len(tokens))

    def _squares(self, pixels: Int[Array, "B P"]) -> Float[Array, "B N numbers"]:
        """The squares of images, row by row, their pixels between -1 and 1."""
        assert self._patches is not None, "the encoder is one of images"
        assert self._grid is not None, "images have a grid"
        scaled = pixels.astype(self.patches.kernel.dtype) / 127.5 - 1
        side, channels = self._patches.side, self._patches.channels
        sizes = {"r": self._grid[0], "c": self._grid[1], "y": side, "x": side, "h": channels}
        return rearrange(scaled, "b (r y c x h) -> b (r c) (y x h)", **sizes)


def skeleton(blueprint: Blueprint, products: Products) -> nnx.GraphDef:
    """The encoder's structure without any array: `nnx.merge` fills it with what `to_states` makes of weights."""
    return nnx.split(nnx.eval_shape(lambda: Encoder(blueprint, products, nnx.Rngs(0))))[0]


def to_states(weights: Weights) -> tuple[nnx.State, nnx.State]:
    """Learned arrays and constants, named as in lra.model.weights, where they lie in the module tree."""
    placed = ({}, {})
    for name, array in weights.items():
        placed[name.startswith(CONSTANT)][_path(name)] = array
    return nnx.from_flat_state(placed[0]), nnx.from_flat_state(placed[1])


def to_weights(state: nnx.State) -> Weights:
    """The inverse of `to_states` for one of the two, in NumPy."""
    # Copies: on a CPU NumPy would look into buffers that the next call donates.
    return {_name(path): np.array(array) for path, array in nnx.to_flat_state(state)}


def _path(name: str) -> tuple[str | int, ...]:
    """Where lra.model.weights's array lies in the module tree; a mechanism's own names may hold dots."""
    parts = name.removeprefix(CONSTANT).split(".", 3)
    if len(parts) == 4 and parts[2] == "attention":
        parts.insert(3, "constants" if name.startswith(CONSTANT) else "params")
    return tuple(int(part) if part.isdigit() else part for part in parts)


def _name(path: tuple[Any, ...]) -> str:
    """The inverse of `_path`."""
    if path[2:3] == ("attention",):
        *block, kind, own = path
        return (CONSTANT if kind == "constants" else "") + ".".join(map(str, (*block, own)))
    return ".".join(str(part) for part in path)


def _dtype(products: Products) -> Any:
    """What a dense layer computes in; None is the dtype of its input and weights."""
    return jnp.bfloat16 if products == "bfloat16" else None


def _by_rows(layer: Callable[[Array], Array], x: Float[Array, "B N C"]) -> Float[Array, "B N F"]:
    """The layer of all tokens as the rows of one matrix.

    The gradient of its kernel is then a product over one axis. Over two axes, XLA first copies a factor's transpose. On
    a CPU it then contracts along columns, at a fifth of the speed.
    """
    return layer(x.reshape(-1, x.shape[-1])).reshape(*x.shape[:-1], -1)


def _turned(x: Float[Array, "B N H D"], dtype: Any) -> Float[Array, "B N H D"]:
    """Queries or keys, turned by their positions in at least `dtype`, in their own."""
    cosine, sine = (jnp.asarray(array, dtype)[:, None] for array in turns(*x.shape[1::2]))
    first, second = jnp.split(x, 2, -1)
    return jnp.concatenate([first * cosine - second * sine, second * cosine + first * sine], -1).astype(x.dtype)


def _repeated(positions: Float[Array, "N C"], batch: int) -> Float[Array, "B N C"]:
    """One for each document, by a product: its gradient is one too, which XLA does faster than a sum over documents."""
    return jnp.einsum("b,nc->bnc", jnp.ones(batch, positions.dtype), positions)


def _norm(width: int, rngs: nnx.Rngs) -> nnx.LayerNorm:
    return nnx.LayerNorm(width, epsilon=NORM_EPSILON, use_fast_variance=False, rngs=rngs)


def _mean(x: Float[Array, "B N C"], lengths: Int[Array, " B"] | None) -> Float[Array, "B C"]:
    if lengths is None:
        return x.mean(1)
    real = jnp.arange(x.shape[1]) < lengths[:, None]
    return (x * real[..., None]).sum(1) / jnp.maximum(lengths, 1)[:, None]


def _features(pooled: Float[Array, "B T C"]) -> Float[Array, "B features"]:
    """One document as it is; two as [x0, x1, x0·x1, x0−x1]."""
    if pooled.shape[1] == 1:
        return pooled[:, 0]
    first, second = pooled[:, 0], pooled[:, 1]
    return jnp.concatenate([first, second, first * second, first - second], -1)


def map_named(call: Callable[..., Array], state: nnx.State, *others: Any) -> nnx.State:
    """call(name, array, …) of each learned array and of those in the same place; its name in lra.model.weights."""
    flat, *rest = (dict(nnx.to_flat_state(each)) for each in (state, *others))
    return nnx.from_flat_state({path: call(_name(path), *(each[path] for each in (flat, *rest))) for path in flat})
