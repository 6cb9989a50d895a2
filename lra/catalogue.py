"""`run_lra.py list`: what there is to run."""

from __future__ import annotations

from dataclasses import fields

from rich.table import Table

import attention_impls
import tasks
from lra.backends import installed
from lra.config import PRESETS, preset_values
from lra.screen import console

MEANING = {
    "smoke": "is it wired: seconds",
    "quick": "does it learn: about 90 s of training for elfatt on two CPU cores; ranks nothing",
    "standard": "the 2-layer, 64-wide, 2-head protocol that the leaderboard ranks",
}


def print_catalogue() -> None:
    """Tables of the tasks, the mechanisms and the presets."""
    for table in (_tasks(), _mechanisms(), _presets()):
        console.print(table)
        console.print()


def _tasks() -> Table:
    table = _table(
        "Tasks", "task", "data of standard", "data of quick", "train / validation / test", "classes", "length"
    )
    for name in tasks.names():
        task = tasks.load(name)
        standard, quick = (task.options(**preset_values(name, preset)["data"]) for preset in ("standard", "quick"))
        counts = " / ".join("all" if n is None else f"{n:,}" for n in task.counts(standard).values())
        length = f"{task.shape(standard).max_length:,}"
        table.add_row(name, task.describe(standard), task.describe(quick), counts, str(task.classes), length)
    return table


def _mechanisms() -> Table:
    table = _table("Mechanisms", "attention", "paper", "cost a head", "backends", "options --attn.…")
    for name in attention_impls.names():
        mechanism = attention_impls.load(name)
        card = mechanism.card
        options = "\n".join(
            f"{field.name.replace('_', '-')} = {getattr(card.options(), field.name)}" for field in fields(card.options)
        )
        authors = card.paper.split(",")[0]
        table.add_row(name, f"{authors} {card.year}", card.cost, ", ".join(mechanism.backends), options)
    return table


def _presets() -> Table:
    table = _table("Presets, steps × batch", "task", *PRESETS)
    for name in tasks.names():
        plans = [preset_values(name, preset)["train"] for preset in PRESETS]
        table.add_row(name, *(f"{plan['steps']:,} × {plan['batch_size']}" for plan in plans))
    absent = [name for name in ("torch", "jax") if not installed(name)]
    lines = [f"{preset}: {MEANING[preset]}" for preset in PRESETS]
    table.caption = "\n".join(lines + ([f"not installed here: {', '.join(absent)}"] if absent else []))
    table.caption_justify = "left"
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table
