"""Window convolution in JAX."""

from __future__ import annotations

from jax import Array
from jaxtyping import Float

from attention_impls.base import Layer
from attention_impls.ops.gated_jax import gated
from attention_impls.ops.jax_ops import Tokens
from attention_impls.ops.token_conv import FILTER
from attention_impls.ops.token_conv_jax import token_conv
from attention_impls.window_conv import BIAS, BLOCK, Options


def attend(x: Float[Array, "B N C"], layer: Layer[Options]) -> Tokens:
    y = token_conv(x[..., None], layer.params[FILTER], BLOCK)[..., 0] + layer.params[BIAS]  # eq. (conv)
    return gated(y, layer)  # eq. (output)
