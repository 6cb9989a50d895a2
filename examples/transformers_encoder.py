"""ELFATT in a BERT of transformers, made from a configuration: nothing is downloaded.

pip install 'transformers>=5'
python examples/transformers_encoder.py --steps 200
"""

from __future__ import annotations

import torch
import transformers  # pyright: ignore[reportMissingImports]
import tyro

import attention_impls.transformers as mechanisms


def main(steps: int = 40, length: int = 256, batch: int = 16) -> None:
    """Learn whether a sequence of padded tokens has more small ones than large ones."""
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=100,
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=128,
        max_position_embeddings=length,
        attention_probs_dropout_prob=0.0,  # no mechanism here drops weights
    )
    model = transformers.BertForSequenceClassification(config)
    replaced = mechanisms.replace(model, "elfatt@block_size=64")
    print(f"elfatt in {', '.join(replaced)}")
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for step in range(steps):
        tokens = torch.randint(1, 100, (batch, length))
        real = torch.arange(length) < torch.randint(8, length + 1, (batch, 1))
        labels = (((tokens < 50) & real).sum(1) * 2 > real.sum(1)).long()
        loss = model(tokens, attention_mask=real.long(), labels=labels).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if step % 10 == 0 or step == steps - 1:
            print(f"step {step}: loss {loss.item():.3f}")


if __name__ == "__main__":
    tyro.cli(main)
