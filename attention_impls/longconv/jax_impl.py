"""Long convolution in JAX."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from attention_impls.base import Layer
from attention_impls.longconv import KERNEL, Options
from attention_impls.ops.fourier_jax import two_sided_conv
from attention_impls.ops.gated import SKIP
from attention_impls.ops.gated_jax import gated
from attention_impls.ops.jax_ops import Tokens


def attend(x: Float[Array, "B N C"], layer: Layer[Options]) -> Tokens:
    kernel = layer.params[KERNEL][..., : x.shape[1]].astype(jnp.promote_types(x.dtype, jnp.float32))
    most = layer.options.threshold
    after, before = kernel - jnp.clip(kernel, -most, most)  # eq. (squash)
    y = two_sided_conv(x, after, before) + layer.params[SKIP] * x  # eq. (conv)
    return gated(y, layer)  # eq. (output)
