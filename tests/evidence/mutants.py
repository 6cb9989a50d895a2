"""Faults that the tests must see: named ones, and random ones in the code that decides numbers."""

from __future__ import annotations

import ast
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

LAWS = "tests/test_attention_laws.py tests/test_attention_parity.py -k"
LOOP = "tests/test_loop.py tests/test_train.py tests/test_snapshot.py"
RUNS = "tests/test_batches.py tests/test_padding.py"
BOARD = "tests/test_board.py tests/test_significance.py"
CHECK = "tests/test_prediction.py tests/test_regress.py tests/test_baselines.py"
BENCH = "tests/test_bench_record.py tests/test_bench_plan.py tests/test_operations.py"


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """One change of one file, and the tests that have to fail on it."""

    name: str
    path: str
    old: str
    new: str
    tests: str
    at: int | None = None
    """Where `old` begins; None where it stands there once."""

    def applied(self, source: str) -> str:
        """The file with the fault; ValueError where it is not what it was made for."""
        if self.at is not None:
            if source[self.at : self.at + len(self.old)] != self.old:
                raise ValueError(f"{self.name}: {self.path} is another file than the one that it was made for")
            return source[: self.at] + self.new + source[self.at + len(self.old) :]
        if source.count(self.old) != 1:
            raise ValueError(f"{self.name}: {self.path} has {self.old!r} {source.count(self.old)} times, expected once")
        return source.replace(self.old, self.new)


def named(name: str, path: str, old: str, new: str, tests: str) -> Mutant:
    """A fault whose text stands once in its file."""
    return Mutant(name=name, path=path, old=old, new=new, tests=tests)


TORCH_OPS, ELFATT = "attention_impls/ops/torch_ops.py", "attention_impls/elfatt/torch_impl.py"
BATCHES, LOSS = "lra/model/batches.py", "lra/backends/torch/step.py"
NAMED = (
    named("a mask dropped", TORCH_OPS, "attn_mask=mask", "attn_mask=None", f"{LAWS} softmax"),
    named("a mask turned round", TORCH_OPS, "k.masked_fill(~real[", "k.masked_fill(real[", f"{LAWS} efficient"),
    named("softmax over the wrong axis", TORCH_OPS, "q.softmax(dim=3)", "q.softmax(dim=2)", f"{LAWS} efficient"),
    named(
        "a convolution mirrored",
        TORCH_OPS,
        "F.conv2d(image, kernel,",
        "F.conv2d(image, kernel.flip(-1),",
        f"{LAWS} elfatt",
    ),
    named("a bias forgotten", TORCH_OPS, "bias.flatten()", "None", f"{LAWS} elfatt"),
    named(
        "a block shifted by one",
        ELFATT,
        "rearrange(_pad_end(_to_space(x, blocks)",
        "rearrange(_pad_end(_to_space(x.roll(1, 1), blocks)",
        f"{LAWS} elfatt",
    ),
    named(
        "the halves' heads swapped",
        ELFATT,
        "heads = slice(-q.shape[2], None)",
        "heads = slice(None, q.shape[2])",
        f"{LAWS} elfatt",
    ),
    named(
        "padding not zeroed",
        "attention_impls/contract.py",
        "out = ops.zero_padding(out, real)",
        "out = out",
        f"{LAWS} elfatt",
    ),
    named(
        "a length not checked",
        "attention_impls/contract.py",
        "if tokens > dims.max_length",
        "if tokens > 2 * dims.max_length",
        f"{LAWS} softmax",
    ),
    named(
        "moments not restored",
        "lra/backends/torch/backend.py",
        "array = snapshot[key].T if turned(name)",
        "array = 0 * snapshot[key].T if turned(name)",
        "tests/test_backends.py -k bit_for_bit",
    ),
    named(
        "the step's count not restored",
        "lra/backends/torch/backend.py",
        'float(snapshot["adam.count"]) if snapshot',
        "0.0 if snapshot",
        "tests/test_backends.py -k bit_for_bit",
    ),
    named(
        "moments not restored in JAX",
        "lra/backends/jax/backend.py",
        'mu=to_states(within(snapshot, "adam.mu/"))[0]',
        'mu=to_states(within(snapshot, "adam.nu/"))[0]',
        "tests/test_backends.py -k bit_for_bit",
    ),
    named(
        "a seed ignored in the order",
        BATCHES,
        "default_rng([seed, epoch])",
        "default_rng([0, epoch])",
        f"{RUNS} {LOOP}",
    ),
    named("every epoch alike", BATCHES, "default_rng([seed, epoch])", "default_rng([seed, 0])", RUNS),
    named(
        "an evaluation batch lost",
        BATCHES,
        "for first in range(0, len(order), batch):",
        "for first in range(0, len(order) - batch, batch):",
        RUNS,
    ),
    named("a document cut", BATCHES, "[: sizes[-1]]\n", "[: sizes[-1] - 1]\n", RUNS),
    named(
        "a sum for a mean",
        LOSS,
        ".sum()) / examples, totals",
        ".sum()), totals",
        "tests/test_backends.py tests/test_padding.py",
    ),
    named("empty rows counted", LOSS, "& real", "| real", "tests/test_backends.py -k example"),
    named(
        "dropout off",
        "lra/backends/torch/step.py",
        "encoder.dropping.at(step, group.places, group.tokens)",
        "None",
        "tests/test_dropout.py",
    ),
    named(
        "dropout of another step",
        "lra/backends/jax/step.py",
        "Dropping(seed, number,",
        "Dropping(seed, number + 1,",
        "tests/test_dropout.py",
    ),
    named(
        "a penalty with the wrong sign", LOSS, "totals[0] + penalty", "totals[0] - penalty", "tests/test_backends.py"
    ),
    named("decay off", "lra/backends/jax/step.py", "update + own.decay * array", "update", "tests/test_groups.py"),
    named("a group at the main rate", LOSS, 'rate * settings["factor"]', "rate", "tests/test_groups.py"),
    named(
        "warm-up forgotten",
        "lra/model/schedule.py",
        "max(warmup - 1, 0)",
        "0",
        "tests/test_batches.py tests/test_train.py",
    ),
    named(
        "best weights of the last step",
        "lra/training/loop.py",
        "weights if improved else lane.history.best",
        "weights",
        LOOP,
    ),
    named(
        "the curve forgotten by a snapshot",
        "lra/training/history.py",
        'curve=arrays["history.curve"].tolist()',
        "curve=[]",
        LOOP,
    ),
    named("a wrong p-value", "lra/scores/significance.py", "2 * t.sf(", "t.sf(", BOARD),
    named("Holm as Bonferroni", "lra/scores/significance.py", "(len(p_values) - rank)", "len(p_values)", BOARD),
    named(
        "a population's deviation",
        "lra/scores/board.py",
        "return stdev(self.accuracies)",
        "return 0.9 * stdev(self.accuracies)",
        BOARD,
    ),
    named("the worst called the best", "lra/scores/significance.py", "best = max(present", "best = min(present", BOARD),
    named("a regression held", "lra/regression/verdict.py", "REGRESSED if p < level", "REGRESSED if p > level", CHECK),
    named("the bound of infinite seeds", "lra/regression/prediction.py", "1 / k + 1 / self.n", "1 / k", CHECK),
    named(
        "a curve that may lie anywhere",
        "lra/regression/verdict.py",
        "if not distance <= TOLERANCE",
        "if distance < 0",
        CHECK,
    ),
)

MUTATED = ("elfatt", "nystrom", "performer", "bigbird", "s4d", "mega", "s4", "s5")

# Code that decides numbers, and the tests of each module.
RANDOM = {
    **{f"attention_impls/{name}/torch_impl.py": f"{LAWS} '{name} and torch'" for name in MUTATED},
    "attention_impls/elfatt/jax_impl.py": f"{LAWS} 'elfatt and jax'",
    "attention_impls/ops/torch_ops.py": f"{LAWS} '(elfatt or reformer) and torch'",
    "attention_impls/ops/scan_torch.py": "tests/test_attention_scan.py",
    "attention_impls/ops/diagonal_torch.py": f"{LAWS} 's5 and torch'",
    "lra/model/groups.py": "tests/test_groups.py tests/test_model.py",
    "lra/model/batches.py": RUNS,
    "lra/model/padding.py": RUNS,
    "lra/model/dropout.py": "tests/test_dropout.py",
    "lra/backends/torch/step.py": "tests/test_backends.py tests/test_dropout.py tests/test_side_by_side.py",
    "lra/backends/jax/step.py": "tests/test_backends.py tests/test_dropout.py tests/test_side_by_side.py",
    "lra/training/history.py": LOOP,
    "lra/training/snapshot.py": f"{LOOP} tests/test_session.py",
    "lra/scores/significance.py": BOARD,
    "lra/scores/board.py": BOARD,
    "lra/scores/speeds.py": f"{BOARD} tests/test_leaderboard.py",
    "lra/bench/operations.py": BENCH,
    "lra/bench/record.py": BENCH,
    "lra/bench/statistics.py": BENCH,
    "lra/bench/summary.py": BENCH,
    "lra/regression/prediction.py": CHECK,
    "lra/regression/verdict.py": CHECK,
}

SWAPS: dict[type, str] = {
    ast.Add: "-", ast.Sub: "+", ast.Mult: "+", ast.Div: "*", ast.FloorDiv: "*", ast.Pow: "*",
    ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">", ast.Eq: "!=", ast.NotEq: "==",
    ast.Is: "is not", ast.IsNot: "is", ast.In: "not in", ast.NotIn: "in",
}  # fmt: skip


def random_mutants(root: Path, count: int, seed: int) -> list[Mutant]:
    """So many changes of one operator or number, in modules of RANDOM in turn; the same for the same seed and code."""
    rng = random.Random(seed)
    pools = {path: list(_changes(root, path, tests)) for path, tests in RANDOM.items()}
    found: list[Mutant] = []
    while len(found) < count:
        for pool in pools.values():
            if pool and len(found) < count:
                found.append(pool.pop(rng.randrange(len(pool))))
    return found


def _changes(root: Path, path: str, tests: str) -> Iterator[Mutant]:
    """Every change of one operator, number or `not` inside a function of the file."""
    source = (root / path).read_text(encoding="utf-8")
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    for function in (node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef | ast.ClassDef)):
        for node in _computing(function):
            for old, new in _edits(node, source):
                at = _place(node, source, starts)
                shown = f"{path}:{node.lineno} {old} → {new}"
                yield Mutant(name=shown, path=path, old=old, new=new, tests=tests, at=at)


def _computing(node: ast.AST) -> Iterator[ast.expr]:
    """The expressions of a function's body, without annotations, decorators and what errors say."""
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "args") and not isinstance(node, ast.Call):
            continue
        for child in value if isinstance(value, list) else [value]:
            if not isinstance(child, ast.AST) or isinstance(child, ast.Raise | ast.JoinedStr | ast.Assert):
                continue
            if isinstance(child, ast.expr):
                yield child
            yield from _computing(child)


def _edits(node: ast.expr, source: str) -> Sequence[tuple[str, str]]:
    """(what stands there, what is put in its place)."""
    text = ast.get_source_segment(source, node) or ""
    if "\n" in text:
        return []
    if isinstance(node, ast.BinOp) and type(node.op) in SWAPS:
        left, right = (ast.get_source_segment(source, each) or "" for each in (node.left, node.right))
        return [(text, f"(({left}) {SWAPS[type(node.op)]} ({right}))")]
    if isinstance(node, ast.Compare) and type(node.ops[0]) in SWAPS and len(node.ops) == 1:
        left, right = (ast.get_source_segment(source, each) or "" for each in (node.left, node.comparators[0]))
        return [(text, f"({left} {SWAPS[type(node.ops[0])]} {right})")]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.Invert | ast.USub):
        return [(text, f"({ast.get_source_segment(source, node.operand)})")]
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return [(text, f"({node.value} + 1)")]
    if isinstance(node, ast.Constant) and isinstance(node.value, bool):
        return [(text, str(not node.value))]
    return []


def _place(node: ast.expr, source: str, starts: Sequence[int]) -> int:
    """Where the node begins, in characters: ast counts the bytes of its line."""
    line = source[starts[node.lineno - 1] : starts[node.lineno]]
    return starts[node.lineno - 1] + len(line.encode()[: node.col_offset].decode())


def file_of(mutant: Mutant, root: Path) -> Path:
    """The mutant's file in a copy of the tree."""
    return root / mutant.path
