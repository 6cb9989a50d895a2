"""A mechanism in the place of torch.nn.MultiheadAttention: alone, and inside PyTorch's own encoders."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import pytest

from attention_impls.base import AttentionError

torch = pytest.importorskip("torch")
nn = torch.nn
BEHIND = torch.arange(9) >= torch.tensor([[5], [9], [1]])  # True is padding, as PyTorch has it
BEFORE = BEHIND.flip(1)


def pair(mechanism: str = "softmax", **given: Any) -> tuple[Any, Any]:
    """Our layer, and PyTorch's with the same weights."""
    from attention_impls.torch import MultiheadAttention

    torch.manual_seed(0)
    ours = MultiheadAttention(16, 4, mechanism=mechanism, max_length=16, batch_first=True, **given)
    theirs = nn.MultiheadAttention(16, 4, batch_first=True, **given)
    theirs.load_state_dict(
        {name: each for name, each in ours.state_dict().items() if not name.startswith("attention.")}
    )
    with torch.no_grad():
        for parameter in (*ours.parameters(), *theirs.parameters()):
            if parameter.ndim == 1:  # they start at zero, where a forgotten bias would not show
                parameter.copy_(torch.linspace(-1, 1, len(parameter)))
    return ours, theirs


def documents(tokens: int = 9) -> Any:
    return torch.randn(3, tokens, 16, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("padding", [None, BEHIND, BEFORE, torch.where(BEHIND, -torch.inf, 0.0)], ids=str)
def test_softmax_is_the_attention_of_pytorch(padding: Any, bias: bool) -> None:
    ours, theirs = pair(bias=bias)
    x = documents()
    out, weights = ours(x, x, x, key_padding_mask=padding)
    expected, _ = theirs(x, x, x, key_padding_mask=padding, need_weights=False)
    real = torch.ones(3, 9, dtype=torch.bool) if padding is None else padding == 0
    assert weights is None
    torch.testing.assert_close(out[real], expected[real])


def test_axes_are_those_of_pytorch() -> None:
    ours, theirs = pair()
    x, first = documents(), documents()[0]
    torch.testing.assert_close(ours(first, first, first)[0], theirs(first, first, first)[0])
    padded = ours(first, first, first, key_padding_mask=BEHIND[0])[0]
    torch.testing.assert_close(padded, ours(x, x, x, key_padding_mask=BEHIND)[0][0])
    ours.batch_first = theirs.batch_first = False
    y = x.transpose(0, 1)
    expected = theirs(y, y, y, key_padding_mask=BEHIND)[0].transpose(0, 1)[~BEHIND]
    torch.testing.assert_close(ours(y, y, y, key_padding_mask=BEHIND)[0].transpose(0, 1)[~BEHIND], expected)


def encoder(mechanism: str, theirs: bool = False, **given: Any) -> Any:
    """PyTorch's encoder of two layers; unless it is `theirs`, with our attention put in afterwards."""
    from attention_impls.torch import MultiheadAttention

    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(16, 4, 32, dropout=0.0, batch_first=True, **given)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that norm_first has no nested tensors
        made = nn.TransformerEncoder(layer, 2)
    for each in made.layers if not theirs else ():
        own = MultiheadAttention(16, 4, mechanism=mechanism, max_length=16, batch_first=True, seed=0)
        own.load_state_dict(each.self_attn.state_dict(), strict=False)
        each.self_attn = own
    return made


@pytest.mark.parametrize("norm_first", [True, False])
@pytest.mark.parametrize("padding", [None, BEHIND, BEFORE], ids=["none", "behind", "before"])
def test_pytorchs_encoder_computes_the_same_in_training_and_evaluation(padding: Any, norm_first: bool) -> None:
    x = documents()
    real = torch.ones(3, 9, dtype=torch.bool) if padding is None else ~padding
    for mechanism in ("softmax", "elfatt@block_size=4", "linear"):
        model = encoder(mechanism, norm_first=norm_first)
        expected = model.train()(x, src_key_padding_mask=padding)[real]
        with (
            torch.inference_mode(),
            warnings.catch_warnings(),
        ):  # where PyTorch's own layer takes a fast path, and nested tensors
            warnings.simplefilter("ignore")  # that nested tensors are a prototype
            found = model.eval()(x, src_key_padding_mask=padding)
        torch.testing.assert_close(found[real], expected)
        theirs = encoder(mechanism, theirs=True, norm_first=norm_first)(x, src_key_padding_mask=padding)[real]
        assert torch.allclose(expected, theirs, atol=1e-5) == (mechanism == "softmax")


def test_an_encoder_of_ours_learns() -> None:
    model = encoder("elfatt@block_size=4")
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(5):
        loss = (model(documents(), src_key_padding_mask=BEHIND)[:, 0] - 1).square().mean()
        optimiser.zero_grad()
        loss.backward()
        assert all(parameter.grad is not None for parameter in model.parameters())
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("mechanism", ["primal@rank=4", "reformer@chunk_size=4", "longformer@window=4"])
def test_mechanisms_take_what_they_take(mechanism: str) -> None:
    ours, _ = pair(mechanism)
    out = ours(*[documents()] * 3)[0]
    assert out.shape == (3, 9, 16)
    assert (ours.penalty is not None) == mechanism.startswith("primal")
    loss = out.square().sum() + (0 if ours.penalty is None else ours.penalty.sum())
    loss.backward()
    for letter, gradient in zip("qkv", ours.in_proj_weight.grad.chunk(3), strict=True):
        assert gradient.any() == (letter in ours.attention.inputs)
    assert torch.equal(copy.deepcopy(ours)(*[documents()] * 3)[0], out)


X = documents()
REFUSED: dict[str, dict[str, Any]] = {
    "need_weights is True, but elfatt has no attention weights": {"need_weights": True},
    "attn_mask is given, but elfatt supports padding only": {"attn_mask": torch.zeros(9, 9)},
    "is_causal is True, but elfatt is bidirectional": {"is_causal": True},
    "key or value is not query, but elfatt is self-attention": {"value": X.clone()},
    "query has shape (3, 9, 17), expected 2 or 3 axes, the last 16": {"query": torch.zeros(3, 9, 17)},
    "query has shape (1, 3, 9, 16), expected 2 or 3 axes": {"query": X[None]},
    "key_padding_mask has shape (9, 3), expected (B, N) = (3, 9)": {"key_padding_mask": BEHIND.T},
    "key_padding_mask is neither 0 nor -inf somewhere": {"key_padding_mask": torch.full((3, 9), 0.5)},
    "key_padding_mask is torch.int64, expected": {"key_padding_mask": BEHIND.long()},
    "17 tokens given, expected at most 16": {"query": documents(17)},
}


@pytest.mark.parametrize("said", REFUSED)
def test_what_no_mechanism_does_is_told_in_one_line(said: str) -> None:
    ours, _ = pair("elfatt")
    query = REFUSED[said].get("query", X)
    with pytest.raises(ValueError, match=r"^[^\n]*$") as raised:
        ours(**{"query": query, "key": query, "value": query, **REFUSED[said]})
    assert str(raised.value).startswith(said)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"dropout": 0.1}, "dropout is 0.1, expected 0"),
        ({"add_zero_attn": True}, "add_bias_kv or add_zero_attn is given"),
        ({"kdim": 8}, "kdim is 8, vdim is None, expected embed_dim = 16"),
        ({"num_heads": 3}, "embed_dim is 16, expected a multiple of num_heads = 3"),
        ({"mechanism": "linformer"}, "linformer has arrays for max_length tokens: give max_length"),
        ({"mechanism": "elfatt", "blocksize": 8}, "elfatt: unknown option 'blocksize'"),
    ],
)
def test_arguments_that_cannot_be_had_are_told_in_one_line(given: dict[str, Any], said: str) -> None:
    from attention_impls.torch import MultiheadAttention

    with pytest.raises(AttentionError, match=rf"^{said}[^\n]*$"):
        MultiheadAttention(**{"embed_dim": 16, "num_heads": 4, **given})
