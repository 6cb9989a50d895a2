"""The command `list`: tables of tasks, mechanisms and presets, or the card of one mechanism."""

from __future__ import annotations

from dataclasses import dataclass, fields

from rich.table import Table

import attention_impls
import tasks
from attention_impls import BACKENDS, Mechanism
from attention_impls.equation import Equation, rendered
from lra.core.config import resolve
from lra.core.frameworks import installed
from lra.core.presets import PRESETS, preset_values, presets_of
from lra.model.weights import initial_weights, parameter_count
from lra.terminal.console import console, new_table
from lra.terminal.mathematics import unicode_line
from lra.training.trainer import make_blueprint

COUNTED = "pathfinder"  # the task on whose model the table counts parameters
MEANING = {
    "smoke": "does every part work: seconds",
    "quick": "does it learn: about 90 s for elfatt on two CPU cores; not for ranking",
    "standard": "the 2-layer, 64-wide, 2-head protocol that the leaderboard ranks",
    "s4": "S4's recipe, days on a GPU; has its own board, not reproduced yet",
}


DESCRIPTION = "List the tasks, the mechanisms and the presets. With --attn, show the card of one mechanism."


@dataclass(frozen=True, kw_only=True)
class ListFlags:
    """The arguments of the command."""

    attn: str | None = None
    """Show the card of this mechanism: paper, equations, options, BibTeX. A name, or the path of a folder."""


def show(flags: ListFlags) -> int:
    """Print tables of tasks, mechanisms and presets, or one mechanism's card. Returns the exit code."""
    if flags.attn is not None:
        console.print("\n\n".join(_card(attention_impls.load(flags.attn))), markup=False)
        return 0
    for make in TABLES:
        console.print(make())
        console.print()
    return 0


def _card(mechanism: Mechanism) -> list[str]:
    """The paragraphs of a card."""
    card, defaults = mechanism.card, mechanism.card.options()
    options = [f"{field.name}={getattr(defaults, field.name)!r}" for field in fields(defaults)]
    facts = {
        "time of a head": card.cost,
        "options": ", ".join(options) or "none",
        "backends": ", ".join(mechanism.backends),
        "differs from the authors' code": card.differs,
        "rounding": card.rounding,
        "arrays with their own learning rate": ", ".join(f"{name} ({group})" for name, group in card.groups.items()),
    }
    return [
        f"{mechanism.name}: {card.title}" + (f" ({card.year})" if card.year else ""),
        "\n".join(str(paper) for paper in card.papers) or str(card.paper),
        *("\n".join(_equation(each)) for each in card.formulas),
        "\n".join(f"{name}: {text}" for name, text in facts.items() if text),
        *(paper.bibtex() for paper in card.papers),
    ]


def _equation(equation: Equation) -> list[str]:
    """The equation's tag and description, with the equation on the line below."""
    where = rendered(equation.where, unicode_line)
    head = " ".join(part for part in (f"({equation.tag})" if equation.tag else "", where) if part)
    return [head, *([f"    {unicode_line(equation.tex)}"] if equation.tex else [])]


def _tasks() -> Table:
    texts = ("data of standard", "data of quick", "train / validation / test", "classes", "length")
    made = new_table("Tasks", names=("task",), texts=texts)
    for name in tasks.names():
        task = tasks.load(name)
        standard, quick = (task.options(**preset_values(name, preset)["data"]) for preset in ("standard", "quick"))
        counts = " / ".join("all" if n is None else f"{n:,}" for n in task.counts(standard).values())
        length = f"{task.shape(standard).max_length:,}"
        made.add_row(name, task.describe(standard), task.describe(quick), counts, str(task.classes), length)
    return made


def _mechanisms() -> Table:
    made = new_table("Mechanisms", names=("attention",), texts=("paper", "time of a head", "parameters"))
    alone = []
    for name in attention_impls.names():
        mechanism = attention_impls.load(name)
        card = mechanism.card
        author = card.papers[0].byline.removesuffix(" et al.") if card.papers else str(card.paper)
        made.add_row(name, f"{author} {card.year}", card.cost, f"{_parameters(name):,}")
        alone += [] if mechanism.backends == BACKENDS else [f"{name} ({', '.join(mechanism.backends)})"]
    lines = [f"parameters: whole model on {COUNTED}, preset standard", "options: run_lra.py --attn NAME --help"]
    made.caption = "\n".join([*lines, *([f"in one framework only: {', '.join(alone)}"] if alone else [])])
    return made


def _parameters(attn: str) -> int:
    run = resolve(COUNTED, attn, preset="standard")
    return parameter_count(initial_weights(make_blueprint(run, tasks.load(COUNTED))))


def _presets() -> Table:
    made = new_table("Presets, steps × batch", names=("task",), texts=PRESETS)
    for name in tasks.names():
        plans = {preset: preset_values(name, preset)["train"] for preset in presets_of(name)}
        shown = {preset: f"{plan['steps']:,} × {plan['batch_size']}" for preset, plan in plans.items()}
        made.add_row(name, *(shown.get(preset, "") for preset in PRESETS))
    absent = [name for name in ("torch", "jax") if not installed(name)]
    lines = [f"{preset}: {MEANING[preset]}" for preset in PRESETS]
    made.caption = "\n".join(lines + ([f"not installed here: {', '.join(absent)}"] if absent else []))
    return made


TABLES = (_tasks, _mechanisms, _presets)
