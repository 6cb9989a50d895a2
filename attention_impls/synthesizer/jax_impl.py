"""The Synthesizer in JAX."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from attention_impls.base import Layer
from attention_impls.ops.jax_ops import Tokens
from attention_impls.synthesizer import ALPHA, Options
from attention_impls.synthesizer import inputs as letters


def attend(*inputs: Tokens, layer: Layer[Options]) -> Tokens:
    given = dict(zip(letters(layer.options), inputs, strict=True))
    v = given["v"]
    scores = _synthetic(given.get("q"), layer.params, layer.options, v.shape[1])
    if layer.options.dot_product:
        share = jax.nn.sigmoid(layer.params[ALPHA])
        pairs = jnp.einsum("bnhd,bmhd->bhnm", given["q"] / math.sqrt(layer.dims.head_dim), given["k"])
        scores = share * scores + (1 - share) * pairs  # eq. (mix)
    scores = scores.astype(jnp.promote_types(v.dtype, jnp.float32))
    if layer.real is not None:
        scores = jnp.where(layer.real[:, None, None, :], scores, jnp.finfo(scores.dtype).min)
    weights = jax.nn.softmax(scores, -1).astype(v.dtype)  # eq. (output)
    return jnp.einsum("hnm,bmhd->bnhd" if weights.ndim == 3 else "bhnm,bmhd->bnhd", weights, v)


def _synthetic(q: Tokens | None, params: dict[str, Array], options: Options, tokens: int) -> Float[Array, "*B H N N"]:
    """Logits that no pair of tokens has made, without a batch axis where they depend on no token at all."""
    if options.kind == "random":
        return params["random"][:, :tokens, :tokens]  # eq. (random)
    if options.kind == "factorised-random":
        return params["left"][:, :tokens] @ params["right"][:, :tokens].mT  # eq. (factorised-random)
    assert q is not None
    hidden = jax.nn.relu(q).swapaxes(1, 2)

    def layer(name: str, outputs: int) -> Float[Array, "B H N outputs"]:
        return hidden @ params[f"{name}.weight"][..., :outputs] + params[f"{name}.bias"][:, None, :outputs]

    if options.kind == "dense":
        return layer("dense", tokens)  # eq. (dense)
    repeated, stretched = layer("repeated", options.rank), layer("stretched", -(-tokens // options.rank))
    product = stretched[..., None] * repeated[..., None, :]  # eq. (factorised-dense)
    return product.reshape(*product.shape[:-2], -1)[..., :tokens]
