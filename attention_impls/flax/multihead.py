"""A replacement of flax.nnx.MultiHeadAttention, or of the function that it calls, with any mechanism."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

from flax import nnx
from jax import Array
from jaxtyping import Float

from attention_impls import Mechanism
from attention_impls.base import AttentionError
from attention_impls.choice import choose, find, require_no_carry
from attention_impls.flax.layer import Attention
from attention_impls.flax.masks import real_keys


def attention_fn(mechanism: str | Mechanism, **given: Any) -> Callable[..., Array]:
    """The function for nnx.MultiHeadAttention(attention_fn=…), for a mechanism without arrays.

    The function accepts Flax's mask if it hides padding only (attention_impls.flax.masks.real_keys).

    Args:
        mechanism: A name, a name with options (elfatt@block_size=64), or the path of a folder with a slash.
        **given: Options of the mechanism's card, and `grid` for layouts of two dimensions.

    Raises:
        AttentionError: The mechanism has arrays or takes x: use MultiHeadAttention of this package. The function
            itself raises it for dropout and causal attention.
    """
    grid = given.pop("grid", None)
    trial = choose(mechanism, "jax", given, heads=2, head_dim=8, max_length=None, grid=grid)
    name = trial.mechanism.name
    if trial.shapes() or "x" in trial.inputs or trial.card.penalty or trial.card.carries:
        raise AttentionError(f"{name} needs more than q, k and v: use attention_impls.flax.MultiHeadAttention")

    def attend(
        query: Float[Array, "B N H D"],
        key: Float[Array, "B N H D"],
        value: Float[Array, "B N H D"],
        *args: Any,
        mask: Array | None = None,
        **settings: Any,
    ) -> Float[Array, "B N H D"]:
        _refuse(name, query, key, {"bias": args[0] if args else None, **settings})
        real = None if mask is None else real_keys(mask, *query.shape[:2])
        sizes = {"heads": query.shape[2], "head_dim": query.shape[3]}
        layer = Attention(trial.mechanism, **sizes, **given, grid=grid, dtype=settings.get("dtype"), rngs=nnx.Rngs(0))
        return layer(query, key, value, mask=real)

    return attend


class MultiHeadAttention(nnx.MultiHeadAttention):
    """nnx.MultiHeadAttention with another mechanism between its projections, for bidirectional self-attention.

        MultiHeadAttention(num_heads=8, in_features=512, mechanism="elfatt@block_size=128", rngs=nnx.Rngs(0))

    The layer of the mechanism is `attention`. For mechanisms that take x, it is the input before its projection.
    Arguments that are not listed here are those of nnx.MultiHeadAttention.

    Args:
        mechanism: A name, a name with options (elfatt@block_size=64), or the path of a folder with a slash.
        max_length: The most tokens. Only mechanisms with arrays of that size need it.
        grid: (rows, columns) of the pixels that the tokens scan, for layouts of two dimensions.
        rngs: The random streams.
        **settings: Options of the mechanism's card, and arguments of nnx.MultiHeadAttention.

    Raises:
        AttentionError: Dropout of attention weights, decoding, or fewer heads of keys than of queries, which no
            mechanism here supports.
    """

    def __init__(
        self,
        num_heads: int,
        in_features: int,
        *args: Any,
        mechanism: str | Mechanism = "softmax",
        max_length: int | None = None,
        grid: tuple[int, int] | None = None,
        rngs: nnx.Rngs,
        **settings: Any,
    ) -> None:
        known = {field.name for field in fields(find(mechanism)[0].card.options)}
        options = {name: settings.pop(name) for name in known & settings.keys()}
        if settings.get("dropout_rate") or settings.get("decode"):
            raise AttentionError("dropout_rate or decode is given, which no mechanism supports: leave it out")
        super().__init__(num_heads, in_features, *args, rngs=rngs, **{"decode": False, **settings})
        if self.num_kv_heads != num_heads:
            raise AttentionError(f"num_kv_heads is {self.num_kv_heads}, expected num_heads = {num_heads}")
        if self.in_kv_features != in_features:
            raise AttentionError(f"in_kv_features is {self.in_kv_features}, expected in_features = {in_features}")
        sizes = {"heads": num_heads, "head_dim": self.head_dim, "width": in_features}
        kind = {"dtype": self.dtype, "param_dtype": self.param_dtype, "rngs": rngs}
        self.attention = Attention(mechanism, **sizes, max_length=max_length, grid=grid, **kind, **options)
        require_no_carry(self.attention.mechanism)

    def __call__(
        self,
        inputs_q: Float[Array, "B N C"],
        inputs_k: Array | None = None,
        inputs_v: Array | None = None,
        *,
        mask: Array | None = None,
        lengths: Array | None = None,
        **settings: Any,
    ) -> Float[Array, "B N F"]:
        """Mix the tokens.

        Args:
            inputs_q: The input (B, N, C).
            inputs_k: The same array as `inputs_q`, or None.
            inputs_v: The same array as `inputs_q`, or None.
            mask: (B, 1, 1, N), True where a token is real.
            lengths: (B,) number of real tokens of each example, which come first, instead of `mask`.
            **settings: Arguments of nnx.MultiHeadAttention.

        Returns:
            out (B, N, out_features).

        Raises:
            AttentionError: Other keys or values, causal attention, decoding, or a mask that hides more than padding.
        """
        name = self.attention.mechanism.name
        if any(each is not None and each is not inputs_q for each in (inputs_k, inputs_v)):
            raise AttentionError(f"inputs_k or inputs_v given, but {name} is self-attention: leave them out")
        q, k, v = (project(inputs_q) for project in (self.query, self.key, self.value))
        _refuse(name, q, k, settings)
        if self.query_ln is not None and self.key_ln is not None:
            q, k = self.query_ln(q), self.key_ln(k)
        real = None if mask is None else real_keys(mask, *q.shape[:2])
        return self.out(self.attention(q, k, v, x=inputs_q, mask=real, lengths=lengths))


def _refuse(name: str, query: Array, key: Array, settings: dict[str, Any]) -> None:
    """Raise AttentionError for features of Flax's attention that no mechanism here supports."""
    if query.ndim != 4 or key.shape != query.shape:
        raise AttentionError(f"query is {query.shape}, key is {key.shape}, expected (B, N, H, D) for both")
    if settings.get("is_causal") or settings.get("decode"):
        raise AttentionError(f"is_causal or decode is given, but {name} is bidirectional: leave it out")
    if settings.get("bias") is not None or settings.get("module") is not None or settings.get("sow_weights"):
        raise AttentionError(f"bias, module or sow_weights is given, but {name} has no attention weights: leave it out")
    if settings.get("dropout_rate") and not settings.get("deterministic"):
        raise AttentionError(f"dropout_rate is {settings['dropout_rate']}, expected 0: {name} does not drop weights")
