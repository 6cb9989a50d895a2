"""Other attentions in the place of softmax, in an encoder that softmax has trained, without training.

    python -m tests.evidence.swap RECORD ... [--examples 1000]

Writes results/evidence/swap.md, where sections of other data stay. Each record is of a run with softmax in PyTorch,
whose best weights are still beside it. Queries, keys and values are recorded in every layer of the trained encoder,
and given to each attention: how far is its output from softmax's? Then the attention takes softmax's place in all
layers, with the weights as they are: how many test examples are right? Then the whole encoder is trained on for 1 %
of the run's steps; softmax too, which shows what that much more training does by itself. ELFATT's convolution of the
values is left out: its weights would be untrained.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import tasks
from lra import backends
from lra.backends import Backend
from lra.core.config import Run, mechanism_options
from lra.core.environment import ROOT, environment, git_state
from lra.core.errors import UserError
from lra.core.files import write_atomically
from lra.core.markup import in_code, in_markdown
from lra.core.spec import Spec
from lra.model.batches import Epochs, Gatherer, chunk_bounds, gatherers, training_chunks
from lra.model.blueprint import Blueprint
from lra.model.schedule import one_cycle
from lra.model.weights import Weights, initial_weights
from lra.training import checkpoint, data, record
from lra.training.evaluation import run_of, weights_of
from lra.training.record import Record, standard_error
from lra.training.trainer import make_blueprint
from tasks.base import Split
from tests.evidence.recorded import mean_errors, output_errors, recorded, some

PAGE = ROOT / "results" / "evidence" / "swap.md"
EXACT = ("softmax", "flash")  # one function of q, k and v
CONTROL = "softmax"
SWAPS: dict[str, str] = {
    CONTROL: "softmax, as it was trained",
    "elfatt@local_conv=false": "elfatt",
    "elfatt@local_conv=false@layout=2d@block_size=64": "elfatt, square windows",
    "elfatt@local_conv=false@global_share=0.0": "elfatt, blocks only",
    "efficient": "efficient",
    "local": "local",
}
RECORDED = 32  # test examples whose q, k and v are recorded
SHARE = 100  # a run's steps over those that are trained on


@dataclass(frozen=True, kw_only=True)
class Swapped:
    """What one attention does in the place of softmax: errors of its output by layer, and examples that are right."""

    errors: list[float]
    right: int | None = None  # with the weights as they are; None where it was not tried
    later: int | None = None  # after it was trained on


def right_answers(backend: Backend, state: Any, gather: Gatherer, batch: int) -> int:
    """How many examples are right."""
    return sum(int(backend.evaluate(state, chunk)[0].correct.sum()) for chunk in gather.evaluation(batch))


def trained_on(backend: Backend, weights: Weights, gather: Gatherer, examples: int, run: Run) -> Any:
    """The state after 1 % of the run's steps more, on the batches that would follow, by the run's schedule in small."""
    plan, steps = run.train, more_steps(run)
    cycle = partial(
        one_cycle, peak=plan.learning_rate, warmup=max(plan.warmup * steps // plan.steps, 1), total=max(steps, 2)
    )
    bounds = ((plan.steps + begin, plan.steps + end) for begin, end in chunk_bounds(0, steps, steps, plan.chunk))
    rate = lambda numbers: cycle(numbers - plan.steps)  # noqa: E731
    state = backend.start([weights])
    for chunk in training_chunks(gather, Epochs(examples, run.seed), bounds, plan.batch_size, rate):
        state, _ = backend.train_steps(state, [chunk])
    return state


def more_steps(run: Run) -> int:
    """1 % of the run's steps, one at least."""
    return max(run.train.steps // SHARE, 1)


def swapped(run: Run, attn: str) -> Blueprint:
    """The run's encoder with another attention; UserError where that has arrays of its own, which nobody trained."""
    spec = Spec.parse(attn)
    other = replace(run, attn=spec.name, options=mechanism_options(spec.name, dict(spec.options)))
    blueprint = make_blueprint(other, tasks.load(run.task))
    own = initial_weights(blueprint).keys() ^ initial_weights(make_blueprint(run, tasks.load(run.task))).keys()
    if own:
        raise UserError(f"{attn} has other arrays than {run.attn}: {', '.join(sorted(own))}: it cannot be swapped in")
    return blueprint


def measured(run: Run, weights: Weights, splits: Mapping[str, Split], examples: int) -> Iterator[tuple[str, Swapped]]:
    """Each attention by its title, in order; the mean of the values last."""
    test = some(splits["test"], examples)
    layers = recorded(swapped(run, CONTROL), weights, test, min(RECORDED, len(test)))
    for attn, title in SWAPS.items():
        blueprint = swapped(run, attn)
        backend = backends.get("torch", [blueprint], "cpu")
        plan = run.train
        gather = gatherers({"train": splits["train"], "test": test}, plan.batch_size, plan.steps, backend.grouping)
        right = right_answers(backend, backend.start([weights]), gather["test"], plan.batch_size)
        state = trained_on(backend, weights, gather["train"], len(splits["train"]), run)
        later = right_answers(backend, state, gather["test"], plan.batch_size)
        yield title, Swapped(errors=output_errors(blueprint, layers), right=right, later=later)
    yield "mean of the values", Swapped(errors=mean_errors(layers))


def section(path: Path, examples: int) -> str:
    """What one record's encoder says: how it was trained, and a row for each attention."""
    known = record.load(path)
    run = run_of(known, {})
    if run.attn not in EXACT or getattr(run.options, "local_conv", False) or run.backend != "torch":
        told = f"{run.attn} in {run.backend}"
        raise UserError(f"{path} is a run of {told}, expected softmax in torch without --attn.local-conv")
    weights, _ = checkpoint.read(weights_of(known, path))
    prepared = data.prepare(run.task, run.data, data.source(None, None))
    tested = min(examples, len(prepared.splits["test"]))
    with backends.pinned("torch"):
        rows = []
        for title, each in measured(run, weights, prepared.splits, tested):
            rows.append(row(title, each, tested))
            print(rows[-1], flush=True)
    return "\n\n".join(
        [f"## {in_markdown(title_of(run))}", about(run, known, tested), table(run, rows), made(path, tested)]
    )


def table(run: Run, rows: Sequence[str]) -> str:
    """The rows below their head."""
    errors = [f"error of the output, layer {n}" for n in range(1, run.model.depth + 1)]
    head = ["attention", *errors, "right without training, %", f"right after {more_steps(run):,} steps, %"]
    return "\n".join([f"| {' | '.join(head)} |", "|---" * len(head) + "|", *rows])


def title_of(run: Run) -> str:
    """The task and its data."""
    return f"{run.task}: {tasks.load(run.task).describe(run.data)}"


def row(title: str, each: Swapped, tested: int) -> str:
    """One row of the table, with the standard error of the test set."""
    answers = [score(right, tested) for right in (each.right, each.later)]
    return f"| {' | '.join([title, *(f'{error:.3f}' for error in each.errors), *answers])} |"


def score(right: int | None, tested: int) -> str:
    """A share in per cent with its standard error."""
    return "–" if right is None else f"{100 * right / tested:.1f} ± {100 * standard_error(right / tested, tested):.1f}"


def rules(known: Record) -> str:
    """Chance, and the best rule without learning, on the test set."""
    name, best = max(known.references.items(), key=lambda each: each[1])
    chance = known.references["chance"]
    return f"Chance has {100 * chance:.1f} %, the best rule without learning ({name}) {100 * best:.1f} %"


def about(run: Run, known: Record, tested: int) -> str:
    """How the encoder was trained, and on what it is asked here."""
    plan, model = run.train, run.model
    return (
        f"{model.depth} layers, {model.width} wide, {model.heads} heads; {plan.steps:,} steps of {plan.batch_size}, "
        f"best weights at step {known.best_step:,}. Its record has {100 * known.test_accuracy:.1f} % of "
        f"{known.test_examples:,} test examples right. {rules(known)}. Here "
        f"{tested:,} of them are asked. Trained by {in_code(known.command.split(' --results')[0], 1000)}."
    )


def of_blocks(attn: str) -> str:
    """How many tokens a block has, where the card says so and not the spelling."""
    spec = Spec.parse(attn)
    size = getattr(mechanism_options(spec.name, dict(spec.options)), "block_size", None)
    return "" if size is None or "block_size" in attn else f", blocks of {size}"


def made(path: Path, tested: int) -> str:
    """The command, the machine and the commit."""
    facts, commit = environment(), git_state()
    at = f"commit {(commit['commit'] or 'unknown')[:7]}{'' if commit['clean'] else ' with changes'}"
    words = f"python -m tests.evidence.swap results/runs/{path.name} --examples {tested}"
    return f"`{words}` on {in_markdown(facts['cpu'])}, {facts['cores']} cores, {at}."


def sections_of(text: str) -> dict[str, str]:
    """The measured sections of a page by their titles."""
    parts = {part.partition("\n")[0]: f"## {part.strip()}" for part in f"\n{text}".split("\n## ")[1:]}
    return {title: part for title, part in parts.items() if not PLAN.startswith(f"## {title}\n")}


def page(sections: Sequence[str]) -> str:
    """The whole file."""
    named = "\n".join(f"- {title}: {in_code(attn)}{of_blocks(attn)}" for attn, title in SWAPS.items())
    return "\n\n".join([HEAD, named, *sections, PLAN]) + "\n"


HEAD = f"""# Softmax replaced without training

An encoder is trained with softmax. Then another attention takes its place in every layer, with the same weights. The
error of an output is |out − softmax's| / |softmax's|, for queries, keys and values of {RECORDED} test examples
recorded in the trained encoder. "Mean of the values" looks at no query and no key. Then the whole encoder is trained
on for 1 % of its steps with AdamW anew, by the run's schedule in small; softmax too, for comparison. One seed each,
so differences between seeds are not in ±, which is the standard error of the test set. ELFATT's convolution of the
values is left out: nobody trained it.

The attentions, with the options of their cards where none are named:"""
PLAN = """## Not measured: diffusion

These encoders classify small images and are no diffusion models. What the swap does to one is not known. A plan for a
GPU:

1. Train a small denoising model with softmax on CIFAR-10, one token a pixel (1,024 tokens, more than a block of 64 or
   128).
2. Record queries, keys and values at early, middle and late noise levels, and report errors of the output as above.
3. Swap each attention in without training. Report the denoising loss at each noise level. Report a distance between
   samples and test images, for several seeds, and the time of a sampling step.
4. The same after 1 % of the training steps."""


def main() -> int:
    """Measure the records that are named, and put them in their places on the page."""
    parser = argparse.ArgumentParser(prog="python -m tests.evidence.swap", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("records", nargs="+", type=Path, help="records of runs with softmax in PyTorch")
    parser.add_argument("--examples", type=int, default=1000, help="test examples that are asked (1000)")
    parser.add_argument("--page", type=Path, default=PAGE, help="the file to write")
    given = parser.parse_args()
    if given.examples < 1:
        parser.error(f"--examples {given.examples}: expected 1 or more")
    try:
        sections = [section(path, given.examples) for path in given.records]
    except UserError as error:
        parser.error(str(error))
    before = sections_of(given.page.read_text(encoding="utf-8")) if given.page.exists() else {}
    found = before | sections_of("\n\n".join(sections))
    write_atomically(page(list(found.values())).encode(), given.page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
