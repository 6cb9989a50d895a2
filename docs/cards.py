"""Pages of mechanisms and tasks, from their cards."""

from __future__ import annotations

import ast
import inspect
import itertools
from dataclasses import fields
from typing import Any

import attention_impls
import tasks
from attention_impls import Mechanism
from attention_impls.__main__ import facts, linked
from attention_impls.equation import Equation
from lra.core.presets import preset_values, presets_of
from lra.report.mathematics import mathml, words_and_mathml

INDEX = """# Mechanisms

Each mechanism is a folder of `attention_impls`. Its card has the paper, the equations, the options and the cost.
These pages are the cards.

| mechanism | paper | time of a head | frameworks |
| --- | --- | --- | --- |
"""
TASKS = """# Tasks

One section for each task. A preset chooses the data; an option changes it. Every option stands behind `--data.`.
"""


def pages() -> dict[str, str]:
    """Every page by its path."""
    names = attention_impls.names()
    mechanisms = [attention_impls.load(name) for name in names]
    found = {f"reference/mechanisms/{each.name}.md": _mechanism(each) for each in mechanisms}
    rows = "".join(_row(each) for each in mechanisms)
    bibtex = "The citations of all of them stand in `attention_impls/references.bib`.\n"
    found["reference/mechanisms/index.md"] = INDEX + rows + "\n" + bibtex
    found["reference/tasks.md"] = TASKS + "".join(_task(name) for name in tasks.names())
    return found


def options(kind: type, prefix: str) -> str:
    """A table of the fields of a dataclass, with what stands below each of them in the source."""
    words = meanings(kind)
    rows = [
        f"| `{prefix}{field.name.replace('_', '-')}` | `{field.default!r}` | {words.get(field.name, '')} |"
        for field in fields(kind)
    ]
    return "\n".join(["| option | default | meaning |", "| --- | --- | --- |", *rows]) + "\n" if rows else ""


def meanings(kind: type) -> dict[str, str]:
    """Field -> its docstring, on one line, ready for a cell of a table; fields of parent classes too."""
    found: dict[str, str] = {}
    for each in reversed(inspect.getmro(kind)[:-1]):
        if not hasattr(each, "__dataclass_fields__"):
            continue
        (tree,) = ast.parse(inspect.cleandoc("\n" + inspect.getsource(each))).body
        body: list[ast.stmt] = getattr(tree, "body")  # noqa: B009 - a class
        for field, text in itertools.pairwise(body):
            if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
                found[ast.unparse(field.target)] = cell(str(text.value.value))
    return found


def cell(text: str) -> str:
    """Words as a cell of a table holds them."""
    return " ".join(text.split()).replace("|", "\\|")


def _row(mechanism: Mechanism) -> str:
    card = mechanism.card
    paper = str(card.papers[0].byline) if card.papers else str(card.paper)
    name = f"[{mechanism.name}]({mechanism.name}.md)"
    return f"| {name} | {paper} {card.year} | {cell(card.cost)} | {', '.join(mechanism.backends)} |\n"


def _mechanism(mechanism: Mechanism) -> str:
    card = mechanism.card
    papers = [linked(paper) for paper in card.papers] or [str(card.paper)]
    told = [f"- **{title}**: {text}" for title, text in facts(mechanism).items() if title != "Options"]
    choices = options(card.options, "--attn.")
    bibtex = [f"```bibtex\n{paper.bibtex()}\n```" for paper in card.papers]
    parts = [
        f"# {mechanism.name}: {card.title}",
        "\n".join(f"{paper}.  " for paper in papers),
        "## Equations",
        *(_equation(each) for each in card.formulas),
        *(("## Options", choices) if choices else ()),
        "## Facts",
        "\n".join(told),
        *(("## Citation", *bibtex) if bibtex else ()),
    ]
    return "\n\n".join(parts) + "\n"


def _equation(equation: Equation) -> str:
    name = f"**({equation.tag})** " if equation.tag else ""
    line = f"\n\n{mathml(equation.tex)}" if equation.tex else ""
    return f"{name}{words_and_mathml(equation.where)}{line}"


def _task(name: str) -> str:
    task = tasks.load(name)
    module: Any = inspect.getmodule(task.build)
    about = inspect.getdoc(inspect.getmodule(task.options)) or inspect.getdoc(module) or ""
    rows = []
    for preset in presets_of(name):
        chosen = task.options(**preset_values(name, preset)["data"])
        counts = " / ".join("all" if count is None else f"{count:,}" for count in task.counts(chosen).values())
        length = f"{task.shape(chosen).max_length:,}"
        rows.append(f"| `{preset}` | {task.describe(chosen)} | {counts} | {length} | {task.validation(chosen)} |")
    documents = f"{task.towers} document{'s' if task.towers > 1 else ''}"
    facts = f"{task.classes} classes, {task.vocab} tokens, {documents} an example"
    return "\n".join(
        [
            f"\n## {name}\n",
            f"{about}\n",
            f"Version {task.version}: {facts}.\n",
            "| preset | data | train / validation / test | greatest length | validation |",
            "| --- | --- | --- | --- | --- |",
            *rows,
            "",
            options(task.options, "--data."),
        ]
    )
