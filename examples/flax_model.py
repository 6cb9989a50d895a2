"""ELFATT in a Flax NNX model, with padding, under jit.

python examples/flax_model.py --steps 200
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax
import tyro
from flax import nnx
from jax import Array

from attention_impls.flax import MultiHeadAttention


class Classifier(nnx.Module):
    """An embedding, one block of attention, the mean over real tokens, two classes."""

    def __init__(self, length: int, width: int, rngs: nnx.Rngs) -> None:
        self.embed = nnx.Embed(100, width, rngs=rngs)
        self.norm = nnx.LayerNorm(width, rngs=rngs)
        self.attention = MultiHeadAttention(4, width, mechanism="elfatt@block_size=64", max_length=length, rngs=rngs)
        self.head = nnx.Linear(width, 2, rngs=rngs)

    def __call__(self, tokens: Array, lengths: Array) -> Array:
        """Logits (B, 2) of tokens (B, N), the first `lengths` (B,) of which are real."""
        x = self.embed(tokens)
        x = x + self.attention(self.norm(x), lengths=lengths)
        real = jnp.arange(tokens.shape[1]) < lengths[:, None]
        return self.head((x * real[..., None]).sum(1) / lengths[:, None])


def main(steps: int = 40, length: int = 256, batch: int = 16) -> None:
    """Learn whether a sequence of padded tokens has more small ones than large ones."""
    model = Classifier(length, 64, nnx.Rngs(0))
    optimiser = nnx.Optimizer(model, optax.adamw(1e-3), wrt=nnx.Param)

    @nnx.jit
    def learn(model: Classifier, optimiser: nnx.Optimizer, key: Array) -> Array:
        of_tokens, of_lengths = jax.random.split(key)
        tokens = jax.random.randint(of_tokens, (batch, length), 1, 100)
        lengths = jax.random.randint(of_lengths, (batch,), 8, length + 1)
        small = ((tokens < 50) & (jnp.arange(length) < lengths[:, None])).sum(1)

        def loss(model: Classifier) -> Array:
            labels = (2 * small > lengths).astype(jnp.int32)
            return optax.softmax_cross_entropy_with_integer_labels(model(tokens, lengths), labels).mean()

        value, gradients = nnx.value_and_grad(loss)(model)
        optimiser.update(model, gradients)
        return value

    for step, key in enumerate(jax.random.split(jax.random.key(0), steps)):
        value = learn(model, optimiser, key)
        if step % 10 == 0 or step == steps - 1:
            print(f"step {step}: loss {value:.3f}")


if __name__ == "__main__":
    tyro.cli(main)
