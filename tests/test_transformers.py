"""The mechanisms in transformers' BERT and ViT, made from configurations; nothing is downloaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from attention_impls.base import AttentionError

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers", minversion="5", reason="transformers 5 is not installed: extra hf")
SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
REAL = torch.arange(20) < torch.tensor([[20], [7], [1]])
IDS = torch.randint(0, 50, (3, 20), generator=torch.Generator().manual_seed(0))


@pytest.fixture
def mechanisms() -> Any:
    import attention_impls.transformers as mechanisms

    mechanisms.register()
    return mechanisms


def bert(attention: str = "sdpa", dropout: float = 0.0, **more: Any) -> Any:
    config = transformers.BertConfig(
        **SIZES,
        vocab_size=50,
        max_position_embeddings=40,
        attention_probs_dropout_prob=dropout,
        hidden_dropout_prob=0.0,
        attn_implementation=attention,
        **more,
    )
    torch.manual_seed(0)
    return transformers.BertModel(config).eval()


def vit(attention: str = "sdpa") -> Any:
    config = transformers.ViTConfig(**SIZES, image_size=32, patch_size=8, attn_implementation=attention)
    torch.manual_seed(0)
    return transformers.ViTModel(config).eval()


def hidden(model: Any, mask: Any = None, ids: Any = IDS) -> Any:
    return model(ids, attention_mask=mask).last_hidden_state


def test_what_has_no_parameters_is_registered(mechanisms: Any) -> None:
    names = mechanisms.register()
    assert {"softmax", "linear", "performer", "elfatt@local_conv=false", "nystrom@conv_kernel=0"} <= set(names)
    assert not {"elfatt", "linformer", "primal"} & set(names)
    for name in names:
        assert hidden(bert(name), REAL.long()).isfinite().all(), name
    assert mechanisms.register("elfatt@local_conv=false@block_size=4") == ("elfatt@local_conv=false@block_size=4",)
    small = hidden(bert("elfatt@local_conv=false@block_size=4"))
    assert not torch.allclose(small, hidden(bert("elfatt@local_conv=false")))


@pytest.mark.parametrize("mask", [None, REAL, REAL.flip(1)], ids=["none", "behind", "before"])
def test_softmax_in_bert_is_that_of_the_library(mask: Any, mechanisms: Any) -> None:
    real = torch.ones_like(REAL) if mask is None else mask
    expected = hidden(bert(), None if mask is None else mask.long())[real]
    for model in (bert("softmax"), bert()):
        if model.config._attn_implementation == "sdpa":
            mechanisms.replace(model, "softmax")
        assert (hidden(model, None if mask is None else mask.long())[real] - expected).abs().max() < 1e-5


def test_softmax_in_vit_is_that_of_the_library(mechanisms: Any) -> None:
    pixels = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    found = vit("softmax")(pixels).last_hidden_state
    assert (found - vit()(pixels).last_hidden_state).abs().max() < 1e-5


@pytest.mark.parametrize("name", ["linear", "elfatt@local_conv=false@block_size=4", "elfatt@block_size=4"])
def test_padding_changes_nothing(name: str, mechanisms: Any) -> None:
    if "local_conv" in name:
        mechanisms.register(name)
    model = bert(name) if name in ("linear",) or "local_conv" in name else bert()
    if model.config._attn_implementation == "sdpa":
        mechanisms.replace(model, name, seed=0)
    alone = hidden(model, None, IDS[1:2, :7])
    padded = hidden(model, REAL.long())[1, :7]
    other = hidden(model, REAL.long(), torch.where(REAL, IDS, 3))[1, :7]
    assert (padded - alone[0]).abs().max() < 1e-5
    assert torch.equal(padded, other)


def test_ten_steps_of_training_and_then_saved_and_loaded(mechanisms: Any, tmp_path: Path) -> None:
    model = bert().train()
    replaced = mechanisms.replace(model, "elfatt@block_size=8", seed=0)
    assert replaced == [f"encoder.layer.{layer}.attention.self" for layer in (0, 1)]
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    losses = []
    for _ in range(10):
        loss = (hidden(model, REAL.long())[:, 0] - 1).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    convolution = model.encoder.layer[0].attention.self.lra_layer.local_conv.weight
    assert convolution.grad.any()
    model.eval().save_pretrained(tmp_path)
    again = bert()
    mechanisms.replace(again, "elfatt@block_size=8")
    from safetensors.torch import load_file

    again.load_state_dict(load_file(tmp_path / "model.safetensors"))
    assert torch.equal(hidden(again, REAL.long()), hidden(model, REAL.long()))


def test_a_name_has_to_be_given_again_at_loading(mechanisms: Any, tmp_path: Path) -> None:
    model = bert("linear")
    model.save_pretrained(tmp_path)
    assert transformers.BertModel.from_pretrained(tmp_path).config._attn_implementation == "sdpa"
    again = transformers.BertModel.from_pretrained(tmp_path, attn_implementation="linear")
    assert torch.equal(hidden(again, REAL.long()), hidden(model, REAL.long()))


def test_what_looks_one_way_only_is_refused(mechanisms: Any) -> None:
    with pytest.raises(AttentionError, match="this model needs a causal mask or another mask of pairs"):
        hidden(bert("linear", is_decoder=True))
    config = transformers.GPT2Config(n_embd=32, n_layer=1, n_head=4, vocab_size=50, attn_pdrop=0.0)
    model = transformers.GPT2Model(config)
    with pytest.raises(AttentionError, match="is causal or cross-attention"):
        mechanisms.replace(model, "linear")
    attention = bert("linear").encoder.layer[0].attention.self
    attention.is_causal = True
    with pytest.raises(AttentionError, match="BertSelfAttention is causal, but linear is bidirectional"):
        attention(torch.zeros(1, 4, 32))


def test_what_a_mechanism_does_not_know_is_refused(mechanisms: Any) -> None:
    model = bert("linear")
    with pytest.raises(AttentionError, match=r"attention_mask is torch.bool of 4 axes, expected torch.bool \(B, N\)"):
        hidden(model, torch.ones(3, 1, 20, 20, dtype=torch.bool))
    with pytest.raises(AttentionError, match=r"dropout of weights is 0\.1, expected 0"):
        hidden(bert("linear", dropout=0.1).train())
    with pytest.raises(AttentionError, match="output_attentions is given, but linear has no attention weights"):
        model(IDS, output_attentions=True)
    call = transformers.AttentionInterface()["linear"]
    query, key = torch.zeros(1, 4, 20, 8), torch.zeros(1, 4, 21, 8)
    with pytest.raises(AttentionError, match="expected equal shapes: linear is self-attention"):
        call(torch.nn.Module(), query, key, key)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("elfatt", "elfatt has parameters: take attention_impls.transformers.replace"),
        ("primal", "primal has parameters"),
        ("linformer", "linformer has arrays for max_length tokens"),
        ("linea", "unknown attention 'linea'"),
    ],
)
def test_what_cannot_be_registered_is_told(name: str, said: str, mechanisms: Any) -> None:
    with pytest.raises(AttentionError, match=said):
        mechanisms.register(name)


def test_what_cannot_be_replaced_is_told_and_nothing_is(mechanisms: Any) -> None:
    model = bert()
    cases = {
        "primal": "primal takes x",
        "linformer": "give max_length",
        "luna": "luna passes a carry from layer to layer",
        "x": "unknown attention 'x'",
    }
    for name, said in cases.items():
        with pytest.raises(AttentionError, match=said):
            mechanisms.replace(model, name)
    assert model.config._attn_implementation == "sdpa"
    assert not [name for name in model.state_dict() if "lra_layer" in name]
    with pytest.raises(AttentionError, match="Linear is not a model whose attention transformers can replace"):
        mechanisms.replace(torch.nn.Linear(2, 2), "linear")
    mechanisms.replace(model, "linear")
    fresh = bert("lra_layer")
    with pytest.raises(AttentionError, match="has no layer of a mechanism: call replace"):
        hidden(fresh)
