"""Writes attention_impls/README.md and references.bib from the cards: `python -m attention_impls`."""

from __future__ import annotations

from dataclasses import fields

import numpy as np

import attention_impls
from attention_impls import Mechanism
from attention_impls.base import Dims, Laws
from attention_impls.citation import Citation
from attention_impls.equation import Equation, rendered

SIZE = Dims(heads=2, head_dim=32, width=64, max_length=4096, grid=(64, 64))
SOFTMAX = 2 * SIZE.heads * SIZE.head_dim * SIZE.max_length**2  # multiply-adds

HEAD = """# Attention mechanisms

`python -m attention_impls` writes this page from the cards. Edit the cards, not this page.

A mechanism is a folder. `__init__.py` has its `CARD`. `torch_impl.py`, `jax_impl.py` or both have its `attend`.
`reference.py` has the same in NumPy. `base.py` documents the card, the arguments of `attend`, and the laws. Every
folder here is listed, tested and available to `--attn`. `--attn path/to/folder` uses a folder from elsewhere. There,
`torch_impl.py` or `jax_impl.py` may have a plain module instead: `class Attention`, called with (q, k, v, mask). Such
a folder needs no card; `adapter/__init__.py` documents the module's arguments.

Equations have tags. A comment names the tag beside the line that computes the equation: `# eq. (output)`. All citations
are in [references.bib](references.bib).
"""


def readme() -> str:
    """The page, from the cards alone."""
    return "\n".join([HEAD, *(_section(attention_impls.load(name)) for name in attention_impls.names())])


def references() -> str:
    """Every cited publication in BibTeX, once, by its key."""
    papers = {paper.key: paper for name in attention_impls.names() for paper in attention_impls.load(name).card.papers}
    return "\n\n".join(papers[key].bibtex() for key in sorted(papers)) + "\n"


def facts(mechanism: Mechanism) -> dict[str, str]:
    """The facts of a card besides its equations, as title -> text, without empty ones."""
    card, options = mechanism.card, mechanism.card.options()
    chosen = ", ".join(f"`{field.name}={getattr(options, field.name)!r}`" for field in fields(options)) or "none"
    rows = {
        "Time of a head": card.cost,
        "Cost at 4,096 tokens": costs(mechanism),
        "Options": chosen,
        "Written in": ", ".join(mechanism.backends),
        "Differs from the authors' code": card.differs,
        "Is softmax attention when": "; ".join(dict.fromkeys(equality.why for equality in card.equals_softmax_when)),
        "Rounding": card.rounding,
        "Arrays with a learning rate and a decay of their own": ", ".join(f"{a} ({g})" for a, g in card.groups.items()),
        "More than one graph under torch.compile": "" if card.one_graph is True else card.one_graph,
        "Laws that are off": "; ".join(f"{law}: {reason}" for law, reason in _broken(card.laws).items()),
    }
    return {title: text for title, text in rows.items() if text}


def _section(mechanism: Mechanism) -> str:
    card = mechanism.card
    lines = [f"- {title}: {text}" for title, text in facts(mechanism).items()]
    papers = [f"{linked(paper)} (`{paper.key}`)" for paper in card.papers] or [str(card.paper)]
    head = [f"## {mechanism.name}: {card.title} ({card.year})", "", "; ".join(papers) + ".", ""]
    return "\n".join([*head, *(_equation(each) for each in card.formulas), *lines, ""])


def linked(paper: Citation) -> str:
    """The citation as Markdown, its title a link."""
    return str(paper).replace(paper.title, f"[{paper.title}]({paper.url})") if paper.url else str(paper)


def _equation(equation: Equation) -> str:
    """An equation for GitHub's Markdown. Backticks keep inline LaTeX from being read as Markdown."""
    where = rendered(equation.where, lambda tex: f"$`{tex}`$")
    name = f"**({equation.tag})**" if equation.tag else ""
    block = ["```math", equation.tex, "```", ""] if equation.tex else []
    return "\n".join([" ".join(part for part in (name, where) if part) + (":" if block else ""), "", *block])


def costs(mechanism: Mechanism) -> str:
    """The card's own formulas at one size, forward, for one example."""
    card = mechanism.card
    options = card.options()
    products = card.operations(options, SIZE, SIZE.max_length)
    transforms = card.transforms(options, SIZE, SIZE.max_length, False)
    scans = card.scans(options, SIZE, SIZE.max_length)
    work = f"{products / 1e6:,.0f} million multiply-adds"
    if transforms:
        work += f", {transforms / 1e6:,.0f} million operations of Fourier transforms"
    if scans:
        work += f", {scans / 1e6:,.0f} million elementwise of recurrences"
    arrays = card.params(options, SIZE, np.random.default_rng(0))
    own = sum(array.size for array in arrays.values())
    held = card.memory(options, SIZE, SIZE.max_length) / card.memory(options, SIZE, SIZE.max_length // 4)
    return (
        f"{work} ({(products + transforms / 2 + scans) / SOFTMAX:.1%} of softmax) and {own:,} parameters "
        f"of its own in a layer of {SIZE.heads} heads of {SIZE.head_dim}; {held:.1f} times the memory of 1,024"
    )


def _broken(laws: Laws) -> dict[str, str]:
    held = {law.name: getattr(laws, law.name) for law in fields(laws)}
    return {law: reason for law, reason in held.items() if reason is not True}


if __name__ == "__main__":
    (attention_impls.HERE / "README.md").write_text(readme(), encoding="utf-8")
    (attention_impls.HERE / "references.bib").write_text(references(), encoding="utf-8")
