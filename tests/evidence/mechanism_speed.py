"""How fast mechanisms are in PyTorch: against an earlier commit, and against their authors' or the most used code.

    python -m tests.evidence.mechanism_speed BEFORE OTHERS

BEFORE is a checkout of the earlier commit. OTHERS is a folder with checkouts named owner+repository (`SOURCES`); what
is not there, or does not run, gets a dash and the reason. Nothing of them needs to be installed: what they import and
is not here is replaced by stand-ins, which the timed code does not call. Writes results/evidence/mechanism_speed.md.
One process a mechanism; in it all are called in turn, and a figure is the median of its ratios.
"""

from __future__ import annotations

import copy
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import torch
from torch import Tensor, nn

from attention_impls.contract import with_contract
from attention_impls.torch import Attention
from lra import backends
from lra.bench.plan import BenchCell
from lra.bench.subjects import Stepping
from lra.core.allocator import keep_buffers
from tests.evidence.stepping import commit_of, write_page

BATCH, TOKENS, HEADS, DIM = 32, 1024, 2, 32
ROUNDS, STEPS = 7, 3
WIDTH, SHAPE, HEADS_FIRST = HEADS * DIM, (BATCH, TOKENS, HEADS, DIM), (BATCH, HEADS, TOKENS, DIM)
Call = Callable[[], Any]


class StandIns(MetaPathFinder, Loader):
    """Finds every module that nobody else has found."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec:
        return ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: ModuleSpec) -> Any:
        return MagicMock(__spec__=spec, __path__=[])

    def exec_module(self, module: ModuleType) -> None:
        pass


@contextmanager
def first_on_path(folder: Path, package: str) -> Iterator[None]:
    """Imports from `folder` first; what was imported of `package` is put aside, and back afterwards."""

    def taken() -> dict[str, ModuleType]:
        return {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] == package}

    if not folder.is_dir():
        raise FileNotFoundError(f"{folder.name} is not there")
    aside = taken()
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        taken()
        sys.modules.update(aside)


def theirs(folder: Path, module: str) -> Any:
    """A module of another project."""
    finder = StandIns()
    with first_on_path(folder, module.partition(".")[0]):
        sys.meta_path.append(finder)
        try:
            return import_module(module)
        finally:
            sys.meta_path.remove(finder)


def forward_and_backward(call: Callable[..., Tensor], module: nn.Module, *shapes: tuple[int, ...]) -> Call:
    """A call on normal inputs of these shapes; gradients of a random weighting of its result, the module's too."""
    arrays = [(torch.randn(shape) / 2).requires_grad_() for shape in shapes]
    weights = torch.randn_like(call(*arrays))
    wanted = [*arrays, *module.parameters()]
    return lambda: torch.autograd.grad(call(*arrays), wanted, weights)


def performer(folder: Path) -> Call:
    attention = theirs(folder, "performer_pytorch.performer_pytorch").FastAttention(dim_heads=DIM, nb_features=256)
    return forward_and_backward(attention, attention, *3 * [HEADS_FIRST])


def reformer(folder: Path) -> Call:
    found = theirs(folder, "reformer_pytorch.reformer_pytorch").LSHAttention
    attention = found(bucket_size=64, n_hashes=2, allow_duplicate_attention=False)
    return forward_and_backward(lambda q, v: attention(q, v)[0], attention, *2 * [(BATCH * HEADS, TOKENS, DIM)])


def linear(folder: Path) -> Call:
    attention = theirs(folder, "fast_transformers.attention.linear_attention").LinearAttention(DIM)
    masks = theirs(folder, "fast_transformers.masking")
    every, lengths = masks.FullMask(TOKENS), masks.LengthMask(torch.full((BATCH,), TOKENS))
    return forward_and_backward(lambda *qkv: attention(*qkv, every, lengths, lengths), attention, *3 * [SHAPE])


def flow(folder: Path) -> Call:
    attention = theirs(folder, "Flow_Attention").Flow_Attention(WIDTH, WIDTH, WIDTH, HEADS, drop_out=0)
    for name in ("query", "key", "value", "out"):
        setattr(attention, f"{name}_projection", nn.Identity())
    return forward_and_backward(attention, attention, *3 * [(BATCH, TOKENS, WIDTH)])


def cosformer(folder: Path) -> Call:
    attention = theirs(folder, "cosformer").CosformerAttention(WIDTH, HEADS, has_outproj=False)
    attention.q_proj = attention.k_proj = attention.v_proj = attention.out_proj = nn.Identity()
    return forward_and_backward(attention, attention, *3 * [(TOKENS, BATCH, WIDTH)])


def focused_linear(folder: Path) -> Call:
    side = int(TOKENS**0.5)
    attention = theirs(folder, "models.flatten_pvt").FocusedLinearAttention(WIDTH, TOKENS, HEADS)
    attention.q = attention.proj = nn.Identity()
    del attention.kv

    def call(q: Tensor, pair: Tensor) -> Tensor:
        attention.kv = lambda _: pair
        return attention(q, side, side)

    return forward_and_backward(call, attention, (BATCH, TOKENS, WIDTH), (BATCH, TOKENS, 2 * WIDTH))


def of_nystromformer(module: str, name: str, **config: Any) -> Callable[[Path], Call]:
    """An attention of the Nyströmformer project's code for this benchmark."""

    def make(folder: Path) -> Call:
        sizes = {"head_dim": DIM, "num_head": HEADS, "seq_len": TOKENS, "max_seq_len": TOKENS, "attention_dropout": 0}
        attention = getattr(theirs(folder / "LRA" / "code", module), name)(sizes | config)
        mask = torch.ones(BATCH, TOKENS)
        return forward_and_backward(lambda *qkv: attention(*qkv, mask), attention, *3 * [HEADS_FIRST])

    return make


NYSTROMFORMER = "mlpen+Nystromformer"
SOURCES: dict[str, tuple[str, Callable[[Path], Call], str]] = {
    "focused_linear": ("LeapLabTHU+FLatten-Transformer", focused_linear, "5×5 taps over an image, ours 5"),
    "flow": ("thuml+Flowformer", flow, ""),
    "linear": ("idiap+fast-transformers", linear, ""),
    "reformer": ("lucidrains+reformer-pytorch", reformer, ""),
    "performer": ("lucidrains+performer-pytorch", performer, "no gradient through the maximum"),
    "cosformer": ("OpenNLPLab+cosFormer", cosformer, ""),
    "nystrom": (
        NYSTROMFORMER,
        of_nystromformer("attention_nystrom", "NystromAttention", num_landmarks=128, conv_kernel_size=35),
        "",
    ),
    "linformer": (NYSTROMFORMER, of_nystromformer("attention_linformer", "LinformerAttention", linformer_k=256), ""),
    "softmax": (NYSTROMFORMER, of_nystromformer("attention", "SoftmaxAttention"), ""),
}


def earlier_attend(name: str, checkout: Path) -> Any:
    """The mechanism's code in another checkout of this project."""
    with first_on_path(checkout, "attention_impls"):
        module = import_module(f"attention_impls.{name}.torch_impl")
    if not Path(module.__file__ or "").is_relative_to(checkout):
        raise SystemExit(f"{checkout} has no {name}: give a checkout of this project")
    return module.attend


def with_code(attention: Attention, attend: Any) -> None:
    """Let the layer run this code."""
    choice = copy.copy(attention._choice)
    object.__setattr__(choice, "attend", with_contract(attend, choice.card, "torch"))
    attention._choice = choice


def attending(name: str, attend: Any = None) -> Call:
    """One layer's attention."""
    attention = Attention(name, heads=HEADS, head_dim=DIM, max_length=TOKENS, seed=0)
    if attend is not None:
        with_code(attention, attend)
    taken = attention.inputs
    return forward_and_backward(
        lambda *arrays: attention(**dict(zip(taken, arrays, strict=True))), attention, *len(taken) * [SHAPE]
    )


def stepping(name: str, attend: Any = None) -> Call:
    """A training step of `standard`."""
    cell = BenchCell(
        kind="train", backend="torch", device="cpu", dtype="float32", attn=name, length=TOKENS, batch=BATCH,
        heads=HEADS, head_dim=DIM,
    )  # fmt: skip
    subject = Stepping(cell, backends.get_clock(cell.backend, cell.device))
    subject.load()
    for layer in subject._state.encoder.layers if attend is not None else ():
        with_code(layer.attention, attend)
    return subject.call


def seconds(calls: Sequence[Call], rounds: int) -> np.ndarray:
    """(rounds, calls): seconds of each, all in turn, after one call of each that does not count."""
    found = np.zeros((rounds + 1, len(calls)))
    for at in np.ndindex(found.shape):
        began = time.perf_counter()
        calls[at[1]]()
        found[at] = time.perf_counter() - began
    return found[1:]


def row(name: str, before: Path, others: Path) -> str:
    """One row of the table, and what a reader has to know of theirs."""
    torch.manual_seed(0)
    keep_buffers()
    attend = earlier_attend(name, before)
    source, make, remark = SOURCES[name]
    calls = [attending(name, attend), attending(name)]
    try:
        calls.append(make(others / source))
    except Exception as error:  # whatever keeps another project's code from running is the reason
        remark = " ".join(str(error).split())[:120]
    taken = seconds(calls, ROUNDS)
    ratios = [f"{ratio:.2f}" for ratio in np.median(taken / taken[:, 1:2], 0)]
    shown = [f"{1e3 * each:.0f} ms" for each in np.median(taken, 0)]
    steps = seconds([stepping(name, attend), stepping(name)], STEPS)
    step = f"{np.median(steps[:, 0] / steps[:, 1]):.2f}"
    other = [shown[2], f"**{ratios[2]}**"] if len(calls) > 2 else ["–", "–"]
    told = f"{source.replace('+', '/')} {commit_of(others / source)}{f' ({remark})' if remark else ''}"
    return f"| {name} | {shown[0]} | {shown[1]} | **{ratios[0]}** | {step} | {' | '.join(other)} | {told} |"


def main() -> None:
    """Each mechanism in a process of its own, then the page."""
    if len(sys.argv) == 4:
        print(row(sys.argv[1], Path(sys.argv[2]).resolve(), Path(sys.argv[3]).resolve()))
        return
    if len(sys.argv) != 3:
        raise SystemExit("usage: python -m tests.evidence.mechanism_speed BEFORE OTHERS")
    before, others = sys.argv[1:]
    write_page(
        "mechanism_speed",
        "Mechanisms, before and now, and the code of others",
        "One layer's attention in PyTorch, forward and backward, in float32 on nothing padded. "
        f"It has {BATCH} × {TOKENS:,} tokens, {HEADS} heads of {DIM} and {torch.get_num_threads()} threads. "
        f"Before is commit {commit_of(Path(before))}. Theirs is the authors' or the most used code, without its "
        "projections. Each row has a process, which calls its three in turn. "
        f"Figures are medians of {ROUNDS} turns, also those of the ratios. "
        f"The step is one of `standard`, {STEPS} were taken of each. "
        "Where the code has not changed, the ratio shows the noise.",
        "| mechanism | before | now | before / now | same of a training step | theirs | theirs / now | whose |",
        [(name, before, others) for name in SOURCES],
    )


if __name__ == "__main__":
    main()
